// Package quarantine finds the message that kills the process.
//
// Before a message is decoded its id is noted in a small file beside the process, mapped
// into memory, and taken out afterwards: that costs no system call, and what is in the
// file outlives a kill -9. The next process finds what was in hand when the one before
// ended. Those messages are suspects.
//
// What always holds:
//
//   - a suspect is decoded alone in its process, so that a second death is its own
//     and no bystander's;
//   - a suspect that is decoded is none any more;
//   - a message that was in hand at Deaths deaths is not decoded again.
//
// It counts deaths, not deliveries: an outage, a deployment or a full disk may deliver a
// message often, and is no fault of it. It sees what dies while decoding; it does not
// see what dies later, in a batch with others. The directory must outlive the process: without one,
// the subscription's dead-letter policy is what ends such a message.
package quarantine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Deaths are how many processes may die of a message.
const Deaths = 3

// remembered is for how long a suspect is kept: no subscription retains messages longer.
const remembered = 31 * 24 * time.Hour

const (
	slots    = 256
	slotSize = 256
	keySize  = slotSize - 8
)

// A Journal is the notes of one process. Its methods may be called concurrently;
// those of a nil Journal do nothing.
type Journal struct {
	dir   string
	file  *os.File
	notes []byte // mapped
	free  chan int

	watching atomic.Bool  // there are suspects
	alone    sync.RWMutex // held by whoever decodes while there are suspects; by a suspect, alone
	mu       sync.Mutex
	suspects map[string]suspect
}

// A suspect was in hand when processes ended.
type suspect struct {
	Deaths int       `json:"deaths"`
	Last   time.Time `json:"last"`
}

// Open begins a journal in a directory, which is made where it does not exist, and
// takes over the notes of processes that are no more. Several processes may share it.
func Open(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the journal of messages in hand: %w", err)
	}
	j := &Journal{dir: dir, free: make(chan int, slots)}
	for i := range slots {
		j.free <- i
	}
	err := j.locked(func() error {
		if err := j.takeOver(); err != nil {
			return err
		}
		return j.begin()
	})
	if err != nil {
		return nil, fmt.Errorf("open the journal of messages in hand in %s: %w", dir, err)
	}
	return j, nil
}

// Suspects is how many messages were in hand when a process ended.
func (j *Journal) Suspects() int {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.suspects)
}

