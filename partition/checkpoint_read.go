package partition

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// decodeCheckpoint reads a classic checkpoint, ours or one with more columns.
func (t *Table) decodeCheckpoint(ctx context.Context, object string, data []byte) (actions []action, err error) {
	defer func() {
		if r := recover(); r != nil { // bytes that lead the Parquet reader astray
			actions, err = nil, t.damaged(object, 0, fmt.Sprintf("unreadable Parquet: %v", r))
		}
	}()
	pf, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		return nil, t.damaged(object, 0, err)
	}
	defer pf.Close()
	fr, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: 1 << 14}, memory.DefaultAllocator)
	if err != nil {
		return nil, t.damaged(object, 0, err)
	}
	rr, err := fr.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return nil, t.damaged(object, 0, err)
	}
	defer rr.Release()
	for rr.Next() {
		if actions, err = t.appendActions(actions, object, rr.RecordBatch()); err != nil {
			return nil, err
		}
	}
	if err := rr.Err(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, t.damaged(object, 0, err)
	}
	if err := verifyCheckpoint(pf, actions); err != nil {
		return nil, t.damaged(object, 0, err)
	}
	return actions, nil
}

func verifyCheckpoint(pf *file.Reader, actions []action) error {
	if want := pf.NumRows(); int64(len(actions)) != want {
		return fmt.Errorf("%d actions in %d rows", len(actions), want)
	}
	want := pf.MetaData().KeyValueMetadata().FindValue(checksumKey)
	if want == nil {
		return nil // another engine's
	}
	text, err := encodeEntry(actions)
	if err != nil {
		return err
	}
	if sum := checksum(text); sum != *want {
		return fmt.Errorf("the checksum of its actions is %s, want %s", sum, *want)
	}
	return nil
}

func (t *Table) appendActions(actions []action, object string, rec arrow.RecordBatch) ([]action, error) {
	var columns []namedStruct
	for i := range int(rec.NumCols()) {
		s, ok := rec.Column(i).(*array.Struct)
		if !ok {
			return nil, t.damaged(object, 0, fmt.Sprintf("column %s is not a struct", rec.ColumnName(i)))
		}
		columns = append(columns, namedStruct{rec.ColumnName(i), s, structFields(s)})
	}
	for row := range int(rec.NumRows()) {
		for _, c := range columns {
			if c.array.IsNull(row) {
				continue
			}
			a, ok := c.action(row)
			if !ok {
				return nil, t.unsupported(object, len(actions)+1, fmt.Sprintf("the action %q", c.name))
			}
			actions = append(actions, a)
		}
	}
	return actions, nil
}

// A namedStruct is a struct column and its fields by name.
type namedStruct struct {
	name   string
	array  *array.Struct
	fields map[string]arrow.Array
}

func structFields(s *array.Struct) map[string]arrow.Array {
	fields := map[string]arrow.Array{}
	for i, f := range s.DataType().(*arrow.StructType).Fields() {
		fields[f.Name] = s.Field(i)
	}
	return fields
}

// action reads a row that is not null. ok is false for what is not known.
func (c namedStruct) action(row int) (a action, ok bool) {
	r := rowOf{c.fields, row}
	switch c.name {
	case "txn":
		a.Txn = &txnAction{AppID: r.text("appId"), Version: r.long("version"), LastUpdated: r.longOrNil("lastUpdated")}
	case "add":
		a.Add = &addAction{
			Path: r.text("path"), PartitionValues: r.texts("partitionValues"), Size: r.long("size"),
			ModificationTime: r.long("modificationTime"), DataChange: r.boolean("dataChange"), Stats: r.text("stats"), Tags: r.texts("tags"),
		}
		return a, !r.set("deletionVector")
	case "remove":
		a.Remove = &removeAction{
			Path: r.text("path"), DeletionTimestamp: r.longOrNil("deletionTimestamp"),
			DataChange: r.boolean("dataChange"), ExtendedFileMetadata: r.boolean("extendedFileMetadata"),
			PartitionValues: r.texts("partitionValues"), Size: r.longOrNil("size"),
		}
		return a, !r.set("deletionVector")
	case "metaData":
		a.MetaData = r.metaData()
	case "protocol":
		a.Protocol = &protocolAction{
			MinReaderVersion: int32(r.long("minReaderVersion")), MinWriterVersion: int32(r.long("minWriterVersion")),
			ReaderFeatures: r.list("readerFeatures"), WriterFeatures: r.list("writerFeatures"),
		}
	default:
		return a, false
	}
	return a, true
}

// A rowOf is one row of a struct's fields. What is null or lacking is zero.
type rowOf struct {
	fields map[string]arrow.Array
	row    int
}

func (r rowOf) set(name string) bool {
	a := r.fields[name]
	return a != nil && a.IsValid(r.row)
}

func (r rowOf) text(name string) string {
	if s, ok := r.fields[name].(*array.String); ok && s.IsValid(r.row) {
		return string([]byte(s.Value(r.row))) // a copy: the batch's buffers are let go
	}
	return ""
}

func (r rowOf) boolean(name string) bool {
	b, ok := r.fields[name].(*array.Boolean)
	return ok && b.IsValid(r.row) && b.Value(r.row)
}

func (r rowOf) long(name string) int64 {
	if p := r.longOrNil(name); p != nil {
		return *p
	}
	return 0
}

func (r rowOf) longOrNil(name string) *int64 {
	if !r.set(name) {
		return nil
	}
	var v int64
	switch a := r.fields[name].(type) {
	case *array.Int64:
		v = a.Value(r.row)
	case *array.Int32:
		v = int64(a.Value(r.row))
	default:
		return nil
	}
	return &v
}

func (r rowOf) texts(name string) map[string]string {
	m, ok := r.fields[name].(*array.Map)
	if !ok || m.IsNull(r.row) {
		return nil
	}
	keys, okKeys := m.Keys().(*array.String)
	items, okItems := m.Items().(*array.String)
	if !okKeys || !okItems {
		return nil
	}
	texts := map[string]string{}
	from, to := m.ValueOffsets(r.row)
	for i := int(from); i < int(to); i++ {
		if items.IsValid(i) {
			texts[string([]byte(keys.Value(i)))] = string([]byte(items.Value(i)))
		}
	}
	return texts
}

func (r rowOf) list(name string) []string {
	l, ok := r.fields[name].(*array.List)
	if !ok || l.IsNull(r.row) {
		return nil
	}
	values, ok := l.ListValues().(*array.String)
	if !ok {
		return nil
	}
	var texts []string
	from, to := l.ValueOffsets(r.row)
	for i := int(from); i < int(to); i++ {
		texts = append(texts, string([]byte(values.Value(i))))
	}
	return texts
}

func (r rowOf) metaData() *metaDataAction {
	m := &metaDataAction{
		ID: r.text("id"), Name: r.text("name"), Description: r.text("description"), SchemaString: r.text("schemaString"),
		PartitionColumns: r.list("partitionColumns"), Configuration: r.texts("configuration"), CreatedTime: r.longOrNil("createdTime"),
	}
	if s, ok := r.fields["format"].(*array.Struct); ok && s.IsValid(r.row) {
		format := rowOf{structFields(s), r.row}
		m.Format = formatAction{Provider: format.text("provider"), Options: format.texts("options")}
	}
	return m
}
