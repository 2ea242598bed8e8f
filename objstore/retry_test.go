package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

func TestRetrySucceedsWhateverTheFault(t *testing.T) {
	for _, mode := range []objtest.Mode{objtest.Fail, objtest.Lose, objtest.Hang} {
		for op, run := range map[string]func(ctx context.Context, s objstore.Store) error{
			"create":  func(ctx context.Context, s objstore.Store) error { return createOne(ctx, s, "new", "data") },
			"replace": func(ctx context.Context, s objstore.Store) error { return replaceOne(ctx, s, "new", "data") },
			"read": func(ctx context.Context, s objstore.Store) error {
				got, err := s.Read(ctx, "there", 0, -1)
				return same(string(got), "there", err)
			},
			"stat": func(ctx context.Context, s objstore.Store) error {
				o, err := s.Stat(ctx, "there")
				return same(o.Name, "there", err)
			},
			"list": func(ctx context.Context, s objstore.Store) error {
				var names []string
				for o, err := range s.List(ctx, "", "") {
					if err != nil {
						return err
					}
					names = append(names, o.Name)
				}
				return same(strings.Join(names, " "), "there", nil)
			},
		} {
			for _, times := range []int{1, 2, 3} {
				t.Run(fmt.Sprintf("%s/mode=%d/times=%d", op, mode, times), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						mem := objstore.NewMem()
						if err := createOne(t.Context(), mem, "there", "there"); err != nil {
							t.Fatal(err)
						}
						faults := &objtest.Faults{Store: mem, Times: times, Mode: mode}
						if err := run(t.Context(), objstore.Retry(faults, objstore.RetryPolicy{})); err != nil {
							t.Error(err)
						}
						if !faults.Fired() {
							t.Error("met no fault")
						}
					})
				})
			}
		}
	}
}

func TestRetryOfAnAppliedCreate(t *testing.T) {
	denied := fmt.Errorf("no right to look: %w", objstore.ErrRefused)
	for _, tt := range []struct {
		name  string
		store func(mem *objstore.Mem) objstore.Store
		want  error
		says  string
	}{
		{
			name:  "the object is ours: success",
			store: func(mem *objstore.Mem) objstore.Store { return &objtest.Faults{Store: mem, Lost: true} },
		},
		{
			name: "comparing fails once: success",
			store: func(mem *objstore.Mem) objstore.Store {
				return &objtest.Faults{Store: &objtest.Faults{Store: mem, Match: only("stat")}, Lost: true}
			},
		},
		{
			name: "another's object has the name: it exists",
			store: func(mem *objstore.Mem) objstore.Store {
				mem.Create(context.Background(), "x", []byte("other"), nil)
				return &objtest.Faults{Store: mem}
			},
			want: objstore.ErrExist, says: "with other bytes than ours",
		},
		{
			name: "an object of the same size has the name: it exists",
			store: func(mem *objstore.Mem) objstore.Store {
				mem.Create(context.Background(), "x", []byte("OURS"), nil)
				return &objtest.Faults{Store: mem}
			},
			want: objstore.ErrExist, says: "with other bytes than ours",
		},
		{
			name: "we may not look: it exists",
			store: func(mem *objstore.Mem) objstore.Store {
				return &objtest.Faults{Store: &objtest.Faults{Store: mem, Match: only("stat"), Times: -1, Err: denied}, Lost: true}
			},
			want: objstore.ErrExist, says: "no right to look",
		},
		{
			name: "the same bytes were there before us and our first answer says so: it exists",
			store: func(mem *objstore.Mem) objstore.Store {
				mem.Create(context.Background(), "x", []byte("ours"), nil)
				return mem
			},
			want: objstore.ErrExist,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := objstore.Retry(tt.store(objstore.NewMem()), objstore.RetryPolicy{})
				o, err := store.Create(t.Context(), "x", []byte("ours"), nil)
				if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.says) {
					t.Fatalf("Create = %v, want %v saying %q", err, tt.want, tt.says)
				}
				if err == nil && (o.Size != 4 || o.Generation == 0) {
					t.Errorf("Create = %+v", o)
				}
			})
		})
	}
}

func TestRetryGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy objstore.RetryPolicy
		faults *objtest.Faults
		ctx    time.Duration // the caller's own patience
		op     func(ctx context.Context, s objstore.Store) error
		says   string
		tries  int
		within time.Duration
	}{
		{
			name: "after the attempts", faults: &objtest.Faults{Times: -1},
			op:   func(ctx context.Context, s objstore.Store) error { return createOne(ctx, s, "x", "y") },
			says: "gave up after 4 tries in ", tries: 4, within: time.Second,
		},
		{
			name: "after as many attempts as it is told", faults: &objtest.Faults{Times: -1}, policy: objstore.RetryPolicy{Attempts: 7},
			op:   func(ctx context.Context, s objstore.Store) error { _, err := s.Stat(ctx, "x"); return err },
			says: "gave up after 7 tries in ", tries: 7, within: 13 * time.Second,
		},
		{
			name: "when the time is up", faults: &objtest.Faults{Times: -1, Mode: objtest.Hang}, policy: objstore.RetryPolicy{Attempts: 100, Timeout: 10 * time.Second, Deadline: 25 * time.Second},
			op:   func(ctx context.Context, s objstore.Store) error { return createOne(ctx, s, "x", "y") },
			says: "out of time after 3 tries in 25s", tries: 3, within: 25 * time.Second,
		},
		{
			name: "when the caller's time is up", faults: &objtest.Faults{Times: -1, Mode: objtest.Hang}, ctx: 3 * time.Second,
			op:   func(ctx context.Context, s objstore.Store) error { return createOne(ctx, s, "x", "y") },
			says: "stopped after 1 try in 3s: context deadline exceeded", tries: 1, within: 3 * time.Second,
		},
		{
			name: "on a listing that hangs", faults: &objtest.Faults{Times: -1, Mode: objtest.Hang}, policy: objstore.RetryPolicy{Attempts: 2, Timeout: time.Second},
			op: func(ctx context.Context, s objstore.Store) error {
				for _, err := range s.List(ctx, "a/", "") {
					return err
				}
				return nil
			},
			says: "gave up after 2 tries in 2", tries: 2, within: 2200 * time.Millisecond,
		},
		{
			name: "at once on a refusal", faults: &objtest.Faults{Times: -1, Err: objstore.ErrRefused},
			op:   func(ctx context.Context, s objstore.Store) error { return createOne(ctx, s, "x", "y") },
			says: "create x: store refuses", tries: 1,
		},
		{
			name: "at once on a conditional replace", faults: &objtest.Faults{Times: -1},
			op: func(ctx context.Context, s objstore.Store) error {
				_, err := s.Replace(ctx, "x", nil, nil, 0)
				return err
			},
			says: "gave up after 1 try in 0s: replace x: injected fault", tries: 1,
		},
		{
			name: "at once on a removal", faults: &objtest.Faults{Times: -1},
			op:   func(ctx context.Context, s objstore.Store) error { return s.Remove(ctx, "x", objstore.Any) },
			says: "gave up after 1 try in 0s: remove x: injected fault", tries: 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, tt.ctx)
					defer cancel()
				}
				tt.faults.Store = objstore.NewMem()
				began := time.Now()
				err := tt.op(ctx, objstore.Retry(tt.faults, tt.policy))
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("error = %v, want one saying %q", err, tt.says)
				}
				if got := tt.faults.Count(); got != tt.tries {
					t.Errorf("%d tries, want %d", got, tt.tries)
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("it took %v, want at most %v", took, tt.within)
				}
			})
		})
	}
}

// A listing that breaks goes on behind the last object, as often as it makes
// progress.
func TestRetryResumesAListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := objstore.NewMem()
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprintf("%03d", i))
			if err := createOne(t.Context(), mem, want[i], ""); err != nil {
				t.Fatal(err)
			}
		}
		faults := &objtest.Faults{Store: mem, Times: 6, Mode: objtest.Truncate}
		store := objstore.Retry(faults, objstore.RetryPolicy{Attempts: 2, Timeout: time.Minute})
		var got []string
		for o, err := range store.List(t.Context(), "", "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, o.Name)
			time.Sleep(time.Hour) // the reader's pace does not count
		}
		if n := faults.Count(); n != 7 {
			t.Errorf("%d listings, want the 6 broken ones and the last", n)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("listing (-want +got):\n%s", diff)
		}
	})
}

// Writers that fail together come back apart.
func TestRetryWaitsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := map[time.Duration]bool{}
		var longest time.Duration
		for range 200 {
			faults := &objtest.Faults{Store: objstore.NewMem(), Times: 1}
			began := time.Now()
			if err := createOne(t.Context(), objstore.Retry(faults, objstore.RetryPolicy{Base: time.Second}), "x", ""); err != nil {
				t.Fatal(err)
			}
			wait := time.Since(began)
			waits[wait.Truncate(50*time.Millisecond)] = true
			longest = max(longest, wait)
		}
		if len(waits) < 15 || longest > time.Second {
			t.Errorf("200 waits fall into %d of 20 steps of 50ms, the longest is %v", len(waits), longest)
		}
	})
}

func only(op string) func(string, string) bool {
	return func(got, _ string) bool { return got == op }
}

func createOne(ctx context.Context, s objstore.Store, name, data string) error {
	_, err := s.Create(ctx, name, []byte(data), nil)
	return err
}

func replaceOne(ctx context.Context, s objstore.Store, name, data string) error {
	_, err := s.Replace(ctx, name, []byte(data), nil, objstore.Any)
	return err
}

func same(got, want string, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}
