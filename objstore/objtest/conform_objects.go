package objtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/objstore"
)

// racers is how many goroutines a race has.
const racers = 64

func readsBack(t *testing.T, s suite) {
	store := s.open(t)
	data := []byte("PAR1 and so on PAR1")
	made := create(t, store, "raw/a/b.parquet", data)
	if made.Name != "raw/a/b.parquet" || made.Size != int64(len(data)) || made.Generation <= 0 {
		t.Errorf("Create = %+v", made)
	}
	if !made.HasCRC32C || made.CRC32C != objstore.Checksum(data) {
		t.Errorf("Create gives checksum %08x, %v; want %08x", made.CRC32C, made.HasCRC32C, objstore.Checksum(data))
	}
	wantContent(t, store, made.Name, data)
	got, err := store.Stat(t.Context(), made.Name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(normal(made), normal(got)); diff != "" {
		t.Errorf("Stat is not what Create said (-create +stat):\n%s", diff)
	}
}

func sizes(t *testing.T, s suite) {
	store := s.open(t)
	for _, size := range []int{0, 1, 255, 1 << 10, 1<<20 + 1, 40 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			data := noise(size)
			name := fmt.Sprintf("size/%d", size)
			create(t, store, name, data)
			wantContent(t, store, name, data)
			o, err := store.Stat(t.Context(), name)
			if err != nil || o.Size != int64(size) || !o.HasCRC32C || o.CRC32C != objstore.Checksum(data) {
				t.Errorf("Stat = %+v, %v", o, err)
			}
			if got, err := store.Read(t.Context(), name, -16, -1); err != nil || !bytes.Equal(got, data[max(size-16, 0):]) {
				t.Errorf("the last 16 bytes = %d bytes, %v", len(got), err)
			}
		})
	}
}

func ranges(t *testing.T, s suite) {
	store := s.open(t)
	const digits = "0123456789"
	create(t, store, "digits", []byte(digits))
	create(t, store, "empty", nil)
	for _, tt := range []struct {
		name, object string
		off, n       int64
		want         string
	}{
		{"all", "digits", 0, -1, digits},
		{"none", "digits", 0, 0, ""},
		{"the first byte", "digits", 0, 1, "0"},
		{"the middle", "digits", 3, 4, "3456"},
		{"to the end", "digits", 7, -1, "789"},
		{"past the end", "digits", 7, 100, "789"},
		{"from the end", "digits", 10, -1, ""},
		{"from far behind the end", "digits", 1000, 5, ""},
		{"the last three", "digits", -3, -1, "789"},
		{"two of the last three", "digits", -3, 2, "78"},
		{"more than the last three", "digits", -3, 50, "789"},
		{"more than all, from the end", "digits", -100, -1, digits},
		{"some of more than all, from the end", "digits", -100, 4, "0123"},
		{"none of the last three", "digits", -3, 0, ""},
		{"all of nothing", "empty", 0, -1, ""},
		{"some of nothing", "empty", 0, 10, ""},
		{"the end of nothing", "empty", -10, -1, ""},
		{"a range behind nothing", "empty", 5, 5, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := store.Read(t.Context(), tt.object, tt.off, tt.n)
			if err != nil || string(got) != tt.want {
				t.Errorf("Read(%d, %d) = %q, %v; want %q", tt.off, tt.n, got, err, tt.want)
			}
		})
	}
}

func missing(t *testing.T, s suite) {
	store := s.open(t)
	create(t, store, "there/object", []byte("x"))
	for _, name := range []string{"nowhere", "there", "there/objec", "there/objects", "there/object/below"} {
		_, err := store.Stat(t.Context(), name)
		wantErr(t, "Stat "+name, err, objstore.ErrNotExist)
		for _, off := range []int64{0, -8, 5} {
			_, err := store.Read(t.Context(), name, off, -1)
			wantErr(t, fmt.Sprintf("Read %s from %d", name, off), err, objstore.ErrNotExist)
		}
		wantErr(t, "Remove "+name, store.Remove(t.Context(), name, objstore.Any), objstore.ErrNotExist)
	}
	wantNames(t, list(t, store, "", ""), []string{"there/object"})
}

