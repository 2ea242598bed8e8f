package telemetry

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// prometheusName is what Prometheus calls a metric.
func prometheusName(m Metric) string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	switch suffix := map[string]string{"s": "_seconds", "By": "_bytes"}[m.Unit]; {
	case suffix != "" && !strings.HasSuffix(name, suffix):
		name += suffix
	}
	if m.Kind == Counter {
		name += "_total"
	}
	return name
}

var kinds = map[Kind]dto.MetricType{Counter: dto.MetricType_COUNTER, Gauge: dto.MetricType_GAUGE, Histogram: dto.MetricType_HISTOGRAM}

// everything makes every metric have a value.
func everything(t *testing.T) map[string]*dto.MetricFamily {
	tel := started(t, Config{})
	mem := objstore.NewMem()
	store := observedStore(&objtest.Faults{Store: mem, Times: 3})
	fill(t, store, trades(3, time.Minute, nil))
	Refreshes()("ok")
	if err := ObserveBreaker("data", objstore.Break(mem, objstore.BreakerPolicy{})); err != nil {
		t.Fatal(err)
	}
	if _, err := compactor(t, store).Run(t.Context(), []string{"market_data"}); err != nil {
		t.Fatal(err)
	}
	return scrape(t, tel)
}

// What is exported is what the catalog says: names, kinds, help and labels.
func TestTheCatalogIsWhatIsExported(t *testing.T) {
	families := everything(t)
	for _, m := range Metrics() {
		f := families[prometheusName(m)]
		if f == nil {
			t.Errorf("%s (%s) is not exported", m.Name, prometheusName(m))
			continue
		}
		if f.GetType() != kinds[m.Kind] || f.GetHelp() != m.Help {
			t.Errorf("%s is a %v, %q", m.Name, f.GetType(), f.GetHelp())
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if want := slices.Sorted(slices.Values(m.Labels)); !slices.Equal(labels, want) {
			t.Errorf("%s has labels %v, want %v", m.Name, labels, want)
		}
		delete(families, prometheusName(m))
	}
	for name := range families {
		if !strings.HasPrefix(name, "go_") && name != "target_info" {
			t.Errorf("%s is exported, and not in the catalog", name)
		}
	}
}

// No label may take as many values as there are symbols or messages.
func TestLabelsAreBounded(t *testing.T) {
	known := []string{labelType, labelOutcome, labelReason, labelVerdict, labelKind, labelCause, labelStore, labelOp, labelWay}
	for _, m := range Metrics() {
		for _, l := range m.Labels {
			if !slices.Contains(known, l) {
				t.Errorf("%s has a label %s: say here why its values are few", m.Name, l)
			}
		}
	}
	for name, f := range everything(t) {
		if n := len(f.GetMetric()); n > 20 {
			t.Errorf("%s has %d series after one batch", name, n)
		}
	}
}

// docs/monitoring.md lists the catalog: no metric more, none less, none otherwise.
func TestTheDocumentListsTheCatalog(t *testing.T) {
	text, err := os.ReadFile("../docs/monitoring.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{} // by name: the columns that are facts
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) != 6 {
			continue
		}
		name := strings.Trim(cells[0], "|` ")
		if listed[name] != "" {
			t.Errorf("docs/monitoring.md lists %s twice", name)
		}
		listed[name] = strings.Join(cells[1:5], " | ")
		if strings.Trim(cells[5], " |") == "" {
			t.Errorf("docs/monitoring.md does not say what %s tells", name)
		}
	}
	for _, m := range Metrics() {
		labels := "`" + strings.Join(m.Labels, "`, `") + "`"
		if len(m.Labels) == 0 {
			labels = "none"
		}
		want := "`" + prometheusName(m) + "` | " + string(m.Kind) + " | " + strings.Trim(m.Unit, "{}") + " | " + labels
		if got := listed[m.Name]; got != want {
			t.Errorf("docs/monitoring.md lists %s as %q, want %q", m.Name, got, want)
		}
		delete(listed, m.Name)
	}
	for name := range maps.Keys(listed) {
		t.Errorf("docs/monitoring.md lists %s, which is not measured", name)
	}
}
