package sim

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/buffetbot/ingest/columnar"
	"github.com/buffetbot/ingest/invariant"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

const market = "market_data"

// A model is what must be true of the lake, kept up from what happens to the
// store and nothing else.
type model struct {
	w     *World
	grace time.Duration // before a consumed raw object may go
	keep  time.Duration // before a removed file may go

	contents map[string]content         // of every data object there ever was, by name
	durable  map[string]map[string]bool // identities of all raw objects ever durable, by day
	entries  map[int64]bool             // versions of the log that were ever made

	head     *partition.Snapshot
	versions []string                          // the live files of each version
	consumed map[string]time.Time              // raw objects, since when
	rows     map[partition.Key]int64           // raw rows ever consumed
	ids      map[partition.Key]map[string]bool // live identities
	removals map[string]time.Time              // paths that were live and are no longer, since when
	gone     map[string]bool                   // names deleted once

	ever     map[string]bool // identities that were ever durable, erased or not
	events   int             // counts what happens
	made     map[string]int  // raw objects, the event in which each was last made
	taken    map[string]int  // raw objects, the event in which each was last consumed
	erasures map[string]erasure
	erased   int // days, so often
	ghosts   []int64
}

// An erasure is the last one of a day.
type erasure struct {
	event int
	ids   map[string]bool // all identities that were ever erased of it
}

type content struct {
	crc uint32
	ids []string
}

func newModel(w *World) *model {
	return &model{w: w, contents: map[string]content{}, durable: map[string]map[string]bool{}, entries: map[int64]bool{},
		consumed: map[string]time.Time{}, rows: map[partition.Key]int64{}, ids: map[partition.Key]map[string]bool{}, removals: map[string]time.Time{}, gone: map[string]bool{},
		ever: map[string]bool{}, made: map[string]int{}, taken: map[string]int{}, erasures: map[string]erasure{}}
}

var (
	rawRoot  = partition.RawRoot(market)
	root     = partition.TableRoot(market)
	dataRoot = root + "year="
	logRoot  = root + "_delta_log/"
)

// dayOf is the folders that say which day an object is of.
func dayOf(name string) string {
	if at := strings.Index(name, "year="); at >= 0 {
		return name[at:strings.LastIndexByte(name, '/')]
	}
	return ""
}

func (m *model) created(o *op, made objstore.Object) {
	name := o.name
	switch {
	case strings.HasPrefix(name, rawRoot), strings.HasPrefix(name, dataRoot):
		m.data(name, made, o.data)
	case strings.HasPrefix(name, logRoot):
		m.logChanged(name)
	}
}

// data notes an object of rows (C6).
func (m *model) data(name string, made objstore.Object, data []byte) {
	m.events++
	m.made[name] = m.events
	before, again := m.contents[name]
	if again {
		if m.gone[name] {
			m.w.result.Stats.Revived++
		}
		if before.crc != made.CRC32C {
			m.w.violate("C6", "%s is made again with other bytes", name)
		}
		return
	}
	ids, err := m.identities(name, data)
	if err != nil {
		m.w.violate("C10", "%s cannot be read: %v", name, err)
		return
	}
	m.contents[name] = content{made.CRC32C, ids}
	if strings.HasPrefix(name, rawRoot) {
		if m.w.broker != nil {
			m.w.broker.placed(name, ids)
		}
		day := dayOf(name)
		if m.durable[day] == nil {
			m.durable[day] = map[string]bool{}
		}
		for _, id := range ids {
			m.durable[day][id] = true
			m.ever[id] = true
		}
	}
}

// seen is the identities of all objects that were ever decoded, by their bytes.
var seen sync.Map

func (m *model) identities(name string, data []byte) ([]string, error) {
	sum := sha256.Sum256(data)
	if ids, ok := seen.Load(sum); ok {
		return ids.([]string), nil
	}
	ids, err := m.decode(name, data)
	if err == nil {
		seen.Store(sum, ids)
	}
	return ids, err
}

func (m *model) decode(name string, data []byte) ([]string, error) {
	f, err := columnar.OpenBytes(name, data)
	if err != nil {
		return nil, err
	}
	rec, err := f.Read(context.Background(), m.w.def, nil, nil)
	if err != nil {
		return nil, err
	}
	return invariant.Identities(rec, m.w.def), nil
}

func (m *model) replaced(o *op) {
	if strings.HasPrefix(o.name, rawRoot) || strings.HasPrefix(o.name, dataRoot) || strings.HasSuffix(o.name, ".json") && strings.HasPrefix(o.name, logRoot) {
		m.w.violate("C6", "%s is replaced", o.name)
	}
}

