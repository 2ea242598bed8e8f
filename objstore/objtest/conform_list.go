package objtest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/objstore"
)

func listings(t *testing.T, s suite) {
	store := s.open(t)
	names := []string{
		"a", "a-b", "a.b", "a0", "ab/c", "ab/d/e", "ab/d/f", "ab-/x", "ab.x", "ab0", "ab~", "b/1", "b/10", "b/2",
		"raw/x/year=2024/month=01/day=15/f", "raw/x/year=2024/month=01/day=15.f", "raw/x/year=2024/month=01/day=150/f", "Z", "é",
	}
	for _, name := range names {
		create(t, store, name, []byte(name))
	}
	slices.Sort(names)
	for _, prefix := range []string{
		"", "a", "ab", "ab/", "ab/d", "ab/d/", "ab/d/e", "ab/d/ef", "b/1", "b/10", "raw/x/year=2024/month=01/day=15", "raw/x/year=2024/month=01/day=15/",
		"nothing", "nothing/at/all", "Z", "Z/", "\xc3", "../", "/", "//", "./", "ab/../b",
	} {
		afters := append([]string{"", "\x00", "a/", "ab/d/", "ab/d0", "ab/c/zzz", "zzz", "ÿ", prefix, prefix + "\xff"}, names...)
		for _, after := range afters {
			var want []string
			for _, name := range names {
				if strings.HasPrefix(name, prefix) && name > after {
					want = append(want, name)
				}
			}
			if diff := cmp.Diff(want, list(t, store, prefix, after)); diff != "" {
				t.Errorf("List(%q, after %q) (-want +got):\n%s", prefix, after, diff)
			}
		}
	}
	for o, err := range store.List(t.Context(), "ab/", "") {
		if err != nil || o.Size != int64(len(o.Name)) || o.Generation <= 0 || o.Created.IsZero() {
			t.Errorf("List gives %+v, %v", o, err)
		}
	}
}

func listingMany(t *testing.T, s suite) {
	store := s.open(t)
	var names []string
	writers := pool.New().WithErrors().WithMaxGoroutines(16)
	for i := range 600 {
		name := fmt.Sprintf("many/%d/f%d", i%7, i*7919%600)
		names = append(names, name)
		writers.Go(func() error {
			_, err := store.Create(t.Context(), name, []byte{1}, nil)
			return err
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	wantNames(t, list(t, store, "", ""), names)
	wantNames(t, list(t, store, "many/", names[299]), names[300:])
	// In pages, as a reader that keeps its place does.
	var paged []string
	for after := ""; ; {
		n := 0
		for o, err := range store.List(t.Context(), "many/", after) {
			if err != nil {
				t.Fatal(err)
			}
			paged, after = append(paged, o.Name), o.Name
			if n++; n == 37 {
				break
			}
		}
		if n == 0 {
			break
		}
	}
	wantNames(t, paged, names)
}

func listingStops(t *testing.T, s suite) {
	store := s.open(t)
	for i := range 5 {
		create(t, store, fmt.Sprintf("d%d/x", i), nil)
	}
	var got []string
	for o, err := range store.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, o.Name); len(got) == 2 {
			break
		}
	}
	wantNames(t, got, []string{"d0/x", "d1/x"})
	// A sequence may be ranged over again.
	seq := store.List(t.Context(), "d3", "")
	for range 2 {
		n := 0
		for _, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1 {
			t.Errorf("ranging over d3* gives %d objects, want 1", n)
		}
	}
}

// What exists during a whole listing is in it, once, in order, whatever comes
// and goes meanwhile.
func listingUnderChange(t *testing.T, s suite) {
	store := s.open(t)
	var steady []string
	for i := range 40 {
		name := fmt.Sprintf("c/%02d/steady", i)
		steady = append(steady, name)
		create(t, store, name, nil)
	}
	var changes sync.WaitGroup
	stop := make(chan struct{})
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			name := fmt.Sprintf("c/%02d/coming-and-going", i%40)
			if _, err := store.Create(t.Context(), name, nil, nil); err != nil {
				t.Errorf("Create: %v", err)
				return
			}
			if err := store.Remove(t.Context(), name, objstore.Any); err != nil {
				t.Errorf("Remove: %v", err)
				return
			}
		}
	})
	for range 10 {
		got := list(t, store, "c/", "")
		if !slices.IsSorted(got) {
			t.Errorf("listing out of order: %q", got)
		}
		got = slices.DeleteFunc(got, func(name string) bool { return strings.HasSuffix(name, "going") })
		wantNames(t, got, steady)
	}
	close(stop)
	changes.Wait()
}

func oddNames(t *testing.T, s suite) {
	store := s.open(t)
	names := []string{
		"with space/and more .parquet", "tilde~/~multi_~5EVIX", "year=2024/month=01", "percent%20/%2F/%", "plus+&?#[]{}*", "uni/ü/日本/🙂",
		"e\u0301 is not \u00e9", "\u00e9 is not e\u0301", "quote'\"`", "back\\slash", "...", "..a/a..", "-dash", ".hidden", "_delta_log/00000000000000000000.json", "colon:semi;comma,",
		"$dollar/@at!", "a b", "a+b", "a%2Bb", strings.Repeat("long", 60) + "/" + strings.Repeat("é", 120),
	}
	for _, name := range names {
		create(t, store, name, []byte(name))
	}
	for _, name := range names {
		wantContent(t, store, name, []byte(name))
		if o, err := store.Stat(t.Context(), name); err != nil || o.Name != name {
			t.Errorf("Stat = %+v, %v; want %q", o, err, name)
		}
		_, err := store.Create(t.Context(), name, nil, nil)
		wantErr(t, "Create again", err, objstore.ErrExist)
		if got := list(t, store, name, ""); len(got) != 1 || got[0] != name {
			t.Errorf("List(%q) = %q", name, got)
		}
	}
	slices.Sort(names)
	wantNames(t, list(t, store, "", ""), names)
	for _, name := range names {
		if err := store.Remove(t.Context(), name, objstore.Any); err != nil {
			t.Error(err)
		}
	}
	wantNames(t, list(t, store, "", ""), nil)
}

func badNames(t *testing.T, s suite) {
	store := s.open(t)
	for _, name := range []string{
		"", "/", "/absolute", "trailing/", "two//slashes", ".", "..", "../escape", "a/../../b", "a/./b", "a/..", "nul\x00", "new\nline", "c\x85",
		"not utf-8 \xff", ".tmp~", ".tmp~/x", "a/.tmp~x/b", strings.Repeat("x", 256), strings.Repeat("x/", 512) + "x",
	} {
		_, createErr := store.Create(t.Context(), name, []byte("x"), nil)
		_, replaceErr := store.Replace(t.Context(), name, []byte("x"), nil, objstore.Any)
		_, statErr := store.Stat(t.Context(), name)
		_, readErr := store.Read(t.Context(), name, 0, -1)
		for op, err := range map[string]error{
			"Create": createErr, "Replace": replaceErr, "Stat": statErr, "Read": readErr,
			"Remove": store.Remove(t.Context(), name, objstore.Any),
		} {
			wantErr(t, fmt.Sprintf("%s %.40q", op, name), err, objstore.ErrName)
		}
	}
	wantNames(t, list(t, store, "", ""), nil)
}

func list(t *testing.T, store objstore.Reader, prefix, after string) (names []string) {
	t.Helper()
	for o, err := range store.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, o.Name)
	}
	return names
}

func wantNames(t *testing.T, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
