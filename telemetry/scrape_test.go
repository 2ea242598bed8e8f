package telemetry

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started starts telemetry for a test, with the environment given.
func started(t testing.TB, c Config, env ...string) *Telemetry {
	t.Helper()
	for i := 0; i < len(env); i += 2 {
		t.(*testing.T).Setenv(env[i], env[i+1])
	}
	if c.Service == "" {
		c.Service = "tested"
	}
	tel, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil && env == nil {
			t.Error(err)
		}
	})
	return tel
}

// scrape reads what /metrics serves.
func scrape(t testing.TB, tel *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	tel.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("scrape: %d, %v", w.Code, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		t.Fatalf("scrape: %v\n%s", err, body)
	}
	return families
}

// values are a family's values by "label=value label=value", without the labels
// that are empty; of a histogram the counts.
func values(f *dto.MetricFamily) map[string]float64 {
	all := map[string]float64{}
	for _, m := range f.GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			if l.GetValue() != "" {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
		}
		slices.Sort(labels)
		all[strings.Join(labels, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return all
}

// expect compares a family with what it must hold; values of 0 need not be there.
func expect(t testing.TB, families map[string]*dto.MetricFamily, name string, want map[string]float64) {
	t.Helper()
	got := values(families[name])
	maps.DeleteFunc(got, func(_ string, v float64) bool { return v == 0 })
	if !maps.Equal(got, want) {
		t.Errorf("%s = %v, want %v", name, got, want)
	}
}

func nop() *zap.Logger { return zap.NewNop() }

func TestScrapeTellsWho(t *testing.T) {
	tel := started(t, Config{Service: "ingestor"}, "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	info := fmt.Sprint(scrape(t, tel)["target_info"])
	for _, want := range []string{`"ingestor"`, `"service_version"`, `"service_instance_id"`, `"deployment_environment"`} {
		if !strings.Contains(info, want) {
			t.Errorf("target_info lacks %s: %s", want, info)
		}
	}
}

func TestTheRuntimeIsMeasured(t *testing.T) {
	if f := scrape(t, started(t, Config{}))["go_goroutine_count"]; values(f)[""] < 1 {
		t.Errorf("go_goroutine_count = %v", f)
	}
}

func TestDisabled(t *testing.T) {
	tel := started(t, Config{}, "OTEL_SDK_DISABLED", "true", "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	Store(nil, "data")
	if families := scrape(t, tel); len(families) != 0 {
		t.Errorf("%d families are measured", len(families))
	}
}
