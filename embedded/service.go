package embedded

import (
	"context"
	"path"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// maxReceive is what a request may hold: Pub/Sub's limit, and room for one that is
// over it to be answered with the reason.
const maxReceive = 24 << 20

// service is the gRPC server, with the hot methods taken as bytes.
func (s *Server) service() *grpc.Server {
	g := grpc.NewServer(
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxReceive), grpc.MaxSendMsgSize(maxReceive),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(s.intercept),
	)
	publisher, subscriber := pb.Publisher_ServiceDesc, pb.Subscriber_ServiceDesc
	publisher.Methods = replaceMethods(publisher.Methods, map[string]rawMethod{"Publish": (*Server).publishRaw})
	subscriber.Methods = replaceMethods(subscriber.Methods, map[string]rawMethod{
		"Acknowledge":       (*Server).acknowledgeRaw,
		"ModifyAckDeadline": (*Server).modifyRaw,
	})
	g.RegisterService(&publisher, s)
	g.RegisterService(&subscriber, s)
	pb.RegisterSchemaServiceServer(g, s)
	return g
}

type rawMethod = func(s *Server, ctx context.Context, in []byte) (any, error)

func replaceMethods(all []grpc.MethodDesc, by map[string]rawMethod) []grpc.MethodDesc {
	methods := append([]grpc.MethodDesc(nil), all...)
	for i, m := range methods {
		if f := by[m.MethodName]; f != nil {
			methods[i].Handler = rawHandler(m.MethodName, f)
		}
	}
	return methods
}

func rawHandler(method string, f rawMethod) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(rawIn)
		if err := decode(in); err != nil {
			return nil, err
		}
		s := srv.(*Server)
		if err := s.faults.refuses(method); err != nil {
			return nil, err
		}
		return f(s, ctx, in.b)
	}
}

func (s *Server) intercept(ctx context.Context, in any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if err := s.faults.refuses(path.Base(info.FullMethod)); err != nil {
		return nil, err
	}
	return next(ctx, in)
}

func (s *Server) acknowledgeRaw(_ context.Context, b []byte) (any, error) {
	in, ok := parseAck(b, ackIDsField)
	if !ok {
		return nil, invalid("The request is not an AcknowledgeRequest.")
	}
	return orNil(s.acknowledge(in))
}

func (s *Server) modifyRaw(_ context.Context, b []byte) (any, error) {
	in, ok := parseAck(b, modackIDsField)
	if !ok {
		return nil, invalid("The request is not a ModifyAckDeadlineRequest.")
	}
	return orNil(s.modifyAckDeadline(in))
}

// orNil keeps a nil pointer from becoming a message.
func orNil[T any](m *T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (s *Server) publishRaw(ctx context.Context, b []byte) (any, error) {
	in, ok := parsePublish(b)
	if !ok {
		return nil, invalid("The request is not a PublishRequest.")
	}
	t, err := s.topic(in.topic)
	if err != nil {
		return nil, err
	}
	o, err := s.checkPublish(t, in, len(b))
	if err != nil {
		return nil, err
	}
	first, err := s.publish(ctx, o)
	if err != nil {
		return nil, err
	}
	return publishResponse(first, len(o.messages)), nil
}

func (s *Server) checkPublish(t *topic, in publishRequest, size int) (*op, error) {
	switch {
	case len(in.messages) == 0:
		return nil, invalid("No messages were given.")
	case len(in.messages) > maxMessages:
		return nil, invalid("The value for message_count is too large. You passed %d in the request, but the maximum value is %d.", len(in.messages), maxMessages)
	case size > maxRequestBytes:
		return nil, invalid("Request payload size exceeds the limit: %d bytes.", maxRequestBytes)
	}
	o := &op{topic: t, messages: in.messages}
	var firstKey []byte
	check := s.validator(t.settings())
	for i, sent := range in.messages {
		message, key, err := checkMessage(sent)
		if err == nil && check != nil {
			message, err = check(message)
		}
		if err != nil {
			return nil, err
		}
		if i == 0 {
			firstKey = key
		} else if string(key) != string(firstKey) {
			return nil, invalid("In a single publish request, all messages must have no ordering key or they must all have the same ordering key.")
		}
		o.messages[i] = message
		o.bytes += len(message) + 64
	}
	return o, nil
}

// publishResponse lists consecutive ids.
func publishResponse(first uint64, n int) *rawOut {
	buf := responses{}.Get(0)
	var digits [20]byte
	for i := range n {
		d := appendUint(digits[:0], first+uint64(i))
		*buf = append(*buf, 1<<3|2, byte(len(d)))
		*buf = append(*buf, d...)
	}
	return &rawOut{buf: buf}
}
