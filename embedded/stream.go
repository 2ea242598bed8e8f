package embedded

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// A stream is one StreamingPull.
type stream struct {
	server *Server
	sub    *subscription
	grpc   pb.Subscriber_StreamingPullServer
	holder *holder

	mu       sync.Mutex
	confirms []*pb.StreamingPullResponse // to be sent
	ended    error                       // of the receiving side
}

// StreamingPull delivers messages, many to a response, until the client ends the
// stream.
func (s *Server) StreamingPull(g pb.Subscriber_StreamingPullServer) error {
	if err := s.faults.refuses("StreamingPull"); err != nil {
		return err
	}
	first, err := g.Recv()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return invalid("The initial StreamingPullRequest is missing.")
		}
		return err
	}
	sub, err := s.subscription(first.Subscription)
	if err != nil {
		return err
	}
	if d := first.StreamAckDeadlineSeconds; d < 10 || d > 600 {
		return invalid("Invalid stream_ack_deadline_seconds given (value=%d): it lies between 10 and 600.", d)
	}
	if err := sub.usableErr(); err != nil {
		return err
	}
	st := &stream{server: s, sub: sub, grpc: g}
	st.holder = sub.hold(&holder{
		wake: make(chan struct{}, 1), client: first.ClientId,
		maxMessages: first.MaxOutstandingMessages, maxBytes: first.MaxOutstandingBytes,
	})
	defer sub.release(st.holder)
	if err := st.handle(first); err != nil { // which sets the deadline, too
		return err
	}
	s.tasks.Go(st.receive)
	return st.send()
}

// receive reads acks and deadlines until the client ends the stream. Its last
// word is for send.
func (st *stream) receive() {
	for {
		in, err := st.grpc.Recv()
		if err == nil {
			err = checkLater(in)
		}
		if err == nil {
			err = st.handle(in)
		}
		if err != nil {
			st.mu.Lock()
			st.ended = err
			st.mu.Unlock()
			signal(st.holder.wake)
			return
		}
	}
}

func checkLater(in *pb.StreamingPullRequest) error {
	switch {
	case in.Subscription != "":
		return invalid("The subscription is given in the first request of a stream only.")
	case in.MaxOutstandingMessages != 0 || in.MaxOutstandingBytes != 0:
		return invalid("max_outstanding_messages and max_outstanding_bytes are given in the first request of a stream only.")
	}
	if d := in.StreamAckDeadlineSeconds; d != 0 && (d < 10 || d > 600) {
		return invalid("Invalid stream_ack_deadline_seconds given (value=%d): it lies between 10 and 600.", d)
	}
	return nil
}

// handle does what a request of the stream asks for.
func (st *stream) handle(in *pb.StreamingPullRequest) error {
	if len(in.ModifyDeadlineSeconds) != len(in.ModifyDeadlineAckIds) {
		return invalid("modify_deadline_seconds and modify_deadline_ack_ids have the same length.")
	}
	for _, d := range in.ModifyDeadlineSeconds {
		if err := checkDeadline(d); err != nil {
			return err
		}
	}
	if d := in.StreamAckDeadlineSeconds; d != 0 {
		st.sub.mu.Lock()
		st.holder.deadline = time.Duration(d) * time.Second
		st.sub.mu.Unlock()
	}
	exactly := st.sub.settings().EnableExactlyOnceDelivery
	if len(in.AckIds) > 0 {
		if err := st.acknowledge(in.AckIds, exactly); err != nil {
			return err
		}
	}
	if len(in.ModifyDeadlineAckIds) > 0 {
		confirm := &pb.StreamingPullResponse_ModifyAckDeadlineConfirmation{}
		ids := laxIDs(st.sub, in.ModifyDeadlineAckIds)
		for i, o := range st.server.modifyAll(st.sub, ids, func(i int) int32 { return in.ModifyDeadlineSeconds[i] }) {
			if o == taken {
				confirm.AckIds = append(confirm.AckIds, in.ModifyDeadlineAckIds[i])
			} else {
				confirm.InvalidAckIds = append(confirm.InvalidAckIds, in.ModifyDeadlineAckIds[i])
			}
		}
		if exactly {
			st.confirm(&pb.StreamingPullResponse{ModifyAckDeadlineConfirmation: confirm})
		}
	}
	return nil
}

func (st *stream) acknowledge(texts []string, exactly bool) error {
	outcomes, a := st.server.ackAll(st.sub, laxIDs(st.sub, texts))
	if !exactly { // nobody hears of it, so nobody waits
		if a == nil {
			return nil
		}
		return st.server.submit(a.op())
	}
	failed := a != nil && st.server.commit(a.op()) != nil
	confirm := &pb.StreamingPullResponse_AcknowledgeConfirmation{}
	for i, o := range outcomes {
		switch {
		case o == outdated:
			confirm.InvalidAckIds = append(confirm.InvalidAckIds, texts[i])
		case o == taken && failed || o == dropped:
			confirm.TemporaryFailedAckIds = append(confirm.TemporaryFailedAckIds, texts[i])
		default:
			confirm.AckIds = append(confirm.AckIds, texts[i])
		}
	}
	st.confirm(&pb.StreamingPullResponse{AcknowledgeConfirmation: confirm})
	return nil
}

