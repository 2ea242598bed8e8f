package embedded

import (
	"strconv"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/buffetbot/ingest/embedded/journal"
)

// deadPatience is how long a message waits that could not be dead-lettered, for
// instance because the dead-letter topic was deleted.
const deadPatience = 10 * time.Second

// runDeadLetters moves messages that used up their delivery attempts: one record
// puts the message into the dead-letter topic, another acknowledges it, and both
// become durable together.
func (s *Server) runDeadLetters() {
	for {
		select {
		case <-s.deadWake:
		case <-s.closing:
			return
		}
		for _, sub := range s.allSubscriptions() {
			for s.moveDead(sub) {
				if s.isClosing() {
					return
				}
			}
		}
	}
}

func (s *Server) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// moveDead moves one message, and reports whether there was one.
func (s *Server) moveDead(sub *subscription) bool {
	sub.mu.Lock()
	if len(sub.dead) == 0 || sub.gone {
		sub.mu.Unlock()
		return false
	}
	w := sub.dead[0]
	sub.dead = sub.dead[1:]
	era, settings, acked := sub.era, sub.pb, sub.acked.has(w.seq)
	sub.mu.Unlock()
	if acked {
		return true
	}
	if err := s.moveOne(sub, settings, era, w); err != nil {
		s.log.Warn("embedded Pub/Sub: a message cannot be dead-lettered; it is delivered again",
			zap.String("subscription", settings.Name), zap.Error(err))
		sub.mu.Lock()
		defer sub.mu.Unlock()
		if sub.era == era {
			w.ready = s.now().Add(deadPatience).UnixNano()
			sub.waiting.add(w)
			s.pokeClock()
		}
	}
	return true
}

func (s *Server) moveOne(sub *subscription, settings *pb.Subscription, era uint64, w waiting) error {
	policy := settings.DeadLetterPolicy
	if policy == nil { // taken away since
		return precondition("The subscription has no dead-letter policy any more.")
	}
	to, err := s.topic(policy.DeadLetterTopic)
	if err != nil {
		return err
	}
	r := reader{topic: sub.topic, journal: s.journal}
	message, err := r.read(w.seq)
	if err != nil {
		return err
	}
	letter, err := deadLetter(message, settings.Name, w.attempt)
	if err != nil {
		return err
	}
	runs := []span{{w.seq, 1}}
	o := &op{
		topic: to, messages: [][]byte{letter}, bytes: len(letter),
		encode: func(b *journal.Batch) { encodeAcks(b, sub.uid, era, runs) },
		apply: func() {
			sub.applyAcks(era, runs)
			sub.mu.Lock()
			sub.counts.deadLettered++
			sub.counts.acked--
			sub.mu.Unlock()
		},
	}
	return s.commit(o)
}

// deadLetter is the message as it goes to the dead-letter topic: with attributes
// that say where it comes from.
func deadLetter(message []byte, subscription string, attempts uint32) ([]byte, error) {
	m := &pb.PubsubMessage{}
	if err := proto.Unmarshal(message, m); err != nil {
		return nil, err
	}
	project, id, _ := splitName(subscription, "subscriptions")
	letter := without(message, idField, timeField)
	for _, a := range [][2]string{
		{"CloudPubSubDeadLetterSourceDeliveryCount", strconv.Itoa(int(attempts))},
		{"CloudPubSubDeadLetterSourceSubscription", id},
		{"CloudPubSubDeadLetterSourceSubscriptionProject", project},
		{"CloudPubSubDeadLetterSourceTopicPublishTime", m.PublishTime.AsTime().Format("2006-01-02T15:04:05.000-07:00")},
	} {
		letter = appendAttribute(letter, a[0], a[1])
	}
	return letter, nil
}

func appendAttribute(b []byte, key, value string) []byte {
	var e []byte
	e = protowire.AppendTag(e, 1, protowire.BytesType)
	e = protowire.AppendString(e, key)
	e = protowire.AppendTag(e, 2, protowire.BytesType)
	e = protowire.AppendString(e, value)
	b = protowire.AppendTag(b, attributesField, protowire.BytesType)
	return protowire.AppendBytes(b, e)
}

// rememberAttempts writes delivery attempts down, so that a message which kills
// its consumer, and the server with it, is counted. Nobody waits for it: the
// count may lose what the machine loses.
func (s *Server) rememberAttempts(sub *subscription, era uint64, all []waiting) {
	uid := sub.uid
	_ = s.submit(&op{lazy: true, encode: func(b *journal.Batch) {
		b.Add(kindAttempts, encodeAttempts(b.Buf(), uid, era, all))
	}})
}

// encodeAttempts packs neighbours with the same count.
func encodeAttempts(b []byte, sub, era uint64, all []waiting) []byte {
	b = putUint(b, sub)
	b = putUint(b, era)
	for i := 0; i < len(all); {
		n := 1
		for i+n < len(all) && all[i+n].seq == all[i].seq+uint64(n) && all[i+n].attempt == all[i].attempt {
			n++
		}
		b = putUint(b, all[i].seq)
		b = putUint(b, uint64(n))
		b = putUint(b, uint64(all[i].attempt))
		i += n
	}
	return b
}
