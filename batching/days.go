package batching

import "github.com/buffetbot/ingest/schema"

// A grouping is the rows of a message by day, those of one day in their order.
type grouping struct {
	days  []int32         // distinct, as they first come
	ends  []int32         // of each day's rows in order
	order []int32         // the rows, or nothing where they are of one day
	of    []int32         // the day of each row, its place in days
	place map[int32]int32 // of days, once they are many
}

// fewDays are found by looking at each.
const fewDays = 16

// split groups rows, of which there is at least one.
func (g *grouping) split(rows *schema.Columns) {
	n := rows.Len()
	first := rows.Day(0)
	g.days, g.ends, g.order = append(g.days[:0], first), append(g.ends[:0], 0), g.order[:0]
	clear(g.place)
	row := 0
	for row < n && rows.Day(row) == first {
		row++
	}
	g.ends[0] = int32(row)
	if row == n {
		return
	}
	g.of = append(g.of[:0], make([]int32, n)...)
	for last := int32(0); row < n; row++ {
		if day := rows.Day(row); g.days[last] != day {
			last = g.find(day)
		}
		g.of[row] = last
		g.ends[last]++
	}
	at := int32(0)
	for i, count := range g.ends { // counts become where each day begins, then ends
		g.ends[i], at = at, at+count
	}
	g.order = append(g.order, g.of...)
	for row, day := range g.of {
		g.order[g.ends[day]] = int32(row)
		g.ends[day]++
	}
}

// forget gives back what a message of many days took: the next has few.
func (g *grouping) forget() {
	if len(g.days) > 64 {
		*g = grouping{}
	}
}

// find is the place of a day, a new one if need be.
func (g *grouping) find(day int32) int32 {
	n := int32(len(g.days))
	if n <= fewDays {
		for i, known := range g.days {
			if known == day {
				return int32(i)
			}
		}
	} else if at, ok := g.place[day]; ok {
		return at
	}
	g.days, g.ends = append(g.days, day), append(g.ends, 0)
	if n == fewDays { // there are too many to look at each from now on
		if g.place == nil {
			g.place = map[int32]int32{}
		}
		for i, known := range g.days {
			g.place[known] = int32(i)
		}
	} else if n > fewDays {
		g.place[day] = n
	}
	return n
}

// A selection is some rows of a message, all of one day.
type selection struct {
	rows     *schema.Columns
	from, to int     // of the rows, where they lie together
	picked   []int32 // the rows, where they do not
}

// day is a day's rows.
func (g *grouping) day(rows *schema.Columns, i int) selection {
	from := int32(0)
	if i > 0 {
		from = g.ends[i-1]
	}
	if len(g.order) == 0 {
		return selection{rows: rows, from: 0, to: rows.Len()}
	}
	picked := g.order[from:g.ends[i]]
	if first, last := picked[0], picked[len(picked)-1]; int(last-first) == len(picked)-1 {
		return selection{rows: rows, from: int(first), to: int(last) + 1}
	}
	return selection{rows: rows, picked: picked}
}

func (s selection) len() int {
	if s.picked != nil {
		return len(s.picked)
	}
	return s.to - s.from
}

// cut takes the first n rows off.
func (s *selection) cut(n int) selection {
	head := *s
	if s.picked != nil {
		head.picked, s.picked = s.picked[:n:n], s.picked[n:]
		return head
	}
	head.to = s.from + n
	s.from = head.to
	return head
}

func (s selection) appendTo(c *schema.Columns) {
	if s.picked != nil {
		c.AppendRows(s.rows, s.picked)
		return
	}
	c.Append(s.rows, s.from, s.to)
}

func (s selection) pack(dst []byte) []byte {
	if s.picked != nil {
		return s.rows.AppendPackedRows(dst, s.picked)
	}
	return s.rows.AppendPacked(dst, s.from, s.to)
}
