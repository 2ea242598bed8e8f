package backup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/objstore"
)

// known is what the bucket of backups holds already and a new backup may rely on
// (B1): what a manifest names that was there when the backup began, and what was
// copied less than MaxDuration before by a run that made no manifest, or has not
// made it yet.
type known struct {
	vault objstore.Reader
	base  map[string][]Entry           // by the lake's names
	young map[string][]objstore.Object // likewise; names are of the bucket of backups
}

// find gives the entry of an object of the lake that is here already.
func (k *known) find(ctx context.Context, name string, size int64, crc uint32) (Entry, bool) {
	want := Entry{Name: name, Size: size, CRC32C: crc}
	for _, e := range k.base[name] {
		if e.content(want) {
			return e, true
		}
	}
	for _, o := range k.young[name] {
		if o.Size != size {
			continue
		}
		if !o.HasCRC32C {
			var err error
			if o, err = k.vault.Stat(ctx, o.Name); err != nil {
				continue // then it is copied again
			}
		}
		if id, _, ok := splitObject(o.Name); ok && o.CRC32C == crc {
			want.In = id
			return want, true
		}
	}
	return Entry{}, false
}

// splitObject takes the name of an object in the bucket of backups apart.
func splitObject(name string) (id, lakeName string, ok bool) {
	rest, ok := strings.CutPrefix(name, root)
	id, after, cut := strings.Cut(rest, "/")
	lakeName, found := strings.CutPrefix("/"+after, objectsPart)
	return id, lakeName, ok && cut && found
}

// known looks at what there is. Of the manifests the newest count that together
// have every data type asked for.
func (b *Backup) known(ctx context.Context, began time.Time, types []string) (*known, error) {
	k := &known{vault: b.Vault, base: map[string][]Entry{}, young: map[string][]objstore.Object{}}
	named, err := b.named(ctx, types)
	if err != nil {
		return nil, err
	}
	for o, err := range b.Vault.List(ctx, root, "") {
		if err != nil {
			return nil, fmt.Errorf("list what is in backups: %w", err)
		}
		id, name, ok := splitObject(o.Name)
		if !ok {
			continue
		}
		if e, ok := named[o.Name]; ok {
			if e.Size == o.Size && (!o.HasCRC32C || e.CRC32C == o.CRC32C) {
				k.base[name] = append(k.base[name], e)
			} else {
				b.log().Warn("an object of a backup is damaged; it is copied again", zap.String("backup", id), zap.String("object", o.Name))
			}
			delete(named, o.Name)
			continue
		}
		if began.Sub(o.Created) < MaxDuration {
			k.young[name] = append(k.young[name], o)
		}
	}
	if n := len(named); n > 0 {
		b.log().Warn("objects that backups name are gone from the bucket of backups; they are copied again where the lake has them: look who deletes there, and run buffetctl backup verify", zap.Int("objects", n))
	}
	return k, nil
}

// named are the entries of the manifests that count, by their names here.
func (b *Backup) named(ctx context.Context, types []string) (map[string]Entry, error) {
	found, err := List(ctx, b.Vault)
	if err != nil {
		return nil, err
	}
	named := map[string]Entry{}
	missing := slices.Clone(types)
	for first := true; len(found) > 0 && (first || len(missing) > 0); {
		newest := found[len(found)-1]
		found = found[:len(found)-1]
		m, err := read(ctx, b.Vault, newest)
		if err != nil {
			b.log().Warn("a manifest cannot be read; what it names is copied again", zap.Error(err))
			continue
		}
		first = false
		for _, e := range m.Entries {
			named[e.Object()] = e
		}
		missing = slices.DeleteFunc(missing, func(t string) bool { _, ok := m.Table(t); return ok })
	}
	return named, nil
}
