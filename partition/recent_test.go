package partition

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/buffetbot/ingest/objstore"
)

// A load lists the log from the checkpoint that the hint names: how much of the
// past is still there makes no difference. Whatever the hint says, the table is
// the same (P9).
func TestAHintOnlySavesListing(t *testing.T) {
	for _, tt := range []struct {
		name, hint string
		listed     int // objects, in both listings of a load
	}{
		{"the highest checkpoint", `{"version":30,"size":1}`, 10},
		{"an older checkpoint", `{"version":20}`, 21},
		{"a version without one", `{"version":25}`, 15},
		{"above every checkpoint", `{"version":31}`, 46},
		{"far above", `{"version":9223372036854775807}`, 43},
		{"below nothing", `{"version":-1}`, 42},
		{"not a number", `{"version":"30"}`, 42},
		{"damaged", `{"vers`, 42},
		{"empty", ``, 42},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newMem()
			table, s := created(t, store)
			head := grow(t, table, s, 33)
			if _, err := store.Replace(t.Context(), table.root+logFolder+hintName, []byte(tt.hint), nil, objstore.Any); err != nil {
				t.Fatal(err)
			}
			counted := &countedList{Store: store}
			got := mustLoad(t, openTable(counted))
			if d := diff(head, got); d != "" {
				t.Error(d)
			}
			if counted.objects != tt.listed {
				t.Errorf("%d objects listed, want %d", counted.objects, tt.listed)
			}
		})
	}
}

// Without a hint, and with one that names a checkpoint that is gone.
func TestAHintThatIsMissingOrLate(t *testing.T) {
	store := newMem()
	table, s := created(t, store)
	head := grow(t, table, s, 33)
	cleanUp(t, table, store, 30)
	for _, hint := range []string{`{"version":10}`, ""} {
		name := table.root + logFolder + hintName
		if hint == "" {
			if err := store.Remove(t.Context(), name, objstore.Any); err != nil {
				t.Fatal(err)
			}
		} else if _, err := store.Replace(t.Context(), name, []byte(hint), nil, objstore.Any); err != nil {
			t.Fatal(err)
		}
		if d := diff(head, mustLoad(t, openTable(store))); d != "" {
			t.Error(fmt.Sprintf("hint %q: ", hint) + d)
		}
	}
}

// A countedList counts the objects that are listed.
type countedList struct {
	objstore.Store
	objects int
}

func (c *countedList) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for o, err := range c.Store.List(ctx, prefix, after) {
			c.objects++
			if !yield(o, err) {
				return
			}
		}
	}
}