func createNeverReplaces(t *testing.T, s suite) {
	store := s.open(t)
	first := create(t, store, "log/1.json", []byte("first"))
	for _, data := range []string{"second", "first", ""} {
		_, err := store.Create(t.Context(), "log/1.json", []byte(data), nil)
		wantErr(t, "Create again", err, objstore.ErrExist)
		if err != nil && !strings.Contains(err.Error(), "log/1.json") {
			t.Errorf("the error does not name the object: %v", err)
		}
	}
	wantContent(t, store, "log/1.json", []byte("first"))
	if o, err := store.Stat(t.Context(), "log/1.json"); err != nil || o.Generation != first.Generation {
		t.Errorf("Stat = %+v, %v; want generation %d", o, err, first.Generation)
	}
}

func racingCreators(t *testing.T, s suite) {
	store := s.open(t)
	for round := range 8 {
		name := fmt.Sprintf("race/%d/%020d.json", round, round)
		var winner atomic.Int64
		winner.Store(-1)
		race(t, func(i int) error {
			_, err := store.Create(t.Context(), name, racerData(i), nil)
			switch {
			case err == nil && !winner.CompareAndSwap(-1, int64(i)):
				return fmt.Errorf("racers %d and %d both created %s", winner.Load(), i, name)
			case err != nil && !errors.Is(err, objstore.ErrExist):
				return err
			}
			return nil
		})
		if winner.Load() < 0 {
			t.Fatalf("nobody created %s", name)
		}
		wantContent(t, store, name, racerData(int(winner.Load())))
	}
}

func racingReplacers(t *testing.T, s suite) {
	store := s.open(t)
	base := create(t, store, "hint", []byte("0")).Generation
	for range 4 {
		var winner, next atomic.Int64
		winner.Store(-1)
		race(t, func(i int) error {
			o, err := store.Replace(t.Context(), "hint", racerData(i), nil, base)
			switch {
			case err == nil && !winner.CompareAndSwap(-1, int64(i)):
				return fmt.Errorf("racers %d and %d both replaced generation %d", winner.Load(), i, base)
			case err == nil:
				next.Store(int64(o.Generation))
			case !errors.Is(err, objstore.ErrPrecondition):
				return err
			}
			return nil
		})
		if winner.Load() < 0 {
			t.Fatal("nobody replaced the object")
		}
		wantContent(t, store, "hint", racerData(int(winner.Load())))
		base = objstore.Generation(next.Load())
	}
}

func replacedWhole(t *testing.T, s suite) {
	store := s.open(t)
	replace(t, store, "manifest", racerData(0), objstore.Any)
	race(t, func(i int) error {
		if i%4 == 0 {
			_, err := store.Replace(t.Context(), "manifest", racerData(i), nil, objstore.Any)
			return err
		}
		got, err := store.Read(t.Context(), "manifest", 0, -1)
		if err != nil {
			return err
		}
		if len(got) == 0 || !bytes.Equal(got, racerData(int(got[0]))) {
			return fmt.Errorf("read a mixture of %d bytes", len(got))
		}
		return nil
	})
}

func replaceAtGeneration(t *testing.T, s suite) {
	store := s.open(t)
	_, err := store.Replace(t.Context(), "x", []byte("new"), nil, 12345)
	wantErr(t, "Replace what does not exist", err, objstore.ErrPrecondition)
	first := replace(t, store, "x", []byte("one"), 0)
	_, err = store.Replace(t.Context(), "x", []byte("other"), nil, 0)
	wantErr(t, "Replace at 0 what exists", err, objstore.ErrPrecondition)
	_, err = store.Replace(t.Context(), "x", []byte("other"), nil, first.Generation+1)
	wantErr(t, "Replace at another generation", err, objstore.ErrPrecondition)
	wantContent(t, store, "x", []byte("one"))
	second := replace(t, store, "x", []byte("two"), first.Generation)
	_, err = store.Replace(t.Context(), "x", []byte("other"), nil, first.Generation)
	wantErr(t, "Replace at the generation before", err, objstore.ErrPrecondition)
	wantContent(t, store, "x", []byte("two"))
	if o, err := store.Stat(t.Context(), "x"); err != nil || o.Generation != second.Generation || second.Generation == first.Generation {
		t.Errorf("Stat = %+v, %v; want generation %d, after %d", o, err, second.Generation, first.Generation)
	}
}

