package failpoint

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test's own binary is the process that fails: with the variable set it does
// nothing but come by a place five times.
func TestMain(m *testing.M) {
	if on {
		for range 5 {
			Hit(AfterReceive)
			os.Stdout.WriteString("x")
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestProcessesFailWhereTheyAreTold(t *testing.T) {
	for _, tt := range []struct {
		name, variable string
		killed         bool
		exit, passed   int
		says           string
	}{
		{"nothing else", "receive.after=sleep:1ms", false, 0, 5, "sleep:1ms at hit 5"},
		{"killed at once", "receive.after=kill", true, 0, 0, "failpoint receive.after: kill at hit 1"},
		{"killed at the third", "receive.after=kill:3", true, 0, 2, "kill:3 at hit 3"},
		{"a place it does not come by", "put.after=kill", false, 0, 5, ""},
		{"a panic", "receive.after=panic:2", false, 2, 1, "panic: failpoint receive.after"},
		{"the second of two", "put.after=kill, receive.after=kill:5", true, 0, 4, "kill:5 at hit 5"},
		{"no such name", "receive=kill", false, 2, 0, `there is no failpoint "receive"`},
		{"no such actor", "receive.after=explode", false, 2, 0, "do what?"},
		{"no actor", "receive.after", false, 2, 0, "do what?"},
		{"a hit that never comes", "receive.after=kill:0", false, 2, 0, "at which hit?"},
		{"no duration", "receive.after=sleep:soon", false, 2, 0, "sleep for how long?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, says bytes.Buffer
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), Variable+"="+tt.variable)
			cmd.Stdout, cmd.Stderr = &out, &says
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			state := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if killed := state.Signaled() && state.Signal() == syscall.SIGKILL; killed != tt.killed {
				t.Errorf("killed is %v, want %v", killed, tt.killed)
			}
			if !tt.killed && state.ExitStatus() != tt.exit {
				t.Errorf("exit code %d, want %d", state.ExitStatus(), tt.exit)
			}
			if out.Len() != tt.passed || !strings.Contains(says.String(), tt.says) {
				t.Errorf("came by %d times and said %q; want %d and %q", out.Len(), says.String(), tt.passed, tt.says)
			}
		})
	}
}

func TestNothingHappensWithoutTheVariable(t *testing.T) {
	for _, name := range Names() {
		Hit(name)
	}
	if n := testing.AllocsPerRun(100, func() { Hit(AfterReceive) }); n != 0 {
		t.Errorf("a hit allocates %v times", n)
	}
}

func TestSleepIsEveryTime(t *testing.T) {
	all, err := parse("put.before=sleep:5ms")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 4 {
		hit(all, BeforePut)
	}
	if slept := time.Since(began); slept < 20*time.Millisecond {
		t.Errorf("slept %v, want 4 times 5 ms", slept)
	}
}

func TestNamesAreDistinct(t *testing.T) {
	names := Names()
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) {
		t.Errorf("%d names, %d of them distinct", len(names), n)
	}
}
