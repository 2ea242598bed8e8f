package partition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// The protocol versions this package reads and writes.
const (
	readerVersion = 1
	writerVersion = 2
)

// An action is one line of a log entry: exactly one of its fields is set.
type action struct {
	CommitInfo *commitInfo     `json:"commitInfo,omitempty"`
	Protocol   *protocolAction `json:"protocol,omitempty"`
	MetaData   *metaDataAction `json:"metaData,omitempty"`
	Txn        *txnAction      `json:"txn,omitempty"`
	Remove     *removeAction   `json:"remove,omitempty"`
	Add        *addAction      `json:"add,omitempty"`
}

// commitInfo says who made a version and why. What others write there is theirs.
type commitInfo struct {
	Timestamp           int64             `json:"timestamp"`
	Operation           string            `json:"operation"`
	OperationParameters map[string]string `json:"operationParameters"`
	OperationMetrics    map[string]string `json:"operationMetrics,omitempty"`
	EngineInfo          string            `json:"engineInfo"`
	IsBlindAppend       bool              `json:"isBlindAppend"`
	TxnID               string            `json:"txnId"`              // unique: by it a writer knows its own
	Checksum            string            `json:"bbCrc32c,omitempty"` // of all lines that follow: shows a flipped bit, or a cut at a line's end
}

type protocolAction struct {
	MinReaderVersion int32    `json:"minReaderVersion"`
	MinWriterVersion int32    `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty"`
	WriterFeatures   []string `json:"writerFeatures,omitempty"`
}

type formatAction struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

type metaDataAction struct {
	ID               string            `json:"id"`
	Name             string            `json:"name,omitempty"`
	Description      string            `json:"description,omitempty"`
	Format           formatAction      `json:"format"`
	SchemaString     string            `json:"schemaString"`
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	CreatedTime      *int64            `json:"createdTime,omitempty"`
}

type txnAction struct {
	AppID       string `json:"appId"`
	Version     int64  `json:"version"`
	LastUpdated *int64 `json:"lastUpdated,omitempty"`
}

type addAction struct {
	Path             string            `json:"path"`
	PartitionValues  map[string]string `json:"partitionValues"`
	Size             int64             `json:"size"`
	ModificationTime int64             `json:"modificationTime"`
	DataChange       bool              `json:"dataChange"`
	Stats            string            `json:"stats,omitempty"`
	Tags             map[string]string `json:"tags,omitempty"`
	DeletionVector   json.RawMessage   `json:"deletionVector,omitempty"`
}

type removeAction struct {
	Path                 string            `json:"path"`
	DeletionTimestamp    *int64            `json:"deletionTimestamp,omitempty"`
	DataChange           bool              `json:"dataChange"`
	ExtendedFileMetadata bool              `json:"extendedFileMetadata,omitempty"`
	PartitionValues      map[string]string `json:"partitionValues,omitempty"`
	Size                 *int64            `json:"size,omitempty"`
	DeletionVector       json.RawMessage   `json:"deletionVector,omitempty"`
}

// encodeEntry is a log entry: one action a line.
func encodeEntry(actions []action) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range actions {
		if err := enc.Encode(&actions[i]); err != nil {
			return nil, fmt.Errorf("encode action %d: %w", i+1, err)
		}
	}
	return b.Bytes(), nil
}

// decodeEntry reads a log entry. The object's name is for the errors.
func (t *Table) decodeEntry(object string, data []byte) ([]action, error) {
	var actions []action
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		a, unknown, err := decodeAction(text)
		if unknown != "" {
			return nil, t.unsupported(object, line, unknown)
		}
		if err != nil {
			return nil, t.damaged(object, line, err)
		}
		actions = append(actions, a)
	}
	if len(actions) == 0 {
		return nil, t.damaged(object, 0, "no actions")
	}
	if info := actions[0].CommitInfo; info != nil && info.Checksum != "" {
		_, rest, _ := bytes.Cut(data, []byte("\n"))
		if sum := checksum(rest); sum != info.Checksum {
			return nil, t.damaged(object, 1, fmt.Sprintf("the checksum of what follows is %s, want %s", sum, info.Checksum))
		}
	}
	return actions, nil
}

func checksum(data []byte) string { return fmt.Sprintf("%08x", objstore.Checksum(data)) }

// sealEntry is a whole log entry: the actions behind the commitInfo that vouches
// for them.
func sealEntry(info commitInfo, actions []action) ([]byte, error) {
	body, err := encodeEntry(actions)
	if err != nil {
		return nil, err
	}
	info.Checksum = checksum(body)
	head, err := encodeEntry([]action{{CommitInfo: &info}})
	return append(head, body...), err
}

// decodeAction reads one line; unknown names what in it is not supported. An
// action nobody knows is refused too: what it would mean for the table cannot
// be told.
func decodeAction(line []byte) (a action, unknown string, err error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return a, "", fmt.Errorf("not an action: %w", err)
	}
	if len(fields) != 1 {
		return a, "", fmt.Errorf("not an action: an object of %d fields", len(fields))
	}
	for name, raw := range fields {
		switch name {
		case "commitInfo":
			a.CommitInfo = decodeCommitInfo(raw)
		case "protocol":
			err = decodeBody(raw, &a.Protocol)
		case "metaData":
			err = decodeBody(raw, &a.MetaData)
		case "txn":
			err = decodeBody(raw, &a.Txn)
		case "add":
			if err = decodeBody(raw, &a.Add); err == nil && present(a.Add.DeletionVector) {
				unknown = "a deletion vector"
			}
		case "remove":
			if err = decodeBody(raw, &a.Remove); err == nil && present(a.Remove.DeletionVector) {
				unknown = "a deletion vector"
			}
		default:
			unknown = fmt.Sprintf("the action %q", name)
		}
		if err != nil {
			err = fmt.Errorf("action %s: %w", name, err)
		}
	}
	return a, unknown, err
}

