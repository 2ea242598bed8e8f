package compaction

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A month is a model of a table while raw objects arrive: sizes and ranges of
// files, no rows.
type month struct {
	r        *rand.Rand
	o        Options
	spread   bool // rows have times of their own; else all of a day have one
	now      time.Time
	raw      map[partition.Day][]partition.RawFile
	live     map[partition.Day][]partition.File
	seq      int
	ingested int64
	written  int64
	merges   int64
	most     int // live files of a day
}

var firstDay = partition.DayOf(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro())

// arrive makes a raw object of a day, with event times up to at.
func (m *month) arrive(day partition.Day, at time.Time, bytes int64) {
	m.seq++
	from, to := day.Start().UnixMicro(), day.Start().UnixMicro()
	if m.spread {
		from, to = at.Add(time.Microsecond-10*time.Minute).UnixMicro(), at.UnixMicro()
	}
	m.raw[day] = append(m.raw[day], partition.RawFile{
		Name: fmt.Sprintf("raw/%d", m.seq), Key: partition.Key{Type: "market_data", Day: day},
		Object:  objstore.Object{Size: bytes, Created: m.now},
		Summary: &columnar.Summary{Rows: bytes / 20, First: from, Last: to},
	})
	m.ingested += bytes
}

// compact does to sizes what a run does to files.
func (m *month) compact(t *testing.T) {
	m.o.Now = m.now
	for day := firstDay; day < firstDay+31; day++ {
		g := Group{Key: partition.Key{Type: "market_data", Day: day}, Raw: m.raw[day], Live: m.live[day]}
		if choose(&g, m.o); g.Left != "" || len(g.Raw)+len(g.Merge) == 0 {
			continue
		}
		for _, f := range overlapping(g.Live, extents(g.Raw)) {
			if !slices.ContainsFunc(g.Merge, func(o partition.File) bool { return o.Path == f.Path }) {
				t.Fatalf("%s: %s may hold duplicates and is not merged", g.Key, f.Path)
			}
		}
		m.merge(g)
		m.most = max(m.most, len(m.live[day]))
	}
}

func (m *month) merge(g Group) {
	day, sum := g.Key.Day, int64(0)
	from, to := int64(1<<62), int64(-1<<62)
	for _, r := range g.Raw {
		sum, from, to = sum+r.Object.Size, min(from, r.Summary.First), max(to, r.Summary.Last)
	}
	gone := map[string]bool{}
	for _, f := range g.Merge {
		sum, from, to, gone[f.Path] = sum+f.Size, min(from, f.FirstEvent), max(to, f.LastEvent), true
	}
	whole := len(g.Merge) == len(g.Live)
	left := slices.DeleteFunc(slices.Clone(g.Live), func(f partition.File) bool { return gone[f.Path] })
	n := (sum + m.o.TargetFileSize - 1) / m.o.TargetFileSize
	for i := range n {
		m.seq++
		first, last := string(rune('A'+26*i/n)), string(rune('A'+26*(i+1)/n-1))+"~"
		left = append(left, partition.File{Path: fmt.Sprint(m.seq), Size: sum / n, First: first, Last: last, FirstEvent: from, LastEvent: to, Whole: whole, Modified: m.now})
	}
	m.live[day], m.raw[day] = left, nil
	m.written += sum
	m.merges++
}

func (m *month) run(t *testing.T, mean int64) {
	m.raw, m.live = map[partition.Day][]partition.RawFile{}, map[partition.Day][]partition.File{}
	for m.now = firstDay.Start(); m.now.Before((firstDay + 32).Start()); m.now = m.now.Add(10 * time.Minute) {
		today := partition.DayOf(m.now.UnixMicro())
		if today < firstDay+30 {
			for range 1 + m.r.IntN(4) {
				m.arrive(today, m.now, 1+m.r.Int64N(2*mean))
			}
			if m.r.IntN(20) == 0 { // late, of a day before
				day := max(firstDay, today-1-partition.Day(m.r.IntN(5)))
				m.arrive(day, day.Start().Add(time.Duration(m.r.Int64N(24*60))*time.Minute), 1+m.r.Int64N(mean))
			}
		}
		m.compact(t)
	}
	m.now = m.now.Add(30 * 24 * time.Hour)
	m.compact(t) // everything is at rest
}

