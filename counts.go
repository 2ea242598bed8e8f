package ingest

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/buffetbot/ingest/partition"
	"github.com/buffetbot/ingest/query"
)

// A Count is how many rows have one value.
type Count struct {
	Name string
	N    int64
}

// CountRows counts the rows of a data type as a reader sees them: compacted and
// not, each once.
func (l *Lake) CountRows(ctx context.Context, dataType string) (int64, error) {
	def, ok := l.Registry().Latest(dataType)
	if !ok {
		_, err := l.CheckTypes([]string{dataType})
		return 0, err
	}
	plan, err := l.Query(ctx, query.DataQuery{DataType: dataType, Columns: []string{def.Fields[def.TimeField].Name}})
	if err != nil {
		return 0, err
	}
	result, err := plan.Execute(ctx, func(arrow.RecordBatch) error { return nil })
	return result.Rows, err
}

// CountBy counts the rows of a data type by the values of one column, the most
// frequent first.
func (l *Lake) CountBy(ctx context.Context, dataType, column string) ([]Count, error) {
	plan, err := l.Query(ctx, query.DataQuery{DataType: dataType, Columns: []string{column}})
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	_, err = plan.Execute(ctx, func(rows arrow.RecordBatch) error {
		values := rows.Column(0)
		for i := range values.Len() {
			counts[values.ValueStr(i)]++
		}
		return nil
	})
	all := sorted(counts)
	slices.SortStableFunc(all, func(a, b Count) int { return cmp.Compare(b.N, a.N) })
	return all, err
}

// RowsByDay counts the compacted rows of a data type by partition, from the
// table's log alone; it reads no data. Without a table there are none.
func (l *Lake) RowsByDay(ctx context.Context, dataType string) ([]Count, error) {
	snapshot, err := partition.OpenTable(l.store, dataType, nil).Load(ctx)
	if errors.Is(err, partition.ErrNoTable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, f := range snapshot.Files(func(partition.Key) bool { return true }) {
		counts[f.Key.Day.String()] += f.Rows
	}
	return sorted(counts), nil
}

// sorted gives counts in ascending order of names.
func sorted(counts map[string]int64) []Count {
	all := make([]Count, 0, len(counts))
	for name, n := range counts {
		all = append(all, Count{name, n})
	}
	slices.SortFunc(all, func(a, b Count) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
