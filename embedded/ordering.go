package embedded

import (
	"cmp"
	"slices"
)

// A keyState is an ordering key of which something is under way or waiting.
// Messages of a key go to one holder at a time, oldest first; when one fails, all
// later ones of the key that are under way are called back and follow it again.
type keyState struct {
	key    string
	queue  []waiting  // to be delivered, in order
	out    []keyLease // under way, in order
	holder *holder    // who has them
	ready  int64      // the queue waits until then
	listed bool       // it is among readyKeys
}

type keyLease struct {
	seq  uint64
	slot int32
}

func bySeq(a keyLease, seq uint64) int { return cmp.Compare(a.seq, seq) }

// maxParked bounds the messages that wait for their key; then delivery from the
// backlog pauses.
const maxParked = 100_000

func (s *subscription) keyOf(key []byte) *keyState {
	k := s.keys[string(key)]
	if k == nil {
		k = &keyState{key: string(key)}
		s.keys[k.key] = k
	}
	return k
}

// park puts a message among those of its key that wait.
func (s *subscription) park(k *keyState, w waiting) {
	i, _ := slices.BinarySearchFunc(k.queue, w.seq, func(a waiting, seq uint64) int { return cmp.Compare(a.seq, seq) })
	k.queue = slices.Insert(k.queue, i, w)
	s.parked++
	s.list(k)
}

func (s *subscription) list(k *keyState) {
	if !k.listed {
		k.listed = true
		s.readyKeys = append(s.readyKeys, k)
	}
}

// keyEnded notes that a message of the key is no longer under way.
func (s *subscription) keyEnded(k *keyState, seq uint64) {
	if i, found := slices.BinarySearchFunc(k.out, seq, bySeq); found {
		k.out = slices.Delete(k.out, i, i+1)
	}
	s.keyFreed(k)
}

// keyFreed lets another holder have the key when nothing of it is under way, and
// forgets it when nothing waits either.
func (s *subscription) keyFreed(k *keyState) {
	if len(k.out) > 0 {
		return
	}
	k.holder = nil
	if len(k.queue) > 0 {
		s.wakeLocked()
	} else {
		delete(s.keys, k.key)
	}
}

// keyFailed puts a failed message, and those that follow it, back in order.
func (s *subscription) keyFailed(k *keyState, w waiting) {
	i, found := slices.BinarySearchFunc(k.out, w.seq, bySeq)
	later := k.out[i:]
	if found {
		later = later[1:]
	}
	s.park(k, w)
	for _, l := range later {
		v := s.leases.end(l.slot)
		s.ended(v)
		s.park(k, waiting{seq: l.seq, attempt: v.attempt - 1}) // called back, not failed
	}
	k.out = k.out[:i]
	k.ready = w.ready
	s.keyFreed(k)
}

// keysReady reports whether a waiting key's time has come.
func (s *subscription) keysReady(now int64) bool {
	for _, k := range s.readyKeys {
		if k.ready <= now && (k.holder == nil || len(k.out) == 0) {
			return true
		}
	}
	return false
}

// A keyTake is messages of one key that a delivery wants to take.
type keyTake struct {
	key   *keyState
	items []waiting
}

// takeKeys lists messages of keys that h may have, at most room.
func (s *subscription) takeKeys(h *holder, room int, now int64) []keyTake {
	var all []keyTake
	listed := s.readyKeys[:0]
	for _, k := range s.readyKeys {
		if len(k.queue) == 0 {
			k.listed = false
			continue
		}
		listed = append(listed, k)
		busy := len(k.out) > 0 && (k.holder != h || k.out[len(k.out)-1].seq > k.queue[0].seq)
		if n := min(room, len(k.queue)); n > 0 && k.ready <= now && !busy {
			all = append(all, keyTake{k, slices.Clone(k.queue[:n])})
			room -= n
		}
	}
	clear(s.readyKeys[len(listed):])
	s.readyKeys = listed
	return all
}

// unqueue takes a message off its key's queue.
func (s *subscription) unqueue(k *keyState, seq uint64) {
	if len(k.queue) > 0 && k.queue[0].seq == seq {
		k.queue = k.queue[1:]
		s.parked--
	}
}
