package sim

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/buffetbot/ingest/objstore"
)

// The kinds of requests; from opCreate on they change something.
const (
	opList = iota
	opStat
	opRead
	opCreate
	opReplace
	opRemove
	opPublish
)

var opNames = [...]string{"list", "stat", "read", "create", "replace", "remove", "publish"}

// An op is a request of a process.
type op struct {
	proc    *process
	kind    int
	name    string // or prefix
	after   string
	off     int64
	n       int64
	data    []byte
	meta    map[string]string
	match   objstore.Generation
	apply   func() error  // of what is not the store's
	in      *objstore.Mem // the bucket
	stalled bool
	done    chan reply
}

type reply struct {
	object  objstore.Object
	data    []byte
	objects []objstore.Object
	err     error
}

func (o *op) String() string {
	s := opNames[o.kind] + " "
	if o.in != nil && o.in == o.proc.w.archive {
		s += "archive "
	}
	s += o.name
	if o.kind == opList && o.after != "" {
		s += "* after " + o.after
	}
	return s
}

type lifeKey struct{}

// ask puts a request to the scheduler and waits.
func (p *process) ask(ctx context.Context, o *op) reply {
	o.proc, o.done = p, make(chan reply, 1)
	if err := ctx.Err(); err != nil {
		return reply{err: fmt.Errorf("%s: %w", o, err)}
	}
	dead, _ := ctx.Value(lifeKey{}).(*bool)
	p.w.mu.Lock()
	if dead == nil || *dead {
		p.w.mu.Unlock()
		return reply{err: fmt.Errorf("%s: %w", o, errKilled)}
	}
	p.w.pending = append(p.w.pending, o)
	p.w.mu.Unlock()
	select {
	case r := <-o.done:
		if r.err != nil {
			r.err = fmt.Errorf("%s: %w", o, r.err)
		}
		return r
	case <-ctx.Done(): // it is under way all the same
		return reply{err: fmt.Errorf("%s: %w", o, ctx.Err())}
	}
}

// A remote is a bucket as one process sees it.
type remote struct {
	p  *process
	in *objstore.Mem
}

// lake and archive are the buckets as a process sees them.
func (p *process) lake() remote    { return remote{p, p.w.store} }
func (p *process) archive() remote { return remote{p, p.w.archive} }

// List implements objstore.Reader, a page at a time.
func (s remote) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		for after := after; ; {
			r := s.p.ask(ctx, &op{in: s.in, kind: opList, name: prefix, after: after})
			if r.err != nil {
				yield(objstore.Object{}, r.err)
				return
			}
			for _, o := range r.objects {
				if !yield(o, nil) {
					return
				}
				after = o.Name
			}
			if len(r.objects) < s.p.w.rates.page {
				return
			}
		}
	}
}

func (s remote) Stat(ctx context.Context, name string) (objstore.Object, error) {
	r := s.p.ask(ctx, &op{in: s.in, kind: opStat, name: name})
	return r.object, r.err
}

func (s remote) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	r := s.p.ask(ctx, &op{in: s.in, kind: opRead, name: name, off: off, n: n})
	return r.data, r.err
}

func (s remote) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	r := s.p.ask(ctx, &op{in: s.in, kind: opCreate, name: name, data: slices.Clone(data), meta: metadata})
	return r.object, r.err
}

func (s remote) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	r := s.p.ask(ctx, &op{in: s.in, kind: opReplace, name: name, data: slices.Clone(data), meta: metadata, match: match})
	return r.object, r.err
}

func (s remote) Remove(ctx context.Context, name string, match objstore.Generation) error {
	if s.p.w.rates.weak {
		match = objstore.Any
	}
	return s.p.ask(ctx, &op{in: s.in, kind: opRemove, name: name, match: match}).err
}

// apply lets a request happen, and the model see it.
func (w *World) apply(o *op) (r reply) {
	ctx := context.Background()
	switch o.kind {
	case opList:
		for object, err := range o.in.List(ctx, o.name, o.after) {
			if r.err = err; err != nil || len(r.objects) == w.rates.page {
				break
			}
			if w.rates.plain {
				object.CRC32C, object.HasCRC32C = 0, false
			}
			r.objects = append(r.objects, object)
		}
	case opStat:
		r.object, r.err = o.in.Stat(ctx, o.name)
	case opRead:
		r.data, r.err = o.in.Read(ctx, o.name, o.off, o.n)
	case opCreate:
		r.object, r.err = o.in.Create(ctx, o.name, o.data, o.meta)
		if r.err == nil && o.in == w.store {
			w.model.created(o, r.object)
		}
	case opReplace:
		r.object, r.err = o.in.Replace(ctx, o.name, o.data, o.meta, o.match)
		if r.err == nil && o.in == w.store {
			w.model.replaced(o)
		}
	case opRemove:
		before, _ := o.in.Stat(ctx, o.name)
		r.err = o.in.Remove(ctx, o.name, o.match)
		if r.err == nil && o.in == w.store {
			w.model.removed(o, before)
		}
	case opPublish:
		r.err = o.apply()
	}
	return r
}
