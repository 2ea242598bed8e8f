package compaction_test

import (
	"context"
	"strings"
	"testing"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// commit changes the table behind the compactor's back.
func (l *lake) commit(c partition.Change) {
	l.t.Helper()
	c.Operation = "BREAK"
	if _, err := partition.OpenTable(l.store, market, nil).Commit(context.Background(), l.snapshot(), c); err != nil {
		l.t.Fatal(err)
	}
}

// file uploads rows as a processed object.
func (l *lake) file(quotes ...quote) partition.File {
	l.t.Helper()
	rec, err := columnar.Sort(l.record(quotes...).Record(), l.def)
	if err != nil {
		l.t.Fatal(err)
	}
	data, sum, err := columnar.Encode(rec, l.def)
	if err != nil {
		l.t.Fatal(err)
	}
	name := partition.ProcessedName{
		Key: partition.Key{Type: market, Day: jan15}, Category: l.def.Category, First: "A", Last: "Z", Major: 1, Hash: "abc", Planned: 9,
	}
	l.put(name.String(), data, sum.Metadata())
	return partition.Describe(name, data, sum, rec, l.def)
}

// The checks find every promise that is broken on purpose.
func TestCheckFindsWhatIsPlanted(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		plant      func(l *lake)
	}{
		{"nothing", "", func(*lake) {}},
		{"a row live in two files", "C2 market_data/2024-01-15: two live rows of identity", func(l *lake) {
			f := l.file(quotes("AAPL", 4, 1)...)
			l.commit(partition.Change{Add: []partition.File{f}})
		}},
		{"a row live that nobody sent", "C3 market_data/2024-01-15: 7 rows consumed, 8 live or counted as duplicates", func(l *lake) {
			l.commit(partition.Change{Add: []partition.File{l.file(quotes("ZM", 0, 1)...)}})
		}},
		{"rows consumed and not live", "is consumed, its row", func(l *lake) {
			l.commit(partition.Change{Consumed: []string{l.raw(quotes("ZM", 0, 1)...)}})
		}},
		{"a live file removed", "is consumed, its row", func(l *lake) {
			l.commit(partition.Change{Remove: l.snapshot().Files(nil)})
		}},
		{"duplicates not counted", "C3 market_data/2024-01-15: 9 rows consumed, 7 live or counted", func(l *lake) {
			l.commit(partition.Change{Consumed: []string{l.raw(quotes("AAPL", 0, 2)...)}})
		}},
		{"duplicates counted twice", "C3 market_data/2024-01-15: 7 rows consumed, 9 live or counted", func(l *lake) {
			f := l.snapshot().Files(nil)[0]
			f.Duplicates += 2
			l.commit(partition.Change{Add: []partition.File{f}})
		}},
		{"a live file lost", "it does not exist", func(l *lake) {
			l.spoil(func([]byte) []byte { return nil })
		}},
		{"a live file cut short", "recorded are", func(l *lake) {
			l.spoil(func(d []byte) []byte { return d[:len(d)-1] })
		}},
		{"a bit flipped in a live file", "with checksum", func(l *lake) {
			l.spoil(func(d []byte) []byte { d[100] ^= 1; return d })
		}},
		{"rows recorded that are not there", "C5 market_data/2024-01-15", func(l *lake) {
			f := l.snapshot().Files(nil)[0]
			f.Rows++
			l.commit(partition.Change{Add: []partition.File{f}})
		}},
		{"a live file of another day's rows", "row 0 is of 2024-01-16", func(l *lake) {
			l.commit(partition.Change{Add: []partition.File{l.file(onDay(jan15+1, quotes("ZM", 0, 1))...)}})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLake(t, objstore.NewMem())
			l.raw(quotes("AAPL", 0, 5)...)
			l.raw(quotes("AAPL", 3, 2)...)
			l.compact()
			tt.plant(l)
			bad, err := l.violations()
			if err != nil {
				t.Fatal(err)
			}
			found := len(bad) == 0 && tt.want == ""
			for _, v := range bad {
				found = found || tt.want != "" && strings.Contains(v.String(), tt.want)
			}
			if !found {
				t.Errorf("violations %v, want %q", bad, tt.want)
			}
		})
	}
}

// spoil changes the bytes of the live file; none removes it.
func (l *lake) spoil(change func([]byte) []byte) {
	l.t.Helper()
	ctx, name := context.Background(), l.snapshot().Files(nil)[0].ObjectName()
	data, err := l.store.Read(ctx, name, 0, -1)
	if err != nil {
		l.t.Fatal(err)
	}
	if data = change(data); data == nil {
		err = l.store.Remove(ctx, name, objstore.Any)
	} else {
		_, err = l.store.Replace(ctx, name, data, nil, objstore.Any)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// Where raw objects have been deleted, the check asks for no more than it can know.
func TestCheckAllowsDeletedRawObjects(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	gone := l.raw(quotes("AAPL", 0, 5)...)
	l.raw(quotes("AAPL", 3, 4)...)
	l.compact()
	if err := l.store.Remove(context.Background(), gone, objstore.Any); err != nil {
		t.Fatal(err)
	}
	raw, s, err := l.view()
	if err != nil {
		t.Fatal(err)
	}
	bad, err := compaction.Check{Store: l.store, Definition: l.def, Snapshot: s, Raw: raw}.All(context.Background())
	if err != nil || len(bad) > 0 {
		t.Errorf("violations %v, %v", bad, err)
	}
}