// removed checks C7.
func (m *model) removed(o *op, was objstore.Object) {
	m.gone[o.name] = true
	now := time.Now()
	switch name := o.name; {
	case strings.HasPrefix(name, rawRoot):
		m.w.result.Stats.RawDeleted++
		if at, ok := m.consumed[name]; !ok {
			m.w.violate("C7", "raw object %s is deleted, no version has consumed it", name)
		} else if age := now.Sub(at); age < m.grace {
			m.w.violate("C7", "raw object %s is deleted %s after it was consumed, the grace is %s", name, age, m.grace)
		}
		if m.w.archive != nil {
			if kept, err := m.w.archive.Stat(context.Background(), name); err != nil || kept.CRC32C != m.contents[name].crc {
				m.w.violate("C7", "raw object %s is deleted, the archive does not have its bytes: %v", name, err)
			}
		}
	case strings.HasPrefix(name, dataRoot):
		m.removedData(strings.TrimPrefix(name, root), now)
	case strings.HasPrefix(name, logRoot):
		m.w.result.Stats.LogDeleted++
		m.look(name + " deleted")
	}
}

func (m *model) removedData(path string, now time.Time) {
	if m.head != nil {
		if _, live := m.head.Live(path); live {
			m.w.violate("C5", "%s is deleted, it is live", path)
			return
		}
	}
	if at, ok := m.removals[path]; ok {
		m.w.result.Stats.FilesDeleted++
		if age := now.Sub(at); age < m.keep {
			m.w.violate("C7", "%s is deleted %s after it was removed from the table, the retention is %s", path, age, m.keep)
		}
		return
	}
	m.w.result.Stats.Orphans++
	name, err := partition.ParseProcessedName(root + path)
	switch {
	case err != nil:
		m.w.violate("C7", "%s is deleted: %v", path, err)
	case m.head == nil || name.Planned >= m.head.Fence():
		m.w.violate("C7", "orphan %s is deleted, it is not behind the fence", path)
	}
}

// logChanged follows the log.
func (m *model) logChanged(name string) {
	var v int64
	n, err := fmt.Sscanf(strings.TrimPrefix(name, logRoot), "%d", &v)
	if n != 1 || err != nil {
		return
	}
	switch {
	case strings.HasSuffix(name, ".json") && m.entries[v]:
		m.w.result.Stats.Ghosts++
		m.ghosts = append(m.ghosts, v)
	case strings.HasSuffix(name, ".json"):
		m.entries[v] = true
		m.w.result.Stats.Commits++
		if v != int64(len(m.versions)) {
			m.w.violate("log", "entry %d is made, the head is %d", v, len(m.versions)-1)
			return
		}
		m.commit(v)
		return
	case strings.HasSuffix(name, ".parquet"):
		m.w.result.Stats.Checkpoints++
	}
	m.look(name + " made")
}

func (m *model) load(why string) *partition.Snapshot {
	s, err := partition.OpenTable(m.w.store, market, nil).Load(context.Background())
	if err != nil {
		m.w.violate("log", "after %s the table cannot be read: %v", why, plain(err))
		return nil
	}
	return s
}

// look makes sure that a change of the log that is no commit changes no table.
func (m *model) look(why string) {
	s := m.load(why)
	if s == nil || m.head == nil {
		return
	}
	if s.Version != m.head.Version || fingerprint(s) != m.versions[s.Version] {
		m.w.violate("log", "after %s the table reads as another: version %d, not %d", why, s.Version, m.head.Version)
		return
	}
	m.marks(s)
}

// marks checks that a mark that allows a deletion is permanent.
func (m *model) marks(s *partition.Snapshot) {
	if m.head != nil && s.Fence() < m.head.Fence() {
		m.w.violate("P2", "the fence went from %d to %d", m.head.Fence(), s.Fence())
	}
}

func fingerprint(s *partition.Snapshot) string {
	var b strings.Builder
	for _, f := range s.Files(nil) {
		fmt.Fprintf(&b, "%s %d\n", f.Path, f.Duplicates)
	}
	return b.String()
}

// commit checks a new version against the last.
func (m *model) commit(v int64) {
	s := m.load(fmt.Sprintf("commit %d", v))
	if s == nil {
		return
	}
	if s.Version != v {
		m.w.violate("log", "commit %d is made, the table reads as version %d", v, s.Version)
		return
	}
	before := m.head
	m.versions = append(m.versions, fingerprint(s))
	if before != nil {
		m.marks(s)
		for _, f := range before.Files(nil) {
			if _, live := s.Live(f.Path); !live {
				m.removals[f.Path] = s.Time
			}
		}
		if s.Fence() > before.Fence() {
			m.w.result.Stats.Fences++
		}
	}
	keys := s.Partitions()
	if before != nil {
		keys = append(keys, before.Partitions()...) // one may have lost all of its files
	}
	for name, mark := range s.Txns {
		if mark.Version != v || !strings.HasPrefix(name, rawRoot) {
			continue
		}
		key := m.consume(name, s.Time)
		keys = append(keys, key)
	}
	m.head = s
	if s.Erased() == v {
		m.erase(before, s)
	}
	slices.SortFunc(keys, partition.Key.Compare)
	for _, key := range slices.Compact(keys) {
		m.partition(s, key)
	}
}

