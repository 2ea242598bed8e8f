// Package memory tells Go's runtime how much memory the program may have, so that it
// collects garbage before a container is killed for want of it.
//
// What always holds: GOMEMLIMIT, where it is set, decides. The limit is soft: a
// program that needs more gets it, and spends at most half its time collecting.
//
// Package memory starts no goroutines and bounds nothing itself: what a program
// holds is bounded by its budgets.
package memory

import (
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"
)

const (
	share    = 0.9      // of a container's memory: the rest is for what is not Go's heap
	overhead = 32 << 20 // at least, of a program beside its budget: code, connections, the runtime
)

// Limit sets the limit once, at the start of a program that runs long, and logs
// it. budget is what the program means to hold; 0: it cannot say. The limit is nine
// tenths of the container's (cgroup v1 or v2), or the budget and a sixteenth more, at
// least 32 MiB, if that is less.
func Limit(log *zap.Logger, budget int64) {
	container, err := memlimit.FromCgroup()
	if err != nil { // none here, or none that can be read: then there is no such limit
		container = 0
	}
	limit, from := choose(os.Getenv("GOMEMLIMIT"), container, budget)
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	log.Info("memory limit", zap.Int64("bytes", debug.SetMemoryLimit(-1)), zap.String("from", from), zap.Int64("budget", budget))
	if budget > 0 && from == fromContainer {
		log.Warn("the container's memory is small for the memory budget: collecting garbage will take time; lower --memory-budget or give the container more",
			zap.Uint64("container", container), zap.Int64("wanted", wanted(budget)))
	}
}

// Where a limit may come from.
const (
	fromEnvironment = "GOMEMLIMIT"
	fromContainer   = "container"
	fromBudget      = "memory budget"
	fromNothing     = "nothing: there is none"
)

// choose is the limit and what it comes from; 0 leaves the runtime's own.
func choose(environment string, container uint64, budget int64) (int64, string) {
	if environment != "" {
		return 0, fromEnvironment
	}
	limit := wanted(budget)
	if budget <= 0 {
		if container == 0 || container > math.MaxInt64 {
			return 0, fromNothing
		}
		limit = math.MaxInt64
	}
	if container == 0 || container > math.MaxInt64 {
		return limit, fromBudget
	}
	if most := int64(share * float64(container)); most < limit {
		return most, fromContainer
	}
	return limit, fromBudget
}

func wanted(budget int64) int64 { return budget + max(budget/16, overhead) }