func TestAMonthIsNotWrittenTooOften(t *testing.T) {
	for _, spread := range []bool{true, false} {
		for _, mean := range []int64{100 << 10, 1 << 20, 4 << 20} {
			o := Options{Policy: DefaultPolicy}.withDefaults()
			m := &month{r: rand.New(rand.NewPCG(1, uint64(mean))), o: o, spread: spread}
			m.run(t, mean)
			eager := &month{r: rand.New(rand.NewPCG(1, uint64(mean))), o: Options{}.withDefaults(), spread: spread}
			eager.run(t, mean)
			of := func(m *month) float64 { return float64(m.written) / float64(m.ingested) }
			bound := o.Policy.Amplification(o.TargetFileSize)
			t.Logf("times spread %v, raw objects of %s: %.1f bytes written for each that came (bound %.0f, without policy %.1f), %d merges (%d), at most %d live files of a day",
				spread, size(mean), of(m), bound, of(eager), m.merges, eager.merges, m.most)
			if of(m) > bound {
				t.Errorf("%.1f bytes written for each that came, bound %.1f", of(m), bound)
			}
			if of(m) > of(eager)/3 {
				t.Errorf("%.1f bytes written for each that came, without policy %.1f", of(m), of(eager))
			}
			for day := firstDay; day < firstDay+30; day++ {
				total := bytesOf(m.live[day])
				if n := int64(len(m.live[day])); n != (total+o.TargetFileSize-1)/o.TargetFileSize || len(m.raw[day]) > 0 {
					t.Errorf("%s at rest: %d files of %s, %d raw objects", day, n, size(total), len(m.raw[day]))
				}
			}
		}
	}
}

