package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/sourcegraph/conc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/buffetbot/ingest/schema"
)

var outageFor = flag.Duration("outage", 0, "how long each outage of TestOutages lasts, with every kind of it (default: 4s of a server that is gone)")

var outageKinds = flag.String("outage-kinds", "down,403,429,503,hang", "which kinds of outage -outage makes")

// A front stands before the GCS server and is what the ingestor is told of.
type front struct {
	t    *testing.T
	addr string
	pass http.Handler
	mode atomic.Pointer[string] // "": all is well
	hung chan struct{}

	mu     sync.Mutex
	server *http.Server
	lied   atomic.Int64
}

func newFront(t *testing.T, behind string) *front {
	t.Helper()
	target, err := url.Parse("http://" + behind)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, pass: httputil.NewSingleHostReverseProxy(target), addr: "127.0.0.1:0", hung: make(chan struct{})}
	f.set("")
	f.up()
	t.Cleanup(func() { close(f.hung); f.down() })
	return f
}

func (f *front) set(mode string) { f.mode.Store(&mode) }

// up listens, again where it did before.
func (f *front) up() {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, err := net.Listen("tcp", f.addr)
	if err != nil {
		f.t.Error(err)
		return
	}
	f.addr = l.Addr().String()
	f.server = &http.Server{Handler: f}
	go f.server.Serve(l)
}

// down refuses connections and cuts those there are.
func (f *front) down() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.server.Close()
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	upload := strings.HasPrefix(r.URL.Path, "/upload/")
	switch mode := *f.mode.Load(); mode {
	case "hang":
		io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-f.hung:
		}
		panic(http.ErrAbortHandler)
	case "403", "429", "503":
		status, _ := strconv.Atoi(mode)
		http.Error(w, "refused for a test", status)
	case "412": // applied, and answered as if another had been first
		if upload {
			f.lied.Add(1)
			f.pass.ServeHTTP(httptest.NewRecorder(), r)
			http.Error(w, "not true", http.StatusPreconditionFailed)
			return
		}
		f.pass.ServeHTTP(w, r)
	case "lost": // every other upload is applied, and its answer lost
		if upload && f.lied.Add(1)%2 == 1 {
			f.pass.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		f.pass.ServeHTTP(w, r)
	default:
		f.pass.ServeHTTP(w, r)
	}
}

// begin and end make an outage of a kind.
func (f *front) begin(kind string) {
	if kind == "down" {
		f.down()
		return
	}
	f.set(kind)
}

func (f *front) end(kind string) {
	if kind == "down" {
		f.up()
		return
	}
	f.set("")
}

// A patientIngestor is a running ingestor that is looked at from outside.
type patientIngestor struct {
	*world
	cmd    *exec.Cmd
	listen string
	log    lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (w *world) watched(f *front, args ...string) *patientIngestor {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	i := &patientIngestor{world: w, listen: l.Addr().String()}
	l.Close()
	args = append([]string{"--types", "market_data", "--listen", i.listen, "--breaker-open", "1s", "--timeout-seconds", "1", "--flush-age", "300ms"}, args...)
	i.cmd = w.command("ingestor", append([]string{"--data-bucket", w.bucket, "--create"}, args...)...)
	i.cmd.Env = append(i.cmd.Env, "STORAGE_EMULATOR_HOST="+f.addr)
	i.cmd.Stdout, i.cmd.Stderr = io.Discard, &i.log
	if err := i.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if i.cmd.ProcessState == nil {
			i.cmd.Process.Kill()
			i.cmd.Wait()
		}
		if w.t.Failed() {
			w.t.Logf("the ingestor's log:\n%.8000s", i.log.String())
		}
	})
	return i
}

