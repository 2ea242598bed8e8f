package compaction

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/buffetbot/ingest/partition"
)

// A Policy bounds how often the same bytes are written. The zero Policy merges
// every day with new raw objects, whole, at every run.
//
// Where Share is set, new rows are merged with those live files alone that may
// hold rows of the same symbol and time, since no other can hold their identity
// (C2), and only once they are worth it. Bytes are then written again for three
// reasons, each of them bounded:
//
//   - new rows are merged with files that overlap them: only where these are at
//     most 1/Share times as many bytes, or Floor, or the new rows have waited;
//   - small files are taken along: only where the rest of the merge is at least
//     as large, so that a row is in a file twice the size afterwards;
//   - the day is sealed: made of all of its rows, once it has been over for SealAfter.
//
// See Amplification. Raw objects that wait are read by the lake's own readers all
// the same; other engines see their rows when they are merged.
type Policy struct {
	Share     float64       // of the bytes to be written again, that new ones have to come to; 0: no policy
	Floor     int64         // bytes that are written again whatever comes
	MaxWait   time.Duration // the longest that raw objects of a day wait; 0: for ever, or until the day is sealed
	SealAfter time.Duration // from a day's end to its final form
	LateWait  time.Duration // MaxWait of a day that is over; from a sealed day's last change to its next sealing
}

// DefaultPolicy is that of the compactor command.
var DefaultPolicy = Policy{Share: .25, Floor: 4 << 20, MaxWait: 6 * time.Hour, SealAfter: 6 * time.Hour, LateWait: 24 * time.Hour}

func (p Policy) on() bool { return p.Share > 0 }

// Amplification is how many bytes are written at most for each byte of raw objects
// that arrives on the day it tells of, with files of the target size: once itself,
// 1/Share times for the rows beside it, once for each time a small file doubles,
// and once for the day's final form. Not counted are Floor bytes for each merge,
// and merges of what has waited: at most a day's bytes for each MaxWait or LateWait.
func (p Policy) Amplification(target int64) float64 {
	doublings := math.Ceil(math.Log2(max(float64(target)/float64(max(p.Floor, 1)), 1)))
	return 1 + 1/p.Share + doublings + 1
}

// A chooser decides on one partition.
type chooser struct {
	o     Options
	p     Policy
	live  []partition.File
	raw   []partition.RawFile
	all   int64 // bytes of live
	fresh int64 // bytes of raw
}

// choose sets what of the group is merged, or why it is left alone.
func choose(g *Group, o Options) {
	c := chooser{o: o, p: o.Policy, live: g.Live, raw: g.Raw}
	for _, f := range g.Live {
		c.all += f.Size
	}
	for _, r := range g.Raw {
		c.fresh += r.Object.Size
	}
	switch {
	case !c.p.on():
		if len(g.Raw) > 0 {
			g.Merge, g.Final = g.Live, true
		}
	case c.over(g.Key.Day):
		c.closed(g)
	default:
		c.open(g)
	}
}

// over tells whether the day is to get its final form.
func (c *chooser) over(day partition.Day) bool {
	return !c.o.Now.Before((day + 1).Start().Add(c.p.SealAfter))
}

// open decides on a day that goes on.
func (c *chooser) open(g *Group) {
	if len(c.raw) == 0 {
		return
	}
	g.Merge = overlapping(c.live, extents(c.raw))
	c.worth(g, c.p.MaxWait)
	if g.Left == "" {
		c.takeAlong(g)
	}
}

// closed decides on a day that is over.
func (c *chooser) closed(g *Group) {
	unsealed := slices.ContainsFunc(c.live, func(f partition.File) bool { return !f.Whole })
	if len(c.raw) == 0 {
		if len(c.live) > 1 && unsealed {
			c.seal(g)
		}
		return
	}
	g.Late = len(c.live) > 0 && !unsealed
	g.Merge = overlapping(c.live, extents(c.raw))
	if !unsealed || len(c.live) == 1 || c.justSealed() {
		c.worth(g, c.p.LateWait)
	}
	if g.Left == "" && (c.all <= c.o.TargetFileSize || unsealed && !c.justSealed()) {
		g.Merge, g.Final = c.live, true // at once
	}
}

// seal makes a day's final form of files alone, once it has been at rest.
func (c *chooser) seal(g *Group) {
	if c.justSealed() {
		g.Left = "sealed before and changed since: sealed again once it has been at rest for " + c.p.LateWait.String()
		return
	}
	g.Merge, g.Final = c.live, true
}

// justSealed tells whether part of the day is in its final form, and the rest
// has changed lately.
func (c *chooser) justSealed() bool {
	some, newest := false, time.Time{}
	for _, f := range c.live {
		some = some || f.Whole
		if f.Modified.After(newest) {
			newest = f.Modified
		}
	}
	return some && c.o.Now.Sub(newest) < c.p.LateWait
}

// worth leaves the group alone while the new bytes are few beside those to be
// written again, unless they have waited long enough.
func (c *chooser) worth(g *Group, wait time.Duration) {
	again := bytesOf(g.Merge)
	if again <= c.p.Floor || float64(c.fresh) >= c.p.Share*float64(again) {
		return
	}
	age := c.o.Now.Sub(oldest(c.raw))
	if wait > 0 && age >= wait {
		g.Waited = true
		return
	}
	g.Left = fmt.Sprintf("waits for more: %s new would write %s again; merged at %s", size(c.fresh), size(again), size(int64(c.p.Share*float64(again))))
	if wait > 0 {
		g.Left += fmt.Sprintf(" or in %s", (wait - age).Round(time.Second))
	}
}

// takeAlong adds small files, smallest first, each no larger than the rest of the
// merge.
func (c *chooser) takeAlong(g *Group) {
	taken := map[string]bool{}
	for _, f := range g.Merge {
		taken[f.Path] = true
	}
	var others []partition.File
	for _, f := range c.live {
		if !taken[f.Path] && f.Size < c.o.TargetFileSize {
			others = append(others, f)
		}
	}
	slices.SortFunc(others, func(a, b partition.File) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Path, b.Path))
	})
	sum := c.fresh + bytesOf(g.Merge)
	for _, f := range others {
		if f.Size > sum {
			break
		}
		taken[f.Path], sum, g.Small = true, sum+f.Size, append(g.Small, f.Path)
	}
	merge := make([]partition.File, 0, len(taken))
	for _, f := range c.live {
		if taken[f.Path] {
			merge = append(merge, f)
		}
	}
	g.Merge = merge
}

func bytesOf(files []partition.File) int64 {
	sum := int64(0)
	for _, f := range files {
		sum += f.Size
	}
	return sum
}
