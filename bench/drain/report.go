package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// report prints ratios first: they are what one machine can tell another.
func (c *compare) report(w io.Writer, messages, records int, best map[string]figure, usual int64) {
	rows := float64(messages * records)
	fmt.Fprintf(w, "\n%d messages of %d records, %s, %d processors, least CPU of %d runs\n", messages, records, c.brokerName(), runtime.NumCPU(), c.Runs)
	yard := best[bare]
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "receiver\tcpu / bare client\tcpu s / M rows\trows/s/core\twall rows/s\tpeak MiB\tB/row\t/ arrow-go\tfiles\t")
	for _, r := range c.Receivers {
		f := best[r]
		ratio, size, against, files := "-", "-", "-", "-"
		if yard.CPU > 0 {
			ratio = fmt.Sprintf("%.2f", float64(f.CPU)/float64(yard.CPU))
		}
		if r != bare {
			size, files = fmt.Sprintf("%.1f", float64(f.Bytes)/rows), fmt.Sprint(f.Files)
			against = fmt.Sprintf("%.2f", float64(f.Bytes)/float64(usual))
		}
		fmt.Fprintf(t, "%s\t%s\t%.2f\t%.0f\t%.0f\t%.0f\t%s\t%s\t%s\t\n", r, ratio, f.CPU.Seconds()/rows*1e6, rows/f.CPU.Seconds(),
			rows/f.Wall.Seconds(), float64(f.Peak)/(1<<20), size, against, files)
	}
	if usual > 0 {
		fmt.Fprintf(t, "arrow-go's default settings, snappy\t\t\t\t\t\t%.1f\t1.00\t\t\n", float64(usual)/rows)
	}
	t.Flush()
}

func (c *compare) brokerName() string {
	if c.Emulator {
		return "Google's emulator"
	}
	return "embedded broker"
}

// usualBytes is what the rows of a lake's raw files take when arrow-go writes the same files
// with its default settings and snappy.
func usualBytes(lake string) (total int64, err error) {
	err = filepath.WalkDir(filepath.Join(lake, "raw"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".parquet") {
			return err
		}
		n, err := rewritten(path)
		total += n
		return err
	})
	return total, err
}

func rewritten(path string) (int64, error) {
	f, err := file.OpenParquetFile(path, false)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return 0, err
	}
	table, err := r.ReadTable(context.Background())
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	defer table.Release()
	var out bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy))
	if err := pqarrow.WriteTable(table, &out, table.NumRows(), props, pqarrow.DefaultWriterProps()); err != nil {
		return 0, fmt.Errorf("rewrite %s: %w", path, err)
	}
	return int64(out.Len()), nil
}
