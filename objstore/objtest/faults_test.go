package objtest_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// The script is one operation of each kind; trouble says which gave an error.
func script(t *testing.T, s objstore.Store) (trouble string) {
	t.Helper()
	note := func(op byte, err error) {
		if errors.Is(err, objtest.ErrInjected) {
			trouble += string(op)
		} else if err != nil && !errors.Is(err, objstore.ErrNotExist) {
			t.Errorf("%c: %v", op, err)
		}
	}
	_, err := s.Create(t.Context(), "x", []byte("abcd"), nil)
	note('C', err)
	_, err = s.Replace(t.Context(), "y", []byte("abcd"), nil, objstore.Any)
	note('P', err)
	_, err = s.Stat(t.Context(), "x")
	note('S', err)
	_, err = s.Read(t.Context(), "y", 0, -1)
	note('R', err)
	for _, err := range s.List(t.Context(), "", "") {
		note('L', err)
	}
	note('D', s.Remove(t.Context(), "x", objstore.Any))
	return trouble
}

func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name    string
		faults  *objtest.Faults
		trouble string
		left    string // names in the store after the script
	}{
		{"none", &objtest.Faults{FailAt: -1}, "", "y"},
		{"beyond the end", &objtest.Faults{FailAt: 6}, "", "y"},
		{"the first fails", &objtest.Faults{FailAt: 0}, "C", "y"},
		{"the first is applied, its answer lost", &objtest.Faults{FailAt: 0, Lost: true}, "C", "y"},
		{"the replacement fails", &objtest.Faults{FailAt: 1}, "P", ""},
		{"the replacement is applied", &objtest.Faults{FailAt: 1, Mode: objtest.Lose}, "P", "y"},
		{"the removal fails", &objtest.Faults{FailAt: 5}, "D", "xy"},
		{"the removal is applied", &objtest.Faults{FailAt: 5, Lost: true}, "D", "y"},
		{"three in succession", &objtest.Faults{FailAt: 2, Times: 3}, "SRL", "y"},
		{"all from the fourth on", &objtest.Faults{FailAt: 3, Times: -1}, "RLD", "xy"},
		{"a listing is cut", &objtest.Faults{FailAt: 4, Mode: objtest.Truncate}, "L", "y"},
		{"only removals count", &objtest.Faults{Match: func(op, name string) bool { return op == "remove" && name == "x" }}, "D", "xy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := objstore.NewMem()
			f := tt.faults
			f.Store = mem
			if got := script(t, f); got != tt.trouble {
				t.Errorf("trouble with %q, want %q", got, tt.trouble)
			}
			var left string
			for o := range mem.List(t.Context(), "", "") {
				left += o.Name
			}
			if left != tt.left {
				t.Errorf("%q is left, want %q", left, tt.left)
			}
			if f.Fired() != (tt.trouble != "") {
				t.Errorf("Fired() = %v", f.Fired())
			}
		})
	}
}

func TestDamagedReads(t *testing.T) {
	for mode, want := range map[objtest.Mode]string{objtest.Truncate: "ab", objtest.Corrupt: "abbd"} {
		mem := objstore.NewMem()
		if _, err := mem.Create(t.Context(), "x", []byte("abcd"), nil); err != nil {
			t.Fatal(err)
		}
		f := &objtest.Faults{Store: mem, Mode: mode}
		for _, want := range []string{want, "abcd"} {
			if got, err := f.Read(t.Context(), "x", 0, -1); err != nil || string(got) != want {
				t.Errorf("mode %d: Read = %q, %v; want %q", mode, got, err, want)
			}
		}
	}
}

func TestDelayHoldsUpEveryOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		script(t, &objtest.Faults{Store: objstore.NewMem(), FailAt: -1, Delay: time.Second})
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("six operations took %v", took)
		}
	})
}

func ExampleFaults() {
	for k := 0; ; k++ {
		faults := &objtest.Faults{Store: objstore.NewMem(), FailAt: k}
		// … the operation under test runs on faults here …
		if !faults.Fired() {
			fmt.Println("tried every fault")
			break
		}
	}
	// Output: tried every fault
}
