package query

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/buffetbot/ingest/partition"
)

// maxListed is how many partitions, and objects of each, an explanation names.
const maxListed = 20

// Explain writes what will be read and why the rest will not; after Execute, the
// real figures as well.
func (p *Plan) Explain(w io.Writer) error {
	var b strings.Builder
	p.explainQuery(&b)
	p.explainInputs(&b)
	p.explainSkipped(&b)
	if p.result != nil {
		p.result.explain(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p *Plan) explainQuery(b *strings.Builder) {
	fmt.Fprintf(b, "query of %s %s", p.q.DataType, p.q.def.Version)
	switch {
	case p.snapshot == nil:
		b.WriteString(", no table yet")
	case p.q.AsOf.IsZero():
		fmt.Fprintf(b, ", table version %d and raw objects not consumed by it", p.snapshot.Version)
	default:
		fmt.Fprintf(b, ", as of table version %d", p.snapshot.Version)
	}
	b.WriteString("\n")
	for i, c := range p.q.conditions {
		fmt.Fprintf(b, "  %-5s  %s\n", [2]string{"and", "where"}[bit(i == 0)], c.text)
	}
	if p.q.Limit > 0 {
		fmt.Fprintf(b, "  limit  %d\n", p.q.Limit)
	}
	plain, keyed := newColumns(p.q, false), newColumns(p.q, true)
	fmt.Fprintf(b, "  columns: %d of %d given, %d read, %d where rows are merged by identity\n",
		len(p.q.output), len(p.q.def.Fields), len(plain.read), len(keyed.read))
}

// A tally sums up objects.
type tally struct {
	files   int
	bytes   int64
	rows    int64
	unsized bool // the rows of some are not known
}

func (t *tally) add(size, rows int64) {
	t.files++
	t.bytes += size
	t.rows += max(rows, 0)
	t.unsized = t.unsized || rows < 0
}

func (t tally) String() string {
	rows := fmt.Sprintf("%d rows", t.rows)
	if t.unsized {
		rows += " or more"
	}
	return fmt.Sprintf("%d files, %s, %s", t.files, bytesText(t.bytes), rows)
}

// bytesText is a size for people.
func bytesText(n int64) string {
	unit, v := "B", float64(n)
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if v < 1024 {
			break
		}
		unit, v = u, v/1024
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

func kindOf(raw bool) string {
	if raw {
		return "raw"
	}
	return "processed"
}

func (p *Plan) explainInputs(b *strings.Builder) {
	var all tally
	for _, in := range p.inputs {
		all.add(in.size, in.rows)
	}
	fmt.Fprintf(b, "read: %s\n", all)
	days := 0
	for rest := p.inputs; len(rest) > 0; days++ {
		n := 1
		for n < len(rest) && rest[n].day == rest[0].day {
			n++
		}
		if days < maxListed {
			explainDay(b, rest[:n])
		}
		rest = rest[n:]
	}
	if days > maxListed {
		fmt.Fprintf(b, "  and %d partitions more\n", days-maxListed)
	}
}

func explainDay(b *strings.Builder, day []*input) {
	merged := 0
	for _, in := range day {
		if in.keyed {
			merged++
		}
	}
	fmt.Fprintf(b, "  %s: %d files, %d of them merged by identity\n", day[0].day, len(day), merged)
	for i, in := range day {
		if i == maxListed {
			fmt.Fprintf(b, "    and %d files more\n", len(day)-maxListed)
			break
		}
		fmt.Fprintf(b, "    %-9s  %9s  %s\n", kindOf(in.raw), bytesText(in.size), in.name)
	}
}

func (p *Plan) explainSkipped(b *strings.Builder) {
	type reason struct {
		raw bool
		why string
	}
	reasons := map[reason]*tally{}
	for _, s := range p.skipped {
		r := reason{s.raw, s.why}
		if reasons[r] == nil {
			reasons[r] = &tally{}
		}
		reasons[r].add(s.size, s.rows)
	}
	sorted := slices.SortedFunc(maps.Keys(reasons), func(a, b reason) int {
		return cmp.Or(cmp.Compare(bit(a.raw), bit(b.raw)), cmp.Compare(a.why, b.why))
	})
	if len(sorted) == 0 {
		b.WriteString("not read: nothing\n")
	}
	for _, r := range sorted {
		fmt.Fprintf(b, "not read: %s %s: %s\n", kindOf(r.raw), *reasons[r], r.why)
	}
}

func (r *Result) explain(b *strings.Builder) {
	fmt.Fprintf(b, "executed: %d rows given of %d read; %d duplicates left out (%d with other values)\n", r.Rows, r.RowsRead, r.Duplicates, r.Conflicts)
	fmt.Fprintf(b, "  %d files opened; %d of %d row groups excluded by their statistics\n", r.Files, r.RowGroupsPruned, r.RowGroups)
	fmt.Fprintf(b, "  %s in %d requests", bytesText(r.Bytes), r.Requests)
	if r.Restarts > 0 {
		fmt.Fprintf(b, "; planned again %d times, since objects had gone", r.Restarts)
	}
	b.WriteString("\n")
}

// Figures are a plan's totals, before anything is read.
type Figures struct {
	Files, Bytes               int64 // to be read
	SkippedFiles, SkippedBytes int64
	Partitions                 int
}

// Figures sums the plan up.
func (p *Plan) Figures() Figures {
	var f Figures
	days := map[partition.Day]bool{}
	for _, in := range p.inputs {
		f.Files++
		f.Bytes += in.size
		days[in.day] = true
	}
	for _, s := range p.skipped {
		f.SkippedFiles++
		f.SkippedBytes += s.size
	}
	f.Partitions = len(days)
	return f
}
