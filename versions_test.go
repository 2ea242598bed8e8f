package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/twmb/avro"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
	"github.com/buffetbot/ingest/schema"
)

// Rows of four versions of a definition alternate in one stream, as JSON and as Avro
// of their writers. Each batch is one file of the newest version's columns; the
// commit that brings the rows widens the table; who reads by the old definition or the
// old version of the table, and who reads by the new ones, see the same.
func TestVersionsAlternateInOneStream(t *testing.T) {
	const batch, batches = 120, 3
	lake, server := world(t)
	old, err := Open(t.Context(), lake.config) // knows v1.2.0, for good
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	c := settings(server)
	c.Ingest.FlushRows, c.Ingest.OwnFileRows = batch, 1<<20
	take(t, lake, c, 10, func(i int) post { return quoteOf(t, lake, "v1.2.0", 1+i, false) })
	if _, err := lake.Compactor(compaction.Options{}).Run(t.Context(), []string{"market_data"}); err != nil {
		t.Fatal(err)
	}
	before := tableOf(t, lake)

	avsc, err := os.ReadFile("examples/definitions/market_data-v1.3.0.avsc")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := lake.Evolve(t.Context(), avsc, schema.Full); err != nil {
		t.Fatal(err)
	}
	versions := []string{"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"}
	take(t, lake, c, batch*batches, func(i int) post { return quoteOf(t, lake, versions[i%4], 11+i, i%8 >= 4) })

	newest, _ := lake.Registry().Latest("market_data")
	files := 0
	raw, err := partition.ListRaw(t.Context(), lake.store, "market_data")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range raw {
		if before.Consumed(f.Name) {
			continue
		}
		files++
		data, err := lake.store.Read(t.Context(), f.Name, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		parquet, err := file.NewParquetReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if parquet.MetaData().Schema.ColumnIndexByName("vwap") < 0 {
			t.Errorf("%s has no column vwap", f.Name)
		}
		opened, err := columnar.OpenBytes(f.Name, data)
		if err != nil {
			t.Fatal(err)
		}
		rec, err := opened.Read(t.Context(), newest, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]int{}
		for row := range int(rec.NumRows()) {
			with := "without"
			if rec.Column(newest.Field("vwap")).IsValid(row) {
				with = "with"
			}
			seen[rec.Column(newest.Field(schema.ColSchemaVersion)).ValueStr(row)+" "+with]++
		}
		// A batch is of rows that arrived together: all four versions are among them.
		if rec.NumRows() != batch || len(seen) != 2 || seen["v1.3.0 with"] < batch/8 || seen["v1.3.0 with"]+seen["v1.3.0 without"] != batch {
			t.Errorf("%s: %d rows, %v", f.Name, rec.NumRows(), seen)
		}
	}
	if files != batches {
		t.Errorf("%d files of %d batches", files, batches)
	}

	fresh := valuesOf(t, lake, query.DataQuery{}) // not compacted yet
	if _, err := lake.Compactor(compaction.Options{}).Run(t.Context(), []string{"market_data"}); err != nil {
		t.Fatal(err)
	}
	widened(t, lake, before)
	compacted := valuesOf(t, lake, query.DataQuery{})
	if len(compacted) != 10+batch*batches || !maps.Equal(fresh, compacted) {
		t.Errorf("%d rows fresh, %d compacted, or of other values", len(fresh), len(compacted))
	}
	for price, vwap := range compacted {
		var i int
		fmt.Sscan(price, &i)
		if want := map[bool]string{true: fmt.Sprintf("%d.25", i), false: "(null)"}[i > 10 && i%4 == (11+3)%4]; vwap != want {
			t.Errorf("row %d: vwap %s, want %s", i, vwap, want)
		}
	}
	byOld := valuesOf(t, old, query.DataQuery{})
	if len(byOld) != len(compacted) {
		t.Errorf("by the old definition there are %d rows, by the new one %d", len(byOld), len(compacted))
	}
	for price := range compacted {
		if _, ok := byOld[price]; !ok {
			t.Errorf("by the old definition there is no row of price %s", price)
		}
	}
	for name, reader := range map[string]*Lake{"old": old, "new": lake} { // the table as it was
		if n := len(valuesOf(t, reader, query.DataQuery{AsOf: query.AsOf{Version: &before.Version}})); n != 10 {
			t.Errorf("as of the version before, the %s definition reads %d rows, want 10", name, n)
		}
	}
}

// widened sees that one commit brought the rows and the column, and none the column
// alone.
func widened(t *testing.T, lake *Lake, before *partition.Snapshot) {
	t.Helper()
	after := tableOf(t, lake)
	if after.Version != before.Version+1 {
		t.Errorf("versions %d to %d: want one commit", before.Version, after.Version)
	}
	entry, err := lake.store.Read(t.Context(), fmt.Sprintf("%s_delta_log/%020d.json", partition.TableRoot("market_data"), after.Version), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	adds, columns := 0, ""
	for line := range strings.Lines(string(entry)) {
		var action struct {
			Add      *struct{}
			MetaData *struct{ SchemaString string }
		}
		if err := json.Unmarshal([]byte(line), &action); err != nil {
			t.Fatal(err)
		}
		if action.Add != nil {
			adds++
		}
		if action.MetaData != nil {
			columns = action.MetaData.SchemaString
		}
	}
	if adds == 0 || !strings.Contains(columns, `"vwap"`) {
		t.Errorf("the commit adds %d files, and its columns are %s", adds, columns)
	}
}

func tableOf(t *testing.T, lake *Lake) *partition.Snapshot {
	t.Helper()
	s, err := partition.OpenTable(lake.store, "market_data", nil).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// quoteOf is message i of a version: JSON, or Avro that its publisher wrote.
func quoteOf(t *testing.T, lake *Lake, version string, i int, binary bool) post {
	t.Helper()
	attributes := map[string]string{"schema_version": version, "event_id": fmt.Sprint(i)}
	if !binary {
		vwap := ""
		if version == "v1.3.0" {
			vwap = fmt.Sprintf(`,"vwap":%d.25`, i)
		}
		return post{"market-data", fmt.Sprintf(`{"symbol":"S%d","timestamp":"2024-01-15T14:30:00Z","price":%d%s,"data_source":"x"}`, i%5, i, vwap), attributes}
	}
	// The version's own Avro is what a datum of it is written with; of those that were
	// never here a container brings it along, and that is another test.
	v, err := schema.ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	def, known := lake.Registry().Lookup("market_data", v)
	if !known {
		return quoteOf(t, lake, version, i, false)
	}
	values := map[string]any{"symbol": fmt.Sprintf("S%d", i%5), "timestamp": time.Date(2024, 1, 15, 14, 30, 0, 0, time.UTC),
		"price": json.Number(fmt.Sprint(i)), "data_source": "x", "created_at": time.Date(2024, 1, 15, 14, 30, 1, 0, time.UTC), "version": version}
	if version == "v1.3.0" {
		values["vwap"] = json.Number(fmt.Sprintf("%d.25", i))
	}
	data, err := avro.MustParse(def.Avro()).Encode(values)
	if err != nil {
		t.Fatal(err)
	}
	attributes["content_type"] = "avro/binary"
	return post{"market-data", string(data), attributes}
}

// take ingests n messages with a batch sealed by its rows alone.
func take(t *testing.T, lake *Lake, c IngestConfig, n int, message func(int) post) {
	t.Helper()
	p, err := NewPublisher(t.Context(), PublisherConfig{Project: "test", Endpoint: c.Endpoint, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		m := message(i)
		if err := p.Publish(t.Context(), m.topic, &schema.Message{Data: []byte(m.data), Attributes: m.attrs}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Close(); err != nil {
		t.Fatal(err)
	}
	ingestor, err := lake.NewIngestor(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	go func() {
		for ctx.Err() == nil && ingestor.Report().Stats["market_data"].Rows < int64(n) {
			time.Sleep(10 * time.Millisecond)
		}
		stop()
	}()
	if err := ingestor.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if letters := collect(t, lake, LetterFilter{}); len(letters) > 0 {
		t.Fatalf("%d dead letters: %s", len(letters), letters[0].Explanation)
	}
}

// valuesOf is vwap by price, for the rows that a query gives.
func valuesOf(t *testing.T, lake *Lake, q query.DataQuery) map[string]string {
	t.Helper()
	q.DataType, q.Columns = "market_data", []string{"price"}
	def, _ := lake.Registry().Latest("market_data")
	if def.Field("vwap") >= 0 {
		q.Columns = append(q.Columns, "vwap")
	}
	plan, err := lake.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	_, err = plan.Execute(t.Context(), func(rows arrow.RecordBatch) error {
		for i := range int(rows.NumRows()) {
			vwap := ""
			if rows.NumCols() > 1 {
				vwap = rows.Column(1).ValueStr(i)
			}
			price := rows.Column(0).ValueStr(i)
			if _, twice := all[price]; twice {
				t.Errorf("two rows of price %s", price)
			}
			all[price] = vwap
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
