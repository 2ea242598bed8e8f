package backup

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/buffetbot/ingest/objstore"
)

const manifestFormat = 1

// A Manifest is what a backup holds.
type Manifest struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	Lake    string    `json:"lake,omitempty"` // as the program was told
	Began   time.Time `json:"began"`          // by the store of the backups
	Tables  []Table   `json:"tables"`
	LeftOut []LeftOut `json:"left_out,omitempty"`

	Objects     int    `json:"objects"`
	Bytes       int64  `json:"bytes"`
	Copied      int    `json:"copied"` // objects that no earlier backup had
	CopiedBytes int64  `json:"copied_bytes"`
	CRC32C      string `json:"crc32c"` // of the lines that follow

	Entries []Entry   `json:"-"` // in order of names
	Made    time.Time `json:"-"` // by the store, of the manifest
}

// A Table is one table in a backup.
type Table struct {
	Type     string    `json:"type"`
	ID       string    `json:"table_id,omitempty"`
	Version  int64     `json:"version"` // -1: there are raw files only
	Time     time.Time `json:"time"`    // of the version, by the lake's store
	Files    int       `json:"files"`
	Rows     int64     `json:"rows"`
	Bytes    int64     `json:"bytes"`
	Raw      int       `json:"raw"` // raw files that the version has not consumed
	RawBytes int64     `json:"raw_bytes"`
}

// A LeftOut is a table that is not in the backup, and why.
type LeftOut struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

// An Entry is one object of the lake.
type Entry struct {
	Name   string     `json:"name"` // in the lake
	Size   int64      `json:"size"`
	CRC32C uint32     `json:"crc32c"`
	In     string     `json:"in"`                // the backup in whose folder it is
	Made   *time.Time `json:"created,omitempty"` // of objects of a log: when the lake's store made it (P8)
}

// Object is the entry's name in the bucket of backups.
func (e Entry) Object() string { return root + e.In + objectsPart + e.Name }

// content tells whether two entries are of the same bytes.
func (e Entry) content(o Entry) bool {
	return e.Name == o.Name && e.Size == o.Size && e.CRC32C == o.CRC32C
}

// Table finds a table in the manifest.
func (m *Manifest) Table(dataType string) (Table, bool) {
	for _, t := range m.Tables {
		if t.Type == dataType {
			return t, true
		}
	}
	return Table{}, false
}

// Entry finds an object of the lake in the manifest.
func (m *Manifest) Entry(name string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(m.Entries, name, func(e Entry, name string) int { return cmp.Compare(e.Name, name) })
	if !ok {
		return Entry{}, false
	}
	return m.Entries[i], true
}

// Under are the entries whose names begin with prefix.
func (m *Manifest) Under(prefix string) []Entry {
	from, _ := slices.BinarySearchFunc(m.Entries, prefix, func(e Entry, name string) int { return cmp.Compare(e.Name, name) })
	to := from
	for to < len(m.Entries) && strings.HasPrefix(m.Entries[to].Name, prefix) {
		to++
	}
	return m.Entries[from:to]
}

// encode is the manifest as an object.
func (m *Manifest) encode() ([]byte, error) {
	slices.SortFunc(m.Entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	lines.SetEscapeHTML(false)
	m.Objects, m.Bytes = len(m.Entries), 0
	for i, e := range m.Entries {
		if i > 0 && m.Entries[i-1].Name == e.Name {
			return nil, fmt.Errorf("manifest %s: %s is in it twice", m.ID, e.Name)
		}
		m.Bytes += e.Size
		if err := lines.Encode(e); err != nil {
			return nil, err
		}
	}
	m.Format, m.CRC32C = manifestFormat, fmt.Sprintf("%08x", objstore.Checksum(body.Bytes()))
	head, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	for _, part := range [][]byte{head, []byte("\n"), body.Bytes()} {
		if _, err := z.Write(part); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decode reads a manifest.
func decode(data []byte) (*Manifest, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text := bufio.NewReader(z)
	head, err := text.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(head, m); err != nil {
		return nil, err
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("format %d: this program reads %d", m.Format, manifestFormat)
	}
	body, err := io.ReadAll(text)
	if err != nil {
		return nil, err
	}
	if sum := fmt.Sprintf("%08x", objstore.Checksum(body)); sum != m.CRC32C {
		return nil, fmt.Errorf("its lines have the checksum %s, want %s", sum, m.CRC32C)
	}
	m.Entries = make([]Entry, 0, m.Objects)
	for line := range bytes.Lines(body) {
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		m.Entries = append(m.Entries, e)
	}
	if len(m.Entries) != m.Objects {
		return nil, fmt.Errorf("%d objects, want %d", len(m.Entries), m.Objects)
	}
	return m, nil
}

// List finds the manifests in a bucket of backups, oldest first, and reads none.
func List(ctx context.Context, vault objstore.Reader) ([]objstore.Object, error) {
	var found []objstore.Object
	for o, err := range vault.List(ctx, manifestRoot, "") {
		if err != nil {
			return nil, fmt.Errorf("list backups: %w", err)
		}
		if strings.HasSuffix(o.Name, manifestEnd) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b objstore.Object) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
	return found, nil
}

// Open reads the manifest of a backup.
func Open(ctx context.Context, vault objstore.Reader, id string) (*Manifest, error) {
	name := manifestRoot + id + manifestEnd
	o, err := vault.Stat(ctx, name)
	if errors.Is(err, objstore.ErrNotExist) {
		return nil, fmt.Errorf("backup %s: %w (buffetctl backup ls shows those that there are)", id, ErrNoBackup)
	}
	if err != nil {
		return nil, fmt.Errorf("backup %s: look for its manifest: %w", id, err)
	}
	return read(ctx, vault, o)
}

// read reads a manifest that was listed.
func read(ctx context.Context, vault objstore.Reader, o objstore.Object) (*Manifest, error) {
	data, err := vault.Read(ctx, o.Name, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", o.Name, err)
	}
	m, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w: %w", o.Name, err, ErrDamaged)
	}
	m.Made = o.Created
	if took := m.Made.Sub(m.Began); took > lateAfter {
		return m, fmt.Errorf("manifest %s was made %v after its backup began, too late to rely on: %w", o.Name, took.Round(time.Minute), errLate)
	}
	return m, nil
}

// All reads every manifest, oldest first. One that cannot be read is in the error,
// and the others are given all the same.
func All(ctx context.Context, vault objstore.Reader) ([]*Manifest, error) {
	found, err := List(ctx, vault)
	if err != nil {
		return nil, err
	}
	var all []*Manifest
	var bad []error
	for _, o := range found {
		m, err := read(ctx, vault, o)
		if errors.Is(err, errLate) {
			continue // no backup
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		all = append(all, m)
	}
	return all, errors.Join(bad...)
}
