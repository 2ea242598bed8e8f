package gcp

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/storage"

	"github.com/buffetbot/ingest/objstore"
)

// CopyFrom makes the object to of another's bytes, which do not pass through here.
// The other is in a bucket that this account may read, at the generation given;
// objstore.ErrExist where to exists. Metadata goes with the bytes, the storage class
// is this bucket's, and so is the key.
func (b *Bucket) CopyFrom(ctx context.Context, source *Bucket, from objstore.Object, to string) (objstore.Object, error) {
	release, err := b.begin(ctx, "copy to", to)
	if err != nil {
		return objstore.Object{}, err
	}
	defer release()
	src := b.client.Bucket(source.cfg.Bucket).Object(from.Name)
	if from.Generation > 0 {
		src = src.If(storage.Conditions{GenerationMatch: int64(from.Generation)})
	}
	copier := b.bucket.Object(to).If(storage.Conditions{DoesNotExist: true}).CopierFrom(src)
	copier.DestinationKMSKeyName = b.cfg.KMSKeyName
	attrs, err := copier.Run(ctx)
	if err != nil {
		err = b.explain("copy to", to, err)
		if errors.Is(err, objstore.ErrPrecondition) {
			// The answer does not say whose condition failed.
			if _, missing := b.bucket.Object(to).Attrs(ctx); errors.Is(missing, storage.ErrObjectNotExist) {
				return objstore.Object{}, fmt.Errorf("copy %s: it is another now: %w", from.Name, objstore.ErrNotExist)
			}
			return objstore.Object{}, fmt.Errorf("copy to %s: %w", to, objstore.ErrExist)
		}
		return objstore.Object{}, err
	}
	return describe(attrs), nil
}
