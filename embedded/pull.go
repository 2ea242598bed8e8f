package embedded

import (
	"context"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// pullWait is how long a Pull waits for a first message.
const pullWait = 30 * time.Second

// Pull answers with what there is, and waits a while for the first message if
// there is none.
func (s *Server) Pull(ctx context.Context, in *pb.PullRequest) (*pb.PullResponse, error) {
	sub, err := s.subscription(in.Subscription)
	if err != nil {
		return nil, err
	}
	if in.MaxMessages <= 0 {
		return nil, invalid("Invalid max_messages given (value=%d): it is positive.", in.MaxMessages)
	}
	h := sub.hold(&holder{wake: make(chan struct{}, 1)})
	defer sub.release(h)
	wait := time.NewTimer(pullWait)
	defer wait.Stop()
	for {
		out, more, err := s.pullOnce(ctx, sub, h, int(in.MaxMessages))
		if err != nil || len(out.GetReceivedMessages()) > 0 {
			return out, err
		}
		if more {
			continue
		}
		//lint:ignore SA1019 deprecated, and still sent
		if in.ReturnImmediately {
			return &pb.PullResponse{}, nil
		}
		select {
		case <-h.wake:
		case <-wait.C:
			return &pb.PullResponse{}, nil
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-s.closing:
			return nil, errClosing
		}
	}
}

func (s *Server) pullOnce(ctx context.Context, sub *subscription, h *holder, limit int) (*pb.PullResponse, bool, error) {
	buf := responses{}.Get(0)
	defer responses{}.Put(buf)
	var ids []ackID
	n, more, err := sub.take(h, limit, func(d delivery) {
		*buf = appendReceived(*buf, d.id, d.message, d.attempt)
		ids = append(ids, d.id)
	})
	if n == 0 || err != nil {
		return nil, more, err
	}
	if err := s.faults.delay(ctx); err != nil || ctx.Err() != nil {
		sub.undo(ids)
		return nil, false, status.FromContextError(ctx.Err()).Err()
	}
	out := &pb.PullResponse{}
	if err := proto.Unmarshal(*buf, out); err != nil {
		sub.undo(ids)
		return nil, false, status.Errorf(codes.Internal, "read a stored message: %v", err)
	}
	return out, more, nil
}

// acknowledge is Acknowledge. It is answered when the acks are durable.
func (s *Server) acknowledge(in ackRequest) (*emptypb.Empty, error) {
	sub, err := s.subscription(in.subscription)
	if err != nil {
		return nil, err
	}
	if len(in.ids) == 0 {
		return nil, invalid("No ack IDs specified.")
	}
	ids, err := parseIDs(sub, in.ids)
	if err != nil {
		return nil, err
	}
	exactly := sub.settings().EnableExactlyOnceDelivery
	outcomes, a := s.ackAll(sub, ids)
	if a != nil {
		if err := s.commit(a.op()); err != nil {
			return nil, err
		}
	}
	if !exactly {
		return &emptypb.Empty{}, nil
	}
	return answerEach(in.ids, outcomes)
}

// modifyAckDeadline is ModifyAckDeadline.
func (s *Server) modifyAckDeadline(in ackRequest) (*emptypb.Empty, error) {
	sub, err := s.subscription(in.subscription)
	if err != nil {
		return nil, err
	}
	if len(in.ids) == 0 {
		return nil, invalid("No ack IDs specified.")
	}
	if err := checkDeadline(in.seconds); err != nil {
		return nil, err
	}
	ids, err := parseIDs(sub, in.ids)
	if err != nil {
		return nil, err
	}
	outcomes := s.modifyAll(sub, ids, func(int) int32 { return in.seconds })
	if !sub.settings().EnableExactlyOnceDelivery {
		return &emptypb.Empty{}, nil
	}
	return answerEach(in.ids, outcomes)
}

// answerEach is the answer with exactly-once delivery. When some ids are no longer
// valid the request fails, and clients take what the details do not name for
// failed, too; so those that went well are named as worth another try, which then
// finds them done.
func answerEach(texts [][]byte, outcomes []outcome) (*emptypb.Empty, error) {
	perID := map[string]string{}
	wrong := false
	for i, o := range outcomes {
		switch o {
		case outdated:
			perID[string(texts[i])] = permanentFailure
			wrong = true
		case dropped:
			perID[string(texts[i])] = transientFailure
			wrong = true
		}
	}
	if !wrong {
		return &emptypb.Empty{}, nil
	}
	for _, text := range texts {
		if perID[string(text)] == "" {
			perID[string(text)] = transientFailure
		}
	}
	return nil, invalidAckIDs(perID)
}