// decodeCommitInfo reads what is ours in a commitInfo. Its other fields have
// whatever shape their writer likes.
func decodeCommitInfo(raw json.RawMessage) *commitInfo {
	var fields map[string]json.RawMessage
	info := new(commitInfo)
	if json.Unmarshal(raw, &fields) != nil {
		return info
	}
	for name, into := range map[string]any{
		"timestamp": &info.Timestamp, "operation": &info.Operation, "operationMetrics": &info.OperationMetrics,
		"engineInfo": &info.EngineInfo, "txnId": &info.TxnID, "bbCrc32c": &info.Checksum,
	} {
		if raw := fields[name]; raw != nil {
			_ = json.Unmarshal(raw, into) // of another shape: it says nothing to us
		}
	}
	return info
}

// foreign tells whether an entry that changes the table is not one of ours, and
// by its own account whose it is. Without changes an entry may be anybody's: an
// engine records the beginning of a vacuum so.
func foreign(actions []action) (engine, operation string, yes bool) {
	changes := false
	for i := range actions {
		a := &actions[i]
		if info := a.CommitInfo; info != nil {
			engine, operation = info.EngineInfo, info.Operation
			continue
		}
		if a.Protocol != nil && a.Protocol.unsupported() != "" || a.MetaData != nil && a.MetaData.unsupported() != "" {
			return "", "", false // said when it is replayed, and it says more
		}
		changes = true
	}
	return engine, operation, changes && engine != Engine
}

func decodeBody[T any](raw json.RawMessage, body **T) error {
	if err := json.Unmarshal(raw, body); err != nil {
		return err
	}
	if *body == nil {
		return errors.New("null")
	}
	return nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// commitID is the unique id of the commit that made an entry, "" if it has none.
// It needs only the entry's beginning.
func commitID(data []byte) string {
	for line := range bytes.Lines(data) {
		if a, _, err := decodeAction(line); err == nil && a.CommitInfo != nil {
			return a.CommitInfo.TxnID
		}
	}
	return ""
}

// unsupported names the first feature that the table needs and this package
// lacks, "" if it lacks none.
func (p *protocolAction) unsupported() string {
	switch {
	case len(p.ReaderFeatures) > 0 || len(p.WriterFeatures) > 0:
		return fmt.Sprintf("a table with the features %q (to read) and %q (to write)", p.ReaderFeatures, p.WriterFeatures)
	case p.MinReaderVersion > readerVersion:
		return fmt.Sprintf("reader version %d", p.MinReaderVersion)
	case p.MinWriterVersion > writerVersion:
		return fmt.Sprintf("writer version %d", p.MinWriterVersion)
	}
	return ""
}

func (m *metaDataAction) unsupported() string {
	if m.Format.Provider != "parquet" {
		return fmt.Sprintf("the format %q", m.Format.Provider)
	}
	if fmt.Sprint(m.PartitionColumns) != fmt.Sprint(schema.PartitionColumns) {
		return fmt.Sprintf("partitioning by %q", m.PartitionColumns)
	}
	var s struct {
		Fields []struct {
			Name     string                     `json:"name"`
			Metadata map[string]json.RawMessage `json:"metadata"`
		} `json:"fields"`
	}
	if json.Unmarshal([]byte(m.SchemaString), &s) != nil {
		return "a schemaString that is no struct"
	}
	for _, f := range s.Fields {
		for key := range f.Metadata {
			if len(key) > 6 && key[:6] == "delta." {
				return fmt.Sprintf("%s of column %q", key, f.Name)
			}
		}
	}
	return ""
}

func millis(t time.Time) *int64 {
	ms := t.UnixMilli()
	return &ms
}

func addOf(f *File, dataChange bool) *addAction {
	stats := f.Stats
	if stats == "" {
		stats = fmt.Sprintf(`{"numRecords":%d}`, f.Rows)
	}
	return &addAction{
		Path:             encodePath(f.Path),
		PartitionValues:  f.Key.partitionValues(),
		Size:             f.Size,
		ModificationTime: f.Modified.UnixMilli(),
		DataChange:       dataChange,
		Stats:            stats,
		Tags:             f.tags(),
	}
}

func (a *addAction) file(dataType string) (File, error) {
	path, err := decodePath(a.Path)
	if err != nil {
		return File{}, err
	}
	f := File{Path: path, Size: a.Size, Stats: a.Stats, Modified: time.UnixMilli(a.ModificationTime).UTC()}
	if err := f.readTags(a.Tags); err != nil {
		return File{}, fmt.Errorf("file %q: %w", path, err)
	}
	if f.Key, err = keyOfValues(dataType, a.PartitionValues); err != nil {
		return File{}, fmt.Errorf("file %q: %w", path, err)
	}
	return f, f.check(dataType)
}

func removeOf(path string, key Key, size int64, at time.Time, dataChange bool) *removeAction {
	return &removeAction{
		Path:                 encodePath(path),
		DeletionTimestamp:    millis(at),
		DataChange:           dataChange,
		ExtendedFileMetadata: true,
		PartitionValues:      key.partitionValues(),
		Size:                 &size,
	}
}

func (a *removeAction) tombstone(dataType string, at time.Time) (Tombstone, error) {
	path, err := decodePath(a.Path)
	if err != nil {
		return Tombstone{}, err
	}
	key, ok := keyOfPath(dataType, path)
	if !ok {
		return Tombstone{}, fmt.Errorf("file %q: in no partition's folder", path)
	}
	t := Tombstone{Path: path, Key: key, Removed: at}
	if a.Size != nil {
		t.Size = *a.Size
	}
	return t, nil
}
