package e2e

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// A witness stands between the programs and a broker that is not ours, passes on what
// they say, and knows which messages anybody asked to ack. A broker may keep to itself
// what a dead subscriber had leased (Google's emulator does: see docs/brokers.md), so
// that a message is missing at the end that was never acked: only the witness can tell
// that from one that was acked and is nowhere.
//
// When a subscriber dies the witness ends its stream as a living one would, which gives
// such a broker a chance to notice. With -end-streams=false it does not: the broker then
// keeps what it goes on delivering to the dead.
type witness struct {
	conn *grpc.ClientConn

	mu      sync.Mutex
	ids     map[string]string   // ack id: message id
	given   map[string]bool     // message ids that went to a subscriber
	acked   map[string]bool     // message ids
	letters map[string][]string // what a dead letter is of: the messages it came in
}

var endStreams = flag.Bool("end-streams", true, "with -broker: end the streams of killed subscribers as living ones do; without, records must be left at the broker, and none lost")

// witnessed puts a witness before the broker at addr and gives its address.
func witnessed(t *testing.T, addr string) (*witness, string) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(frames{}), grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{conn: conn, ids: map[string]string{}, given: map[string]bool{}, acked: map[string]bool{}, letters: map[string][]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(frames{}), grpc.UnknownServiceHandler(w.pass), grpc.MaxRecvMsgSize(64<<20))
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := errors.Join(<-served, conn.Close()); err != nil {
			t.Error(err)
		}
	})
	return w, l.Addr().String()
}

// frames passes messages on as they are.
type frames struct{}

func (frames) Name() string                  { return "proto" }
func (frames) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (frames) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// pass passes one call on.
func (w *witness) pass(_ any, from grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(from)
	ctx, cancel := context.WithCancel(context.WithoutCancel(from.Context()))
	defer cancel()
	if md, ok := metadata.FromIncomingContext(from.Context()); ok {
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	to, err := w.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	var sent publication
	go func() {
		for {
			var b []byte
			if err := from.RecvMsg(&b); err != nil { // it has said all, or is dead
				if err != io.EOF && !*endStreams {
					return // the broker is not told
				}
				_ = to.CloseSend()
				if err != io.EOF {
					time.AfterFunc(5*time.Second, cancel)
				}
				return
			}
			w.asked(method, b)
			if method == pubsubpb.Publisher_Publish_FullMethodName {
				sent.note(b)
			}
			if err := to.SendMsg(&b); err != nil {
				return // the answer says why
			}
		}
	}()
	for {
		var b []byte
		if err := to.RecvMsg(&b); err != nil {
			from.SetTrailer(to.Trailer())
			if err == io.EOF {
				return nil
			}
			return err
		}
		w.answered(method, b)
		w.lettersOf(sent.get(), b)
		if err := from.SendMsg(&b); err != nil && from.Context().Err() == nil {
			return err
		}
	}
}

// asked notes acks before the broker has them: it may apply what it never answers.
func (w *witness) asked(method string, b []byte) {
	var ids []string
	switch method {
	case pubsubpb.Subscriber_StreamingPull_FullMethodName:
		var r pubsubpb.StreamingPullRequest
		if proto.Unmarshal(b, &r) == nil {
			ids = r.AckIds
		}
	case pubsubpb.Subscriber_Acknowledge_FullMethodName:
		var r pubsubpb.AcknowledgeRequest
		if proto.Unmarshal(b, &r) == nil {
			ids = r.AckIds
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.acked[w.ids[id]] = true
	}
}

func (w *witness) answered(method string, b []byte) {
	if method != pubsubpb.Subscriber_StreamingPull_FullMethodName {
		return
	}
	var r pubsubpb.StreamingPullResponse
	if proto.Unmarshal(b, &r) != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range r.ReceivedMessages {
		w.ids[m.AckId] = m.Message.MessageId
		w.given[m.Message.MessageId] = true
	}
}

// A publication is a request that is read by one goroutine and answered to another.
type publication struct {
	mu sync.Mutex
	r  *pubsubpb.PublishRequest
}

func (p *publication) note(b []byte) {
	var r pubsubpb.PublishRequest
	if proto.Unmarshal(b, &r) == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.r = &r
	}
}

func (p *publication) get() *pubsubpb.PublishRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.r
}

// lettersOf notes which messages dead letters came in.
func (w *witness) lettersOf(asked *pubsubpb.PublishRequest, answer []byte) {
	var r pubsubpb.PublishResponse
	if asked == nil || proto.Unmarshal(answer, &r) != nil || len(r.MessageIds) != len(asked.Messages) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, m := range asked.Messages {
		if of := m.Attributes["message_id"]; of != "" {
			key := m.Attributes["data_type"] + " " + of + " " + m.Attributes["record_index"]
			w.letters[key] = append(w.letters[key], r.MessageIds[i])
		}
	}
}

// letterUnacked tells whether the broker still has the messages of a dead letter.
func (w *witness) letterUnacked(key string) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	ids := w.letters[key]
	w.mu.Unlock()
	return len(ids) > 0 && w.unacked(ids)
}

// unseen tells whether none of the messages passed here: what came of them came by a
// way that the witness does not see, and it cannot vouch for anything.
func (w *witness) unseen(ids []string) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if w.given[id] {
			return false
		}
	}
	return true
}

// unacked tells whether nobody asked to ack any of the messages.
func (w *witness) unacked(ids []string) bool {
	if w == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if w.acked[id] {
			return false
		}
	}
	return true
}
