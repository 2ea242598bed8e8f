package sweep

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// look lists what the snapshot is held against: raw objects and data objects,
// once each. What could not be listed is not swept by this run.
func (p *pass) look(ctx context.Context) error {
	return errors.Join(p.lookRaw(ctx), p.lookData(ctx))
}

func (p *pass) lookRaw(ctx context.Context) error {
	listed, err := partition.ListRaw(ctx, p.Store, p.report.Type)
	if err != nil {
		return fmt.Errorf("list raw objects: %w", err)
	}
	p.listed, p.rawKnown = listed, true
	for _, f := range listed {
		p.seen(f.Object.Created)
	}
	return nil
}

// A grave is the object of a file that was removed from the table.
type grave struct {
	objstore.Object
	removed time.Time
}

// lookData sorts data objects into those of files that were removed and those that
// no version names. What the name does not say the version of is not ours to
// delete.
func (p *pass) lookData(ctx context.Context) error {
	root := partition.TableRoot(p.report.Type)
	var graves []grave
	var nameless []orphan
	for o, err := range p.Store.List(ctx, root+"year=", "") {
		if err != nil {
			return fmt.Errorf("list data objects: %w", err)
		}
		p.seen(o.Created)
		path := strings.TrimPrefix(o.Name, root)
		if _, live := p.snapshot.Live(path); live {
			continue
		}
		if stone, dead := p.snapshot.Tombstone(path); dead {
			graves = append(graves, grave{o, stone.Removed})
			continue
		}
		name, err := partition.ParseProcessedName(o.Name)
		if err != nil {
			p.report.keep(o.Name, "no version names it, and it is not named as this program names objects: look at it and delete it by hand")
			continue
		}
		nameless = append(nameless, orphan{o, name.Planned})
	}
	p.graves, p.nameless = graves, nameless
	return nil
}

// seen notes a time of the store's.
func (p *pass) seen(at time.Time) {
	if at.After(p.newest) {
		p.newest = at
	}
}

// perhaps tells whether anything can be due, by this machine's clock and by the
// newest thing seen. That decides only whether to ask the store for its time: where
// the machine's clock is late, an idle table is swept late.
func (p *pass) perhaps() bool {
	p.seen(p.snapshot.Time)
	clock := p.Clock
	if clock == nil {
		clock = time.Now
	}
	p.seen(clock())
	p.now = p.newest
	p.forgettable()
	return len(p.dueRaw())+len(p.dueGraves())+len(p.dueOrphans()) > 0 || p.wantsFence() || p.manyMarks() ||
		len(p.past.Expired(p.now, p.logRetain())) > 0
}
