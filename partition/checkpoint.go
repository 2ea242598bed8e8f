package partition

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/buffetbot/ingest/objstore"
)

// Checkpoint writes the state of a snapshot as one object and points to it. The
// snapshot must be true: loaded, or made by a commit that passed its ghost check.
// That another writer was faster is success: a version has one state.
func (t *Table) Checkpoint(ctx context.Context, s *Snapshot) error {
	actions := s.checkpointActions()
	data, err := encodeCheckpoint(actions)
	if err != nil {
		return fmt.Errorf("checkpoint %s version %d: %w", t.dataType, s.Version, err)
	}
	_, err = t.store.Create(ctx, t.checkpointName(s.Version), data, nil)
	if errors.Is(err, objstore.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint %s version %d: %w", t.dataType, s.Version, err)
	}
	hint := checkpointHint{Version: s.Version, Size: int64(len(actions)), SizeInBytes: int64(len(data)), NumOfAddFiles: int64(len(s.files))}
	if err := t.point(ctx, hint); err != nil {
		return fmt.Errorf("checkpoint %s version %d: point to it: %w", t.dataType, s.Version, err)
	}
	return nil
}

// checkpointHint is _last_checkpoint: where other readers begin to list. Our own
// do not trust it (P9).
type checkpointHint struct {
	Version       int64 `json:"version"`
	Size          int64 `json:"size"`
	SizeInBytes   int64 `json:"sizeInBytes"`
	NumOfAddFiles int64 `json:"numOfAddFiles"`
}

// point moves the hint forward, never back: what it named before may be gone.
func (t *Table) point(ctx context.Context, to checkpointHint) error {
	name := t.root + logFolder + hintName
	var at objstore.Generation // none
	o, err := t.store.Stat(ctx, name)
	switch {
	case err == nil:
		data, err := t.store.Read(ctx, name, 0, -1)
		if err != nil && !errors.Is(err, objstore.ErrNotExist) {
			return err
		}
		var is checkpointHint
		if json.Unmarshal(data, &is) == nil && is.Version >= to.Version {
			return nil
		}
		at = o.Generation
	case !errors.Is(err, objstore.ErrNotExist):
		return err
	}
	data, err := json.Marshal(to)
	if err != nil {
		return err
	}
	if _, err = t.store.Replace(ctx, name, data, nil, at); errors.Is(err, objstore.ErrPrecondition) {
		return nil // another writer pointed somewhere meanwhile; both are true
	}
	return err
}

// checkpointActions are the snapshot's state in one fixed order. All marks are
// kept (P2, P7, P13), and tombstones for the retention: a file that is neither
// live nor a tombstone is an orphan (P3, P8). P8: "now" is the store's.
func (s *Snapshot) checkpointActions() []action {
	meta, protocol := s.meta, s.protocol
	actions := []action{{Protocol: &protocol}, {MetaData: &meta}}
	for _, id := range slices.Sorted(maps.Keys(s.Txns)) {
		x := s.Txns[id]
		actions = append(actions, action{Txn: &txnAction{AppID: x.AppID, Version: x.Version, LastUpdated: millis(x.Updated)}})
	}
	expired := s.Time.Add(-s.Properties().Retain)
	for _, grave := range s.Tombstones() {
		if !grave.Removed.Before(expired) {
			actions = append(actions, action{Remove: removeOf(grave.Path, grave.Key, grave.Size, grave.Removed, false)})
		}
	}
	files := slices.Clone(s.files)
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	for i := range files {
		actions = append(actions, action{Add: addOf(&files[i], false)})
	}
	return actions
}

