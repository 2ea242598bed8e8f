// Package embedded is a Pub/Sub server in this process, for development, demos
// and tests: any Pub/Sub client speaks to it through PUBSUB_EMULATOR_HOST.
//
// It is Google's pstest server behind an address. What it honours: topics,
// subscriptions, publish, streaming pull, acks, nacks, lease extension and
// redelivery, attributes, filters on attributes, messages of 10 MB. What it
// does not:
//
//   - nothing is durable: topics, subscriptions and messages are gone when the
//     process ends, and every message ever published stays in memory until then;
//   - a stream delivers one message per 10 ms or so, about 100 a second, so it
//     measures nothing;
//   - a message whose lease ran out may be dropped rather than redelivered once
//     it is 10 minutes old;
//   - exactly-once, flow control by the server, seek and retention are absent or
//     broken, and a dead-letter policy republishes without end: do not use them.
package embedded

import (
	"errors"
	"fmt"
	"net"
	"sync"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc"
)

// maxMessage is what a publish request may hold: Pub/Sub's 10 MB and the
// envelope around it.
const maxMessage = 16 << 20

// A Server is a running Pub/Sub server.
type Server struct {
	fake   *pstest.Server
	grpc   *grpc.Server
	addr   string
	served chan error
	close  func() error
}

// Start listens on addr ("127.0.0.1:8085"; port 0 picks a free one) and serves
// until Close.
func Start(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start embedded Pub/Sub: %w", err)
	}
	// The fake's own listener has gRPC's limit of 4 MB a message and cannot be
	// told otherwise, so its services are registered with a server of ours. The
	// fake's listener stays on a port of its own that nobody is told of.
	fake := pstest.NewServerWithAddress("127.0.0.1:0")
	s := &Server{
		fake:   fake,
		grpc:   grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage)),
		addr:   l.Addr().String(),
		served: make(chan error, 1),
	}
	s.close = sync.OnceValue(s.stop)
	pb.RegisterPublisherServer(s.grpc, &fake.GServer)
	pb.RegisterSubscriberServer(s.grpc, &fake.GServer)
	pb.RegisterSchemaServiceServer(s.grpc, &fake.GServer)
	go func() { s.served <- s.grpc.Serve(l) }()
	return s, nil
}

// Addr is the host and port to put into PUBSUB_EMULATOR_HOST.
func (s *Server) Addr() string { return s.addr }

// Close stops the server at once, dropping all it holds. It may be called twice.
func (s *Server) Close() error { return s.close() }

func (s *Server) stop() error {
	s.grpc.Stop()
	served := <-s.served
	if errors.Is(served, grpc.ErrServerStopped) {
		served = nil // stopped before it began
	}
	return errors.Join(served, s.fake.Close())
}