// Every choice, with its reason.
func TestChoose(t *testing.T) {
	const MiB = 1 << 20
	day := firstDay + 14
	noonOf := day.Start().Add(12 * time.Hour)
	file := func(path string, bytes int64, first, last string, from, to time.Duration, whole bool) partition.File {
		return partition.File{Path: path, Key: partition.Key{Type: "market_data", Day: day}, Size: bytes, First: first, Last: last,
			FirstEvent: day.Start().Add(from).UnixMicro(), LastEvent: day.Start().Add(to).UnixMicro(), Whole: whole, Modified: noonOf.Add(-time.Hour)}
	}
	raw := func(symbol string, bytes int64, from, to, age time.Duration) partition.RawFile {
		n := partition.RawName{Key: partition.Key{Type: "market_data", Day: day}, Category: "market", First: symbol, Multi: symbol == "", Time: noonOf.UnixMicro(), Major: 1, Writer: "w"}
		return partition.RawFile{Name: n.String(), Key: n.Key, Object: objstore.Object{Size: bytes, Created: noonOf.Add(-age)},
			Summary: &columnar.Summary{Rows: 1, First: day.Start().Add(from).UnixMicro(), Last: day.Start().Add(to).UnixMicro()}}
	}
	h := time.Hour
	huge := []partition.File{file("a-f", 250*MiB, "A", "F", 0, 24*h, true), file("g-z", 250*MiB, "G", "Z", 0, 24*h, true)}
	for _, tt := range []struct {
		name string
		raw  []partition.RawFile
		live []partition.File
		late time.Duration // after noon
		want string        // the paths merged
		left string
		why  string
	}{
		{name: "the first rows", raw: []partition.RawFile{raw("", 1000, 0, h, 0)}},
		{name: "few beside much", raw: []partition.RawFile{raw("", MiB, 0, 24*h, h)}, live: []partition.File{file("big", 100*MiB, "A", "Z", 0, 12*h, false)},
			left: "waits for more: 1.0 MiB new would write 100.0 MiB again; merged at 25.0 MiB or in 5h0m0s", want: "big"},
		{name: "enough beside much", raw: []partition.RawFile{raw("", 25*MiB, 0, 24*h, 0)}, live: []partition.File{file("big", 100*MiB, "A", "Z", 0, 12*h, false)}, want: "big"},
		{name: "few that have waited", raw: []partition.RawFile{raw("", MiB, 0, 24*h, 6*h)}, live: []partition.File{file("big", 100*MiB, "A", "Z", 0, 12*h, false)}, want: "big",
			why: "which have waited long enough"},
		{name: "few beside little", raw: []partition.RawFile{raw("", 1, 0, 24*h, 0)}, live: []partition.File{file("small", 4*MiB, "A", "Z", 0, 12*h, false)}, want: "small"},
		{name: "later times", raw: []partition.RawFile{raw("", MiB, 11*h, 12*h, 0)}, live: []partition.File{file("morning", 100*MiB, "A", "Z", 0, 11*h-1, false)},
			why: "beside 1 live file with other symbols or times"},
		{name: "the last instant is shared", raw: []partition.RawFile{raw("", 25*MiB, 11*h, 12*h, 0)}, live: []partition.File{file("morning", 100*MiB, "A", "Z", 0, 11*h, false)}, want: "morning"},
		{name: "another symbol", raw: []partition.RawFile{raw("M", MiB, 0, h, 0)}, live: []partition.File{file("a-l", 100*MiB, "A", "L", 0, 12*h, false), file("m", 4*MiB, "M", "M", 0, 12*h, false)}, want: "m"},
		{name: "small files are taken along while they are no larger", raw: []partition.RawFile{raw("", 2*MiB, 11*h, 12*h, 0)},
			live: []partition.File{file("1", 1*MiB, "A", "Z", 0, h, false), file("2", 3*MiB, "A", "Z", 2*h, 3*h, false), file("3", 7*MiB, "A", "Z", 4*h, 5*h, false)}, want: "1 2",
			why: "2 small files of them taken along, 1 other left as they are"},
		{name: "nothing new on an open day", live: []partition.File{file("1", 1, "A", "Z", 0, h, false), file("2", 1, "A", "Z", 0, h, false)}},
		{name: "the day is over", late: 18 * h, live: []partition.File{file("1", 1, "A", "Z", 0, h, false), file("2", 1, "A", "Z", 0, h, false)}, want: "1 2",
			why: "the day is over: its final form, of 2 live files"},
		{name: "the day is over, with rows that waited", late: 18 * h, raw: []partition.RawFile{raw("", 1, 0, h, 0)},
			live: []partition.File{file("1", 100*MiB, "A", "Z", 0, h, false), file("2", 1, "A", "Z", 0, h, false)}, want: "1 2"},
		{name: "sealed", late: 18 * h, live: huge},
		{name: "late data on a sealed day", late: 18 * h, raw: []partition.RawFile{raw("C", MiB, h, h, 0)}, live: huge, want: "a-f",
			left: "waits for more: 1.0 MiB new would write 250.0 MiB again; merged at 62.5 MiB or in 6h0m0s", why: "late data on a sealed day: 1 new raw object"},
		{name: "late data that has waited, of one symbol of a huge day", late: 24 * h, raw: []partition.RawFile{raw("C", MiB, h, h, 0)}, live: huge, want: "a-f",
			why: "which have waited long enough, to join 1 live file (250.0 MiB, 0 rows), 1 other left as they are"},
		{name: "sealed and changed lately", late: 18 * h, live: []partition.File{huge[0], file("g-z", 1, "G", "Z", 0, h, false)},
			left: "sealed before and changed since: sealed again once it has been at rest for 24h0m0s"},
		{name: "sealed and changed a day ago", late: 23 * h, live: []partition.File{huge[0], file("g-z", 1, "G", "Z", 0, h, false)}, want: "a-f g-z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := Options{Policy: DefaultPolicy, Now: noonOf.Add(tt.late)}.withDefaults()
			g := Group{Key: partition.Key{Type: "market_data", Day: day}, Raw: tt.raw, Live: tt.live}
			choose(&g, o)
			g.cost(o)
			g.Why = g.why(o.Now)
			var got []string
			for _, f := range g.Merge {
				got = append(got, f.Path)
			}
			if strings.Join(got, " ") != tt.want || strings.ReplaceAll(g.Left, "18h0m0s", "6h0m0s") != tt.left && g.Left != tt.left {
				t.Errorf("merges %q, left %q; want %q, %q", got, g.Left, tt.want, tt.left)
			}
			if !strings.Contains(g.Why, tt.why) {
				t.Errorf("why %q, want %q in it", g.Why, tt.why)
			}
		})
	}
}