func replaceAny(t *testing.T, s suite) {
	store := s.open(t)
	for _, data := range []string{"one", "two, longer", "3", "", "five"} {
		o := replace(t, store, "deep/er/x", []byte(data), objstore.Any)
		if !o.HasCRC32C || o.CRC32C != objstore.Checksum([]byte(data)) || o.Size != int64(len(data)) {
			t.Errorf("Replace = %+v", o)
		}
		wantContent(t, store, "deep/er/x", []byte(data))
	}
	wantNames(t, list(t, store, "", ""), []string{"deep/er/x"})
}

func remove(t *testing.T, s suite) {
	store := s.open(t)
	create(t, store, "a/1", []byte("x"))
	create(t, store, "a/2", []byte("y"))
	if err := store.Remove(t.Context(), "a/1", objstore.Any); err != nil {
		t.Fatal(err)
	}
	_, err := store.Stat(t.Context(), "a/1")
	wantErr(t, "Stat", err, objstore.ErrNotExist)
	wantErr(t, "Remove again", store.Remove(t.Context(), "a/1", objstore.Any), objstore.ErrNotExist)
	wantNames(t, list(t, store, "", ""), []string{"a/2"})
	create(t, store, "a/1", []byte("again"))
	wantContent(t, store, "a/1", []byte("again"))
}

func removeAtGeneration(t *testing.T, s suite) {
	store := s.open(t)
	first := create(t, store, "x", []byte("one"))
	second := replace(t, store, "x", []byte("two"), first.Generation)
	err := store.Remove(t.Context(), "x", first.Generation)
	if s.lacks[RemoveCondition] {
		if err != nil {
			t.Errorf("Remove at another generation = %v: the store keeps the condition, so it does not lack it", err)
		}
		return
	}
	wantErr(t, "Remove at the generation before", err, objstore.ErrPrecondition)
	wantContent(t, store, "x", []byte("two"))
	if err := store.Remove(t.Context(), "x", second.Generation); err != nil {
		t.Errorf("Remove at its generation: %v", err)
	}
	wantErr(t, "Remove again", store.Remove(t.Context(), "x", second.Generation), objstore.ErrNotExist)
}

func generationsAreNew(t *testing.T, s suite) {
	store := s.open(t)
	seen := map[objstore.Generation]bool{}
	for i := range 50 {
		made := create(t, store, "x", []byte("same bytes"))
		made2 := replace(t, store, "x", []byte("same bytes"), objstore.Any)
		for _, g := range []objstore.Generation{made.Generation, made2.Generation} {
			if g <= 0 || seen[g] {
				t.Fatalf("round %d: generation %d is not new", i, g)
			}
			seen[g] = true
		}
		if err := store.Remove(t.Context(), "x", objstore.Any); err != nil {
			t.Fatal(err)
		}
	}
}

