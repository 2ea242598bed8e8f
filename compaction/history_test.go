package compaction

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"pgregory.net/rapid"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/schema"
)

// closesBefore is closes as it was before its rows corrected each other, and before
// there was a note.
var closesBefore = strings.NewReplacer(`"bb.natural_key": ["symbol", "timestamp", "venue"],`, ``).Replace(closes)

var closesNow = strings.NewReplacer(`"bb.version": "1.0.0"`, `"bb.version": "1.1.0"`,
	`{"name": "price", "type": "long", "doc": ""}`,
	`{"name": "price", "type": "long", "doc": ""}, {"name": "note", "type": ["null", "string"], "default": null, "doc": ""}`).Replace(closes)

// A close is a row of closes.
type closeRow struct {
	venue, symbol, note *string
	at, price           int64
	id                  string
	index               int32
	published           int64
	superseded          *int64
}

func drawClose(t *rapid.T) closeRow {
	text := func(name string, values ...string) *string {
		v := rapid.SampledFrom(values).Draw(t, name)
		if v == "null" {
			return nil
		}
		return &v
	}
	return closeRow{
		venue: text("venue", "X", "Y", "", "null"), symbol: text("symbol", "A", "A ", "B", "C", "", "null"),
		note: text("note", "null", "", "n"), at: rapid.Int64Range(0, 2).Draw(t, "at"), price: rapid.Int64Range(1, 2).Draw(t, "price"),
		id: rapid.SampledFrom([]string{"m:1", "e:1", "e:2", "e:3"}).Draw(t, "id"), index: rapid.Int32Range(0, 1).Draw(t, "index"),
		published: rapid.Int64Range(1, 3).Draw(t, "published"),
	}
}

// columns are rows of one of the definitions.
func closeColumns(def *schema.Definition, rows []closeRow) *schema.Columns {
	c := schema.NewColumns(def)
	text := func(column int, v *string) {
		if v != nil && column >= 0 {
			c.SetString(column, []byte(*v))
		}
	}
	for _, r := range rows {
		c.Begin()
		text(def.Field("venue"), r.venue)
		text(def.Field("symbol"), r.symbol)
		text(def.Field("note"), r.note)
		c.SetTimestamp(def.Field("timestamp"), r.at)
		c.SetInt64(def.Field("price"), r.price)
		text(def.Own, &r.id)
		c.SetInt32(def.Own+1, r.index)
		c.SetTimestamp(def.Own+2, r.published)
		if r.superseded != nil {
			c.SetTimestamp(def.Superseded(), *r.superseded)
		}
		c.Commit()
	}
	return c
}

// told is a text, with one that is not there before all others.
func told(v *string) string {
	if v == nil {
		return "-"
	}
	return "+" + *v
}

// compare orders rows; those of one key by their hashes.
func (r *closeRow) compare(o *closeRow, hash func(*closeRow) string) int {
	if c := cmp.Or(strings.Compare(told(r.symbol), told(o.symbol)), cmp.Compare(r.at, o.at), strings.Compare(r.id, o.id),
		cmp.Compare(r.index, o.index), cmp.Compare(r.published, o.published)); c != 0 {
		return c
	}
	return strings.Compare(hash(r), hash(o))
}

// closesToBe are the rows that a table has of all that came, the plain way.
func closesToBe(def *schema.Definition, all []closeRow) []closeRow {
	hashes := map[string]string{}
	hash := func(r *closeRow) string {
		key := fmt.Sprint(told(r.venue), told(r.symbol), told(r.note), r.at, r.price, r.id, r.index, r.published)
		if hashes[key] == "" {
			hashes[key] = columnar.RowHashes(closeColumns(def, []closeRow{*r}).Record(), nil)[0].String()
		}
		return hashes[key]
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b closeRow) int { return a.compare(&b, hash) })
	seen, stay := map[string]bool{}, []closeRow{}
	for _, r := range all {
		identity := fmt.Sprint(told(r.symbol), r.at, r.id, r.index)
		if strings.HasPrefix(r.id, "m:") {
			identity += fmt.Sprint(" ", r.published)
		}
		if !seen[identity] {
			seen[identity] = true
			stay = append(stay, r)
		}
	}
	keys := map[string][]*closeRow{}
	for i := range stay {
		if r := &stay[i]; r.symbol != nil && r.venue != nil {
			key := fmt.Sprint(*r.symbol, "|", r.at, "|", *r.venue)
			keys[key] = append(keys[key], r)
		}
	}
	for _, of := range keys {
		slices.SortFunc(of, func(a, b *closeRow) int {
			return cmp.Or(cmp.Compare(a.published, b.published), strings.Compare(a.id, b.id), cmp.Compare(a.index, b.index))
		})
		for i, r := range of[1:] {
			of[i].superseded = &r.published
		}
	}
	return stay
}

// spelled are the rows of a record, as texts.
func spelled(rec arrow.RecordBatch) (rows []string) {
	for i := range int(rec.NumRows()) {
		line := ""
		for c := range int(rec.NumCols()) {
			v := "null"
			if rec.Column(c).IsValid(i) {
				v = fmt.Sprintf("%q", rec.Column(c).ValueStr(i))
			}
			line += rec.ColumnName(c) + "=" + v + " "
		}
		rows = append(rows, line)
	}
	return rows
}

