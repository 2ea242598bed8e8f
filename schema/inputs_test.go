package schema

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An oddInput is one of the bad and odd inputs that the contract numbers, with
// what becomes of it.
type oddInput struct {
	n     int // 0: a reason that none of the numbered inputs has
	what  string
	cases []oddCase
	also  []string // "folder TestName": where what other rooms do about it is tested

	differs bool // from the plain outcome: docs/adr/008-odd-inputs.md says why
}

// An oddCase is one message and its outcome: rows, or rejections, or both.
type oddCase struct {
	name     string
	dataType string   // market_data
	change   []string // of the base record; where data is empty
	data     string
	attrs    []string
	level    Level

	rows     int // 1, where no reason is given
	rejected []Reason
	at       []int32 // the index of each rejection; 0s

	field, want string // of the first row
	counted     string // coercions of that field, or with none of unknown names
	flags       string // of the first row; stale_event_time is left out
	each        string // what all rows must have in _id
}

func (c oddCase) message() *Message {
	data := c.data
	if data == "" && c.name != "no bytes" {
		data = record(c.dataType, c.change...)
	}
	return attributed([]byte(data), c.attrs...)
}

// outcome is what decoding the case's message gives.
func (c oddCase) outcome(t *testing.T) (rejected []Rejection, dec *Decoder, rows *Columns) {
	t.Helper()
	def := definition(t, c.dataType)
	dec, rows = def.NewDecoder(c.level), NewColumns(def)
	return slices.Clone(dec.Decode(c.message(), rows)), dec, rows
}

func (c oddCase) check(t *testing.T, rejected []Rejection, dec *Decoder, rows *Columns) {
	t.Helper()
	var reasons []Reason
	var at []int32
	for _, r := range rejected {
		reasons, at = append(reasons, r.Reason), append(at, r.Index)
	}
	if c.at == nil {
		c.at = make([]int32, len(c.rejected))
	}
	if len(c.rejected) == 0 && c.rows == 0 {
		c.rows = 1
	}
	if !slices.Equal(reasons, c.rejected) || !slices.Equal(at, c.at) && len(at) > 0 || rows.Len() != c.rows {
		t.Fatalf("%d rows, rejected %q at %d; want %d rows, rejected %q at %d", rows.Len(), reasons, at, c.rows, c.rejected, c.at)
	}
	if c.rows == 0 {
		return
	}
	rec := rows.Record()
	if got := cell(rec, c.field, 0); c.field != "" && got != c.want {
		t.Errorf("%s = %q, want %q", c.field, got, c.want)
	}
	var counted []string
	dec.Coercions(func(field, kind string, n int64) {
		if field == c.field && kind != "defaulted" || field == "" {
			counted = append(counted, kind)
		}
	})
	slices.Sort(counted)
	if got := strings.Join(counted, " "); got != c.counted {
		t.Errorf("counted %q, want %q", got, c.counted)
	}
	flags := without(dec.def.FlagNames(rows.cols[dec.def.Own+sysFlags].i64[0]), "stale_event_time")
	if got := strings.Join(flags, " "); got != c.flags {
		t.Errorf("flags %q, want %q", got, c.flags)
	}
	for row := range rows.Len() {
		if got := cell(rec, ColID, row); c.each != "" && got != c.each {
			t.Fatalf("row %d: _id %s, want %s", row, got, c.each)
		}
	}
}

// Each numbered input has the outcome that the contract gives it, at once and
// when the message comes again to the same decoder.
func TestBadAndOddInputs(t *testing.T) {
	for _, in := range oddInputs(t) {
		for _, c := range in.cases {
			if c.dataType == "" {
				c.dataType = "market_data"
			}
			t.Run(strings.TrimSpace(fmt.Sprintf("%02d %s %s", in.n, in.what, c.name)), func(t *testing.T) {
				rejected, dec, rows := c.outcome(t)
				c.check(t, rejected, dec, rows)
				for _, r := range rejected {
					if r.Explanation == "" {
						t.Errorf("%s is not explained", r.Reason)
					}
				}
				rows.Reset()
				again := dec.Decode(c.message(), rows)
				if len(again) != len(rejected) || len(again) > 0 && again[0].Reason != rejected[0].Reason {
					t.Errorf("the second time: %v", verdicts(again))
				}
			})
		}
	}
}

// The list of inputs is complete, and what it points to exists.
func TestEveryNumberedInputIsThereOnce(t *testing.T) {
	times := map[int]int{}
	for _, in := range oddInputs(t) {
		times[in.n]++
		if in.n > 0 && len(in.cases) == 0 && len(in.also) == 0 {
			t.Errorf("%d %s: tested nowhere", in.n, in.what)
		}
		for _, place := range in.also {
			mustBeTested(t, place)
		}
	}
	for n := 1; n <= 60; n++ {
		if times[n] != 1 {
			t.Errorf("number %d stands in the list %d times", n, times[n])
		}
	}
	if len(times) != 61 { // and 0
		t.Errorf("%d numbers", len(times)-1)
	}
}

// What differs from the plain outcome is explained, and nothing else is.
func TestEveryDifferenceIsExplained(t *testing.T) {
	text, err := os.ReadFile("../docs/adr/008-odd-inputs.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[int]bool{}
	for _, match := range regexp.MustCompile(`(?m)^\| \*\*(\d+)\*\* `).FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(match[1]))
		explained[n] = true
	}
	for _, in := range oddInputs(t) {
		if in.differs != explained[in.n] {
			t.Errorf("%d %s: differs %v, explained %v", in.n, in.what, in.differs, explained[in.n])
		}
	}
}
