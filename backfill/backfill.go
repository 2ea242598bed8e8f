// Package backfill turns files of history into messages, so that old rows enter
// the lake by the way that new ones take: the data type's topic, the same
// validation, the same dead letters.
//
//	files ─▶ survey: content hash, format, columns ─▶ records ─▶ batches ─▶ topic
//	                                                                └─▶ checkpoint, after the broker's answer
//
// What always holds:
//
//   - a message is a function of a file's content and of the settings: the same
//     file gives the same batches with the same event_id, on any machine, under
//     any path, at any time. So whatever is published again adds no row;
//   - every record of a file is in exactly one message. One that cannot be taken
//     apart (a CSV line with a stray quote, a line of 20 MB) is published as a
//     JSON string that says what is wrong, so that it becomes a dead letter;
//   - values keep their text: no number passes through a float;
//   - the checkpoint names only what the broker has, all of it from the start on;
//   - memory is bounded by messages in flight times their size, whatever the
//     size of the files.
//
// Package backfill does not judge records (the ingestor does; Job.Check asks the
// same decoder beforehand), knows no broker, and prints nothing.
package backfill

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/schema"
)

// A Publisher hands messages to a broker.
type Publisher interface {
	// Send returns nil when the broker has m. After an error the broker may have
	// it all the same; it may be sent again. Several goroutines call it at once.
	// m.Data is not changed while Send runs.
	Send(ctx context.Context, topic string, m *schema.Message) error
}

// Settings decide what the records of a file are, how they are cut into messages,
// and so the ids of those. A zero field means the default beside it.
type Settings struct {
	Definition *schema.Definition // the data type; required
	Format     Format             // by content
	Map        map[string]string  // field -> column of the file it is read from
	Set        map[string]string  // field -> the value it has in every record
	Null       []string           // texts of CSV cells that mean no value, as an empty cell does
	Header     []string           // names of the columns of CSV files without a header line
	Delimiter  byte               // of CSV cells; a comma
	Source     string             // attribute source of every message
	BatchRows  int                // 500: records in a message
	BatchBytes int                // 4 MiB: bytes of a message, unless one record alone is larger
}

// The largest message that is made. A broker takes 10 MB with attributes, and so
// does the decoder; a record that is larger is published cut, as a dead letter.
const maxMessage = 9_000_000

// A Job is one backfill.
type Job struct {
	Settings
	Inputs      []Input
	Topic       string // empty: the definition's
	Destination string // names the broker, as a project does; a checkpoint is for one
	Publisher   Publisher
	InFlight    int           // 16: messages waiting for the broker's answer
	Rate        float64       // records a second; 0 is unbounded
	PublishedAt time.Time     // of every record; zero: the checkpoint's, else the time of the first start
	Checkpoint  string        // file; empty: .backfill-<hash>.json in the working directory
	SaveEvery   time.Duration // least time between two writes of the checkpoint; 0: after each answer
	Again       bool          // publish again what the checkpoint says is done
	Log         *zap.Logger   // nil: silent
	Progress    func(Progress)
	Now         func() time.Time // nil: time.Now
}

// Progress is how far a job has come. It is reported for every message that the
// broker has, and before that while files are read to learn what they are.
type Progress struct {
	Step     string // "reading" or "publishing"
	Done     int64  // bytes of files
	Total    int64
	Rows     int64
	Messages int64
}

// Totals count what the broker has.
type Totals struct {
	Rows     int64 `json:"rows"`     // records, those that will become dead letters included
	Messages int64 `json:"messages"` //
	Bytes    int64 `json:"bytes"`    // of the messages' data
	Broken   int64 `json:"broken"`   // records that could not be taken apart
}

func (t *Totals) add(o Totals) {
	t.Rows += o.Rows
	t.Messages += o.Messages
	t.Bytes += o.Bytes
	t.Broken += o.Broken
}

// A Summary says what a run did.
type Summary struct {
	Totals               // of this run
	Before      Totals   // of the runs before it, by the checkpoint
	Files       int      // with records of their own
	Repeated    []string // files left out, because another has the same content
	FileBytes   int64
	AlreadyDone bool // the checkpoint says that nothing is left to do
	PublishedAt time.Time
	Checkpoint  string
	Took        time.Duration
}

// ErrInterrupted says that a run was told to stop; the next one goes on.
var ErrInterrupted = errors.New("interrupted")

// prepared is a job whose files are known.
type prepared struct {
	*Job
	files    []*file
	repeated []string
	total    int64 // bytes of all files
	digest   string
	told     int // records logged by tell
}

// prepare applies defaults, checks the settings and reads every file once.
func (j *Job) prepare(ctx context.Context) (*prepared, error) {
	c := *j
	c.Topic = cmp.Or(c.Topic, c.Definition.Topic)
	c.InFlight = cmp.Or(c.InFlight, 16)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s, err := c.Settings.complete()
	if err != nil {
		return nil, err
	}
	c.Settings = s
	p := &prepared{Job: &c}
	if err := p.survey(ctx); err != nil {
		return nil, err
	}
	p.digest = p.identify()
	p.Checkpoint = cmp.Or(p.Checkpoint, ".backfill-"+p.digest[:12]+".json")
	return p, nil
}

// identify is what tells this job from others: where it publishes, and the
// messages it makes.
func (p *prepared) identify() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", p.Destination, p.Topic)
	for _, f := range p.files {
		fmt.Fprintln(h, f.id)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// describe names the settings for people who wonder which run a checkpoint is of.
func (p *prepared) describe() string {
	names := make([]string, 0, 4)
	for _, f := range p.files[:min(len(p.files), 3)] {
		names = append(names, f.input.Name)
	}
	if n := len(p.files) - len(names); n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("%s to %s %s from %s", p.Definition.Name, p.Destination, p.Topic, strings.Join(names, ", "))
}
