package compaction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// LeasesPrefix is where leases are: metadata/leases/<type>/<day>.json.
const LeasesPrefix = "metadata/leases/"

// DefaultLeaseFor is how long a lease lasts. A compactor that is slower loses
// nothing but the exclusion.
const DefaultLeaseFor = 15 * time.Minute

// Leasing lets several compactors share the work: each tells the others which
// partitions it is at. It saves effort and nothing else. The log alone decides
// what is committed (P5); a lease may be ignored, expire, be lost or be wrong. The
// zero Leasing takes none and looks at none.
type Leasing struct {
	Owner string        // who this compactor is, unlike any other; "": no leases
	For   time.Duration // DefaultLeaseFor
	Floor int64         // a partition with fewer bytes to read is not worth a lease
}

// A Lease says that a compactor is at a partition, or which version it made of it.
type Lease struct {
	Key     partition.Key `json:"-"`
	Owner   string        `json:"owner"`
	Until   time.Time     `json:"until"`
	Version int64         `json:"done_in_version,omitempty"` // it is done: a plan on an earlier version need not begin
}

func (l Lease) String() string {
	if l.Version > 0 {
		return fmt.Sprintf("%s has done it in version %d", l.Owner, l.Version)
	}
	return fmt.Sprintf("%s is at it, or has its lease until %s", l.Owner, l.Until.UTC().Format(time.RFC3339))
}

// keeps tells whether a plan on the given version had better not begin. A lease
// that is further ahead than any that this program takes is not believed: somebody's
// clock is wrong.
func (l Lease) keeps(owner string, planned int64, now time.Time, term time.Duration) bool {
	if l.Version > 0 {
		return l.Version > planned
	}
	return l.Owner != owner && now.Before(l.Until) && l.Until.Sub(now) <= 2*term
}

func leaseName(key partition.Key) string {
	return LeasesPrefix + key.Type + "/" + key.Day.String() + ".json"
}

// leases are those that keep a plan on the snapshot from partitions.
func (j *job) leases(ctx context.Context) (map[partition.Day]Lease, error) {
	found := map[partition.Day]Lease{}
	for o, err := range j.store.List(ctx, LeasesPrefix+j.def.Name+"/", "") {
		if err != nil {
			return nil, fmt.Errorf("list leases: %w", err)
		}
		// A lease is not read where its age says that it is over, one way or the other.
		if j.o.Now.Sub(o.Created) > 2*j.o.Leasing.For {
			continue
		}
		day, err := partition.ParseDay(strings.TrimSuffix(path.Base(o.Name), ".json"))
		if err != nil {
			continue
		}
		l, err := readNote[Lease](ctx, j.store, o.Name)
		if err == nil && l.keeps(j.o.Leasing.Owner, j.version(), j.o.Now, j.o.Leasing.For) {
			found[day] = l
		}
	}
	return found, ctx.Err()
}

// version is the one planned on, -1 without a table.
func (j *job) version() int64 {
	if j.snapshot == nil {
		return -1
	}
	return j.snapshot.Version
}

// take takes leases for the groups of a batch, as far as they are worth one, and
// leaves out what another compactor is at, or has done since the plan.
func (j *job) take(ctx context.Context, batch []Group) (ours []Group, left []Group) {
	if j.o.Leasing.Owner == "" {
		return batch, nil
	}
	for _, g := range batch {
		if g.Cost.bytes() >= j.o.Leasing.Floor {
			if other, taken := j.takeOne(ctx, g.Key); taken {
				g.Left = other.String()
				left = append(left, g)
				continue
			}
		}
		ours = append(ours, g)
	}
	return ours, left
}

// takeOne takes a lease; taken tells that another's keeps us out. Whatever goes
// wrong: without a lease the work is done all the same.
func (j *job) takeOne(ctx context.Context, key partition.Key) (other Lease, taken bool) {
	name, now := leaseName(key), j.clock()
	mine, err := json.Marshal(Lease{Owner: j.o.Leasing.Owner, Until: now.Add(j.o.Leasing.For)})
	if err != nil {
		return Lease{}, false
	}
	_, err = j.store.Create(ctx, name, mine, nil)
	if !errors.Is(err, objstore.ErrExist) {
		return Lease{}, false
	}
	there, err := j.store.Stat(ctx, name)
	if err != nil {
		return Lease{}, false
	}
	other, err = readNote[Lease](ctx, j.store, name)
	if err == nil && other.keeps(j.o.Leasing.Owner, j.version(), now, j.o.Leasing.For) {
		return other, true
	}
	_, err = j.store.Replace(ctx, name, mine, nil, there.Generation)
	if errors.Is(err, objstore.ErrPrecondition) { // another was faster
		if other, err = readNote[Lease](ctx, j.store, name); err == nil {
			return other, other.Owner != j.o.Leasing.Owner
		}
	}
	return Lease{}, false
}

// giveBack ends the leases of a batch: with the version made of it, or at once.
func (j *job) giveBack(ctx context.Context, batch []Group, results []result) {
	if j.o.Leasing.Owner == "" {
		return
	}
	for i, g := range batch {
		if g.Cost.bytes() < j.o.Leasing.Floor {
			continue
		}
		l := Lease{Owner: j.o.Leasing.Owner, Until: j.clock()}
		if p := results[i].report; p.Outcome == Committed {
			l.Version = p.Version
		}
		if err := writeNote(ctx, j.store, leaseName(g.Key), l); err != nil {
			j.log.Debug("could not give a lease back; it expires", zap.Stringer("partition", g.Key), zap.Error(err))
		}
	}
}

// learn finds out what a plan goes by beside the table.
func (j *job) learn(ctx context.Context) (f Facts, err error) {
	if f.Holds, err = Holds(ctx, j.store, j.def.Name); err != nil {
		return f, err
	}
	if f.Unreadable, err = unreadNotes(ctx, j.store, j.def.Name); err != nil {
		return f, err
	}
	if j.o.Leasing.Owner != "" {
		f.Leases, err = j.leases(ctx)
	}
	return f, err
}
