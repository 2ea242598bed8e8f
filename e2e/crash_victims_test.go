package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buffetbot/ingest/failpoint"
)

// A mortal is a program that is killed and started again, for ever: at one of its
// failpoints, in turn, or at some moment.
type mortal struct {
	name     string
	program  string
	args     func(life int) []string
	places   []failpoint.Name // where it is to die; "" is at some moment
	most     map[failpoint.Name]int
	next     []failpoint.Name // of places, those still to come in this turn
	life     int
	cmd      *exec.Cmd
	log      *lockedBuffer
	place    failpoint.Name
	hit      int
	patience time.Time // when it is killed wherever it is
	shot     bool      // by us
	missed   map[failpoint.Name]bool
}

// An exit is the end of a life.
type exit struct {
	of  *mortal
	err error
}

// live starts the program, doomed.
func (m *mortal) live(w *world, rng *rand.Rand, exits chan<- exit) error {
	if len(m.next) == 0 {
		m.next = append(m.next, m.places...)
	}
	m.place, m.next = m.next[0], m.next[1:]
	m.hit = 1
	if most := m.most[m.place]; most > 1 && !m.missed[m.place] {
		m.hit = 1 + rng.IntN(most)
	}
	m.patience = time.Now().Add(patient)
	if m.place == "" {
		m.patience = time.Now().Add(30*time.Millisecond + time.Duration(rng.Int64N(int64(1500*time.Millisecond))))
	}
	m.life, m.shot = m.life+1, false
	m.cmd, m.log = w.command(m.program, m.args(m.life)...), new(lockedBuffer)
	m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
	if m.place != "" {
		m.cmd.Env = append(m.cmd.Env[:len(m.cmd.Env):len(m.cmd.Env)], fmt.Sprintf("%s=%s=kill:%d", failpoint.Variable, m.place, m.hit))
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	cmd := m.cmd
	go func() { exits <- exit{m, cmd.Wait()} }()
	return nil
}

// patient is how long a failpoint may wait to be reached.
const patient = 6 * time.Second

// shoot is kill -9 from outside.
func (m *mortal) shoot() {
	if !m.shot {
		m.shot = true
		m.cmd.Process.Signal(syscall.SIGKILL) // it may just have died by itself
	}
}

// died says where; an error if it ended in another way than by kill -9.
func (m *mortal) died() (failpoint.Name, error) {
	state := m.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !state.Signaled() || state.Signal() != syscall.SIGKILL {
		return "", fmt.Errorf("%s, to be killed at %q, ended by itself: %v\n%s", m.name, m.place, m.cmd.ProcessState, tail(m.log.String()))
	}
	if m.place != "" && strings.Contains(m.log.String(), fmt.Sprintf("failpoint %s: kill", m.place)) {
		delete(m.missed, m.place)
		return m.place, nil
	}
	if m.place != "" { // once more, at the first hit
		if !m.missed[m.place] {
			m.next = append([]failpoint.Name{m.place}, m.next...)
		}
		m.missed[m.place] = true
	}
	if !m.shot {
		return "", fmt.Errorf("%s was killed, and not by us\n%s", m.name, tail(m.log.String()))
	}
	return "", nil
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// A durableBroker is the embedded broker in a process of its own. Killed and
// started again it has every message that it had answered for, and no lease.
type durableBroker struct {
	w    *world
	addr string
	dir  string
	cmd  *exec.Cmd
}

func (w *world) durableBroker(t *testing.T) *durableBroker {
	t.Helper()
	b := &durableBroker{w: w, addr: freeAddr(t), dir: filepath.Join(t.TempDir(), "pubsub")}
	w.broker = b.addr
	w.env = append(w.env, "PUBSUB_EMULATOR_HOST="+b.addr)
	b.start(t)
	t.Cleanup(b.kill)
	return b
}

func (b *durableBroker) start(t *testing.T) {
	t.Helper()
	b.cmd = b.w.command("buffetctl", "pubsub", "--addr", b.addr, "--dir", b.dir)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", b.addr); err == nil {
			c.Close()
			return
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func (b *durableBroker) kill() {
	b.cmd.Process.Signal(syscall.SIGKILL)
	b.cmd.Wait()
}
