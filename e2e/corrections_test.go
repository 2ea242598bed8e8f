package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/schema"
)

// A closing is a record of closing_prices and what it must be in the lake.
type closing struct {
	symbol, source, price string
	event, published      string // identity and publish time
	next                  string // publish time of what corrects it; "": it is current
}

// Rounds of closings as they arrive; next is what becomes of them once all are there.
var closings = [][]closing{{
	{"AAPL", "x", "185.92000000", "a1", "2024-01-15T22:00:00.000000Z", "2024-01-16T09:00:00.500000Z"},
	{"AAPL", "y", "185.90000000", "a2", "2024-01-15T22:05:00.000000Z", ""}, // another source corrects nothing
	{"MSFT", "x", "388.47000000", "m1", "2024-01-15T22:00:00.000000Z", ""},
	{"TSLA", "x", "218.89000000", "t1", "2024-01-15T22:10:00.000000Z", "2024-01-15T22:10:00.000000Z"}, // by the message's next record
	{"TSLA", "x", "219.91000000", "t1", "2024-01-15T22:10:00.000000Z", ""},
}, {
	{"AAPL", "x", "185.29000000", "a3", "2024-01-16T09:00:00.500000Z", "2024-01-17T09:00:00.000000Z"},
	{"MSFT", "x", "390.00000000", "m2", "2024-01-15T21:30:00.000000Z", "2024-01-15T22:00:00.000000Z"}, // comes after what corrects it
	{"NVDA", "x", "563.82000000", "n1", "2024-01-16T10:00:00.000000Z", ""},
}, {
	{"AAPL", "x", "186.00000000", "a4", "2024-01-17T09:00:00.000000Z", ""},
}}

// moments are before, between and at publish times.
var moments = []string{"2024-01-15T21:00:00.000000Z", "2024-01-15T22:00:00.000000Z", "2024-01-16T09:00:00.499999Z", "2024-01-16T09:00:00.500000Z", "2024-01-17T09:00:00.000000Z"}

// Corrections arrive later, twice, and in the wrong order: raw, compacted, beside each
// other and swept, the latest of each key is current, the others say until when they
// were, and every moment's rows are those that were known then.
func TestCorrections(t *testing.T) {
	w := newWorld(t, "")
	w.run("buffetctl", "schema", "evolve", "--data-bucket", w.bucket, definitions+"closing_prices.avsc")
	var arrived []closing
	for n, round := range closings {
		w.publishClosings(round)
		w.publishClosings(round[:1]) // once more, as a redelivery
		w.ingestor("--types", "closing_prices", "--flush-age", "500ms", "--idle-exit", "1500ms")
		arrived = append(arrived, round...)
		w.asked(arrived, moments[n+1])
		w.compact()
		w.asked(arrived, moments...)
	}
	w.run("compactor", "--data-bucket", w.bucket, "--once", "--sweep", "--grace", "1ms")
	w.asked(arrived, moments[3])
	for n := range closings { // what each version tells, of its time and of an earlier moment
		asOf := []string{"--as-of", fmt.Sprint(n + 1)}
		known := slices.Concat(closings[:n+1]...)
		w.same(known, "", asOf...)
		w.same(known, moments[3], append(asOf, "--known-at", moments[3])...)
	}
	w.run("buffetctl", "fsck", "--deep", "--data-bucket", w.bucket)
}

// publishClosings publishes closings, those of one event in one message.
func (w *world) publishClosings(round []closing) {
	w.t.Helper()
	p, err := ingest.NewPublisher(w.t.Context(), ingest.PublisherConfig{Project: w.project, Endpoint: w.broker, Create: true, Registry: w.lake().Registry()})
	if err != nil {
		w.t.Fatal(err)
	}
	for len(round) > 0 {
		m := &schema.Message{Attributes: map[string]string{"event_id": round[0].event, "published_at": round[0].published, "content_type": "application/x-ndjson"}}
		for event := round[0].event; len(round) > 0 && round[0].event == event; round = round[1:] {
			m.Data = fmt.Appendf(m.Data, `{"symbol":%q,"timestamp":"2024-01-15T21:00:00Z","close":%s,"source":%q}`+"\n", round[0].symbol, round[0].price, round[0].source)
		}
		if err := p.Publish(w.t.Context(), "closing-prices", m); err != nil {
			w.t.Error(err)
		}
	}
	if _, err := p.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// asked compares what buffetctl query says with what must be known of what has arrived.
func (w *world) asked(arrived []closing, moments ...string) {
	w.t.Helper()
	w.same(arrived, "")
	w.same(arrived, always, "--superseded")
	for _, moment := range moments {
		w.same(arrived, moment, "--known-at", moment)
	}
}

const always = "always"

// same compares the rows of a query with those of arrived that were current at a
// moment: "" is now.
func (w *world) same(arrived []closing, moment string, args ...string) {
	w.t.Helper()
	want := []string{}
	for _, c := range arrived {
		if !slices.ContainsFunc(arrived, func(o closing) bool { return o.symbol == c.symbol && o.published == c.next }) {
			c.next = "" // only what has arrived corrects
		}
		current := c.next == "" || moment != "" && c.next > moment
		if moment == always || current && (moment == "" || c.published <= moment) {
			want = append(want, strings.Join([]string{c.symbol, c.source, c.price, c.published, c.next}, ","))
		}
	}
	slices.Sort(want)
	args = append([]string{"query", "--data-bucket", w.bucket, "--type", "closing_prices", "--format", "csv", "--columns", "symbol,data_source,close,_published_at,_superseded_at"}, args...)
	got := strings.Fields(w.run("buffetctl", args...))[1:]
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		w.t.Errorf("of %d, %q: -want +got:\n%s", len(arrived), args[8:], d)
	}
}
