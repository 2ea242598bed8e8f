// Package failpoint lets a process die, or stand still, at a named place between
// two steps of the protocol, so that a test can see what is left behind there.
//
// It is compiled in always: what is tested is what runs. Unless the environment
// names a failpoint when the process starts, Hit is one test of a variable that
// nobody writes to, and does nothing. The variable is BUFFETBOT_FAILPOINT:
//
//	name=kill        kill -9 of the process itself, at the first hit
//	name=kill:3      at the third
//	name=panic       a panic in the goroutine that came by, at the first hit
//	name=sleep:10s   stand still for that long, at every hit
//
// several of them with commas between. An actor that fires says so on standard
// error first. A name or an actor that does not exist ends the process at its
// start with exit code 2: a test that kills nothing would prove nothing.
//
// It is no setting for production, and decides nothing there: no flag, no
// configuration file knows of it.
package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Variable is the environment variable that switches failpoints on.
const Variable = "BUFFETBOT_FAILPOINT"

// A Name is a place where a process may be made to fail.
type Name string

// The places, in the order in which a record passes them.
const (
	AfterReceive Name = "receive.after" // a message has come; nothing has been done with it
	AfterBuffer  Name = "buffer.after"  // its rows are in a batch, in memory
	BeforePut    Name = "put.before"    // a batch is encoded; its object has not been sent
	AfterPut     Name = "put.after"     // the object is durable; nobody knows
	BeforeLetter Name = "letter.before" // a record is rejected; its dead letter has not been sent
	AfterLetter  Name = "letter.after"  // the dead letter is published; nobody knows
	BeforeAck    Name = "ack.before"    // everything of a message is durable; it has not been acked
	MidAck       Name = "ack.mid"       // some of the acks have been sent to the broker, others not

	AfterList    Name = "list.after"    // a compactor has listed raw objects; it has no snapshot yet
	MidRead      Name = "read.mid"      // it has read some of a group's objects
	AfterOutput  Name = "output.after"  // an output is durable; no version names it
	BeforeCommit Name = "commit.before" // the entry of a log is ready; it has not been sent
	AfterCommit  Name = "commit.after"  // the entry exists; its writer does not know

	BeforeArchive Name = "sweep.archive.before" // a raw object is due; it has not been archived
	AfterArchive  Name = "sweep.archive.after"  // its copy is durable; it has not been deleted
	AfterDelete   Name = "sweep.delete.after"   // an object has been deleted, others not
	AfterFence    Name = "sweep.fence.after"    // a fence is committed; nothing behind it has been deleted
)

// Names are all of them.
func Names() []Name {
	return []Name{
		AfterReceive, AfterBuffer, BeforePut, AfterPut, BeforeLetter, AfterLetter, BeforeAck, MidAck,
		AfterList, MidRead, AfterOutput, BeforeCommit, AfterCommit,
		BeforeArchive, AfterArchive, AfterDelete, AfterFence,
	}
}

// An actor is what happens at a place.
type actor struct {
	name  Name
	text  string
	at    int64 // the hit that it fires at; 0: every one
	hits  atomic.Int64
	fires func(*actor)
}

// on is written before main begins, and by nobody afterwards.
var on, actors = fromEnvironment()

func fromEnvironment() (bool, []*actor) {
	text := os.Getenv(Variable)
	if text == "" {
		return false, nil
	}
	all, err := parse(text)
	if err != nil {
		fmt.Fprintf(os.Stderr, "failpoint: %s: %v\n", Variable, err)
		os.Exit(2)
	}
	return true, all
}

// Hit is called at the place. It returns unless the environment said otherwise.
func Hit(name Name) {
	if on {
		hit(actors, name)
	}
}

func hit(all []*actor, name Name) {
	for _, a := range all {
		if a.name != name {
			continue
		}
		if n := a.hits.Add(1); a.at == 0 || n == a.at {
			fmt.Fprintf(os.Stderr, "failpoint %s: %s at hit %d\n", a.name, a.text, n)
			a.fires(a)
		}
	}
}

// parse reads what stands in the environment.
func parse(text string) ([]*actor, error) {
	var all []*actor
	for _, one := range strings.Split(text, ",") {
		a, err := parseOne(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", one, err)
		}
		all = append(all, a)
	}
	return all, nil
}

func parseOne(text string) (*actor, error) {
	name, what, _ := strings.Cut(text, "=")
	if !slices.Contains(Names(), Name(name)) {
		return nil, fmt.Errorf("there is no failpoint %q: there are %q", name, Names())
	}
	verb, argument, given := strings.Cut(what, ":")
	a := &actor{name: Name(name), text: what, at: 1}
	switch verb {
	case "kill":
		a.fires = func(*actor) { kill() }
	case "panic":
		a.fires = func(a *actor) { panic("failpoint " + string(a.name)) }
	case "sleep":
		d, err := time.ParseDuration(argument)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("sleep for how long? sleep:10s, for instance")
		}
		a.at, a.fires = 0, func(*actor) { time.Sleep(d) }
		return a, nil
	default:
		return nil, fmt.Errorf("do what? kill, kill:3, panic, panic:3 or sleep:10s")
	}
	if given {
		n, err := strconv.ParseInt(argument, 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("at which hit? %s:3, for instance", verb)
		}
		a.at = n
	}
	return a, nil
}

// kill is kill -9 of the process itself. Nothing runs after it, no deferred call
// either.
func kill() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "failpoint: kill: %v\n", err)
		os.Exit(3)
	}
	select {} // the signal is on its way
}
