package ingest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// readDefinitions reads the definitions that the lake keeps beside those of the
// program.
func readDefinitions(ctx context.Context, store objstore.Reader) ([]schema.Text, error) {
	var texts []schema.Text
	for o, err := range store.List(ctx, schema.Prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list definitions under %s: %w", schema.Prefix, err)
		}
		name := strings.TrimPrefix(o.Name, schema.Prefix)
		if !strings.HasSuffix(name, ".avsc") {
			continue
		}
		b, err := store.Read(ctx, o.Name, 0, -1)
		if err != nil {
			return nil, fmt.Errorf("read definition %s: %w", o.Name, err)
		}
		texts = append(texts, schema.Text{Name: name, Origin: o.Name, Avsc: b})
	}
	return texts, nil
}

// Definitions are those of the program and, where the setting names a lake, its own.
func Definitions(ctx context.Context, c Config) (*schema.Registry, error) {
	if c.Bucket == "" {
		return schema.Builtin()
	}
	store, closeStore, err := openStore(ctx, c)
	if err != nil {
		return nil, err
	}
	texts, err := readDefinitions(ctx, objstore.Retry(store, objstore.RetryPolicy{Attempts: c.RetryAttempts, Timeout: c.Timeout}))
	if err := errors.Join(err, closeStore()); err != nil {
		return nil, err
	}
	r, err := schema.FromTexts(texts)
	if err != nil {
		return nil, fmt.Errorf("definitions of lake %s: %w", c.Bucket, err)
	}
	return r, nil
}

// Refresh reads the lake's own definitions again and says whether any has come.
// Where they cannot be read or contradict each other, the registry stays as it
// was.
func (l *Lake) Refresh(ctx context.Context) (changed bool, err error) {
	texts, err := readDefinitions(ctx, l.store)
	if err != nil {
		return false, err
	}
	r, err := schema.FromTexts(texts)
	if err != nil {
		return false, fmt.Errorf("definitions of lake %s: %w (correct or remove the object; nothing else removes one)", l.name, err)
	}
	if old := l.Registry(); old != nil && old.Same(r) {
		return false, nil
	}
	l.registry.Store(r)
	return true, nil
}

// Evolve adds a definition to the lake: the next version of a data type, or the
// first of a new one. It must be able to follow the newest version in the mode.
// Programs that run take it up by themselves.
func (l *Lake) Evolve(ctx context.Context, avsc []byte, mode schema.Mode) (*schema.Definition, []schema.Change, error) {
	if _, err := l.Refresh(ctx); err != nil {
		return nil, nil, err
	}
	d, changes, err := l.CheckDefinition(avsc, mode)
	if err != nil {
		return d, changes, err
	}
	name := schema.Prefix + d.FileName()
	_, err = l.store.Create(ctx, name, avsc, nil)
	if errors.Is(err, objstore.ErrExist) {
		return d, changes, fmt.Errorf("evolve %s: %s was added by somebody else meanwhile: look at it, and take the next version", d.Name, name)
	}
	if err != nil {
		return d, changes, fmt.Errorf("evolve %s: %w", d.Name, err)
	}
	_, err = l.Refresh(ctx)
	return d, changes, err
}

// CheckDefinition says what Evolve would say, and changes nothing.
func (l *Lake) CheckDefinition(avsc []byte, mode schema.Mode) (*schema.Definition, []schema.Change, error) {
	d, err := schema.Parse(avsc)
	if err != nil {
		return nil, nil, fmt.Errorf("definition: %w", err)
	}
	r := l.Registry()
	latest, ok := r.Latest(d.Name)
	if !ok {
		if other, taken := r.ForTopic(d.Topic); taken {
			return d, nil, fmt.Errorf("definition %s: topic %s carries %s", d.Name, d.Topic, other.Name)
		}
		return d, nil, nil
	}
	changes, err := schema.Evolve(latest, d, mode)
	return d, changes, err
}