func cancelled(t *testing.T, s suite) {
	store := s.open(t)
	create(t, store, "there", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, createErr := store.Create(ctx, "new", []byte("x"), nil)
	_, replaceErr := store.Replace(ctx, "there", []byte("y"), nil, objstore.Any)
	_, statErr := store.Stat(ctx, "there")
	_, readErr := store.Read(ctx, "there", 0, -1)
	var listErr error
	for _, err := range store.List(ctx, "", "") {
		listErr = err
	}
	for _, tt := range []struct {
		op  string
		err error
	}{
		{"Create", createErr}, {"Replace", replaceErr}, {"Stat", statErr}, {"Read", readErr},
		{"List", listErr}, {"Remove", store.Remove(ctx, "there", objstore.Any)},
	} {
		wantErr(t, tt.op, tt.err, context.Canceled)
	}
	wantNames(t, list(t, store, "", ""), []string{"there"})
	wantContent(t, store, "there", []byte("x"))
}

func callersData(t *testing.T, s suite) {
	store := s.open(t)
	data, kv := []byte("the bytes"), map[string]string{"rows": "1"}
	if _, err := store.Create(t.Context(), "x", data, kv); err != nil {
		t.Fatal(err)
	}
	copy(data, "XXXXXXXXX")
	kv["rows"] = "2"
	got, err := store.Read(t.Context(), "x", 0, -1)
	if err != nil || string(got) != "the bytes" {
		t.Fatalf("Read = %q, %v", got, err)
	}
	copy(got, "YYYYYYYYY")
	wantContent(t, store, "x", []byte("the bytes"))
	o, err := store.Stat(t.Context(), "x")
	if err != nil || o.Metadata["rows"] == "2" {
		t.Errorf("Stat = %+v, %v: metadata changed under the store", o, err)
	}
}

func metadata(t *testing.T, s suite) {
	store := s.open(t)
	want := map[string]string{"rows": "500", "first": "2024-01-15T14:30:52.000000Z", "row-set-hash": strings.Repeat("ab", 16)}
	if _, err := store.Create(t.Context(), "x", []byte("x"), want); err != nil {
		t.Fatal(err)
	}
	if s.lacks[Metadata] {
		want = nil
	}
	got, err := store.Stat(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Metadata); diff != "" {
		t.Errorf("Stat (-want +got):\n%s", diff)
	}
	for o, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, o.Metadata); diff != "" {
			t.Errorf("List (-want +got):\n%s", diff)
		}
		if o.HasCRC32C == s.lacks[ListedChecksums] {
			t.Errorf("List gives a checksum: %v; lacking it: %v", o.HasCRC32C, s.lacks[ListedChecksums])
		}
		if o.HasCRC32C && o.CRC32C != objstore.Checksum([]byte("x")) {
			t.Errorf("List gives checksum %08x", o.CRC32C)
		}
	}
}

func creationTimes(t *testing.T, s suite) {
	store := s.open(t)
	first := create(t, store, "a", []byte("x"))
	second := create(t, store, "b", []byte("x"))
	third := replace(t, store, "a", []byte("y"), first.Generation)
	if first.Created.IsZero() || second.Created.Before(first.Created) || third.Created.Before(second.Created) {
		t.Errorf("created %v, %v, %v", first.Created, second.Created, third.Created)
	}
	for o, err := range store.List(t.Context(), "a", "") {
		if err != nil || !o.Created.Equal(third.Created) {
			t.Errorf("List = %+v, %v; want creation at %v", o, err, third.Created)
		}
	}
}

// race runs f in 64 goroutines at once and reports their errors.
func race(t *testing.T, f func(i int) error) {
	t.Helper()
	start := make(chan struct{})
	group := pool.New().WithErrors()
	for i := range racers {
		group.Go(func() error { <-start; return f(i) })
	}
	close(start)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

// racerData is long enough to be torn, and different for every racer.
func racerData(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000+i*977) }

func noise(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(data)
	return data
}

func create(t *testing.T, store objstore.Store, name string, data []byte) objstore.Object {
	t.Helper()
	o, err := store.Create(t.Context(), name, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func replace(t *testing.T, store objstore.Store, name string, data []byte, match objstore.Generation) objstore.Object {
	t.Helper()
	o, err := store.Replace(t.Context(), name, data, nil, match)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func wantContent(t *testing.T, store objstore.Reader, name string, want []byte) {
	t.Helper()
	got, err := store.Read(t.Context(), name, 0, -1)
	if err != nil {
		t.Errorf("Read: %v", err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("Read %s = %d bytes %.32q, want %d bytes %.32q", name, len(got), got, len(want), want)
	}
}

func wantErr(t *testing.T, op string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", op, err, want)
	}
}

// normal is o without what differs harmlessly between two descriptions.
func normal(o objstore.Object) objstore.Object {
	o.Created = o.Created.UTC().Truncate(time.Microsecond)
	if len(o.Metadata) == 0 {
		o.Metadata = nil
	}
	return o
}