// get asks the ingestor; 0 if it does not answer.
func (i *patientIngestor) get(path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get("http://" + i.listen + path)
	if err != nil {
		return 0, err.Error()
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	return r.StatusCode, string(body)
}

// metric is the sum of a metric's samples; -1 where there is none.
func (i *patientIngestor) metric(name string) float64 {
	_, text := i.get("/metrics")
	sum, found := 0.0, false
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)`).FindAllStringSubmatch(text, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			i.t.Error(err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return -1
	}
	return sum
}

// await waits until cond holds.
func (i *patientIngestor) await(what string, within time.Duration, cond func() bool) {
	i.t.Helper()
	for deadline := time.Now().Add(within); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// resident is the memory of the process, bytes; 0 where the system does not tell.
func (i *patientIngestor) resident() int64 {
	return statusOf(i.cmd.Process.Pid, "VmRSS")
}

// objects counts the raw objects, asking the GCS server itself.
func (w *world) objects() (n int) {
	w.t.Helper()
	for _, err := range w.lake().Reader().List(w.t.Context(), "raw/market_data/", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// steadily publishes single records until stop is called, which says how many.
func (w *world) steadily(every time.Duration) (stop func() int) {
	var n int
	done := make(chan struct{})
	var publisher conc.WaitGroup
	publisher.Go(func() {
		w.publish(func(publish func(string, *schema.Message)) {
			for tick := time.NewTicker(every); ; {
				select {
				case <-done:
					tick.Stop()
					return
				case <-tick.C:
					n++
					publish("market-data", &schema.Message{Data: fmt.Appendf(nil,
						`{"symbol":"S%d","timestamp":"2024-01-15T14:30:00Z","price":%d,"source":"outage"}`, n%50, n)})
				}
			}
		})
	})
	return func() int { close(done); publisher.Wait(); return n }
}

// whole compacts and counts.
func (w *world) whole(n int) {
	w.t.Helper()
	w.run("compactor", "--data-bucket", w.bucket, "--types", "market_data", "--once")
	got := w.totals("market_data", "price")
	if want := fmt.Sprint(n * (n + 1) / 2); got.Rows != int64(n) || !strings.HasPrefix(got.Sum+".", want+".") {
		w.t.Errorf("%d rows, sum %v; want %d, %s", got.Rows, got.Sum, n, want)
	}
}

// TestOutages runs an ingestor under a steady load and takes its store away. Most of
// its time is the minute after which what was on its way to the ingestor, when it stopped
// pulling, is delivered again: messages are leased for 60s as they leave the server.
// The broker counts deliveries.
func TestOutages(t *testing.T) {
	lasts, kinds := 4*time.Second, []string{"down"}
	if *outageFor > 0 {
		lasts, kinds = *outageFor, strings.Split(*outageKinds, ",")
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, "gcs")
			f := newFront(t, os.Getenv("STORAGE_EMULATOR_HOST"))
			w.counted("market-data-ingest")
			i := w.watched(f)
			stop := w.steadily(10 * time.Millisecond)
			i.await("acks", 30*time.Second, func() bool { return i.metric("ingest_messages_acked_total") > 100 })

			f.begin(kind)
			i.await("not ready", 30*time.Second, func() bool {
				status, body := i.get("/readyz")
				return status == http.StatusServiceUnavailable && strings.Contains(body, "circuit breaker open")
			})
			objects, acked, received := w.objects(), i.metric("ingest_messages_acked_total"), i.metric("ingest_messages_received_total")
			memory := i.resident()
			for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if status, body := i.get("/healthz"); status != http.StatusOK {
					t.Fatalf("healthz: %d %s", status, body)
				}
				if status, _ := i.get("/readyz"); status != http.StatusServiceUnavailable {
					t.Fatalf("readyz: %d in the outage", status)
				}
				if state := i.metric("store_breaker_state"); state < 1 {
					t.Fatalf("breaker state %v in the outage", state)
				}
			}
			if got := i.metric("ingest_messages_acked_total"); got != acked || w.objects() != objects {
				t.Errorf("acked %v→%v, objects %d→%d in the outage", acked, got, objects, w.objects())
			}
			grown, came := i.resident()-memory, i.metric("ingest_messages_received_total")-received
			t.Logf("in %v: memory %d→%+d KiB, %v messages received after the breaker opened, %v handed back", lasts, memory>>10, grown>>10, came, i.metric("ingest_messages_nacked_total"))
			if grown > 16<<20 || came > 50 {
				t.Errorf("in the outage memory grew by %d bytes, and %v messages were taken", grown, came)
			}
			f.end(kind)
			recovered := time.Now()
			i.await("ready again", 60*time.Second, func() bool { status, _ := i.get("/readyz"); return status == http.StatusOK })
			if state := i.metric("store_breaker_state"); state != 0 {
				t.Errorf("recovered, breaker state %v", state)
			}
			n := stop()
			i.await(fmt.Sprintf("%d acks", n), 2*time.Minute, func() bool { return i.metric("ingest_messages_acked_total") >= float64(n) })
			drained := time.Since(recovered)
			if n := i.metric("ingest_gave_up_total"); n != 0 {
				t.Errorf("gave up %v times", n)
			}
			i.finish(n)
			most := i.mostAttempts()
			t.Logf("%d messages, none delivered more than %d times; drained %v after the recovery", n, most, drained.Round(100*time.Millisecond))
			if most < 1 || most > 3 {
				t.Errorf("a message was delivered %d times; an outage is to cost three at most", most)
			}
			if lasts >= time.Minute && drained > time.Minute {
				t.Errorf("drained %v after the recovery", drained)
			}
		})
	}
}

// counted gives a subscription a dead-letter policy, so that the broker counts the
// deliveries of each message.
func (w *world) counted(subscription string) {
	w.t.Helper()
	w.publish(func(func(string, *schema.Message)) {}) // makes topics and subscriptions
	conn, err := grpc.NewClient(w.broker, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_, err = pubsubpb.NewSubscriberClient(conn).UpdateSubscription(w.t.Context(), &pubsubpb.UpdateSubscriptionRequest{
		Subscription: &pubsubpb.Subscription{
			Name:             "projects/" + w.project + "/subscriptions/" + subscription,
			DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: "projects/" + w.project + "/topics/dead-letters", MaxDeliveryAttempts: 100},
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"dead_letter_policy"}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// mostAttempts is what the ended ingestor says of the deliveries of one message.
func (i *patientIngestor) mostAttempts() (most int) {
	for _, m := range regexp.MustCompile(`"most_attempts":(\d+)`).FindAllStringSubmatch(i.log.String(), -1) {
		n, _ := strconv.Atoi(m[1])
		most = max(most, n)
	}
	return most
}

// finish waits for the last ack, stops the ingestor, and counts the lake.
func (i *patientIngestor) finish(published int) {
	i.t.Helper()
	i.await(fmt.Sprintf("%d acks", published), 2*time.Minute, func() bool { return i.metric("ingest_messages_acked_total") >= float64(published) })
	i.terminate(i.cmd)
	i.whole(published)
}

// TestAStoreThatIsOddUnderLoad: it goes up and down, lies about having been asked before,
// loses answers. No outage opens for long, and every row is there once.
func TestAStoreThatIsOddUnderLoad(t *testing.T) {
	kinds := []string{"412", "lost"}
	if *outageFor > 0 {
		kinds = append(kinds, "flapping")
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t, "gcs")
			f := newFront(t, os.Getenv("STORAGE_EMULATOR_HOST"))
			i := w.watched(f)
			stop := w.steadily(10 * time.Millisecond)
			i.await("acks", 30*time.Second, func() bool { return i.metric("ingest_messages_acked_total") > 100 })
			for end := time.Now().Add(max(3*time.Second, *outageFor)); time.Now().Before(end); {
				if kind == "flapping" {
					f.down()
					time.Sleep(300 * time.Millisecond)
					f.up()
				} else {
					f.set(kind)
				}
				time.Sleep(300 * time.Millisecond)
			}
			f.set("")
			i.finish(stop())
			if kind != "flapping" && f.lied.Load() == 0 {
				t.Error("met no lie")
			}
		})
	}
}

// TestTerminatedInAnOutage: the drain is bounded, says that nothing is lost, and the
// next ingestor finds everything.
func TestTerminatedInAnOutage(t *testing.T) {
	w := newWorld(t, "gcs")
	f := newFront(t, os.Getenv("STORAGE_EMULATOR_HOST"))
	i := w.watched(f, "--drain-deadline", "2s")
	stop := w.steadily(10 * time.Millisecond)
	i.await("acks", 30*time.Second, func() bool { return i.metric("ingest_messages_acked_total") > 50 })
	f.down()
	i.await("not ready", 30*time.Second, func() bool { status, _ := i.get("/readyz"); return status == http.StatusServiceUnavailable })
	n := stop()
	began := time.Now()
	i.cmd.Process.Signal(syscall.SIGTERM)
	err := i.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || time.Since(began) > 10*time.Second {
		t.Errorf("ended with %v after %v", err, time.Since(began))
	}
	if !strings.Contains(i.log.String(), "nothing is lost") {
		t.Error("it does not say that nothing is lost")
	}
	f.up()
	next := w.watched(f)
	next.await("the rest", 2*time.Minute, func() bool { return w.rows("market_data") >= int64(n) })
	next.terminate(next.cmd)
	w.whole(n)
}

// TestNoPermissionAtTheStart: a clear line and exit code 1, before any message is taken.
func TestNoPermissionAtTheStart(t *testing.T) {
	w := newWorld(t, "gcs")
	f := newFront(t, os.Getenv("STORAGE_EMULATOR_HOST"))
	f.set("403")
	i := w.watched(f)
	var exit *exec.ExitError
	if err := i.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(i.log.String(), "no permission on bucket e2e-lake") {
		t.Errorf("ended with %v: %s", err, i.log.String())
	}
}