func (st *stream) confirm(r *pb.StreamingPullResponse) {
	st.mu.Lock()
	st.confirms = append(st.confirms, r)
	st.mu.Unlock()
	signal(st.holder.wake)
}

// laxIDs reads ack ids; one that was never handed out is as good as outdated, for
// a stream is not ended by it.
func laxIDs(sub *subscription, texts []string) []ackID {
	ids := make([]ackID, len(texts))
	for i, text := range texts {
		id, ok := parseAckID([]byte(text))
		if !ok || id.sub != uint32(sub.uid) {
			id = ackID{seq: 1<<48 - 1, slot: 1<<32 - 1}
		}
		ids[i] = id
	}
	return ids
}

// send delivers until either side ends.
func (st *stream) send() error {
	ctx := st.grpc.Context()
	for {
		more, err := st.sendOne(ctx)
		if errors.Is(err, io.EOF) { // the client has said all
			return nil
		}
		if err != nil {
			return err
		}
		if more {
			continue
		}
		select {
		case <-st.holder.wake:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-st.server.closing:
			return errClosing
		}
	}
}

// sendOne sends what there is to send now, and reports whether it did.
func (st *stream) sendOne(ctx context.Context) (more bool, err error) {
	select {
	case <-st.server.closing:
		return false, errClosing
	case <-ctx.Done():
		return false, status.FromContextError(ctx.Err()).Err()
	default:
	}
	st.mu.Lock()
	confirms, ended := st.confirms, st.ended
	st.confirms = nil
	st.mu.Unlock()
	for _, c := range confirms {
		if err := st.grpc.Send(c); err != nil {
			return false, err
		}
	}
	if ended != nil {
		return false, ended
	}
	if err := st.server.faults.resets(); err != nil {
		return false, err
	}
	return st.deliver(ctx)
}

func (st *stream) deliver(ctx context.Context) (more bool, err error) {
	buf := responses{}.Get(0)
	var ids []ackID
	n, more, err := st.sub.take(st.holder, takeMessages, func(d delivery) {
		*buf = appendReceived(*buf, d.id, d.message, d.attempt)
		ids = append(ids, d.id)
	})
	if n == 0 || err != nil {
		responses{}.Put(buf)
		return more && err == nil, err
	}
	settings := st.sub.settings()
	*buf = appendProperties(*buf, settings.EnableExactlyOnceDelivery, settings.EnableMessageOrdering)
	if err := st.server.faults.delay(ctx); err != nil {
		st.sub.undo(ids)
		return false, err
	}
	if err := grpc.ServerStream(st.grpc).SendMsg(&rawOut{buf: buf}); err != nil {
		st.sub.undo(ids)
		return false, err
	}
	return true, nil
}

// undo ends leases of what was not sent after all; that was no attempt.
func (s *subscription) undo(ids []ackID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Backward(ids) {
		slot, live := s.leases.get(id)
		if !live || id.era != uint16(s.era) {
			continue
		}
		v := s.leases.end(slot)
		s.ended(v)
		w := waiting{seq: v.seq, attempt: v.attempt - 1}
		if v.key != nil {
			s.keyFailed(v.key, w)
		} else {
			s.waiting.add(w)
		}
	}
	s.wakeLocked()
}

func (s *Server) modifyAll(sub *subscription, ids []ackID, seconds func(i int) int32) []outcome {
	out := make([]outcome, len(ids))
	now := s.now().UnixNano()
	sub.mu.Lock()
	defer sub.mu.Unlock()
	exactly := sub.pb.EnableExactlyOnceDelivery
	for _, i := range sub.fromLast(ids) {
		out[i] = sub.modify(ids[i], seconds(i), exactly, now)
	}
	return out
}

// fromLast is the order in which to look at ack ids: with ordering keys the last
// message first, for a nack calls back those of its key that follow, and they may
// be in the same request.
func (s *subscription) fromLast(ids []ackID) []int {
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	if s.ordered {
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(ids[b].seq, ids[a].seq) })
	}
	return order
}

// ackAll looks at ack ids and returns what became of each, and what is left to
// make durable, if anything.
func (s *Server) ackAll(sub *subscription, ids []ackID) ([]outcome, *ackOp) {
	out := make([]outcome, len(ids))
	now := s.now().UnixNano()
	sub.mu.Lock()
	defer sub.mu.Unlock()
	exactly := sub.pb.EnableExactlyOnceDelivery
	a := &ackOp{sub: sub, era: sub.era}
	for i, id := range ids {
		if s.faults.dropsAck() {
			out[i] = dropped
			continue
		}
		out[i] = sub.ack(id, exactly, now, a)
	}
	if len(a.seqs) == 0 {
		return out, nil
	}
	return out, a
}

// parseIDs reads ack ids; one that was never handed out spoils the request.
func parseIDs(sub *subscription, texts [][]byte) ([]ackID, error) {
	ids := make([]ackID, len(texts))
	for i, text := range texts {
		id, ok := parseAckID(text)
		if !ok || id.sub != uint32(sub.uid) {
			return nil, invalid("You have passed an invalid ack ID to the service (ack_id=%.64s).", text)
		}
		ids[i] = id
	}
	return ids, nil
}

func checkDeadline(seconds int32) error {
	if seconds < 0 || seconds > 600 {
		return invalid("Invalid ack deadline given (value=%d): it lies between 0 and 600 seconds.", seconds)
	}
	return nil
}