// checkpointSchema is Delta's: a column for each kind of action, of which a row
// has one.
var checkpointSchema = func() *arrow.Schema {
	text, long, integer, boolean := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32, arrow.FixedWidthTypes.Boolean
	texts := arrow.MapOf(text, text)
	column := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	action := func(name string, fields ...arrow.Field) arrow.Field { return column(name, arrow.StructOf(fields...)) }
	return arrow.NewSchema([]arrow.Field{
		action("txn", column("appId", text), column("version", long), column("lastUpdated", long)),
		action("add", column("path", text), column("partitionValues", texts), column("size", long),
			column("modificationTime", long), column("dataChange", boolean), column("stats", text), column("tags", texts)),
		action("remove", column("path", text), column("deletionTimestamp", long), column("dataChange", boolean),
			column("extendedFileMetadata", boolean), column("partitionValues", texts), column("size", long)),
		action("metaData", column("id", text), column("name", text), column("description", text),
			action("format", column("provider", text), column("options", texts)),
			column("schemaString", text), column("partitionColumns", arrow.ListOf(text)),
			column("configuration", texts), column("createdTime", long)),
		action("protocol", column("minReaderVersion", integer), column("minWriterVersion", integer)),
	}, nil)
}()

// checksumKey is in the footer: the checksum of the actions as lines of a log
// entry. Parquet's own pages have none.
const checksumKey = "bb.crc32c"

// encodeCheckpoint is a function of the actions alone.
func encodeCheckpoint(actions []action) ([]byte, error) {
	b := array.NewRecordBuilder(memory.DefaultAllocator, checkpointSchema)
	defer b.Release()
	for i := range actions {
		a := &actions[i]
		appendStruct(b, 0, a.Txn != nil, func() []any { return []any{a.Txn.AppID, a.Txn.Version, a.Txn.LastUpdated} })
		appendStruct(b, 1, a.Add != nil, func() []any {
			return []any{a.Add.Path, a.Add.PartitionValues, a.Add.Size, a.Add.ModificationTime, a.Add.DataChange, a.Add.Stats, a.Add.Tags}
		})
		appendStruct(b, 2, a.Remove != nil, func() []any {
			return []any{a.Remove.Path, a.Remove.DeletionTimestamp, a.Remove.DataChange, a.Remove.ExtendedFileMetadata, a.Remove.PartitionValues, a.Remove.Size}
		})
		appendStruct(b, 3, a.MetaData != nil, func() []any {
			m := a.MetaData
			return []any{m.ID, m.Name, m.Description, []any{m.Format.Provider, m.Format.Options}, m.SchemaString, m.PartitionColumns, m.Configuration, m.CreatedTime}
		})
		appendStruct(b, 4, a.Protocol != nil, func() []any { return []any{a.Protocol.MinReaderVersion, a.Protocol.MinWriterVersion} })
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	var out bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy), parquet.WithCreatedBy(Engine))
	w, err := pqarrow.NewFileWriter(checkpointSchema, &out, props, pqarrow.DefaultWriterProps())
	if err != nil {
		return nil, err
	}
	if err := w.Write(rec); err != nil {
		return nil, err
	}
	text, err := encodeEntry(actions)
	if err != nil {
		return nil, err
	}
	if err := w.AppendKeyValueMetadata(checksumKey, checksum(text)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func appendStruct(b *array.RecordBuilder, column int, here bool, values func() []any) {
	s := b.Field(column).(*array.StructBuilder)
	if !here {
		s.AppendNull()
		return
	}
	appendValue(s, values())
}

// appendValue appends a value of one of the checkpoint's types.
func appendValue(b array.Builder, value any) {
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i, v := range value.([]any) {
			appendValue(b.FieldBuilder(i), v)
		}
	case *array.MapBuilder:
		m := value.(map[string]string)
		b.Append(true)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			b.KeyBuilder().(*array.StringBuilder).Append(k)
			b.ItemBuilder().(*array.StringBuilder).Append(m[k])
		}
	case *array.ListBuilder:
		b.Append(true)
		for _, v := range value.([]string) {
			b.ValueBuilder().(*array.StringBuilder).Append(v)
		}
	case *array.StringBuilder:
		b.Append(value.(string))
	case *array.BooleanBuilder:
		b.Append(value.(bool))
	case *array.Int32Builder:
		b.Append(value.(int32))
	case *array.Int64Builder:
		if v, ok := value.(int64); ok {
			b.Append(v)
		} else if p := value.(*int64); p != nil {
			b.Append(*p)
		} else {
			b.AppendNull()
		}
	}
}
