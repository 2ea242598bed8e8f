package embedded_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"go.uber.org/goleak"

	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/embedded/conformance"
)

var (
	kills   = flag.Int("kills", 4, "how often TestKilled kills the server")
	backlog = flag.Int("backlog", 200_000, "messages that wait in TestABacklogTakesLittleMemory")
)

// helperEnv makes this program a server of the directory it names.
const helperEnv = "EMBEDDED_SERVE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(helperEnv); spec != "" {
		serve(spec)
	}
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"), // of the client; never ends
		goleak.IgnoreTopFunction("cloud.google.com/go/pubsub/v2.(*messageIterator).streamKeepAliveHandler"))
}

func serve(spec string) {
	addr, dir, _ := strings.Cut(spec, " ")
	if _, err := embedded.Open(embedded.Config{Addr: addr, Dir: dir, SegmentBytes: 1 << 20}); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("serving")
	select {}
}

// A process is a server in a process of its own.
type process struct {
	cmd *exec.Cmd
}

func startProcess(t *testing.T, addr, dir string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+addr+" "+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "serving\n" {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("the server says %q, %v", line, err)
	}
	return &process{cmd}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A ledger is what the publishers and the consumer were answered.
type ledger struct {
	mu        sync.Mutex
	published map[string]bool // text
	acked     map[string]bool // id
	received  map[string]bool // text
	errs      []string
}

func (l *ledger) fail(format string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, fmt.Sprintf(format, a...))
}

// The server is killed under load, again and again. What it answered is not lost;
// what was acknowledged, and answered, does not come back; ids grow.
func TestKilled(t *testing.T) {
	addr, dir := freeAddr(t), t.TempDir()
	server := startProcess(t, addr, dir)
	defer func() { server.kill() }()
	conn, err := conformance.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	env := conformance.NewEnv(conn)
	if _, err := env.Publisher.CreateTopic(t.Context(), &pb.Topic{Name: topicName}); err != nil {
		t.Fatal(err)
	}
	if _, err := env.Subscriber.CreateSubscription(t.Context(), &pb.Subscription{Name: subName, Topic: topicName}); err != nil {
		t.Fatal(err)
	}
	l := &ledger{published: map[string]bool{}, acked: map[string]bool{}, received: map[string]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	var load, drain sync.WaitGroup
	for w := range 3 {
		load.Go(func() { l.publishUntil(ctx, env, w) })
	}
	draining := make(chan struct{})
	drain.Go(func() { l.consume(t.Context(), env, draining) })
	for i := range *kills {
		time.Sleep(time.Duration(50+37*i%300) * time.Millisecond)
		server.kill()
		server = startProcess(t, addr, dir)
	}
	time.Sleep(100 * time.Millisecond)
	stop()
	load.Wait()
	close(draining)
	drain.Wait()
	for text := range l.published {
		if !l.received[text] {
			l.errs = append(l.errs, text+" was answered and never came")
		}
	}
	if len(l.published) < 10**kills {
		t.Errorf("only %d messages were answered", len(l.published))
	}
	for i, e := range l.errs {
		if t.Error(e); i == 10 {
			t.Fatalf("and %d more", len(l.errs)-i)
		}
	}
	t.Logf("%d kills: %d messages answered, %d received, %d acknowledged", *kills, len(l.published), len(l.received), len(l.acked))
}

func (l *ledger) publishUntil(ctx context.Context, env *conformance.Env, w int) {
	last := uint64(0)
	for i := 0; ctx.Err() == nil; i++ {
		text := fmt.Sprintf("%d-%d", w, i)
		out, err := env.Publisher.Publish(ctx, &pb.PublishRequest{Topic: topicName, Messages: []*pb.PubsubMessage{{Data: []byte(text)}}})
		if err != nil {
			time.Sleep(2 * time.Millisecond)
			continue
		}
		id, err := strconv.ParseUint(out.MessageIds[0], 10, 64)
		if err != nil || id <= last {
			l.fail("id %s after %d", out.MessageIds[0], last)
		}
		last = id
		l.mu.Lock()
		l.published[text] = true
		l.mu.Unlock()
	}
}

// consume pulls and acknowledges, one request after another, until all that was
// published has come and nothing is left.
func (l *ledger) consume(ctx context.Context, env *conformance.Env, draining <-chan struct{}) {
	quiet := 0
	for quiet < 3 {
		pull, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		out, err := env.Subscriber.Pull(pull, &pb.PullRequest{Subscription: subName, MaxMessages: 100})
		cancel()
		if err != nil || len(out.ReceivedMessages) == 0 {
			select {
			case <-draining:
				if l.complete() {
					quiet++
				}
			default:
			}
			time.Sleep(5 * time.Millisecond)
			continue
		}
		var ids, acks []string
		l.mu.Lock()
		for _, m := range out.ReceivedMessages {
			if l.acked[m.Message.MessageId] {
				l.errs = append(l.errs, m.Message.MessageId+" was acknowledged and came back")
			}
			l.received[string(m.Message.Data)] = true
			ids, acks = append(ids, m.Message.MessageId), append(acks, m.AckId)
		}
		l.mu.Unlock()
		_, err = env.Subscriber.Acknowledge(ctx, &pb.AcknowledgeRequest{Subscription: subName, AckIds: acks})
		if err != nil {
			continue
		}
		l.mu.Lock()
		for _, id := range ids {
			l.acked[id] = true
		}
		l.mu.Unlock()
	}
}

func (l *ledger) complete() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text := range l.published {
		if !l.received[text] {
			return false
		}
	}
	return true
}

