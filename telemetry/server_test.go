package telemetry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, tel *Telemetry, path string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	r, err := client.Get("http://" + tel.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestReadinessFlips(t *testing.T) {
	tel := started(t, Config{Service: "ingestor", Listen: "127.0.0.1:0"})
	var store, ingestor error
	check := func(code int, want string) {
		t.Helper()
		if got, body := get(t, tel, "/readyz"); got != code || body != want {
			t.Errorf("/readyz = %d %q, want %d %q", got, body, code, want)
		}
		if got, body := get(t, tel, "/healthz"); got != 200 || body != "alive\n" {
			t.Errorf("/healthz = %d %q", got, body)
		}
	}
	check(503, "ingestor: not yet connected\n")
	tel.Check("ingestor", func() error { return ingestor })
	check(200, "ready\n")
	tel.Check("store", func() error { return store })
	store = errors.New("breaker open since 12:00")
	check(503, "store: breaker open since 12:00\n")
	ingestor = errors.Join(errors.New("draining"), errors.New("late"))
	check(503, "ingestor: draining\ningestor: late\nstore: breaker open since 12:00\n")
	store, ingestor = nil, nil
	check(200, "ready\n")
}

func TestWhatIsServed(t *testing.T) {
	plain := started(t, Config{Listen: "127.0.0.1:0"})
	if code, body := get(t, plain, "/metrics"); code != 200 || !strings.Contains(body, "go_goroutine_count") {
		t.Errorf("/metrics = %d %.200s", code, body)
	}
	if code, _ := get(t, plain, "/debug/pprof/"); code != 404 {
		t.Errorf("/debug/pprof/ = %d without having been asked for", code)
	}
	profiled := started(t, Config{Listen: "127.0.0.1:0", Pprof: true})
	if code, body := get(t, profiled, "/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("/debug/pprof/goroutine = %d %.200s", code, body)
	}
}

func TestATakenPortIsAnError(t *testing.T) {
	first := started(t, Config{Listen: "127.0.0.1:0"})
	_, err := Start(t.Context(), Config{Service: "second", Listen: first.Addr()})
	if err == nil || !strings.Contains(err.Error(), "--listen "+first.Addr()) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Start = %v, want an error that names the flag, the address and the reason", err)
	}
}

func TestShutdownFreesThePort(t *testing.T) {
	first, err := Start(t.Context(), Config{Service: "first", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // as at SIGTERM
	if err := first.Shutdown(ended); err != nil {
		t.Fatal(err)
	}
	started(t, Config{Listen: first.Addr()})
}
