package memory

import (
	"math"
	"runtime/debug"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestTheLimitIsTheLeastThatIsKnown(t *testing.T) {
	for _, tt := range []struct {
		name, environment string
		container         uint64
		budget, want      int64
		from              string
	}{
		{"what the environment says stays", "1GiB", 512 << 20, 256 << 20, 0, "GOMEMLIMIT"},
		{"off is said too", "off", 512 << 20, 256 << 20, 0, "GOMEMLIMIT"},
		{"a large container", "", 4 << 30, 128 << 20, 160 << 20, "memory budget"},
		{"a small container", "", 200 << 20, 256 << 20, 180 << 20, "container"},
		{"no container", "", 0, 128 << 20, 160 << 20, "memory budget"},
		{"a large budget", "", 0, 2 << 30, 2<<30 + 128<<20, "memory budget"},
		{"no budget", "", 1000, 0, 900, "container"},
		{"no budget and no container", "", 0, 0, 0, "nothing: there is none"},
		{"a container without a limit", "", math.MaxUint64, 128 << 20, 160 << 20, "memory budget"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, from := choose(tt.environment, tt.container, tt.budget)
			if got != tt.want || from != tt.from {
				t.Errorf("choose = %d from %s, want %d from %s", got, from, tt.want, tt.from)
			}
		})
	}
}

func TestTheLimitIsSetAndLogged(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	core, lines := observer.New(zap.InfoLevel)
	t.Setenv("GOMEMLIMIT", "")
	Limit(zap.New(core), 8<<20)
	if got := debug.SetMemoryLimit(-1); got != 40<<20 {
		t.Errorf("the limit is %d", got)
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	Limit(zap.New(core), 16<<20)
	if got := debug.SetMemoryLimit(-1); got != 40<<20 {
		t.Errorf("GOMEMLIMIT is set, and the limit was changed to %d", got)
	}
	if lines.FilterMessage("memory limit").Len() != 2 {
		t.Errorf("logged %v", lines.All())
	}
}
