package partition

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// A Manifest summarises one partition for people and for planning at leisure. It
// is derived from a snapshot, can be made again at any time and is never trusted
// for correctness.
type Manifest struct {
	DataType      string         `json:"data_type"`
	Day           string         `json:"day"`
	TableVersion  int64          `json:"table_version"` // of the snapshot it was made of
	CommittedAt   string         `json:"committed_at"`  // when that version was made
	Files         []ManifestFile `json:"files"`
	FileCount     int            `json:"file_count"`
	Rows          int64          `json:"rows"`
	Bytes         int64          `json:"bytes"`
	Duplicates    int64          `json:"duplicates_removed"`
	FirstEvent    string         `json:"first_event,omitempty"`
	LastEvent     string         `json:"last_event,omitempty"` // how fresh the rows are
	FirstSymbol   string         `json:"first_symbol,omitempty"`
	LastSymbol    string         `json:"last_symbol,omitempty"`
	SchemaVersion string         `json:"schema_version,omitempty"` // the newest among the files
	LastFile      string         `json:"last_file_made,omitempty"` // when the newest file was made: how fresh the partition is
}

// A ManifestFile is one live file of a partition.
type ManifestFile struct {
	Path          string `json:"path"`
	Rows          int64  `json:"rows"`
	Bytes         int64  `json:"bytes"`
	FirstEvent    string `json:"first_event"`
	LastEvent     string `json:"last_event"`
	FirstSymbol   string `json:"first_symbol"`
	LastSymbol    string `json:"last_symbol"`
	SchemaVersion string `json:"schema_version"`
	CRC32C        string `json:"crc32c"`
	RowSetHash    string `json:"row_set_hash"`
}

const microLayout = "2006-01-02T15:04:05.000000Z"

func microTime(micros int64) string { return time.UnixMicro(micros).UTC().Format(microLayout) }

// ManifestOf summarises a partition of a snapshot.
func ManifestOf(s *Snapshot, k Key) Manifest {
	m := Manifest{
		DataType: k.Type, Day: k.Day.String(), TableVersion: s.Version,
		CommittedAt: s.Time.UTC().Format(microLayout), Files: []ManifestFile{},
	}
	var first, last int64
	var made time.Time
	for i, f := range s.Partition(k) {
		m.add(f)
		if i == 0 {
			first, last, m.FirstSymbol, m.LastSymbol = f.FirstEvent, f.LastEvent, f.First, f.Last
		}
		first, last = min(first, f.FirstEvent), max(last, f.LastEvent)
		m.FirstSymbol, m.LastSymbol = min(m.FirstSymbol, f.First), max(m.LastSymbol, f.Last)
		m.SchemaVersion = newer(m.SchemaVersion, f.SchemaVersion)
		if f.Modified.After(made) {
			made = f.Modified
		}
	}
	if m.FileCount > 0 {
		m.FirstEvent, m.LastEvent = microTime(first), microTime(last)
		m.LastFile = made.UTC().Format(microLayout)
	}
	return m
}

func (m *Manifest) add(f File) {
	m.FileCount++
	m.Rows += f.Rows
	m.Bytes += f.Size
	m.Duplicates += f.Duplicates
	m.Files = append(m.Files, ManifestFile{
		Path: f.Path, Rows: f.Rows, Bytes: f.Size, FirstEvent: microTime(f.FirstEvent), LastEvent: microTime(f.LastEvent),
		FirstSymbol: f.First, LastSymbol: f.Last, SchemaVersion: f.SchemaVersion,
		CRC32C: fmt.Sprintf("%08x", f.CRC32C), RowSetHash: f.Hash.String(),
	})
}

// newer is the newer of two schema versions, as versions are compared.
func newer(a, b string) string {
	va, errA := schema.ParseVersion(a)
	vb, errB := schema.ParseVersion(b)
	if errA != nil || errB == nil && vb.Compare(va) > 0 {
		return b
	}
	return a
}

// WriteManifests writes the manifests of partitions (nil: all that have files).
// One that cannot be written stops no other; the errors are joined.
func WriteManifests(ctx context.Context, store objstore.Writer, s *Snapshot, keys []Key) error {
	if keys == nil {
		keys = s.Partitions()
	}
	p := pool.New().WithErrors().WithMaxGoroutines(manifestsAtOnce)
	for _, k := range keys {
		p.Go(func() error {
			data, err := json.MarshalIndent(ManifestOf(s, k), "", "  ")
			if err == nil {
				_, err = store.Replace(ctx, k.ManifestName(), append(data, '\n'), nil, objstore.Any)
			}
			if err != nil {
				return fmt.Errorf("write manifest of %s: %w", k, err)
			}
			return nil
		})
	}
	return p.Wait()
}

const manifestsAtOnce = 8
