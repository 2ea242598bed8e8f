package fsck_test

import (
	"testing"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/compaction/laketest"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// bury makes a raw object of a dead letter of the message that Ingest makes of an id.
func bury(t *testing.T, l *laketest.Lake, id, reason, version string) deadletter.Letter {
	t.Helper()
	def, _ := l.Registry.Latest("dead_letters")
	decoder, err := deadletter.NewDecoder(def)
	if err != nil {
		t.Fatal(err)
	}
	letter := deadletter.New(l.Def, &schema.Message{ID: id, PublishTime: laketest.Start}, &schema.Rejection{Reason: schema.Reason(reason)})
	letter.SchemaVersion = version
	m, _ := letter.Message()
	m.ID, m.PublishTime = "letter-"+id, laketest.Start
	rows := schema.NewColumns(def)
	if rejected := decoder.Decode(m, rows); len(rejected) > 0 {
		t.Fatal(rejected)
	}
	data, sum, err := columnar.Encode(rows.Record(), def)
	if err != nil {
		t.Fatal(err)
	}
	day := partition.DayOf(laketest.Start.UnixMicro())
	name := partition.RawName{Key: partition.Key{Type: def.Name, Day: day}, Category: def.Category, Multi: true, Time: laketest.Start.UnixMicro(), Major: def.Version.Major, Writer: id, Seq: 1}
	if _, err := l.Store.Create(t.Context(), name.String(), data, sum.Metadata()); err != nil {
		t.Fatal(err)
	}
	return *letter
}

// C8: a record is a row or a dead letter, not both; whatever of the two is compacted.
func TestOneVerdict(t *testing.T) {
	for _, tt := range []struct {
		name, of, reason, version string // version: "": that of the row
		replayed                  bool
		compacted                 bool // the letter
		violations, findings      int
	}{
		{name: "of another record", of: "x", reason: "bad_json"},
		{name: "of a row that is compacted", of: "a", reason: "bad_json", violations: 1, findings: 1},
		{name: "of a row that waits", of: "g", reason: "bad_json", violations: 1, findings: 1},
		{name: "both compacted", of: "a", reason: "bad_json", compacted: true, violations: 1, findings: 1},
		{name: "by another revision", of: "a", reason: "bad_json", version: "0.9.0", findings: 1},
		{name: "replayed since", of: "a", reason: "bad_json", replayed: true},
		{name: "the broker gave up", of: "a", reason: string(deadletter.Undelivered)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := healthy(t)
			version := tt.version
			if version == "" {
				version = l.Def.Version.String()
			}
			letter := bury(t, l, tt.of, tt.reason, version)
			if tt.replayed {
				note := deadletter.ReplayNote{Run: "r1", At: laketest.Start, Letters: []string{letter.ID}}
				if err := note.Note(t.Context(), l.Store, 1); err != nil {
					t.Fatal(err)
				}
			}
			if tt.compacted {
				c := &compaction.Compactor{Store: l.Store, Registry: l.Registry, Clock: l.Clock}
				if _, err := c.Run(t.Context(), []string{"dead_letters"}); err != nil {
					t.Fatal(err)
				}
			}
			r := check(t, l, true)
			if r.Violations() != tt.violations || len(r.Findings) != tt.findings {
				t.Fatalf("want %d violations in %d findings: %v", tt.violations, tt.findings, r.Findings)
			}
			if quick := check(t, l, false); quick.Violations() > 0 {
				t.Errorf("a quick check does not read rows: %v", quick.Findings)
			}
			for _, f := range r.Findings {
				if f.Rule != "C8" || f.Text == "" || f.Advice == "" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}
