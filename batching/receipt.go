package batching

import "sync/atomic"

// A Receipt settles one message. It counts holds: one for each batch that holds
// rows of the message, one for each of its dead letters that is on its way, and
// one for whoever made it. When the last hold is released the message is acked,
// or nacked if any part of it failed, exactly once.
//
// It keeps nothing of the message but the two functions and its origin.
type Receipt struct {
	Origin Origin // to be set before the first hold is added

	holds     atomic.Int64
	failed    atomic.Bool
	ack, nack func()
}

// An Origin is where a message comes from, for those who measure.
type Origin struct {
	Published int64  // publish time, µs since 1970; 0: not known
	Trace     string // the publisher's W3C traceparent, if its trace is to be followed
}

// NewReceipt makes a receipt with one hold, the maker's: until that is released
// the message is not settled, however fast its parts become durable.
func NewReceipt(ack, nack func()) *Receipt {
	r := &Receipt{ack: ack, nack: nack}
	r.holds.Store(1)
	return r
}

// Hold adds a hold. The caller must have one already.
func (r *Receipt) Hold() {
	if r.holds.Add(1) < 2 {
		panic("batching: a settled receipt was held again")
	}
}

// Release gives back one hold; an error means that the part it stood for is not
// durable.
func (r *Receipt) Release(err error) {
	if err != nil {
		r.failed.Store(true)
	}
	switch left := r.holds.Add(-1); {
	case left > 0:
	case left < 0:
		panic("batching: a receipt was released more often than held")
	case r.failed.Load():
		r.nack()
	default:
		r.ack()
	}
}
