package embedded

import (
	"context"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/buffetbot/ingest/embedded/filter"
	"github.com/buffetbot/ingest/embedded/journal"
)

// Defaults of a subscription.
const (
	defaultAckDeadline = 10 // seconds
	defaultRetention   = 7 * 24 * time.Hour
	defaultExpiration  = 31 * 24 * time.Hour
	defaultAttempts    = 5
)

// CreateSubscription attaches a subscription to a topic; it gets what is
// published from then on.
func (s *Server) CreateSubscription(_ context.Context, in *pb.Subscription) (*pb.Subscription, error) {
	if err := checkName(in.Name, "subscriptions"); err != nil {
		return nil, err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, err := s.subscription(in.Name); err == nil {
		return nil, alreadyExists(in.Name)
	}
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	made := proto.CloneOf(in)
	made.Detached = false
	if err := s.checkSubscription(made, t.settings()); err != nil {
		return nil, err
	}
	var wants *filter.Filter
	if made.Filter != "" {
		if wants, err = filter.Parse(made.Filter); err != nil {
			return nil, invalid("Invalid filter given: %v.", err)
		}
	}
	sub := newSubscription(s, s.newUID(), t, 0)
	err = s.commit(&op{
		encode: func(b *journal.Batch) {
			start := t.head() // what is in this same batch is published to it, too
			sub.acked.floor, sub.next, sub.retainFrom = start, start, start
			sub.attach(made, wants)
			b.Add(kindSubscription, encodeSubscription(b.Buf(), sub, made, start, start))
		},
		apply: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.state.addSubscription(sub)
		},
	})
	return answer(made, err)
}

// attach sets what follows from the settings, before anybody else knows of the
// subscription.
func (s *subscription) attach(settings *pb.Subscription, wants *filter.Filter) {
	s.pb, s.filter, s.ordered = settings, wants, settings.EnableMessageOrdering
	s.reader = reader{topic: s.topic, journal: s.server.journal}
	s.gone = settings.Detached
}

func (st *state) addSubscription(sub *subscription) {
	st.subs[sub.pb.Name], st.subUIDs[sub.uid] = sub, sub
	if sub.gone {
		return
	}
	sub.topic.mu.Lock()
	defer sub.topic.mu.Unlock()
	sub.topic.subs[sub] = struct{}{}
}

func encodeSubscription(b []byte, sub *subscription, settings *pb.Subscription, start, retainFrom uint64) []byte {
	b = putUint(b, sub.uid)
	b = putUint(b, sub.topic.uid)
	b = putUint(b, start)
	b = putUint(b, retainFrom)
	return putProto(b, settings)
}

// checkSubscription fills in defaults and refuses what is out of bounds.
func (s *Server) checkSubscription(sub *pb.Subscription, t *pb.Topic) error {
	switch {
	case sub.GetPushConfig().GetPushEndpoint() != "":
		return unsupported("A push subscription")
	case sub.BigqueryConfig != nil, sub.CloudStorageConfig != nil, sub.BigtableConfig != nil:
		return unsupported("An export subscription")
	case len(sub.MessageTransforms) > 0:
		return unsupported("A message transform")
	}
	if sub.AckDeadlineSeconds == 0 {
		sub.AckDeadlineSeconds = defaultAckDeadline
	}
	if d := sub.AckDeadlineSeconds; d < 10 || d > 600 {
		return invalid("Invalid ack deadline given (value=%d): it lies between 10 and 600 seconds.", d)
	}
	if sub.MessageRetentionDuration == nil {
		sub.MessageRetentionDuration = durationpb.New(defaultRetention)
	}
	if err := checkRetention(sub.MessageRetentionDuration); err != nil {
		return err
	}
	if err := checkLabels(sub.Labels); err != nil {
		return err
	}
	if err := s.checkPolicies(sub); err != nil {
		return err
	}
	sub.State, sub.PushConfig, sub.Tags = pb.Subscription_ACTIVE, &pb.PushConfig{}, nil
	sub.TopicMessageRetentionDuration = t.GetMessageRetentionDuration()
	return nil
}

func (s *Server) checkPolicies(sub *pb.Subscription) error {
	if sub.ExpirationPolicy == nil {
		sub.ExpirationPolicy = &pb.ExpirationPolicy{Ttl: durationpb.New(defaultExpiration)}
	}
	if ttl := sub.ExpirationPolicy.Ttl; ttl != nil && ttl.AsDuration() < 24*time.Hour {
		return invalid("Invalid expiration_policy.ttl given (value=%v): it is at least a day.", ttl.AsDuration())
	}
	if p := sub.RetryPolicy; p != nil {
		if p.MinimumBackoff == nil {
			p.MinimumBackoff = durationpb.New(minBackoff)
		}
		if p.MaximumBackoff == nil {
			p.MaximumBackoff = durationpb.New(max(maxBackoff, p.MinimumBackoff.AsDuration()))
		}
		low, high := p.MinimumBackoff.AsDuration(), p.MaximumBackoff.AsDuration()
		if low < 0 || high > 600*time.Second || low > high {
			return invalid("Invalid retry_policy given (minimum_backoff=%v, maximum_backoff=%v): both lie between 0 and 600 seconds, in this order.", low, high)
		}
	}
	if p := sub.DeadLetterPolicy; p != nil {
		if p.MaxDeliveryAttempts == 0 {
			p.MaxDeliveryAttempts = defaultAttempts
		}
		if n := p.MaxDeliveryAttempts; n < 5 || n > 100 {
			return invalid("Invalid max_delivery_attempts given (value=%d): it lies between 5 and 100.", n)
		}
		if p.DeadLetterTopic == "" {
			return invalid("dead_letter_policy needs a dead_letter_topic.")
		}
		if err := checkName(p.DeadLetterTopic, "topics"); err != nil {
			return err
		}
	}
	return nil
}

