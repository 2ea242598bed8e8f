package backfill

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

func TestNDJSON(t *testing.T) {
	for _, tt := range []struct {
		name string
		s    Settings
		in   string
		want []string
	}{
		{name: "lines as they are", in: `{"symbol": "A" , "price":1.50}` + "\r\n\n \t\n" + `{"x":` + "\n" + `[1]` + "\n" + `{}`,
			want: []string{`{"symbol": "A" , "price":1.50}` + "\r", `{"x":`, `[1]`, `{}`}},
		{name: "gzip", in: zipped("{}\n{}"), want: []string{"{}", "{}"}},
		{name: "byte-order marks of joined files", in: "\xef\xbb\xbf{}\n\xef\xbb\xbf{\"a\":1}\n", want: []string{"{}", `{"a":1}`}},
		{name: "mapped and set",
			s: Settings{Map: map[string]string{"price": "c", "beta": "c", "timestamp": "t"}, Set: map[string]string{"volume": "7"}},
			in: `{"c":1.50,"t":"2024-01-15","volume":1,"price":2,"symbol":"A","x":{"y":[1, 2]}}` + "\n" +
				`{"t":1e3, "note" : "\u00e9\""}` + "\n" + `{}` + "\n" + `{"c":` + "\n" + `{"a":1,"a":2}` + "\n" + `{} {}` + "\n" + `"x"`,
			want: []string{
				`{"beta":1.50,"price":1.50,"timestamp":"2024-01-15","symbol":"A","x":{"y":[1, 2]},"volume":7}`,
				`{"timestamp":1e3,"note":"\u00e9\"","volume":7}`, `{"volume":7}`, `{"c":`, `{"a":1,"a":2}`, `{} {}`, `"x"`,
			}},
		{name: "mapped from a field that stays", s: Settings{Map: map[string]string{"price": "beta"}}, in: `{"beta":1,"price":2}`, want: []string{`{"price":1,"beta":1}`}},
		{name: "an alias gives way", s: Settings{Set: map[string]string{"note": "n"}}, in: `{"remark":"r"}`, want: []string{`{"note":"n"}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.Format = NDJSON
			got, broken := texts(t, tt.s, tt.in)
			if diff := cmp.Diff(tt.want, got); diff != "" || broken > 0 {
				t.Errorf("%d broken; records (-want +got):\n%s", broken, diff)
			}
		})
	}
}

// Lines that no message can hold become dead letters that say so, and nothing
// after them is lost.
func TestRecordsThatNoMessageCanHold(t *testing.T) {
	long := strings.Repeat("é", maxLine/2+1)
	controls := strings.Repeat("\x01", maxMessage/5) // six bytes each in JSON
	for _, tt := range []struct{ name, in string }{
		{"a CSV line", "symbol,timestamp,note\n" + long + ",,\nA,2024-01-15,\n"},
		{"a CSV record over lines", "symbol,timestamp,note\nA,2024-01-15,\"" + long[:maxLine/2] + "\n" + long[:maxLine/2+10] + "\"\nA,2024-01-15,\n"},
		{"a CSV record of control characters", "symbol,timestamp,note\nA,2024-01-15," + controls + "\nA,2024-01-15,\n"},
		{"an NDJSON line", "{\"symbol\":\"" + long + "\"}\n{\"symbol\":\"A\",\"timestamp\":\"2024-01-15\"}\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, broken := texts(t, Settings{BatchRows: 2}, tt.in)
			last := got[len(got)-1]
			if broken == 0 || !strings.HasPrefix(last, `{"symbol":"A"`) && broken == 1 {
				t.Errorf("%d records, %d broken, the last %.80s", len(got), broken, last)
			}
			for _, text := range got[:len(got)-1] {
				if text[0] != '"' || len(text) > 6*keptOfBroken+1000 || !strings.Contains(text[:200], "line 2") && !strings.Contains(text[:200], "line 1") && !strings.Contains(text[:200], "line 3") {
					t.Errorf("in place of the record: %d bytes %.100s", len(text), text)
				}
			}
			decoder, rows := definition(t).NewDecoder(schema.Lenient), schema.NewColumns(definition(t))
			for _, text := range got {
				decoder.Decode(&schema.Message{ID: "1", Data: []byte(text), Attributes: map[string]string{"content_type": "application/x-ndjson"}}, rows)
			}
			if rows.Len() > 1 {
				t.Errorf("%d rows; a record that was cut must be none", rows.Len())
			}
		})
	}
}

// list hands out records.
type list []string

func (l *list) next(dst []byte) ([]byte, record, error) {
	if len(*l) == 0 {
		return dst, record{}, io.EOF
	}
	first := (*l)[0]
	*l = (*l)[1:]
	return append(dst, first...), record{line: 1}, nil
}

func TestBatchesAreCutByRowsAndBytes(t *testing.T) {
	for _, tt := range []struct {
		name        string
		rows, bytes int
		in, want    string // records parted by spaces, batches by |
	}{
		{"by rows", 2, 100, "a b c d e", "a b|c d|e"},
		{"exactly", 2, 100, "a b c d", "a b|c d"},
		{"by bytes, newlines counted", 9, 5, "aa bb cc d eee", "aa bb|cc d|eee"},
		{"a record larger than a batch goes alone", 9, 4, "a bbbbbb c d", "a|bbbbbb|c d"},
		{"the largest first and last", 9, 2, "bbbb bbbb", "bbbb|bbbb"},
		{"one", 9, 9, "a", "a"},
		{"none", 9, 9, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := list(strings.Fields(tt.in))
			c := cutter{records: &in, rows: tt.rows, bytes: tt.bytes}
			var got []string
			for {
				b, err := c.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if len(b.lines) != bytes.Count(b.data, []byte("\n"))+1 {
					t.Errorf("%d lines in %q", len(b.lines), b.data)
				}
				got = append(got, strings.ReplaceAll(string(b.data), "\n", " "))
			}
			if got := strings.Join(got, "|"); got != tt.want {
				t.Errorf("batches %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	b := newBroker()
	j := job(t, b,
		store(t, "a.csv", "symbol,timestamp,price\nA,2024-01-15,1\nA,yesterday,2\nshort\nA,2024-01-15,cheap\n"),
		store(t, "b.ndjson", "\n{\"symbol\":\"B\",\"timestamp\":\"2024-01-15\",\"volume\":\"7\"}\n{\"symbol\":\"B\"}\n"))
	v, err := j.Check(t.Context(), schema.Standard)
	if err != nil {
		t.Fatal(err)
	}
	want := map[schema.Reason]int64{schema.BadTimestamp: 1, schema.NotAnObject: 1, schema.TypeMismatch: 1, schema.MissingRequired: 1}
	if diff := cmp.Diff(want, v.Rejected); diff != "" || v.Accepted != 2 || v.Rows != 6 || b.sent > 0 {
		t.Errorf("%d of %d accepted, %d sent; reasons (-want +got):\n%s", v.Accepted, v.Rows, b.sent, diff)
	}
	var got []string
	for _, e := range v.Examples {
		got = append(got, fmt.Sprintf("%s:%d %s %s %q", filepath.Base(e.File), e.Line, e.Reason, e.Field, e.Value))
	}
	wantExamples := []string{
		`a.csv:3 bad_timestamp timestamp "\"yesterday\""`, `a.csv:4 not_an_object  "\"CSV line 4: 1 cells where the header has 3: short\""`,
		`a.csv:5 type_mismatch price "\"cheap\""`, `b.ndjson:3 missing_required timestamp "{\"symbol\":\"B\"}"`,
	}
	if diff := cmp.Diff(wantExamples, got); diff != "" {
		t.Errorf("examples (-want +got):\n%s", diff)
	}
	if len(v.Coercions) == 0 {
		t.Error("no coercions; a date for a timestamp is one")
	}
	if strict, err := j.Check(t.Context(), schema.Strict); err != nil || strict.Accepted != 0 {
		t.Errorf("STRICT accepts %d, %v; want none of dates for timestamps", strict.Accepted, err)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.csv", "a.csv", "odd[1].csv", "x.txt"} {
		if err := replace(filepath.Join(dir, name), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	all, err := Files(filepath.Join(dir, "b.csv"), filepath.Join(dir, "?.csv"), filepath.Join(dir, "odd[1].csv"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, in := range all {
		got = append(got, filepath.Base(in.Name))
	}
	if diff := cmp.Diff([]string{"b.csv", "a.csv", "odd[1].csv"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	_, err = Files(filepath.Join(dir, "nothing*"), dir, "/dev/null")
	for _, want := range []string{"nothing*: no such file", "is a directory", "/dev/null is no regular file"} {
		if !errors.Is(err, ErrNoInput) || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want one that says %q", err, want)
		}
	}
}

// Objects of a bucket give the messages that the same local files give.
func TestObjects(t *testing.T) {
	files := threeFiles(t)
	local, remote := newBroker(), newBroker()
	run(t, job(t, local, files...))
	bucket := objstore.NewMem()
	for _, name := range files {
		for _, as := range []string{"history/2024/", "history/deeper/"} {
			if _, err := bucket.Create(t.Context(), as+filepath.Base(name), read(t, name), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, err := Objects(t.Context(), bucket, "gs://b/", "history/20*/*")
	if err != nil || len(all) != 3 || all[0].Name != "gs://b/history/2024/a.csv" {
		t.Fatalf("objects = %v, %v", all, err)
	}
	j := job(t, remote, files...)
	j.Inputs = all
	run(t, j)
	if !maps.Equal(local.messages, remote.messages) {
		t.Errorf("messages differ: %d and %d", len(local.messages), len(remote.messages))
	}
	if _, err := Objects(t.Context(), bucket, "gs://b/", "history/*"); !errors.Is(err, ErrNoInput) {
		t.Errorf("error = %v, want ErrNoInput: a * ends at a slash", err)
	}
}
