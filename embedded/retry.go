package embedded

import (
	"container/heap"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// A waiting message was delivered before, or could not be delivered in its turn.
type waiting struct {
	seq     uint64
	ready   int64 // Unix nanoseconds; 0 is at once
	attempt uint32
}

// A waitHeap gives the messages whose time has come first, oldest first.
type waitHeap []waiting

func (h waitHeap) Len() int { return len(h) }
func (h waitHeap) Less(i, j int) bool {
	return h[i].ready < h[j].ready || h[i].ready == h[j].ready && h[i].seq < h[j].seq
}
func (h waitHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *waitHeap) Push(x any)   { *h = append(*h, x.(waiting)) }
func (h *waitHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func (h *waitHeap) add(w waiting) { heap.Push(h, w) }

// pop takes the next one that is ready.
func (h *waitHeap) pop(now int64) (waiting, bool) {
	if len(*h) == 0 || (*h)[0].ready > now {
		return waiting{}, false
	}
	w := heap.Pop(h).(waiting)
	if len(*h) == 0 && cap(*h) > 4096 {
		*h = nil
	}
	return w, true
}

// Defaults of a retry policy that leaves them out.
const (
	minBackoff = 10 * time.Second
	maxBackoff = 600 * time.Second
)

// backoff is how long a message waits after its attempt-th delivery failed.
func backoff(p *pb.RetryPolicy, attempt uint32) time.Duration {
	if p == nil {
		return 0
	}
	low, high := minBackoff, maxBackoff
	if p.MinimumBackoff != nil {
		low = p.MinimumBackoff.AsDuration()
	}
	if p.MaximumBackoff != nil {
		high = p.MaximumBackoff.AsDuration()
	}
	if high < low {
		high = low
	}
	for ; attempt > 1 && low < high; attempt-- {
		low = max(low*2, time.Millisecond)
	}
	return min(low, high)
}