// UpdateSubscription changes the fields of the mask.
func (s *Server) UpdateSubscription(_ context.Context, in *pb.UpdateSubscriptionRequest) (*pb.Subscription, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	sub, err := s.subscription(in.GetSubscription().GetName())
	if err != nil {
		return nil, err
	}
	updated := proto.CloneOf(sub.settings())
	if err := applyMask(updated, in.Subscription, in.UpdateMask.GetPaths(), subscriptionMutable); err != nil {
		return nil, err
	}
	updated = proto.CloneOf(updated) // the fields copied are the request's
	if err := s.checkSubscription(updated, sub.topic.settings()); err != nil {
		return nil, err
	}
	retainFrom := sub.keepFrom()
	if updated.RetainAckedMessages && !sub.settings().RetainAckedMessages {
		retainFrom = sub.topic.head() // what was acknowledged before is not kept
	}
	return answer(updated, s.putSubscription(sub, updated, retainFrom))
}

var subscriptionMutable = []string{
	"ack_deadline_seconds", "retain_acked_messages", "message_retention_duration", "labels", "expiration_policy",
	"dead_letter_policy", "retry_policy", "enable_exactly_once_delivery", "push_config",
	"bigquery_config", "cloud_storage_config", "bigtable_config", "message_transforms",
}

// keepFrom is from where on acknowledged messages are kept, if they are.
func (s *subscription) keepFrom() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retainFrom
}

func (s *Server) putSubscription(sub *subscription, updated *pb.Subscription, retainFrom uint64) error {
	return s.change(kindSubscription, func(b []byte) []byte {
		return encodeSubscription(b, sub, updated, 0, retainFrom)
	}, func(*state) { sub.put(updated, retainFrom) })
}

func (s *subscription) put(updated *pb.Subscription, retainFrom uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pb, s.retainFrom = updated, retainFrom
	if updated.Detached && !s.gone {
		s.gone = true
		s.reset(seqset{floor: s.acked.floor})
		s.topic.mu.Lock()
		delete(s.topic.subs, s)
		s.topic.mu.Unlock()
	}
	s.wakeLocked()
}

// GetSubscription returns a subscription's settings.
func (s *Server) GetSubscription(_ context.Context, in *pb.GetSubscriptionRequest) (*pb.Subscription, error) {
	sub, err := s.subscription(in.Subscription)
	if err != nil {
		return nil, err
	}
	return sub.shown(), nil
}

// shown is a copy of the settings, with what the topic says now.
func (s *subscription) shown() *pb.Subscription {
	out := proto.CloneOf(s.settings())
	out.TopicMessageRetentionDuration = nil
	if out.Topic != deletedTopic {
		out.TopicMessageRetentionDuration = s.topic.settings().MessageRetentionDuration
	}
	return out
}

// ListSubscriptions lists the subscriptions of a project by name.
func (s *Server) ListSubscriptions(_ context.Context, in *pb.ListSubscriptionsRequest) (*pb.ListSubscriptionsResponse, error) {
	s.mu.RLock()
	names := inProject(s.state.subs, in.Project)
	s.mu.RUnlock()
	names, next, err := page(names, in.PageSize, in.PageToken)
	if err != nil {
		return nil, err
	}
	out := &pb.ListSubscriptionsResponse{NextPageToken: next}
	for _, name := range names {
		if sub, err := s.subscription(name); err == nil {
			out.Subscriptions = append(out.Subscriptions, sub.shown())
		}
	}
	return out, nil
}

// DeleteSubscription deletes a subscription and what it had to deliver.
func (s *Server) DeleteSubscription(_ context.Context, in *pb.DeleteSubscriptionRequest) (*emptypb.Empty, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	sub, err := s.subscription(in.Subscription)
	if err != nil {
		return nil, err
	}
	err = s.change(kindSubGone, func(b []byte) []byte { return putUint(b, sub.uid) }, func(st *state) { st.deleteSubscription(sub) })
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (st *state) deleteSubscription(sub *subscription) {
	sub.mu.Lock()
	delete(st.subs, sub.pb.Name)
	sub.gone, sub.deleted = true, true
	sub.reset(seqset{floor: sub.acked.floor})
	sub.mu.Unlock()
	delete(st.subUIDs, sub.uid)
	sub.topic.mu.Lock()
	delete(sub.topic.subs, sub)
	sub.topic.mu.Unlock()
}

// usable says why nothing can be delivered; mu is held.
func (s *subscription) usable() error {
	switch {
	case s.deleted:
		return notFound(s.pb.Name)
	case s.gone:
		return precondition("The subscription is detached from its topic (resource=%s).", s.pb.Name)
	}
	return nil
}

func (s *subscription) usableErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable()
}

// ModifyPushConfig leaves a pull subscription one; it cannot become another.
func (s *Server) ModifyPushConfig(_ context.Context, in *pb.ModifyPushConfigRequest) (*emptypb.Empty, error) {
	if _, err := s.subscription(in.Subscription); err != nil {
		return nil, err
	}
	if in.GetPushConfig().GetPushEndpoint() != "" {
		return nil, unsupported("A push subscription")
	}
	return &emptypb.Empty{}, nil
}
