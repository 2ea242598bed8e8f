package batching

import "sync/atomic"

// A Receipt settles one message. It counts holds: one for each batch that holds
// rows of the message, one for each of its dead letters that is on its way, and
// one for whoever made it. When the last hold is released the message is acked,
// or nacked if any part of it failed, exactly once.
//
// It keeps nothing of the message but its settler and its origin.
type Receipt struct {
	Origin Origin // to be set before the first hold is added

	holds   atomic.Int64
	failed  atomic.Bool
	settler Settler
}

// A Settler is told, once, what became of a message.
type Settler interface {
	Ack()
	Nack()
}

type settlers struct{ ack, nack func() }

func (s *settlers) Ack()  { s.ack() }
func (s *settlers) Nack() { s.nack() }

// An Origin is where a message comes from, for those who measure.
type Origin struct {
	Published int64  // publish time, µs since 1970; 0: not known
	Trace     string // the publisher's W3C traceparent, if its trace is to be followed
}

// NewReceipt makes a receipt with one hold, the maker's: until that is released
// the message is not settled, however fast its parts become durable.
func NewReceipt(ack, nack func()) *Receipt {
	r := new(Receipt)
	r.Begin(&settlers{ack, nack})
	return r
}

// Begin is NewReceipt for a receipt that is part of something larger. It comes
// before everything else.
func (r *Receipt) Begin(s Settler) {
	r.settler = s
	r.holds.Store(1)
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
		r.settler.Nack()
	default:
		r.settler.Ack()
	}
}
