package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/config"
)

// objects reads a command's output in JSON.
func objects(t *testing.T, args ...string) []map[string]any {
	t.Helper()
	out, _, err := buffetctl(t, append(args, "--format", "json")...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	var all []map[string]any
	decoder := json.NewDecoder(strings.NewReader(out))
	decoder.UseNumber()
	for decoder.More() {
		m := map[string]any{}
		if err := decoder.Decode(&m); err != nil {
			t.Fatalf("%v: %v in %s", args, err, out)
		}
		all = append(all, m)
	}
	return all
}

// has compares some fields of an object; nil is null.
func has(t *testing.T, got map[string]any, want map[string]any) {
	t.Helper()
	for name, v := range want {
		g, there := got[name]
		if n, ok := g.(json.Number); ok {
			g = n.String()
		}
		if !there || g != v {
			t.Errorf("%s = %v, want %v in %v", name, g, v, got)
		}
	}
}

// One lake, filled twice: Friday, Monday with a second row from another symbol and
// one sent twice as the same message cannot be told; then Thursday; then a row that
// waits.
func filled(t *testing.T) *world {
	w := newWorld(t)
	w.ingest("AAPL 2024-01-12", "AAPL 2024-01-15", "MSFT 2024-01-15")
	w.compact()
	w.ingest("ZZZ 2024-01-18", "AAPL 2024-01-18", "AAPL 2024-01-15")
	w.compact()
	w.ingest("MSFT 2024-01-19")
	return w
}

func TestWhatThereIs(t *testing.T) {
	w := filled(t)
	lake := []string{"--data-bucket", w.bucket}
	with := func(args ...string) []string { return append(args, lake...) }

	t.Run("tables", func(t *testing.T) {
		tables := objects(t, with("tables")...)
		if len(tables) != len(w.lake.Registry().Types()) {
			t.Fatalf("%d tables", len(tables))
		}
		has(t, tables[1], map[string]any{"data_type": "forecasts", "state": "none", "version": nil, "raw_waiting": "0", "raw_oldest_age": nil})
		has(t, tables[2], map[string]any{"data_type": "market_data", "state": "table", "version": "2", "partitions": "3", "rows": "6",
			"first_day": "2024-01-12", "last_day": "2024-01-18", "schema_version": "v1.2.0", "raw_waiting": "1"})
		if age, _ := tables[2]["raw_oldest_age"].(json.Number).Int64(); age < 0 || age > 600 {
			t.Errorf("age of what waits: %d s", age)
		}
		if n := objects(t, with("tables", "market_data")...); len(n) != 1 {
			t.Errorf("%d tables of one data type", len(n))
		}
	})

	t.Run("history", func(t *testing.T) {
		versions := objects(t, with("history", "market_data")...)
		if len(versions) != 3 {
			t.Fatalf("%d versions", len(versions))
		}
		has(t, versions[0], map[string]any{"version": "2", "operation": "COMPACT", "raw_rows": "3", "duplicates_removed": "0", "by": "buffetbot-ingest"})
		has(t, versions[1], map[string]any{"version": "1", "raw_rows": "3", "files_added": "2", "files_removed": "0"})
		has(t, versions[2], map[string]any{"version": "0", "operation": "CREATE TABLE"})
		if at, err := time.Parse(time.RFC3339Nano, versions[0]["timestamp"].(string)); err != nil || time.Since(at) > time.Hour {
			t.Errorf("time of the version: %v, %v", at, err)
		}
		out, _, err := buffetctl(t, with("history", "market_data", "--limit", "1")...)
		if err != nil || strings.Count(out, "COMPACT") != 1 || !strings.Contains(out, "--limit 0 shows all") {
			t.Errorf("limited: %v\n%s", err, out)
		}
	})

	t.Run("partitions", func(t *testing.T) {
		days := objects(t, with("partitions", "market_data", "--symbols")...)
		if len(days) != 3 {
			t.Fatalf("%d days", len(days))
		}
		has(t, days[0], map[string]any{"day": "2024-01-12", "rows": "1", "symbols": "1", "missing_days_before": nil, "missing": nil})
		has(t, days[1], map[string]any{"day": "2024-01-15", "rows": "3", "symbols": "2", "first_symbol": "AAPL", "last_symbol": "MSFT",
			"first_event": "2024-01-15T14:30:01.000000Z", "last_event": "2024-01-15T14:30:02.000000Z",
			"missing_days_before": "2", "missing": "2024-01-13 to 2024-01-14 (weekend)"})
		has(t, days[2], map[string]any{"day": "2024-01-18", "rows": "2", "symbols": "2", "missing_days_before": "2", "missing": "2024-01-16 to 2024-01-17"})
		has(t, objects(t, with("partitions", "market_data")...)[0], map[string]any{"symbols": nil})
		last := objects(t, with("partitions", "market_data", "--limit", "1")...)
		has(t, last[0], map[string]any{"day": "2024-01-18"})
		out, _, _ := buffetctl(t, with("partitions", "market_data", "--limit", "1")...)
		if !strings.Contains(out, "1 of 3 days; --limit 0 shows all") {
			t.Errorf("no word of what is not shown:\n%s", out)
		}
	})

	t.Run("files", func(t *testing.T) {
		files := objects(t, with("files", "market_data")...)
		var rows int64
		for _, f := range files {
			n, _ := f["rows"].(json.Number).Int64()
			rows += n
			if info, err := os.Stat(filepath.Join(w.dir, f["path"].(string))); err != nil || json.Number(jsonInt(info.Size())) != f["bytes"] {
				t.Errorf("file %v: %v", f, err)
			}
		}
		if rows != 6 {
			t.Errorf("the files have %d rows", rows)
		}
		has(t, files[0], map[string]any{"version_added": "1", "first_symbol": "AAPL", "schema_version": "v1.2.0"})
		has(t, files[len(files)-1], map[string]any{"version_added": "2", "last_symbol": "ZZZ"})
		day := objects(t, with("files", "market_data", "--day", "2024-01-18")...)
		if len(day) == 0 || len(day) == len(files) {
			t.Errorf("%d files of a day, %d of all", len(day), len(files))
		}
		out, _, err := buffetctl(t, with("files", "market_data", "--day", "1999-01-01")...)
		if err != nil || !strings.Contains(out, "No file of market_data is of 1999-01-01") {
			t.Errorf("a day without files: %v\n%s", err, out)
		}
		_, diagnostics, _ := buffetctl(t, with("files", "market_data", "--limit", "1", "--format", "csv")...)
		if !strings.Contains(diagnostics, "--limit 0 shows all") {
			t.Errorf("no word of what is not shown: %q", diagnostics)
		}
	})

	t.Run("wrong usage", func(t *testing.T) {
		for _, args := range [][]string{{"files", "nope"}, {"tables", "nope"}, {"history", "market_data", "--limit", "-1"}, {"files", "market_data", "--day", "soon"}, {"partitions"}} {
			if _, _, err := buffetctl(t, with(args...)...); config.Exit("test", err) != 2 {
				t.Errorf("%v: %v", args, err)
			}
		}
	})

	// A table of a newer program is refused by itself; the others are shown.
	t.Run("a table that cannot be read", func(t *testing.T) {
		log := filepath.Join(w.dir, "processed", "forecasts", "_delta_log")
		if err := os.MkdirAll(log, 0o755); err != nil {
			t.Fatal(err)
		}
		entry := `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}` + "\n"
		if err := os.WriteFile(filepath.Join(log, "00000000000000000000.json"), []byte(entry), 0o644); err != nil {
			t.Fatal(err)
		}
		out, diagnostics, err := buffetctl(t, with("tables", "--format", "csv")...)
		if config.Exit("test", err) != 1 || !strings.Contains(err.Error(), "1 of 4 tables cannot be read") {
			t.Errorf("error = %v", err)
		}
		if !strings.Contains(diagnostics, "forecasts: table forecasts: processed/forecasts/_delta_log/00000000000000000000.json") || !strings.Contains(diagnostics, "not supported") {
			t.Errorf("diagnostics = %q", diagnostics)
		}
		rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil || len(rows) != 5 || rows[2][1] != "unreadable" || rows[3][1] != "table" || rows[3][5] != "6" {
			t.Errorf("rows = %v, %v", rows, err)
		}
		for _, command := range []string{"files", "partitions"} {
			if _, _, err := buffetctl(t, with(command, "forecasts")...); config.Exit("test", err) != 1 {
				t.Errorf("%s: %v", command, err)
			}
		}
	})
}

func jsonInt(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

func TestEmptyLakeSaysWhatToDo(t *testing.T) {
	alone(t)
	lake := "file://" + t.TempDir()
	for _, tt := range []struct{ args, want string }{
		{"tables", "There is nothing in this lake yet"},
		{"history market_data", "There is no table of market_data with rows yet"},
		{"partitions market_data", "There is no table of market_data with rows yet"},
		{"files market_data", "There is no table of market_data with rows yet"},
	} {
		out, _, err := buffetctl(t, append(strings.Fields(tt.args), "--data-bucket", lake)...)
		if err != nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v\n%s", tt.args, err, out)
		}
		out, diagnostics, err := buffetctl(t, append(strings.Fields(tt.args), "--data-bucket", lake, "--format", "json")...)
		if err != nil || strings.Contains(out, tt.want) || !strings.Contains(diagnostics, tt.want) {
			t.Errorf("%s as JSON: %v\n%s\n%s", tt.args, err, out, diagnostics)
		}
	}
}

// Rows that were never compacted show as a debt, not as an empty lake.
func TestRawOnly(t *testing.T) {
	w := newWorld(t)
	w.ingest("AAPL 2024-01-12", "AAPL 2024-01-15")
	tables := objects(t, "tables", "market_data", "--data-bucket", w.bucket)
	has(t, tables[0], map[string]any{"state": "raw only", "version": nil, "rows": nil, "raw_waiting": "2"})
	if tables[0]["raw_bytes"] == json.Number("0") || tables[0]["raw_oldest_age"] == nil {
		t.Errorf("debt = %v", tables[0])
	}
	out, _, err := buffetctl(t, "tables", "--data-bucket", w.bucket)
	if err != nil || strings.Contains(out, "nothing in this lake") || !strings.Contains(out, "raw only") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestGridGuardsAndWrites(t *testing.T) {
	values := []any{"=1+1", int64(-5), int64(1536), 90 * time.Minute, time.Date(2024, 1, 15, 1, 2, 3, 0, time.UTC)}
	for _, tt := range []struct{ format, want string }{
		{"csv", "a,b,c,d,e\r\n'=1+1,-5,1536,5400,2024-01-15T01:02:03.000000Z\r\n,,,,\r\n"},
		{"json", `{"a":"=1+1","b":-5,"c":1536,"d":5400,"e":"2024-01-15T01:02:03.000000Z"}` + "\n" + `{"a":null,"b":null,"c":null,"d":null,"e":null}` + "\n"},
	} {
		g := newGrid(tt.format, column{"a", words}, column{"b", number}, column{"c", size}, column{"d", elapsed}, column{"e", instant})
		g.row(values...)
		g.row(nil, nil, nil, nil, nil)
		var out bytes.Buffer
		if err := g.write(&out); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v\n%q, want\n%q", tt.format, err, out.String(), tt.want)
		}
	}
	g := newGrid("table", column{"c", size}, column{"d", elapsed}, column{"a", words})
	g.row(values[2], values[3], "x\x1b[2J")
	var out bytes.Buffer
	if err := g.write(&out); err != nil || !strings.Contains(out.String(), "1.5 KiB") || !strings.Contains(out.String(), "1h30m0s") || strings.Contains(out.String(), "\x1b") {
		t.Errorf("table: %v\n%q", err, out.String())
	}
}