// Memory does not grow with what waits: a server in a process of its own stays
// under 256 MiB while the backlog builds up, after a restart, and while it is
// delivered.
func TestABacklogTakesLittleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("resident memory is read from /proc, which only Linux has")
	}
	addr, dir := freeAddr(t), t.TempDir()
	server := startProcess(t, addr, dir)
	defer func() { server.kill() }()
	conn, err := conformance.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	env := conformance.NewEnv(conn)
	if _, err := env.Publisher.CreateTopic(t.Context(), &pb.Topic{Name: topicName}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		s := &pb.Subscription{Name: subName + strconv.Itoa(i), Topic: topicName}
		if _, err := env.Subscriber.CreateSubscription(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	in := &pb.PublishRequest{Topic: topicName}
	for range 1000 {
		in.Messages = append(in.Messages, &pb.PubsubMessage{Data: make([]byte, 350)})
	}
	for n := 0; n < *backlog; n += 1000 {
		if _, err := env.Publisher.Publish(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	full := server.resident(t)
	server.kill()
	began := time.Now()
	server = startProcess(t, addr, dir)
	took := time.Since(began)
	stream, err := env.Subscriber.StreamingPull(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&pb.StreamingPullRequest{Subscription: subName + "0", StreamAckDeadlineSeconds: 60}); err != nil {
		t.Fatal(err)
	}
	delivered := uint64(0)
	for n := 0; n < *backlog; {
		out, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		var acks []string
		for _, m := range out.ReceivedMessages {
			acks = append(acks, m.AckId)
		}
		if n += len(acks); n%5 == 0 { // four of five stay under way
			if err := stream.Send(&pb.StreamingPullRequest{AckIds: acks}); err != nil {
				t.Fatal(err)
			}
		}
		delivered = max(delivered, server.resident(t))
	}
	t.Logf("%d messages of 350 bytes: %d MiB resident after publishing, restart in %v, %d MiB at most while delivering",
		*backlog, full>>20, took.Round(time.Millisecond), delivered>>20)
	if full > 256<<20 || delivered > 256<<20 {
		t.Errorf("%d and %d MiB resident, want under 256", full>>20, delivered>>20)
	}
}

func (p *process) resident(t *testing.T) uint64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
