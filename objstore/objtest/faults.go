package objtest

import (
	"time"

	"github.com/buffetbot/ingest/objstore"
)

// Faults is a Store that fails one operation.
type Faults struct {
	objstore.Store
	FailAt   int           // the operation that fails, counted from 0; -1: none
	Lost     bool          // the operation is applied, only its answer is lost
	Delay    time.Duration // every operation takes this long
	Truncate bool          // instead of failing, operation FailAt reads or lists only half
}

// Fired says whether operation FailAt was reached.
func (f *Faults) Fired() bool { panic("not yet") }
