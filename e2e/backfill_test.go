package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// history is files of bars, and what a lake must hold of them.
type history struct {
	args   []string // of backfill
	rows   int64
	broken int64  // lines that cannot be taken apart
	sum    string // of close, exact
}

// generated writes four files: 6,000 bars, of which some have a broken line
// between them, one file gzipped, one as NDJSON.
func generated(t *testing.T) history {
	t.Helper()
	dir := t.TempDir()
	sum := new(big.Int)
	h := history{args: []string{"--from", filepath.Join(dir, "*.csv*"), "--from", filepath.Join(dir, "d.ndjson"),
		"--map", "timestamp=date", "--map", "price=close", "--set", "data_source=generated", "--batch-rows", "50"}}
	n := 0
	rows := func(count int, write func(symbol, date, close string)) {
		for range count {
			text := fmt.Sprintf("%d.%04d", 1+n%90, n*37%10000)
			sum.Add(sum, eighths(t, text))
			write(fmt.Sprintf("S%d", n%40), fmt.Sprintf("2020-03-%02d", 1+n%7), text)
			n++
		}
		h.rows += int64(count)
	}
	store := func(name string, count, broken int) {
		b := bytes.NewBufferString("symbol,date,close,volume\n")
		rows(count, func(symbol, date, close string) { fmt.Fprintf(b, "%s,%s,%s,%d\n", symbol, date, close, n) })
		for i := range broken {
			fmt.Fprintf(b, "S%d,2020-03-01,\"1.5\" stray,\n", i)
		}
		h.broken += int64(broken)
		data := b.Bytes()
		if strings.HasSuffix(name, ".gz") {
			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			_, _ = w.Write(data)
			_ = w.Close()
			data = z.Bytes()
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	store("a.csv", 2000, 3)
	store("b.csv.gz", 2000, 0)
	store("c.csv", 1000, 2)
	var lines bytes.Buffer
	rows(1000, func(symbol, date, close string) {
		fmt.Fprintf(&lines, `{"symbol":%q,"date":%q,"close":%s,"volume":%d}`+"\n", symbol, date, close, n)
	})
	if err := os.WriteFile(filepath.Join(dir, "d.ndjson"), lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	h.sum = decimalText(sum)
	return h
}

// pystock is a fortnight of an exchange's bars.
func pystock(t *testing.T) history {
	t.Helper()
	pattern := filepath.Join("market/pystock/*.csv.gz")
	h := history{args: []string{"--from", filepath.Join(*dataDir, pattern), "--map", "timestamp=date", "--map", "price=close", "--set", "data_source=pystock"}}
	sum := new(big.Int)
	for _, name := range captured(t, pattern) {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(z).ReadAll()
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[1:] {
			sum.Add(sum, eighths(t, r[5]))
		}
		h.rows += int64(len(rows) - 1)
	}
	h.sum = decimalText(sum)
	return h
}

// decimalText writes units of 1e-8.
func decimalText(units *big.Int) string {
	text := fmt.Sprintf("%09d", units)
	return text[:len(text)-8] + "." + text[len(text)-8:]
}

func theHistory(t *testing.T) history {
	if *dataDir != "" {
		return pystock(t)
	}
	return generated(t)
}

func (w *world) backfillArgs(h history, checkpoint string, more ...string) []string {
	args := append([]string{"--create", "--checkpoint", checkpoint}, h.args...)
	return append(args, more...)
}

// published is how many records the checkpoint names.
func published(t *testing.T, checkpoint string) (rows int64, finished bool) {
	t.Helper()
	c := readCheckpoint(t, checkpoint)
	return c.Totals.Rows, c.Finished
}

type checkpoint struct {
	Totals      struct{ Rows int64 }
	Finished    bool
	PublishedAt string `json:"published_at"`
}

func readCheckpoint(t *testing.T, checkpointFile string) (c checkpoint) {
	t.Helper()
	data, err := os.ReadFile(checkpointFile)
	if os.IsNotExist(err) {
		return c
	}
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatalf("checkpoint %s: %v", checkpointFile, err) // it is never half written
	}
	return c
}

// expect checks the lake against the files. A dead letter is one of its
// record's publish time, so there is a set of them for each.
func (w *world) expect(when string, h history, publishTimes int64) {
	w.t.Helper()
	if got := w.totals("market_data", "close"); got.Rows != h.rows || got.Sum != h.sum {
		w.t.Errorf("%s: %d rows, sum of close %s; want %d and %s", when, got.Rows, got.Sum, h.rows, h.sum)
	}
	letters := int64(0)
	for _, n := range w.reasons() {
		letters += n
	}
	if want := h.broken * publishTimes; letters != want {
		w.t.Errorf("%s: %d dead letters, want %d of broken lines", when, letters, want)
	}
}

// History goes through the topic into the lake; the backfill is killed on its
// way and goes on; then it is done all over again, which adds nothing.
func TestBackfill(t *testing.T) {
	w, h := newWorld(t, "directory"), theHistory(t)
	first := filepath.Join(t.TempDir(), "first.json")
	killed := w.command("backfill", w.backfillArgs(h, first, "--rate", fmt.Sprint(h.rows/4))...)
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	for rows, _ := published(t, first); rows < h.rows/10; rows, _ = published(t, first) {
		time.Sleep(10 * time.Millisecond)
	}
	w.kill(killed)
	rows, finished := published(t, first)
	if finished || rows >= h.rows {
		t.Fatalf("killed after all %d records; a kill in the middle is wanted", rows)
	}
	out := w.run("backfill", w.backfillArgs(h, first)...)
	if want := fmt.Sprintf("%d records in", rows); !strings.Contains(out, want) || !strings.Contains(out, "published before") {
		t.Errorf("the second run does not go on behind %d records:\n%s", rows, out)
	}
	if out := w.run("backfill", w.backfillArgs(h, first)...); !strings.Contains(out, "already done") {
		t.Errorf("a third run says %q", out)
	}
	began := time.Now()
	w.ingestor("--idle-exit", "4s")
	t.Logf("ingested in %v", time.Since(began).Round(time.Millisecond))
	w.expect("before compaction", h, 1)
	w.compact()
	w.expect("after compaction", h, 1)

	ingest := func(args ...string) {
		w.run("backfill", w.backfillArgs(h, filepath.Join(t.TempDir(), "fresh.json"), args...)...)
		w.ingestor("--idle-exit", "4s")
	}
	ingest("--published-at", readCheckpoint(t, first).PublishedAt)
	w.expect("after a second backfill with the publish time of the first, before compaction", h, 1)
	ingest()
	w.expect("after a third backfill, before compaction", h, 2)
	w.compact()
	w.expect("after a third backfill", h, 2)
	t.Logf("%d rows, sum of close %s, after three backfills", h.rows, h.sum)
}

// A process that is killed and started again.
type victim struct {
	name  string
	start func() *exec.Cmd
	cmd   *exec.Cmd
}

// Backfill, ingestor and compactor are killed in turn while all three work.
func TestBackfillKilled(t *testing.T) {
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "kills" })
	if !asked {
		t.Skip("a killed ingestor's messages come again after a minute: ask for it with -kills N")
	}
	w, h := newWorld(t, "directory"), theHistory(t)
	w.publish(func(func(string, *schema.Message)) {}) // topics and subscriptions are there before anybody
	checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
	pause := 1500 * time.Millisecond
	rate := float64(h.rows) / (float64(*kills+2) * pause.Seconds())
	start := func(name string, args ...string) func() *exec.Cmd {
		return func() *exec.Cmd {
			cmd := w.command(name, args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return cmd
		}
	}
	victims := []*victim{
		{name: "backfill", start: start("backfill", w.backfillArgs(h, checkpoint, "--rate", fmt.Sprint(rate))...)},
		{name: "ingestor", start: start("ingestor", w.ingestorArgs("--flush-age", "300ms", "--streams", "1", "--memory-budget", "8MiB")...)},
		{name: "compactor", start: start("compactor", "--data-bucket", w.bucket, "--interval", "200ms")},
	}
	for _, v := range victims {
		v.cmd = v.start()
	}
	for i := range *kills {
		time.Sleep(pause + time.Duration(i*137)*time.Millisecond%time.Second)
		v := victims[i%len(victims)]
		w.kill(v.cmd)
		rows, finished := published(t, checkpoint)
		t.Logf("kill %d, of %s: %d records published (finished: %v), %d rows visible", i+1, v.name, rows, finished, w.rows("market_data"))
		v.cmd = v.start()
	}
	if err := victims[0].cmd.Wait(); err != nil {
		t.Fatalf("the last backfill ended with %v", err)
	}
	began := time.Now()
	for w.rows("market_data") < h.rows && time.Since(began) < *patience {
		time.Sleep(2 * time.Second)
	}
	t.Logf("all %d rows visible %v after the last backfill's end", w.rows("market_data"), time.Since(began).Round(time.Second))
	w.terminate(victims[1].cmd)
	if err := victims[2].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := victims[2].cmd.Wait(); err != nil {
		t.Errorf("the compactor that was told to stop ended with %v", err)
	}
	w.ingestor("--idle-exit", "4s") // the dead letters
	w.compact()
	w.expect("after the kills", h, 1)
	w.run("backfill", w.backfillArgs(h, filepath.Join(t.TempDir(), "again.json"))...)
	w.ingestor("--idle-exit", "4s")
	w.compact()
	w.expect("after a second backfill", h, 2)
	t.Logf("%d kills; %d rows, sum of close %s, after two backfills", *kills, h.rows, h.sum)
}
