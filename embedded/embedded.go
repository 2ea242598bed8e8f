// Package embedded is a Pub/Sub server in this process, durable in a directory of
// the local disk: any Pub/Sub client speaks to it through PUBSUB_EMULATOR_HOST.
//
// What always holds:
//
//   - a publish is answered when its messages are on disk, an Acknowledge when the
//     acks are; a restart, or a kill, keeps both, and the topics, subscriptions,
//     snapshots and schemas;
//   - a message id is given once, and ids grow, also across restarts;
//   - a message is delivered until it is acknowledged, dead-lettered or older than
//     its retention; one that is acknowledged comes back only by a seek;
//   - memory does not grow with the bytes that wait: messages are read from the
//     journal when they are delivered;
//   - one process serves a directory.
//
// It follows Google's documentation of the service; docs/brokers.md says what it
// honours, and what others do. It does not push, run transforms, export, or check
// who asks, and it is one process on one disk: what that disk loses is lost.
//
// FORMAT.md describes the files, docs/adr/006-embedded-broker.md the reasons.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/sourcegraph/conc"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	"github.com/buffetbot/ingest/embedded/journal"
)

// A Config says where a server listens and what it keeps.
type Config struct {
	Addr string // 127.0.0.1:8085; port 0 picks a free one
	Dir  string // where everything is kept; it is made. Empty: a temporary directory, deleted by Close

	Log          *zap.Logger      // nothing is logged without it
	SegmentBytes int64            // 64 MiB: a file of the journal of this size is followed by another
	MinFree      uint64           // 64 MiB: free space on the disk below which publishing is refused, RESOURCE_EXHAUSTED
	SkipDamage   bool             // open a damaged journal without what is damaged, instead of refusing
	Faults       FaultPlan        // how to misbehave, for tests
	Clock        func() time.Time // time.Now

	disk *testDisk
}

// A testDisk stands between a server and its disk.
type testDisk struct {
	open func(name string, flag int, perm os.FileMode) (journal.File, error)
	free func(dir string) (uint64, error)
}

// A Server is a running Pub/Sub server.
type Server struct {
	pb.UnimplementedPublisherServer
	pb.UnimplementedSubscriberServer
	pb.UnimplementedSchemaServiceServer

	cfg       Config
	dir       string
	log       *zap.Logger
	now       func() time.Time
	freeBytes func(dir string) (uint64, error)
	random    *rand.Rand // used while opening and under admin only
	faults    Faults
	counts    counts
	openFile  func(name string, flag int, perm os.FileMode) (journal.File, error) // nil: the journal's own
	lock      *dirLock
	listener  net.Listener
	grpc      *grpc.Server
	served    chan error
	close     func() error

	journal         *journal.Journal
	commits         committer
	queued          *semaphore.Weighted
	segments        segmentUse
	lastID          uint64 // the rest of this group is the committer's alone
	lastTime        int64
	sinceCheckpoint int64
	checkpointed    journal.Position
	epoch           uint64

	admin sync.Mutex   // one administrative change at a time
	mu    sync.RWMutex // guards the maps
	state state

	closing   chan struct{} // closed when the server begins to close
	tasks     conc.WaitGroup
	clockWake chan struct{}
	deadWake  chan struct{}
	trimWake  chan struct{}
}

// Start serves from a temporary directory, until Close, at addr.
func Start(addr string) (*Server, error) { return Open(Config{Addr: addr}) }

// Open reads what the directory holds and serves it at the address, until Close.
// A directory that another process serves is refused.
func Open(cfg Config) (*Server, error) {
	s, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("start embedded Pub/Sub: %w", err)
	}
	return s, nil
}

func open(cfg Config) (*Server, error) {
	cfg.Addr = cmp.Or(cfg.Addr, "127.0.0.1:8085")
	cfg.MinFree = cmp.Or(cfg.MinFree, 64<<20)
	s := newServer(cfg)
	listener, err := net.Listen("tcp", cfg.Addr) // first: a server at this address may have the directory, too
	if err != nil {
		return nil, err
	}
	s.listener = listener
	if err := s.openDir(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.tasks.Go(s.runCommitter)
	s.tasks.Go(s.runClock)
	s.tasks.Go(s.runDeadLetters)
	s.tasks.Go(s.runTrim)
	s.tasks.Go(func() { s.served <- s.grpc.Serve(listener) })
	return s, nil
}

func newServer(cfg Config) *Server {
	s := &Server{
		cfg: cfg, dir: cfg.Dir, log: cfg.Log, now: cfg.Clock, freeBytes: freeBytes,
		random:  rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(os.Getpid()))),
		queued:  semaphore.NewWeighted(maxQueued),
		commits: committer{wake: make(chan struct{}, 1)},
		state:   newState(),
		served:  make(chan error, 1), closing: make(chan struct{}),
		clockWake: make(chan struct{}, 1), deadWake: make(chan struct{}, 1), trimWake: make(chan struct{}, 1),
	}
	if cfg.disk != nil {
		s.openFile, s.freeBytes = cfg.disk.open, cfg.disk.free
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.faults.Set(cfg.Faults)
	s.close = sync.OnceValue(s.stop)
	s.grpc = s.service()
	return s
}

// Addr is the host and port to put into PUBSUB_EMULATOR_HOST.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Dir is the directory that is served.
func (s *Server) Dir() string { return s.dir }

// Faults makes the server misbehave, for tests.
func (s *Server) Faults() *Faults { return &s.faults }

// closePatience is how long Close lets requests that are under way end.
const closePatience = 5 * time.Second

// Close ends the streams, lets what was asked for become durable, and returns
// when nothing of the server runs any more. It may be called twice.
func (s *Server) Close() error { return s.close() }

func (s *Server) stop() error {
	close(s.closing)
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	stopped := context.AfterFunc(ctx, s.grpc.Stop)
	s.grpc.GracefulStop()
	stopped()
	served := <-s.served
	if errors.Is(served, grpc.ErrServerStopped) {
		served = nil // stopped before it began
	}
	s.closeCommitter()
	s.tasks.Wait()
	s.writeCheckpoint()
	return errors.Join(served, s.closeDir())
}
