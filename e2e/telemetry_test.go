package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/buffetbot/ingest/samples"
	"github.com/buffetbot/ingest/schema"
)

// listening starts a program with --listen and gives the address that it logs.
func (w *world) listening(name string, args ...string) (cmd *exec.Cmd, addr string) {
	w.t.Helper()
	cmd = w.command(name, append(args, "--listen", "127.0.0.1:0", "--log-format", "json")...)
	diagnostics, err := cmd.StderrPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	lines := bufio.NewScanner(diagnostics)
	for lines.Scan() {
		var line struct{ Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Address != "" {
			go func() { _, _ = io.Copy(io.Discard, diagnostics) }()
			return cmd, line.Address
		}
	}
	w.t.Fatalf("%s names no address: %v", name, cmd.Wait())
	return nil, ""
}

func fetch(t *testing.T, url string) (int, []byte) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, body
}

// series are the values at /metrics by name{label=value,…}, without empty labels
// and values of 0; of a histogram the sum.
func series(t *testing.T, addr string) map[string]float64 {
	t.Helper()
	code, body := fetch(t, "http://"+addr+"/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if code != 200 || err != nil {
		t.Fatalf("/metrics: %d, %v", code, err)
	}
	all := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			if v := value(m); v != 0 {
				all[name+"{"+labels(m)+"}"] = v
			}
		}
	}
	return all
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
}

func labels(m *dto.Metric) string {
	var all []string
	for _, l := range m.GetLabel() {
		if l.GetValue() != "" {
			all = append(all, l.GetName()+"="+l.GetValue())
		}
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// until waits until the condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after a minute: not %s", what)
		}
	}
}

// What the programs tell of themselves is what was published.
func TestWhatIsMeasured(t *testing.T) {
	w := newWorld(t, "directory")
	mix := samples.Demo("measured")
	mix.Market, mix.Options, mix.Forecasts, mix.BatchRows = 60, 30, 20, 50
	want, bad, repeated := map[string]float64{}, 0, 0
	w.publish(func(publish func(string, *schema.Message)) {
		for _, s := range samples.Messages(mix) {
			publish(s.Topic, &s.Message)
			want["ingest_messages_received_total{data_type="+s.DataType+"}"]++
			want["ingest_messages_acked_total{data_type="+s.DataType+"}"]++
			want["ingest_records_total{data_type="+s.DataType+",verdict=accepted}"] += float64(s.Records - s.Bad)
			want["ingest_flush_rows{data_type="+s.DataType+"}"] += float64(s.Records - s.Bad)
			want["ingest_dead_letters_total{data_type="+s.DataType+",outcome=published}"] += float64(s.Bad)
			bad, repeated = bad+s.Bad, repeated+s.Repeated
		}
	})
	for _, name := range []string{"ingest_messages_received_total{data_type=%s}", "ingest_messages_acked_total{data_type=%s}", "ingest_records_total{data_type=%s,verdict=accepted}", "ingest_flush_rows{data_type=%s}"} {
		want[fmt.Sprintf(name, "dead_letters")] = float64(bad)
	}
	maps.DeleteFunc(want, func(_ string, v float64) bool { return v == 0 })

	ingestor, addr := w.listening("ingestor", w.ingestorArgs("--flush-age", "500ms")...)
	until(t, "ready", func() bool { code, _ := fetch(t, "http://"+addr+"/readyz"); return code == 200 })
	acked := "ingest_messages_acked_total{data_type=dead_letters}"
	until(t, "all acknowledged", func() bool { s := series(t, addr); return s[acked] == want[acked] && held(s) == 0 })
	got := series(t, addr)
	for name, v := range want {
		if got[name] != v {
			t.Errorf("%s = %v, want %v", name, got[name], v)
		}
	}
	rejected := 0.0
	for name, v := range got {
		if strings.HasPrefix(name, "ingest_records_total") && strings.Contains(name, "verdict=rejected") {
			rejected += v
		}
		if strings.Contains(name, "outcome=failed") || strings.HasPrefix(name, "ingest_messages_nacked") {
			t.Errorf("%s = %v", name, v)
		}
	}
	if rejected != float64(bad) {
		t.Errorf("%v records rejected, want %d", rejected, bad)
	}
	if files, created := sum(got, "ingest_flush_files{"), got["store_operations_total{operation=create,outcome=ok,store=data}"]; files == 0 || created < files {
		t.Errorf("%v files flushed, %v objects created", files, created)
	}
	w.terminate(ingestor)

	compactor, addr := w.listening("compactor", "--data-bucket", w.bucket, "--interval", "1h")
	until(t, "compacted", func() bool { return sum(series(t, addr), "compaction_runs_total{") == 4 })
	got = series(t, addr)
	if n := sum(got, "compaction_duplicates_total{"); n != float64(repeated) {
		t.Errorf("%v duplicates, want the %d sent again", n, repeated)
	}
	for _, dataType := range []string{"market_data", "options_data", "forecasts", "dead_letters"} {
		in := got["compaction_rows_total{data_type="+dataType+",direction=in}"]
		if in != want["ingest_flush_rows{data_type="+dataType+"}"] {
			t.Errorf("%v rows of %s compacted, %v flushed", in, dataType, want["ingest_flush_rows{data_type="+dataType+"}"])
		}
	}
	if debt := sum(got, "compaction_debt_files{"); debt != 0 {
		t.Errorf("%v raw files are left", debt)
	}
	if code, body := fetch(t, "http://"+addr+"/readyz"); code != 200 {
		t.Errorf("/readyz = %d %s", code, body)
	}
	w.terminate(compactor)
}

func held(s map[string]float64) float64 { return sum(s, "ingest_messages_held{") }

func sum(s map[string]float64, prefix string) (n float64) {
	for name, v := range s {
		if strings.HasPrefix(name, prefix) {
			n += v
		}
	}
	return n
}