// erase takes in that the files a version removed are gone for good, with all of
// their rows, and no longer counted (C3, C4).
func (m *model) erase(before, s *partition.Snapshot) {
	m.events++
	for _, key := range before.Partitions() {
		if len(s.Partition(key)) > 0 {
			continue
		}
		m.w.result.Stats.Erased++
		m.erased++
		day := key.Day.Path()
		e := m.erasures[day]
		if e.ids == nil {
			e.ids = map[string]bool{}
		}
		e.event = m.events
		for id := range m.ids[key] {
			e.ids[id] = true
		}
		m.erasures[day] = e
		m.ids[key], m.rows[key], m.durable[day] = nil, 0, map[string]bool{}
		for name := range m.contents { // what waits will be consumed
			if strings.HasPrefix(name, key.RawPrefix()) && m.taken[name] == 0 {
				for _, id := range m.contents[name].ids {
					m.durable[day][id] = true
				}
			}
		}
	}
}

// returned checks P7: what was erased comes back by an object that was consumed
// after it, or made again since it was last consumed (then it waited, as a new one
// does, whoever erased its day meanwhile), and by no other.
func (m *model) returned(name string, c content) {
	e := m.erasures[dayOf(name)]
	if m.taken[name] == 0 || m.taken[name] > e.event || m.made[name] > m.taken[name] {
		return
	}
	for _, id := range c.ids {
		if e.ids[id] {
			m.w.violate("P7", "%s was consumed before its day was erased, and is consumed again: row %s comes back", name, id)
			return
		}
	}
}

func (m *model) consume(name string, at time.Time) partition.Key {
	c, ok := m.contents[name]
	if !ok {
		m.w.violate("C3", "%s is consumed, there was never such an object", name)
	}
	if _, ok := m.consumed[name]; !ok {
		m.consumed[name] = at
	}
	m.returned(name, c)
	m.events++
	m.taken[name] = m.events
	n, err := partition.ParseName(name)
	if err != nil {
		m.w.violate("C9", "%v", err)
	}
	m.rows[n.Key] += int64(len(c.ids))
	return n.Key
}

// partition checks C2 to C5 of one day.
func (m *model) partition(s *partition.Snapshot, key partition.Key) {
	day, kept := fmt.Sprintf("version %d of %s", s.Version, key), int64(0)
	var files [][]string
	for _, f := range s.Partition(key) {
		delete(m.removals, f.Path)
		c := m.contents[f.ObjectName()]
		o, err := m.w.store.Stat(context.Background(), f.ObjectName())
		if err != nil {
			m.w.violate("C5", "%s: %s: %v", day, f.Path, err)
			return
		}
		if m.report(invariant.Referenced(day+": "+f.Path, invariant.Shape{Size: f.Size, CRC32C: f.CRC32C, Rows: f.Rows}, invariant.Shape{Size: o.Size, CRC32C: o.CRC32C, Rows: int64(len(c.ids))})) {
			return
		}
		files, kept = append(files, c.ids), kept+f.Rows+f.Duplicates
	}
	ids, bad := invariant.Unique(day, files...)
	m.report(bad)
	m.report(invariant.Monotone(day, m.ids[key], ids))
	m.ids[key] = ids
	m.report(invariant.Counted(day, m.rows[key], kept, true))
	for _, name := range m.consumedOf(key) {
		if m.report(invariant.Present(day, ids, invariant.Consumed{Name: name, IDs: m.contents[name].ids})) {
			return
		}
	}
}

// report tells of the first of some violations.
func (m *model) report(bad []Violation) bool {
	if len(bad) > 0 {
		m.w.violate(bad[0].Rule, "%s: %s", bad[0].Object, bad[0].Text)
	}
	return len(bad) > 0
}

func (m *model) consumedOf(key partition.Key) []string {
	var names []string
	for name := range m.consumed {
		if strings.HasPrefix(name, key.RawPrefix()) && m.taken[name] > m.erasures[key.Day.Path()].event {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// acked checks C1 of one raw object.
func (m *model) acked(name string) string {
	if _, ok := m.contents[name]; !ok {
		return name + " is acked and was never durable"
	}
	return ""
}

// all is every identity that was ever durable.
func (m *model) all() map[string]bool {
	all := map[string]bool{}
	for _, ids := range m.durable {
		maps.Copy(all, ids)
	}
	return all
}
