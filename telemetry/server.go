package telemetry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sourcegraph/conc"
	"go.uber.org/zap"
)

// errStarting is the state before a program says otherwise.
var errStarting = errors.New("not yet connected")

// checks are what readiness depends on, by name.
type checks struct {
	mu    sync.Mutex
	named map[string]func() error
}

// Check makes readiness depend on check, under a name; a check of that name is
// replaced. It is called for each request, so it must be quick and must not ask
// another machine. Its error is the reason, for people: "breaker open since …".
//
// A program begins with one check, under its service's name, that says that it is
// not yet connected.
func (t *Telemetry) Check(name string, check func() error) {
	t.checks.mu.Lock()
	defer t.checks.mu.Unlock()
	if t.checks.named == nil {
		t.checks.named = map[string]func() error{}
	}
	t.checks.named[name] = check
}

// Unready gives the reasons why the program is not ready, a line each.
func (t *Telemetry) Unready() []string {
	t.checks.mu.Lock()
	named := maps.Clone(t.checks.named)
	t.checks.mu.Unlock()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if err := named[name](); err != nil {
			for line := range strings.Lines(err.Error()) {
				lines = append(lines, name+": "+strings.TrimSpace(line))
			}
		}
	}
	return lines
}

func (t *Telemetry) mux(profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", t.readyz)
	mux.Handle("GET /metrics", t.Handler())
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// readyz answers 200, or 503 with a line for each reason.
func (t *Telemetry) readyz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	lines := t.Unready()
	if len(lines) == 0 {
		fmt.Fprintln(w, "ready")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, strings.Join(lines, "\n"))
}

// A server is the HTTP server of health and metrics.
type server struct {
	http  http.Server
	addr  string
	ended conc.WaitGroup
}

// serve listens at addr. What comes later is served until close.
func serve(addr string, handler http.Handler, log *zap.Logger) (*server, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve health and metrics at --listen %s: %w", addr, err)
	}
	s := &server{addr: listener.Addr().String(), http: http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: zap.NewStdLog(log.WithOptions(zap.IncreaseLevel(zap.ErrorLevel))),
	}}
	s.ended.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("health and metrics are no longer served", zap.Error(err))
		}
	})
	log.Info("serving /healthz, /readyz and /metrics", zap.String("address", s.addr))
	return s, nil
}

// close lets requests finish until ctx ends.
func (s *server) close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests at %s: %w", s.addr, err), s.http.Close())
	}
	s.ended.Wait()
	return err
}
