package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/samples"
	"github.com/buffetbot/ingest/schema"
)

// The whole path with the programs, into both kinds of store.
func TestPath(t *testing.T) {
	for _, bucket := range []string{"directory", "gcs"} {
		t.Run(bucket, func(t *testing.T) {
			w := newWorld(t, bucket)
			mix := samples.Demo("path")
			mix.Market, mix.Options, mix.Forecasts, mix.BatchRows = 60, 30, 20, 50
			want := map[string]int64{}
			w.publish(func(publish func(string, *schema.Message)) {
				for _, s := range samples.Messages(mix) {
					publish(s.Topic, &s.Message)
					want[s.DataType] += int64(s.Records - s.Bad - s.Repeated)
					want["dead_letters"] += int64(s.Bad)
				}
			})
			w.ingestor("--idle-exit", "4s")
			check := func(when string) {
				for dataType, n := range want {
					if got := w.rows(dataType); got != n {
						t.Errorf("%s %s: %d rows, want %d", when, dataType, got, n)
					}
				}
			}
			check("before compaction")
			w.compact()
			check("after compaction")
			if out := w.run("compactor", "--data-bucket", w.bucket, "--plan"); !strings.Contains(out, "nothing to do") {
				t.Errorf("after compaction there is something to do: %s", out)
			}
			out := w.run("buffetctl", "query", "--data-bucket", w.bucket, "--type", "market_data", "--symbol", "../../x", "--format", "csv", "--columns", "symbol,price")
			if want := "symbol,price\n../../x,1.50000000\n"; strings.ReplaceAll(out, "\r", "") != want {
				t.Errorf("query of an odd symbol = %q, want %q", out, want)
			}
		})
	}
}

// The ingestor is killed in the middle of a run, again and again, and started
// again; then nothing is missing and nothing is there twice.
func TestKilled(t *testing.T) {
	w := newWorld(t, "directory")
	var sum int64 // of volume: every record has one of its own
	w.publish(func(publish func(string, *schema.Message)) {
		for i := range *messages {
			sum += int64(i)
			publish("market-data", &schema.Message{Data: fmt.Appendf(nil,
				`{"symbol":"S%d","timestamp":"2024-01-%02dT14:30:00Z","price":1.5,"volume":%d,"source":"e2e"}`, i%50, 1+i%5, i)})
		}
	})
	// One stream and few messages held: Google's Java emulator goes on delivering
	// into the streams of the killed, a lease of 60 seconds at a time.
	args := []string{"--flush-age", "500ms", "--streams", "1", "--memory-budget", "8MiB"}
	for i := range *kills {
		cmd := w.start(args...)
		time.Sleep(time.Duration(700+300*i) * time.Millisecond) // in the middle of it
		w.kill(cmd)
		t.Logf("kill %d: %d rows visible", i+1, w.rows("market_data"))
	}
	// What the killed ones held comes again once its lease has run out, which
	// takes a broker between 10 seconds and some minutes.
	last, start := w.start(args...), time.Now()
	for {
		time.Sleep(2 * time.Second) // it hears a signal only once it has begun
		if w.rows("market_data") >= int64(*messages) || time.Since(start) >= *patience {
			break
		}
	}
	t.Logf("%d rows visible %v after the last kill", w.rows("market_data"), time.Since(start).Round(time.Second))
	w.terminate(last)
	w.compact()
	got := w.totals("market_data", "volume")
	if got.Rows != int64(*messages) || got.Sum != fmt.Sprint(sum) {
		t.Errorf("rows %d, sum of volume %s; want %d and %d", got.Rows, got.Sum, *messages, sum)
	}
}
