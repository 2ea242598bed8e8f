package e2e

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buffetbot/ingest/failpoint"
)

var crashSeed = flag.Uint64("crash-seed", 1, "seed of TestCrashLoop: hits and moments at which programs are killed")

// A crashLoop is how long to go on, and with what.
type crashLoop struct {
	*world
	kills, messages int
	archive         string
	rng             *rand.Rand
	durable         *durableBroker // nil: not ours to kill
	load            *load
	mortals         []*mortal
	exits           chan exit
	deaths          map[string]map[string]int // program, place: how often
	chunks          int
}

// TestCrashLoop kills ingestor, compactor, sweeper and broker at every failpoint
// and at any moment while messages come, and starts each again at once. At the
// end every record is in the lake once, as it was published, or a dead letter.
func TestCrashLoop(t *testing.T) {
	k, n := 40, 4000
	if asked("kills") {
		k, n = *kills, *messages
	}
	newCrashLoop(t, "directory", k, n).run()
}

// TestCrashLoopOnGCS is the same, smaller, with a server that speaks GCS.
func TestCrashLoopOnGCS(t *testing.T) {
	k, n := 12, 800
	if asked("kills") {
		k, n = *kills, *messages
	}
	newCrashLoop(t, "gcs", k, n).run()
}

func asked(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

func newCrashLoop(t *testing.T, bucket string, k, n int) *crashLoop {
	t.Helper()
	w := newWorld(t, bucket)
	l := &crashLoop{world: w, kills: k, messages: n, rng: rand.New(rand.NewPCG(*crashSeed, 0)),
		archive: "file://" + filepath.Join(t.TempDir(), "archive"), exits: make(chan exit), deaths: map[string]map[string]int{}}
	if bucket == "gcs" {
		l.archive = "gs://e2e-archive"
	}
	var seen *witness
	if *brokerAddr == "" {
		l.durable = w.durableBroker(t)
	} else {
		seen, w.broker = witnessed(t, *brokerAddr)
		w.env = append(w.env, "PUBSUB_EMULATOR_HOST="+w.broker)
	}
	l.load = newLoad(t, w)
	l.load.seen = seen
	l.mortals = []*mortal{l.ingestor(), l.compactor(), l.sweeper()}
	return l
}

func (l *crashLoop) ingestor() *mortal {
	few := max(2, l.messages/l.kills/4)
	return &mortal{
		name: "ingestor", program: "ingestor", missed: map[failpoint.Name]bool{},
		args: func(life int) []string {
			receive := []string{"client", "stream"}[life%2]
			return []string{"--data-bucket", l.bucket, "--create", "--flush-age", "200ms", "--streams", "1", "--memory-budget", "16MiB", "--receive", receive}
		},
		places: []failpoint.Name{failpoint.AfterReceive, failpoint.AfterBuffer, failpoint.BeforePut, "", failpoint.AfterPut,
			failpoint.BeforeLetter, failpoint.AfterLetter, "", failpoint.BeforeAck, failpoint.MidAck},
		most: map[failpoint.Name]int{failpoint.AfterReceive: few, failpoint.AfterBuffer: few, failpoint.BeforePut: 4, failpoint.AfterPut: 4,
			failpoint.BeforeLetter: 5, failpoint.AfterLetter: 5, failpoint.BeforeAck: few, failpoint.MidAck: few},
	}
}

func (l *crashLoop) compactor() *mortal {
	return &mortal{
		name: "compactor", program: "compactor", missed: map[failpoint.Name]bool{},
		args: func(int) []string {
			return []string{"--data-bucket", l.bucket, "--interval", "50ms", "--retain", "2s", "--log-retain", "2s"}
		},
		places: []failpoint.Name{failpoint.AfterOutput, failpoint.AfterList, failpoint.MidRead, "", failpoint.BeforeCommit, failpoint.AfterCommit},
		most: map[failpoint.Name]int{failpoint.AfterOutput: 4, failpoint.AfterList: 4, failpoint.MidRead: 8,
			failpoint.BeforeCommit: 3, failpoint.AfterCommit: 3},
	}
}

// sweeping are the flags of a sweep that finds all it may delete at once.
func (l *crashLoop) sweeping(more ...string) []string {
	return append([]string{"--data-bucket", l.bucket, "--archive-bucket", l.archive, "--sweep", "--grace", "1s",
		"--retain", "2s", "--log-retain", "2s", "--orphan-age", "3s"}, more...)
}

func (l *crashLoop) sweeper() *mortal {
	return &mortal{
		name: "sweeper", program: "compactor", missed: map[failpoint.Name]bool{},
		args: func(int) []string { return l.sweeping("--interval", "300ms") },
		places: []failpoint.Name{failpoint.BeforeArchive, failpoint.AfterArchive, failpoint.AfterFence, failpoint.AfterDelete, "",
			failpoint.AfterFence, failpoint.AfterCommit},
		most: map[failpoint.Name]int{failpoint.BeforeArchive: 5, failpoint.AfterArchive: 5, failpoint.AfterDelete: 10, failpoint.AfterCommit: 3},
	}
}

func (l *crashLoop) run() {
	t, began := l.t, time.Now()
	total := 0
	for _, m := range l.mortals {
		l.revive(m)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.Now().Add(time.Minute + time.Duration(l.kills)*2*time.Second)
	for total < l.kills || len(l.unreached()) > 0 {
		if time.Now().After(limit) {
			break
		}
		l.publishUpTo(total + 1)
		select {
		case e := <-l.exits:
			l.buried(e.of)
			total++
			if total%5 == 4 && l.durable != nil {
				l.durable.kill()
				l.durable.start(t)
				l.count("broker", "some moment")
				total++
			}
			l.revive(e.of)
		case now := <-tick.C:
			for _, m := range l.mortals {
				if now.After(m.patience) {
					m.shoot()
				}
			}
		}
	}
	l.publishUpTo(l.kills)
	t.Logf("after %d kills and %v not reached: %q", total, time.Since(began).Round(time.Second), l.unreached())
	for _, m := range l.mortals {
		l.end(m)
	}
	killed := time.Since(began)
	l.drain()
	l.report(total, killed, time.Since(began))
	if missing := l.unreached(); len(missing) > 0 && *endStreams && !*planted { // where messages do not come through, not every place is met
		t.Errorf("never reached: %q", missing)
	}
}

// publishUpTo sends what is due once so many have died, while the broker is up:
// a publisher that does not know whether its message arrived sends it again.
func (l *crashLoop) publishUpTo(deaths int) {
	for ; l.chunks < deaths; l.chunks++ { // beyond kills while a place has not been reached: orphans come of new rows only
		if err := l.load.publish(l.t.Context(), l.chunks, l.messages/l.kills); err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *crashLoop) revive(m *mortal) {
	if err := m.live(l.world, l.rng, l.exits); err != nil {
		l.t.Fatal(err)
	}
}

func (l *crashLoop) buried(m *mortal) {
	place, err := m.died()
	if err != nil {
		l.t.Error(err)
		return
	}
	if place == "" {
		place = "some moment"
	}
	l.count(m.name, string(place))
	if testing.Verbose() {
		fmt.Printf("%s: life %d of the %s ended at %s (wanted: %q, hit %d)\n", time.Now().Format("15:04:05.000"), m.life, m.name, place, m.place, m.hit)
	}
}

func (l *crashLoop) count(program, place string) {
	if l.deaths[program] == nil {
		l.deaths[program] = map[string]int{}
	}
	l.deaths[program][place]++
}

// unreached are the failpoints at which nothing has died.
func (l *crashLoop) unreached() (names []failpoint.Name) {
	for _, name := range failpoint.Names() {
		reached := 0
		for _, places := range l.deaths {
			reached += places[string(name)]
		}
		if reached == 0 {
			names = append(names, name)
		}
	}
	return names
}

// end tells a program to stop. It may meet its failpoint on the way.
func (l *crashLoop) end(m *mortal) {
	m.cmd.Process.Signal(syscall.SIGTERM)
	for {
		select {
		case e := <-l.exits:
			// It may not have come far enough to listen to signals, or have met the broker's own death.
			early := strings.Contains(e.of.log.String(), "unreachable: nothing answers at")
			if e.err != nil && !early && !strings.Contains(e.err.Error(), "killed") && !strings.Contains(e.err.Error(), "terminated") {
				l.t.Errorf("%s, told to stop: %v\n%s", e.of.name, e.err, tail(e.of.log.String()))
			}
			if e.of == m {
				return
			}
			l.revive(e.of) // it comes to its end after this one
		case <-time.After(time.Minute):
			l.t.Fatalf("%s does not stop\n%s", m.name, tail(m.log.String()))
		}
	}
}

// drain takes in all that is left, compacts and sweeps.
func (l *crashLoop) drain() {
	if l.durable != nil { // what the dead had leased is there again at once
		l.durable.kill()
		l.durable.start(l.t)
		l.world.ingestor("--idle-exit", "3s")
	} else {
		l.await()
	}
	l.world.run("compactor", "--data-bucket", l.bucket, "--once")
	time.Sleep(1100 * time.Millisecond) // the grace
	l.world.run("compactor", l.sweeping("--once")...)
}

// await runs an ingestor until the leases of the dead have run out.
func (l *crashLoop) await() {
	want := int64(0)
	for _, rows := range l.load.rows {
		want += int64(len(rows))
	}
	for end := time.Now().Add(*patience); time.Now().Before(end); {
		l.world.ingestor("--idle-exit", "10s", "--streams", "1", "--memory-budget", "8MiB")
		got := int64(0)
		for dataType := range l.load.rows {
			got += l.rows(dataType)
		}
		if got >= want && l.rows("dead_letters") >= int64(len(l.load.letters)) {
			return
		}
	}
}

// report compares, checks the lake, and says what happened.
func (l *crashLoop) report(total int, killed, took time.Duration) {
	t := l.t
	var lines []string
	for _, program := range slices.Sorted(maps.Keys(l.deaths)) {
		places, sum := l.deaths[program], 0
		var each []string
		for _, place := range slices.Sorted(maps.Keys(places)) {
			each = append(each, fmt.Sprintf("%s %d", place, places[place]))
			sum += places[place]
		}
		lines = append(lines, fmt.Sprintf("%s killed %d times: %s", program, sum, strings.Join(each, ", ")))
	}
	t.Logf("%d kills in %v, all in %v\n%s", total, killed.Round(time.Second), took.Round(time.Second), strings.Join(lines, "\n"))
	v := l.load.check()
	t.Logf("published %d messages (%d of them twice) with %d records; %d rows and %d dead letters expected; in the lake %d rows and %d dead letters: lost %d, doubled %d, altered %d, unexpected %d, delivered unseen %d; never acked and still the broker's: %d that are missing, %d that are there",
		l.load.messages, l.load.repeated, l.load.records, l.expected(), len(l.load.letters), v.rows, v.letters, v.lost, v.doubled, v.altered, v.unexpected, v.unseen, v.waiting, v.held)
	switch {
	case *planted:
		if v.lost == 0 {
			t.Errorf("messages are acked before their rows are durable, and no loss was found")
		}
		return
	case v.bad() > 0:
		t.Errorf("the lake is not what was published")
	case *endStreams && v.waiting > 0:
		t.Errorf("%d records were never delivered again: give -patience more time, or the broker keeps what the dead had leased", v.waiting)
	case !*endStreams && l.durable == nil && v.waiting == 0:
		t.Errorf("nothing is left at the broker, although it was not told who is dead: the witness need not end streams any more")
	}
	out, err := l.world.command("buffetctl", "fsck", "--deep", "--data-bucket", l.bucket).Output()
	if t.Logf("fsck --deep: %s", bytes.TrimSpace(out)); err != nil {
		t.Errorf("fsck: %v", err)
	}
}

func (l *crashLoop) expected() (n int) {
	for _, rows := range l.load.rows {
		n += len(rows)
	}
	return n
}
