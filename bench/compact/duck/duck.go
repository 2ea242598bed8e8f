// Command duck lets DuckDB do what a compaction does, and prints what came of it.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
	_ "github.com/duckdb/duckdb-go/v2" // registers the driver

	"github.com/buffetbot/ingest/bench/compact/told"
)

func main() {
	var d duck
	kong.Parse(&d)
	if err := d.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "duck:", err)
		os.Exit(1)
	}
}

// duck does the same work by DuckDB's SQL: of the rows with one identity the
// first, in the order of ours, as one snappy Parquet file.
type duck struct {
	Root    string `arg:""`
	Threads int    `default:"2"`
}

const identity = `symbol, "timestamp", _id, _index, _published_at`

func (d *duck) run(ctx context.Context) error {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return err
	}
	defer db.Close()
	out := filepath.Join(d.Root, "out")
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}
	files := filepath.Join(d.Root, "lake", "raw", "market_data", "*", "*", "*", "*.parquet")
	for _, q := range []string{
		fmt.Sprintf("SET threads = %d", d.Threads),
		fmt.Sprintf("SET temp_directory = '%s'", filepath.Join(out, "spill")),
	} {
		if _, err := db.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	target := filepath.Join(out, "out.parquet")
	query := fmt.Sprintf(`COPY (
	SELECT * FROM read_parquet('%s', hive_partitioning = false)
	QUALIFY row_number() OVER (PARTITION BY %s) = 1
	ORDER BY %s
) TO '%s' (FORMAT parquet, COMPRESSION snappy)`, files, identity, identity, target)
	if _, err := db.ExecContext(ctx, query); err != nil {
		return err
	}
	var o told.Outcome
	if err := db.QueryRowContext(ctx, fmt.Sprintf("SELECT sum(num_rows) FROM parquet_file_metadata('%s')", target)).Scan(&o.Rows); err != nil {
		return err
	}
	if o.Bytes, err = told.Size(out); err != nil {
		return err
	}
	return told.Tell(o)
}
