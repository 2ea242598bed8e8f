package embedded

import (
	"context"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Bounds of message_retention_duration.
const (
	minRetention = 10 * time.Minute
	maxRetention = 31 * 24 * time.Hour
)

// CreateTopic makes a topic.
func (s *Server) CreateTopic(_ context.Context, in *pb.Topic) (*pb.Topic, error) {
	if err := checkName(in.Name, "topics"); err != nil {
		return nil, err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, err := s.topic(in.Name); err == nil {
		return nil, alreadyExists(in.Name)
	}
	made := proto.CloneOf(in)
	if err := s.checkTopic(made); err != nil {
		return nil, err
	}
	t := &topic{uid: s.newUID(), pb: made, subs: map[*subscription]struct{}{}}
	err := s.change(kindTopic, func(b []byte) []byte { return encodeTopic(b, t, made) }, func(st *state) {
		st.topics[made.Name], st.topicUIDs[t.uid] = t, t
	})
	return answer(made, err)
}

// answer hands out a copy, so that nobody writes into what is kept.
func answer[M proto.Message](m M, err error) (M, error) {
	if err != nil {
		var none M
		return none, err
	}
	return proto.CloneOf(m), nil
}

func encodeTopic(b []byte, t *topic, settings *pb.Topic) []byte {
	b = putUint(b, t.uid)
	b = putUint(b, t.head())
	deleted := uint64(0)
	if t.isDeleted() {
		deleted = 1
	}
	b = putUint(b, deleted)
	return putProto(b, settings)
}

func (t *topic) isDeleted() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.deleted
}

func (s *Server) checkTopic(t *pb.Topic) error {
	t.State, t.SatisfiesPzs, t.Tags = pb.Topic_ACTIVE, false, nil
	switch {
	case t.IngestionDataSourceSettings != nil:
		return unsupported("Ingestion from a data source")
	case len(t.MessageTransforms) > 0:
		return unsupported("A message transform")
	}
	if err := checkRetention(t.MessageRetentionDuration); err != nil {
		return err
	}
	if err := checkLabels(t.Labels); err != nil {
		return err
	}
	return s.checkSchemaSettings(t.SchemaSettings)
}

func checkRetention(d *durationpb.Duration) error {
	if d == nil {
		return nil
	}
	if v := d.AsDuration(); v < minRetention || v > maxRetention {
		return invalid("Invalid message_retention_duration given (value=%v): it lies between 10 minutes and 31 days.", v)
	}
	return nil
}

func checkLabels(labels map[string]string) error {
	if len(labels) > 64 {
		return invalid("The value for labels is too large. You passed %d in the request, but the maximum value is 64.", len(labels))
	}
	for k, v := range labels {
		if k == "" || len(k) > 63 || len(v) > 63 {
			return invalid("Invalid label given (key=%s): keys have 1 to 63 characters, values at most 63.", k)
		}
	}
	return nil
}

// UpdateTopic changes the fields of the mask.
func (s *Server) UpdateTopic(_ context.Context, in *pb.UpdateTopicRequest) (*pb.Topic, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	t, err := s.topic(in.GetTopic().GetName())
	if err != nil {
		return nil, err
	}
	updated := proto.CloneOf(t.settings())
	if err := applyMask(updated, in.Topic, in.UpdateMask.GetPaths(), topicMutable); err != nil {
		return nil, err
	}
	updated = proto.CloneOf(updated) // the fields copied are the request's
	if err := s.checkTopic(updated); err != nil {
		return nil, err
	}
	return answer(updated, s.putTopic(t, updated))
}

func (s *Server) putTopic(t *topic, updated *pb.Topic) error {
	return s.change(kindTopic, func(b []byte) []byte { return encodeTopic(b, t, updated) }, func(*state) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.pb = updated
	})
}

var topicMutable = []string{
	"labels", "message_storage_policy", "kms_key_name", "schema_settings", "message_retention_duration",
	"ingestion_data_source_settings", "message_transforms",
}

// GetTopic returns a topic's settings.
func (s *Server) GetTopic(_ context.Context, in *pb.GetTopicRequest) (*pb.Topic, error) {
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	return answer(t.settings(), nil)
}

