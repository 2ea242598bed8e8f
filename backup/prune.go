package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
)

// A Prune removes old backups. It is the only thing that deletes in a bucket of
// backups (B1).
//
// It goes in two steps. A manifest that is to go is moved to pruned/ first; from then
// on nobody can restore from it, nor rely on it for a new backup. An object goes when
// no manifest names it, and none that was moved less than Grace ago, and when it is
// itself older than Grace. Both stay true once they are: no backup that could still
// come to name it was running, since none may take longer than MaxDuration.
type Prune struct {
	Vault objstore.Store

	// Keep is how long backups stay. The newest one stays in any case, and of each
	// table the newest that has it.
	Keep   time.Duration
	DryRun bool // say what would be done
	By     string
	Log    *zap.Logger // nil: silent
}

// A PruneReport is what was pruned, or would be.
type PruneReport struct {
	DryRun     bool
	Kept       int      // backups that stay
	Backups    []string // ids of those that go
	Objects    int      // deleted
	Bytes      int64
	Waiting    int // objects that no kept manifest names, whose grace has not passed
	WaitingSum int64
	Old        int // pruned manifests that were waited for, and are gone now
}

// Run prunes. Killed at any moment and run again, it goes on.
func (p *Prune) Run(ctx context.Context) (PruneReport, error) {
	r := PruneReport{DryRun: p.DryRun}
	if p.Log == nil {
		p.Log = zap.NewNop()
	}
	err := p.run(ctx, &r)
	if err != nil {
		err = fmt.Errorf("prune backups: %w", err)
	}
	return r, err
}

func (p *Prune) run(ctx context.Context, r *PruneReport) error {
	// The time comes first: whatever was made long before it is seen below.
	now, err := p.now(ctx)
	if err != nil {
		return err
	}
	// A manifest that cannot be read ends it: nobody knows what it names.
	all, err := All(ctx, p.Vault)
	if err != nil {
		return fmt.Errorf("%w; nothing is deleted while it cannot be read: restore or delete that manifest by hand", err)
	}
	keep, drop := p.split(all, now)
	r.Kept = len(keep)
	for _, m := range drop {
		r.Backups = append(r.Backups, m.ID)
	}
	if err := p.audit(ctx, r, now); err != nil {
		return err
	}
	// Listed after the manifests: one that is moved meanwhile is found in one place or
	// the other.
	pruned, err := p.pruned(ctx)
	if err != nil {
		return err
	}
	for _, m := range drop {
		if err := p.move(ctx, m); err != nil {
			return err
		}
	}
	named, waiting := map[string]bool{}, map[string]bool{}
	for _, m := range keep {
		name(named, m)
	}
	for _, m := range drop {
		name(waiting, m)
	}
	var done []prunedManifest
	for _, old := range pruned {
		if now.Sub(old.object.Created) < Grace {
			name(waiting, old.manifest)
		} else {
			done = append(done, old)
		}
	}
	if err := p.sweep(ctx, r, named, waiting, now); err != nil {
		return err
	}
	r.Old = len(done)
	if p.DryRun {
		return nil
	}
	for _, old := range done {
		if err := p.Vault.Remove(ctx, old.object.Name, old.object.Generation); err != nil && !errors.Is(err, objstore.ErrNotExist) {
			return err
		}
	}
	p.Log.Info("pruned backups", zap.Strings("backups", r.Backups), zap.Int("objects", r.Objects), zap.Int64("bytes", r.Bytes))
	return nil
}

func name(named map[string]bool, m *Manifest) {
	for _, e := range m.Entries {
		named[e.Object()] = true
	}
}

// split says which backups stay: all younger than Keep, the newest one, and of each
// table the newest that has it.
func (p *Prune) split(all []*Manifest, now time.Time) (keep, drop []*Manifest) {
	covered := map[string]bool{}
	for i := len(all) - 1; i >= 0; i-- {
		m := all[i]
		stays := i == len(all)-1 || now.Sub(m.Made) < p.Keep
		for _, t := range m.Tables {
			stays = stays || !covered[t.Type]
			covered[t.Type] = true
		}
		if stays {
			keep = append(keep, m)
		} else {
			drop = append(drop, m)
		}
	}
	return keep, drop
}

