package sweep

import (
	"context"
	"errors"
	"fmt"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// Expire deletes the archived raw objects of a data type's days before a day, for
// whoever has decided so and put it down. A dry run counts them. Objects that are
// gone already are another's work. The sum is complete whatever the error.
func Expire(ctx context.Context, archive objstore.Store, dataType string, before partition.Day, dry bool) (Sum, error) {
	var sum Sum
	raw, err := partition.ListRaw(ctx, archive, dataType)
	if err != nil {
		return sum, fmt.Errorf("list the archive: %w", err)
	}
	for _, f := range raw {
		if f.Key.Day >= before {
			continue
		}
		if !dry {
			err := archive.Remove(ctx, f.Name, f.Object.Generation)
			if errors.Is(err, objstore.ErrNotExist) {
				continue
			}
			if err != nil {
				return sum, fmt.Errorf("delete %s from the archive: %w", f.Name, err)
			}
		}
		sum.Objects, sum.Bytes = sum.Objects+1, sum.Bytes+f.Object.Size
	}
	return sum, nil
}