// locked runs f while no other process reads or writes what they share.
func (j *Journal) locked(f func() error) error {
	lock, err := os.OpenFile(filepath.Join(j.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := lockFile(lock, true); err != nil {
		return err
	}
	return f()
}

// takeOver counts the deaths of processes whose notes are there and which are not.
func (j *Journal) takeOver() error {
	if err := j.load(); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(j.dir, "hand-*"))
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue // its process has just ended well
		}
		if lockFile(f, false) == nil {
			if notes, err := os.ReadFile(name); err == nil {
				j.accuse(notes)
			}
			if err := j.save(); err != nil {
				return errors.Join(err, f.Close())
			}
			err = os.Remove(name)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	j.watching.Store(len(j.suspects) > 0)
	return nil
}

// accuse counts a death for each message that was in hand.
func (j *Journal) accuse(notes []byte) {
	for ; len(notes) >= slotSize; notes = notes[slotSize:] {
		n := binary.NativeEndian.Uint64(notes)
		if n == 0 || n > keySize {
			continue
		}
		key := string(notes[8 : 8+n])
		s := j.suspects[key]
		j.suspects[key] = suspect{s.Deaths + 1, time.Now()}
	}
}

func (j *Journal) begin() error {
	f, err := os.CreateTemp(j.dir, "hand-*")
	if err != nil {
		return err
	}
	if err := lockFile(f, false); err != nil {
		return errors.Join(err, f.Close())
	}
	if _, err := f.Write(make([]byte, slots*slotSize)); err != nil { // a hole could not be written to on a full disk
		return errors.Join(err, f.Close())
	}
	j.file = f
	j.notes, err = mapFile(f, slots*slotSize)
	return err
}

// Close ends the journal of a process that ends well.
func (j *Journal) Close() error {
	if j == nil {
		return nil
	}
	err := unmap(j.notes)
	j.notes = nil
	return errors.Join(err, os.Remove(j.file.Name()), j.file.Close())
}

const suspectsFile = "suspects.json"

func (j *Journal) load() error {
	j.suspects = map[string]suspect{}
	data, err := os.ReadFile(filepath.Join(j.dir, suspectsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &j.suspects); err != nil {
		j.suspects = map[string]suspect{} // damaged: deaths are counted anew
	}
	for key, s := range j.suspects {
		if time.Since(s.Last) > remembered {
			delete(j.suspects, key)
		}
	}
	return nil
}

func (j *Journal) save() error {
	data, err := json.Marshal(j.suspects)
	if err != nil {
		return err
	}
	name := filepath.Join(j.dir, suspectsFile)
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// A Hold is a message in hand.
type Hold struct {
	journal         *Journal
	slot            int // -1: not noted
	key             string
	locked, suspect bool

	// Deaths are how many processes have died with the message in hand. At Deaths
	// it is not to be decoded.
	Deaths int
}

// Take notes that a message is in hand, until Done. source and id name it, with the
// time of its publication, as ids may come again. attempt is the broker's count of its
// deliveries, or 0: fewer deliveries than deaths are another message's.
func (j *Journal) Take(source, id string, published time.Time, attempt int) Hold {
	if j == nil {
		return Hold{slot: -1}
	}
	h := Hold{journal: j, slot: -1}
	if j.watching.Load() {
		h.key = keyOf(source, id, published)
		j.mu.Lock()
		s := j.suspects[h.key]
		j.mu.Unlock()
		if attempt == 0 || attempt > s.Deaths {
			h.Deaths = s.Deaths
		}
		if h.Deaths >= Deaths {
			return h
		}
		h.locked, h.suspect = true, h.Deaths > 0
		if h.suspect {
			j.alone.Lock()
		} else {
			j.alone.RLock()
		}
	}
	select {
	case h.slot = <-j.free:
		note := j.notes[h.slot*slotSize:][:slotSize]
		n := appendKey(note[8:8], source, id, published)
		mark(note, uint64(n))
	default: // more at once than there are slots: not noted
	}
	return h
}

// Done says that the message has been decoded, or is not to be. The process has
// outlived it.
func (h *Hold) Done() {
	j := h.journal
	if j == nil {
		return
	}
	if h.slot >= 0 {
		mark(j.notes[h.slot*slotSize:][:slotSize], 0)
		j.free <- h.slot
	}
	if h.suspect {
		j.acquit(h.key)
		j.alone.Unlock()
	} else if h.locked {
		j.alone.RUnlock()
	}
	h.journal = nil
}

// acquit forgets a suspect. Where that cannot be written down it is one again after the
// next start, and no more.
func (j *Journal) acquit(key string) {
	_ = j.locked(func() error {
		j.mu.Lock()
		defer j.mu.Unlock()
		if err := j.load(); err != nil { // others may have written meanwhile
			return err
		}
		delete(j.suspects, key)
		j.watching.Store(len(j.suspects) > 0)
		return j.save()
	})
}

// mark writes a note's length, which makes it count, after the note.
func mark(note []byte, n uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(note))), n)
}

// appendKey writes a message's key, cut where it is too long, and gives its length.
func appendKey(to []byte, source, id string, published time.Time) int {
	to = strconv.AppendInt(to[:0:keySize], published.UnixMicro(), 10) // text: it is kept as JSON
	to = append(to, '/')
	to = append(to, source[:min(len(source), 64)]...)
	to = append(to, '/')
	to = append(to, id[:min(len(id), keySize-len(to))]...)
	return len(to)
}

func keyOf(source, id string, published time.Time) string {
	var b [keySize]byte
	return string(b[:appendKey(b[:0], source, id, published)])
}
