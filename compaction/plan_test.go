package compaction

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

var noon = time.Date(2024, 1, 20, 12, 0, 0, 0, time.UTC)

// rawFile is a raw object of a day of January 2024, made so long before noon.
func rawFile(name string, day int, age time.Duration) partition.RawFile {
	d := partition.DayOf(time.Date(2024, 1, day, 0, 0, 0, 0, time.UTC).UnixMicro())
	return partition.RawFile{
		Name: name, Key: partition.Key{Type: "market_data", Day: d},
		Object: objstore.Object{Name: name, Size: 1000, Created: noon.Add(-age)}, Summary: &columnar.Summary{Rows: 10},
	}
}

func TestPlan(t *testing.T) {
	consumed := &partition.Snapshot{Type: "market_data", Txns: map[string]partition.Txn{"a": {}, "b": {}}}
	for _, tt := range []struct {
		name string
		raw  []partition.RawFile
		s    *partition.Snapshot
		o    Options
		want []string // each group's line
	}{
		{name: "nothing there"},
		{name: "everything consumed", s: consumed,
			raw: []partition.RawFile{rawFile("a", 15, time.Hour), rawFile("b", 16, time.Hour)}},
		{name: "no table yet", raw: []partition.RawFile{rawFile("a", 15, time.Hour)}, o: Options{Now: noon},
			want: []string{"market_data/2024-01-15: 1 new raw object (1000 B), the oldest of 1h0m0s ago, nothing live yet; reads and writes about 1000 B (10 rows), 1.0 bytes for each new one; 0 files fewer: a"}},
		{name: "a consumed neighbour is skipped", s: consumed, o: Options{Now: noon},
			raw:  []partition.RawFile{rawFile("a", 15, time.Hour), rawFile("c", 15, time.Minute)},
			want: []string{"market_data/2024-01-15: 1 new raw object (1000 B), the oldest of 1m0s ago, nothing live yet; reads and writes about 1000 B (10 rows), 1.0 bytes for each new one; 0 files fewer: c"}},
		{name: "days and names in order", o: Options{Now: noon},
			raw: []partition.RawFile{rawFile("z", 16, 0), rawFile("y", 15, 0), rawFile("b", 15, 0)},
			want: []string{
				"market_data/2024-01-15: 2 new raw objects (2.0 KiB), the oldest of 0s ago, nothing live yet; reads and writes about 2.0 KiB (20 rows), 1.0 bytes for each new one; 1 file fewer: b y",
				"market_data/2024-01-16: 1 new raw object (1000 B), the oldest of 0s ago, nothing live yet; reads and writes about 1000 B (10 rows), 1.0 bytes for each new one; 0 files fewer: z"}},
		{name: "the young wait, the old of their day do not", o: Options{Now: noon, MinRawAge: time.Minute},
			raw:  []partition.RawFile{rawFile("a", 15, time.Minute), rawFile("b", 15, time.Minute-1), rawFile("c", 16, 0)},
			want: []string{"market_data/2024-01-15: 1 new raw object (1000 B), the oldest of 1m0s ago, nothing live yet; reads and writes about 1000 B (10 rows), 1.0 bytes for each new one; 0 files fewer: a"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, g := range Plan(tt.raw, tt.s, tt.o) {
				line := g.String() + ":"
				for _, r := range g.Raw {
					line += " " + r.Name
				}
				if g.Cost.RawRows != int64(10*len(g.Raw)) {
					t.Errorf("cost %+v", g.Cost)
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBatchesHoldEveryGroupOnce(t *testing.T) {
	var groups []Group
	for day := 1; day <= 9; day++ {
		groups = append(groups, Plan([]partition.RawFile{rawFile("a", day, 0), rawFile("b", day, 0)}, nil, Options{})...)
	}
	for _, tt := range []struct {
		name string
		o    Options
		want []int
	}{
		{"no bound met", Options{}, []int{9}},
		{"groups", Options{MaxCommitGroups: 4}, []int{4, 4, 1}},
		{"raw objects", Options{MaxCommitRawFiles: 5}, []int{2, 2, 2, 2, 1}},
		{"bytes", Options{MaxCommitBytes: 6000}, []int{3, 3, 3}},
		{"a group over every bound", Options{MaxCommitBytes: 1, MaxCommitRawFiles: 1}, []int{1, 1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sizes []int
			var all []Group
			for _, b := range batches(groups, tt.o.withDefaults()) {
				sizes, all = append(sizes, len(b)), append(all, b...)
			}
			if diff := cmp.Diff(tt.want, sizes); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(groups, all); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := batches(nil, Options{}.withDefaults()); len(got) != 0 {
		t.Errorf("no groups make %d commits", len(got))
	}
}

func builtin(t *testing.T) *schema.Definition {
	reg, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := reg.Latest("market_data")
	return def
}

// inputOf is an input of one row.
func inputOf(t *testing.T, def *schema.Definition, symbol string) input {
	data := encodedOf(t, def, symbol)
	in := input{name: "raw/" + symbol, raw: true, size: int64(len(data))}
	in.object.copied = copied{name: in.name, data: data}
	file, err := in.object.open()
	if err != nil {
		t.Fatal(err)
	}
	says, err := file.Summary()
	if err != nil {
		t.Fatal(err)
	}
	in.total = total{says.Rows, says.Hash}
	return in
}

func encodedOf(t *testing.T, def *schema.Definition, symbol string) []byte {
	c := schema.NewColumns(def)
	c.Begin()
	c.SetString(def.SymbolField, []byte(symbol))
	c.SetTimestamp(def.TimeField, 0)
	c.SetString(def.Field(schema.ColID), []byte("m:1"))
	c.Commit()
	data, _, err := columnar.Encode(c.Record(), def)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What goes in and what comes out are added up independently of the merge. An
// input whose footer lies is left out.
func TestInputThatDoesNotAddUpIsLeftOut(t *testing.T) {
	def := builtin(t)
	for _, tt := range []struct {
		name string
		lie  func(in *input)
		left int
	}{
		{"it adds up", func(*input) {}, 0},
		{"a row more", func(in *input) { in.Rows++ }, 1},
		{"another row", func(in *input) { in.Hash[1]++ }, 1},
		{"an input twice", func(in *input) { in.add(in.total) }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := merge{job: &job{def: def, o: Options{}.withDefaults()}, scratch: newScratch("", 0), need: 1}
			m.inputs = []input{inputOf(t, def, "AAPL"), inputOf(t, def, "MSFT"), inputOf(t, def, "AAPL")}
			tt.lie(&m.inputs[1])
			merged, err := m.union(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			left := m.result.report.Unreadable
			if len(left) != tt.left || tt.left > 0 && left[0].Name != "raw/MSFT" || merged.dropped.Rows != 1 || merged.Rows != int64(2-tt.left) {
				t.Errorf("%d rows, %d dropped, left %v; want %d left", merged.Rows, merged.dropped.Rows, left, tt.left)
			}
		})
	}
}

// A merge that loses, doubles or changes a row is refused.
func TestMergeThatDoesNotAddUpIsRefused(t *testing.T) {
	def := builtin(t)
	m := merge{job: &job{def: def}, inputs: []input{inputOf(t, def, "AAPL"), inputOf(t, def, "MSFT")}}
	var in total
	in.add(m.inputs[0].total)
	in.add(m.inputs[1].total)
	for _, tt := range []struct {
		name string
		out  total
		ok   bool
	}{
		{"it adds up", in, true},
		{"a row less", m.inputs[0].total, false},
		{"a row more", total{in.Rows + 1, in.Hash}, false},
		{"another row", total{in.Rows, in.Hash.Add(columnar.SetHash{1, 0})}, false},
	} {
		var c *ConservationError
		if err := m.conserved(t.Context(), &outputs{total: tt.out}); errors.As(err, &c) == tt.ok || err != nil && !strings.Contains(err.Error(), "raw/MSFT") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestWider(t *testing.T) {
	def := builtin(t)
	ours := def.DeltaSchemaString()
	volume := `{"name":"volume","type":"long","nullable":true,`
	if !strings.Contains(ours, volume) {
		t.Fatalf("schema %s", ours)
	}
	for _, tt := range []struct {
		name, table string
		want        bool
		wantErr     string
	}{
		{"the same", ours, false, ""},
		{"a column less", strings.Replace(ours, volume, `{"name":"symbol","type":"string","nullable":true,`, 1), true, ""},
		{"a column more", strings.Replace(ours, volume, `{"name":"turnover","type":"long","nullable":true,"metadata":{}},`+volume, 1), false, "column turnover"},
		{"another type", strings.Replace(ours, volume, `{"name":"volume","type":"double","nullable":true,`, 1), false, "column volume of type \"double\""},
		{"no schema", "", false, "schema of the table"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wider(tt.table, def)
			if got != tt.want || (err == nil) != (tt.wantErr == "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("wider = %v, %v; want %v, %q", got, err, tt.want, tt.wantErr)
			}
		})
	}
}
