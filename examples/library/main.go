// Command library reads a lake through the library: it opens it, asks for the
// prices of some symbols and prints them, newest last.
//
//	make demo
//	go run ./examples/library -lake file://$PWD/lake AAPL BRK.B
//
// It changes nothing. Rows come as Arrow record batches, partition by partition,
// in the order of symbol and time inside one; decimals are read as what they are,
// not as floats.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/query"
)

func main() {
	lake := flag.String("lake", "", "where the lake is: file:///directory, or the name of a bucket")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *lake, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "library:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, bucket string, symbols []string, out io.Writer) (err error) {
	lake, err := ingest.Open(ctx, ingest.Config{Bucket: bucket})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lake.Close()) }()
	plan, err := lake.Query(ctx, query.DataQuery{
		DataType: "market_data",
		Symbols:  symbols,
		Columns:  []string{"symbol", "timestamp", "price"},
		Where:    "volume is not null",
		Limit:    10,
	})
	if err != nil {
		return err
	}
	result, err := plan.Execute(ctx, func(rows arrow.RecordBatch) error { return show(rows, out) })
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rows from %d files\n", result.Rows, result.Files)
	return nil
}

// show prints rows. Text comes as a dictionary: each word stands once.
func show(rows arrow.RecordBatch, out io.Writer) error {
	symbol, ok := rows.Column(0).(*array.Dictionary)
	if !ok {
		return fmt.Errorf("symbol is %s", rows.Column(0).DataType())
	}
	words := symbol.Dictionary().(*array.String)
	at, price := rows.Column(1).(*array.Timestamp), rows.Column(2).(*array.Decimal128)
	for i := range int(rows.NumRows()) {
		fmt.Fprintln(out, words.Value(symbol.GetValueIndex(i)), at.Value(i).ToTime(arrow.Microsecond).Format("2006-01-02 15:04:05.000000"), price.ValueStr(i))
	}
	return nil
}