// A history is rows that come in any raw objects, and are compacted at any time, in
// as many steps as there can be.
type history struct {
	t     *rapid.T
	store *objstore.Mem
	rows  []closeRow
	seq   int
}

// arrive makes raw objects of new rows and old ones, some in no order, some empty.
func (h *history) arrive(def *schema.Definition) {
	for range rapid.IntRange(1, 6).Draw(h.t, "objects") {
		rows := rapid.SliceOfN(rapid.Custom(drawClose), 0, 8).Draw(h.t, "rows")
		for range rapid.IntRange(0, 4).Draw(h.t, "again") {
			if len(h.rows) > 0 {
				rows = append(rows, rapid.SampledFrom(h.rows).Draw(h.t, "row"))
			}
		}
		order := *def
		if rapid.IntRange(0, 5).Draw(h.t, "in no order") == 0 {
			order.SymbolField = 0
		}
		for i := range rows {
			if def.Field("note") < 0 {
				rows[i].note = nil
			}
		}
		h.rows = append(h.rows, rows...)
		rec, err := columnar.Sort(closeColumns(def, rows).Record(), &order)
		if err != nil {
			h.t.Fatal(err)
		}
		data, says, err := columnar.Encode(rec, &order)
		if err != nil {
			h.t.Fatal(err)
		}
		h.seq++
		name := partition.RawName{Key: partition.Key{Type: "closes"}, Category: "close", Multi: true, Major: 1, Writer: "w", Seq: h.seq}
		if _, err := h.store.Create(h.t.Context(), name.String(), data, says.Metadata()); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *history) compact(registry *schema.Registry, final bool) {
	o := Options{
		MemoryBudget: 1, leastSources: 1, Workers: 1, TargetFileSize: rapid.SampledFrom([]int64{0, 1, 3 << 10}).Draw(h.t, "target"),
		MaxCommitRawFiles: rapid.IntRange(0, 3).Draw(h.t, "raw files"),
	}
	if !final && rapid.Bool().Draw(h.t, "policy") {
		o.Policy = Policy{Share: .01, Floor: 1}
	}
	r, err := (&Compactor{Store: h.store, Registry: registry, Options: o}).Run(h.t.Context(), nil)
	if err != nil || r.Troubled() {
		h.t.Fatalf("%v\n%s", err, r)
	}
}

// Whatever came, by old definitions and new, and however it was compacted, in steps of
// two files each: the table has each identity once, with the cells of the row that
// has to stay, and says of each row what superseded it.
func TestAnyHistoryInSteps(t *testing.T) {
	before, err := schema.Parse([]byte(closesBefore))
	if err != nil {
		t.Fatal(err)
	}
	now, err := schema.Parse([]byte(closesNow))
	if err != nil {
		t.Fatal(err)
	}
	registries := map[*schema.Definition]*schema.Registry{}
	for _, def := range []*schema.Definition{before, now} {
		if registries[def], err = schema.NewRegistry(def); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		h := &history{t: t, store: objstore.NewMem()}
		reader := before
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			if rapid.Bool().Draw(t, "the compactor is of now") {
				reader = now
			}
			writer := before
			if reader == now && rapid.Bool().Draw(t, "an ingestor is of now") {
				writer = now
			}
			h.arrive(writer)
			if rapid.Bool().Draw(t, "compact") {
				h.compact(registries[reader], false)
			}
		}
		h.compact(registries[now], true)
		h.check(now)
	})
}

// check holds what the table has against the plain reference.
func (h *history) check(def *schema.Definition) {
	raw, err := partition.ListRaw(h.t.Context(), h.store, def.Name)
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := partition.OpenTable(h.store, def.Name, nil).Load(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	bad, err := Check{Store: h.store, Definition: def, Snapshot: s, Raw: raw, Complete: true}.All(h.t.Context())
	if err != nil || len(bad) > 0 {
		h.t.Fatal(bad, err)
	}
	files := s.Files(nil)
	slices.SortFunc(files, func(a, b partition.File) int {
		return cmp.Or(strings.Compare(a.First, b.First), strings.Compare(a.Last, b.Last))
	})
	var got []string
	var duplicates int64
	for _, f := range files {
		data, err := h.store.Read(h.t.Context(), f.ObjectName(), 0, -1)
		if err != nil {
			h.t.Fatal(err)
		}
		file, err := columnar.OpenBytes(f.Path, data)
		if err != nil {
			h.t.Fatal(err)
		}
		rec, err := file.Read(h.t.Context(), def, nil, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		got, duplicates = append(got, spelled(rec)...), duplicates+f.Duplicates
	}
	stay := closesToBe(def, h.rows)
	want := spelled(closeColumns(def, stay).Record())
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		h.t.Fatalf("%d rows:\n%s\nwant %d:\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
	}
	if duplicates != int64(len(h.rows)-len(stay)) {
		h.t.Fatalf("%d duplicates, want %d", duplicates, len(h.rows)-len(stay))
	}
}
