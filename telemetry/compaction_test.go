package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
	"github.com/buffetbot/ingest/schema"
)

// fill puts messages into a store as raw files, one flush a call.
func fill(t testing.TB, store objstore.Store, messages []schema.Message) {
	t.Helper()
	_, run := observedRun(t, store, &feed{messages: messages}, nop())
	if err := run(); err != nil {
		t.Fatal(err)
	}
}

func compactor(t testing.TB, store objstore.Store) *compaction.Compactor {
	t.Helper()
	registry, err := schema.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	o, err := Compactions()
	if err != nil {
		t.Fatal(err)
	}
	return &compaction.Compactor{Store: store, Registry: registry, Observer: o}
}

func TestACompactionIsMeasured(t *testing.T) {
	tel := started(t, Config{})
	mem, messages := objstore.NewMem(), trades(30, time.Hour, nil)
	fill(t, mem, messages)
	fill(t, mem, messages) // delivered again
	faults := &objtest.Faults{Store: mem, Times: -1, Match: func(op, name string) bool {
		return op == "create" && strings.HasPrefix(name, "processed/") && strings.HasSuffix(name, ".parquet")
	}}
	c := compactor(t, faults)
	if _, err := c.Run(t.Context(), []string{"market_data"}); err == nil {
		t.Fatal("compacted into a store that cannot create")
	}
	market := "data_type=market_data"
	families := scrape(t, tel)
	expect(t, families, "compaction_runs_total", map[string]float64{market + " outcome=failed": 1})
	expect(t, families, "compaction_debt_files", map[string]float64{market: 2})
	if age, ok := values(families["compaction_debt_age_seconds"])[market]; !ok || age < 0 || age > 600 {
		t.Errorf("the oldest raw file is %v s old", age)
	}
	var size int64
	for o := range mem.List(t.Context(), "raw/market_data/", "") {
		size += o.Size
	}
	expect(t, families, "compaction_debt_bytes", map[string]float64{market: float64(size)})
	expect(t, families, "compaction_partitions_total", map[string]float64{market + " outcome=failed": 1})
	expect(t, families, "compaction_rows_total", map[string]float64{}) // nothing was committed

	c.Store = mem
	for range 2 {
		if _, err := c.Run(t.Context(), []string{"market_data"}); err != nil {
			t.Fatal(err)
		}
	}
	families = scrape(t, tel)
	expect(t, families, "compaction_runs_total", map[string]float64{market + " outcome=failed": 1, market + " outcome=ok": 1, market + " outcome=idle": 1})
	expect(t, families, "compaction_run_duration_seconds", map[string]float64{market + " outcome=failed": 1, market + " outcome=ok": 1, market + " outcome=idle": 1})
	expect(t, families, "compaction_debt_files", map[string]float64{})
	expect(t, families, "compaction_debt_bytes", map[string]float64{})
	expect(t, families, "compaction_debt_age_seconds", map[string]float64{})
	expect(t, families, "compaction_rows_total", map[string]float64{market + " direction=in": 60, market + " direction=out": 30})
	expect(t, families, "compaction_duplicates_total", map[string]float64{market: 30})
	expect(t, families, "compaction_files_total", map[string]float64{market + " direction=consumed": 2, market + " direction=added": 1})
	expect(t, families, "compaction_conflicts_total", map[string]float64{})
	if ok := values(families["compaction_partitions_total"])[market+" outcome=committed"]; ok != 1 {
		t.Errorf("%v partitions committed", ok)
	}
	if read := values(families["compaction_bytes_total"])[market+" direction=read"]; read != float64(size) {
		t.Errorf("%v bytes read of %d", read, size)
	}
}

func TestACompactionIsTraced(t *testing.T) {
	mem := objstore.NewMem()
	fill(t, mem, trades(3, 0, nil))
	c := startCollector(t)
	tel := started(t, Config{}, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+c.addr, "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_TRACES_SAMPLER", "always_on")
	var out bytes.Buffer
	log, _ := NewLogger(&out, "json", "info")
	comp := compactor(t, observedStore(mem))
	comp.Log = log
	if _, err := comp.Run(t.Context(), []string{"market_data"}); err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	runs := c.named("compaction run")
	if len(runs) != 1 {
		t.Fatalf("%d runs in the collector", len(runs))
	}
	within := func(name string, parent *v1.Span) *v1.Span {
		t.Helper()
		for _, s := range c.named(name) {
			if bytes.Equal(s.ParentSpanId, parent.SpanId) && bytes.Equal(s.TraceId, parent.TraceId) {
				return s
			}
		}
		t.Fatalf("no span %q within %q", name, parent.Name)
		return nil
	}
	within("store list", within("compaction plan", runs[0]))
	within("store read", within("compaction merge", runs[0]))
	within("store create", within("compaction commit", runs[0]))
	if want := fmt.Sprintf(`"trace_id":"%x"`, runs[0].TraceId); !strings.Contains(out.String(), want) {
		t.Errorf("log %s lacks %s", out.String(), want)
	}
}

func TestRunOutcomes(t *testing.T) {
	ended := func(all ...compaction.Outcome) (r compaction.TableReport) {
		for _, o := range all {
			r.Partitions = append(r.Partitions, compaction.PartitionReport{Outcome: o})
		}
		return r
	}
	with := func(r compaction.TableReport, err error) compaction.TableReport { r.Err = err; return r }
	for _, tt := range []struct {
		want string
		r    compaction.TableReport
	}{
		{"idle", ended()},
		{"ok", ended(compaction.Committed, compaction.Skipped)},
		{"abandoned", ended(compaction.Committed, compaction.Abandoned)},
		{"abandoned", ended(compaction.Dropped)},
		{"failed", ended(compaction.Abandoned, compaction.Failed)},
		{"failed", with(ended(), errors.New("list"))},
		{"canceled", with(ended(), fmt.Errorf("compact: %w", context.Canceled))},
	} {
		if got := runOutcome(tt.r); got != tt.want {
			t.Errorf("outcome of %v = %s, want %s", tt.r, got, tt.want)
		}
	}
}
