package gcp

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
)

// Bounds of what Revisions remembers.
const (
	maxRevisions = 1000
	unknownFor   = 10 * time.Second // a revision may have been unknown for a moment, or the service unreachable
)

// revisionNames are what Pub/Sub calls revisions; nothing else is asked for.
var revisionNames = regexp.MustCompile(`^projects/[^/@]{1,100}/schemas/[^/@]{1,255}@[0-9a-f]{8}$`)

// Revisions are the schemas of Pub/Sub, asked for when a message names one. A
// revision never changes, so each is asked for once; what could not be had is
// asked for again after ten seconds. It implements schema.Revisions.
type Revisions struct {
	client *pubsub.SchemaClient
	answer time.Duration

	mu    sync.Mutex
	known map[string]*asked
}

// An asked is one question; its answer is there when done is closed.
type asked struct {
	done  chan struct{}
	avsc  string
	err   error
	until time.Time // zero: for ever
}

// Revisions makes a client of the schema service, which Close of it ends. It sends
// nothing yet. It needs the right pubsub.schemas.get (roles/pubsub.viewer).
func (p *PubSub) Revisions(ctx context.Context) (*Revisions, error) {
	client, err := pubsub.NewSchemaClient(ctx, p.options...)
	if err != nil {
		return nil, fmt.Errorf("open the Pub/Sub schemas of project %s: %w", p.project, err)
	}
	return &Revisions{client: client, answer: p.answer, known: map[string]*asked{}}, nil
}

// Close ends the connection.
func (r *Revisions) Close() error { return r.client.Close() }

// Revision gives the Avro schema of a revision. It waits for an answer for as long
// as the client's checks do; who asks for the same meanwhile waits for the same
// answer.
func (r *Revisions) Revision(name, id string) (string, error) {
	full := name + "@" + id
	if !revisionNames.MatchString(full) {
		return "", fmt.Errorf("schema revision %.300q: not a name that Pub/Sub gives", full)
	}
	q, mine := r.question(full)
	if mine {
		q.avsc, q.err = r.ask(full)
		if q.err != nil {
			q.until = time.Now().Add(unknownFor)
		}
		close(q.done)
	}
	<-q.done
	return q.avsc, q.err
}

// question finds what was asked for a revision, or makes it the caller's to ask.
func (r *Revisions) question(full string) (q *asked, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if q = r.known[full]; q != nil && q.fresh() {
		return q, false
	}
	if len(r.known) >= maxRevisions {
		clear(r.known) // those in use come back with one question each
	}
	q = &asked{done: make(chan struct{})}
	r.known[full] = q
	return q, true
}

// fresh reports whether the answer holds, or is still awaited.
func (q *asked) fresh() bool {
	select {
	case <-q.done:
		return q.until.IsZero() || time.Now().Before(q.until)
	default:
		return true
	}
}

func (r *Revisions) ask(full string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.answer)
	defer cancel()
	s, err := r.client.GetSchema(ctx, &pubsubpb.GetSchemaRequest{Name: full, View: pubsubpb.SchemaView_FULL})
	if err != nil {
		return "", explain("schema revision "+full, "roles/pubsub.viewer", err)
	}
	if s.Type != pubsubpb.Schema_AVRO {
		return "", fmt.Errorf("schema revision %s: %w: it is of type %s", full, errNotAvro, s.Type)
	}
	return s.Definition, nil
}

var errNotAvro = errors.New("only Avro schemas can be read")