// now is the store's time. A dry run makes nothing, and takes the newest that it
// knows of: less is old then, never more.
func (p *Prune) now(ctx context.Context) (time.Time, error) {
	if p.DryRun {
		newest := time.Time{}
		for _, prefix := range []string{manifestRoot, auditRoot} {
			for o, err := range p.Vault.List(ctx, prefix, "") {
				if err != nil {
					return newest, err
				}
				if o.Created.After(newest) {
					newest = o.Created
				}
			}
		}
		return newest, nil
	}
	o, err := p.Vault.Replace(ctx, auditRoot+"last-prune", []byte("The time of this object is that of the last prune.\n"), nil, objstore.Any)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the store for its time: %w", err)
	}
	return o.Created, nil
}

// audit says what is about to be pruned, before it is.
func (p *Prune) audit(ctx context.Context, r *PruneReport, now time.Time) error {
	if p.DryRun {
		return nil
	}
	unique := make([]byte, 4)
	if _, err := rand.Read(unique); err != nil {
		return err
	}
	note, err := json.Marshal(map[string]any{"action": "backup prune", "by": p.By, "keep": p.Keep.String(), "kept": r.Kept, "backups": r.Backups})
	if err != nil {
		return err
	}
	_, err = p.Vault.Create(ctx, auditRoot+"prune-"+now.UTC().Format("20060102T150405Z")+"-"+hex.EncodeToString(unique)+".json", append(note, '\n'), nil)
	return err
}

// A prunedManifest is one that was moved away.
type prunedManifest struct {
	object   objstore.Object
	manifest *Manifest
}

func (p *Prune) pruned(ctx context.Context) ([]prunedManifest, error) {
	var all []prunedManifest
	for o, err := range p.Vault.List(ctx, prunedRoot, "") {
		if err != nil {
			return nil, err
		}
		m, err := read(ctx, p.Vault, o)
		if errors.Is(err, errLate) {
			err = nil // when it was moved, not when it was made
		}
		if err != nil {
			return nil, fmt.Errorf("%w; nothing is deleted while it cannot be read", err)
		}
		all = append(all, prunedManifest{o, m})
	}
	return all, nil
}

// move moves a manifest away: the copy is there before the original goes.
func (p *Prune) move(ctx context.Context, m *Manifest) error {
	if p.DryRun {
		return nil
	}
	from := manifestRoot + m.ID + manifestEnd
	o, err := p.Vault.Stat(ctx, from)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil // another prune's work
	}
	if err != nil {
		return err
	}
	data, err := p.Vault.Read(ctx, from, 0, -1)
	if err != nil {
		return err
	}
	// Replaced where a prune that was killed left one: the grace begins now.
	if _, err = p.Vault.Replace(ctx, prunedRoot+m.ID+manifestEnd, data, nil, objstore.Any); err != nil {
		return err
	}
	if err := p.Vault.Remove(ctx, from, o.Generation); err != nil && !errors.Is(err, objstore.ErrNotExist) {
		return err
	}
	return nil
}

// sweep deletes what nobody names, once it is old enough.
func (p *Prune) sweep(ctx context.Context, r *PruneReport, named, waiting map[string]bool, now time.Time) error {
	var due []objstore.Object
	for o, err := range p.Vault.List(ctx, root, "") {
		if err != nil {
			return err
		}
		_, _, isObject := splitObject(o.Name)
		switch {
		case named[o.Name]:
		case waiting[o.Name] || now.Sub(o.Created) < Grace:
			if isObject {
				r.Waiting++
				r.WaitingSum += o.Size
			}
		case isObject || strings.HasSuffix(o.Name, beganName) || strings.HasSuffix(o.Name, copiedName):
			due = append(due, o)
		}
	}
	slices.SortFunc(due, func(a, b objstore.Object) int { return strings.Compare(a.Name, b.Name) })
	for _, o := range due {
		if !p.DryRun {
			err := p.Vault.Remove(ctx, o.Name, o.Generation)
			if err != nil && !errors.Is(err, objstore.ErrNotExist) {
				return err
			}
		}
		if _, _, isObject := splitObject(o.Name); isObject {
			r.Objects++
			r.Bytes += o.Size
		}
	}
	return nil
}