// ListTopics lists the topics of a project by name.
func (s *Server) ListTopics(_ context.Context, in *pb.ListTopicsRequest) (*pb.ListTopicsResponse, error) {
	s.mu.RLock()
	names := inProject(s.state.topics, in.Project)
	s.mu.RUnlock()
	names, next, err := page(names, in.PageSize, in.PageToken)
	if err != nil {
		return nil, err
	}
	out := &pb.ListTopicsResponse{NextPageToken: next}
	for _, name := range names {
		if t, err := s.topic(name); err == nil {
			out.Topics = append(out.Topics, t.settings())
		}
	}
	return answer(out, nil)
}

// inProject lists the names of a map that are in a project, "projects/p".
func inProject[V any](m map[string]V, project string) []string {
	var names []string
	for name := range m {
		if strings.HasPrefix(name, project+"/") {
			names = append(names, name)
		}
	}
	return names
}

// ListTopicSubscriptions lists the subscriptions attached to a topic by name.
func (s *Server) ListTopicSubscriptions(_ context.Context, in *pb.ListTopicSubscriptionsRequest) (*pb.ListTopicSubscriptionsResponse, error) {
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, sub := range t.subscriptions() {
		names = append(names, sub.settings().Name)
	}
	names, next, err := page(names, in.PageSize, in.PageToken)
	return &pb.ListTopicSubscriptionsResponse{Subscriptions: names, NextPageToken: next}, err
}

// ListTopicSnapshots lists the snapshots of a topic by name.
func (s *Server) ListTopicSnapshots(_ context.Context, in *pb.ListTopicSnapshotsRequest) (*pb.ListTopicSnapshotsResponse, error) {
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	var names []string
	for name, snap := range s.state.snapshots {
		if snap.topic == t {
			names = append(names, name)
		}
	}
	s.mu.RUnlock()
	names, next, err := page(names, in.PageSize, in.PageToken)
	return &pb.ListTopicSnapshotsResponse{Snapshots: names, NextPageToken: next}, err
}

// DeleteTopic deletes a topic. Its subscriptions stay, and what they have not
// acknowledged; their topic is then called _deleted-topic_.
func (s *Server) DeleteTopic(_ context.Context, in *pb.DeleteTopicRequest) (*emptypb.Empty, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	t, err := s.topic(in.Topic)
	if err != nil {
		return nil, err
	}
	err = s.change(kindTopicGone, func(b []byte) []byte { return putUint(b, t.uid) }, func(st *state) { st.deleteTopic(t) })
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func (st *state) deleteTopic(t *topic) {
	delete(st.topics, t.name())
	t.mu.Lock()
	t.deleted = true
	t.mu.Unlock()
	for _, sub := range t.subscriptions() {
		sub.mu.Lock()
		orphan := proto.CloneOf(sub.pb)
		orphan.Topic = deletedTopic
		sub.pb = orphan
		sub.mu.Unlock()
	}
}

// DetachSubscription cuts a subscription off its topic: it keeps nothing and
// delivers nothing any more.
func (s *Server) DetachSubscription(_ context.Context, in *pb.DetachSubscriptionRequest) (*pb.DetachSubscriptionResponse, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	sub, err := s.subscription(in.Subscription)
	if err != nil {
		return nil, err
	}
	detached := proto.CloneOf(sub.settings())
	detached.Detached = true
	if err := s.putSubscription(sub, detached, sub.keepFrom()); err != nil {
		return nil, err
	}
	return &pb.DetachSubscriptionResponse{}, nil
}

// page cuts one page out of names, which it sorts. The token is the last name of
// the page before.
func page(names []string, size int32, token string) ([]string, string, error) {
	if size < 0 {
		return nil, "", invalid("Invalid page_size given (value=%d): it is not negative.", size)
	}
	if size == 0 || size > 1000 {
		size = 1000
	}
	slices.Sort(names)
	if token != "" {
		after, ok := strings.CutPrefix(token, "after:")
		if !ok {
			return nil, "", invalid("Invalid page_token given (value=%.64s).", token)
		}
		i, found := slices.BinarySearch(names, after)
		if found {
			i++
		}
		names = names[i:]
	}
	if len(names) > int(size) {
		return names[:size], "after:" + names[size-1], nil
	}
	return names, "", nil
}
