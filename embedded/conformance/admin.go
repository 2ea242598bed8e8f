package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

var administration = []Check{
	{"Topics and subscriptions", "names that break the rules are refused", checkNames},
	{"Topics and subscriptions", "what exists is not made twice, what does not is not found", checkExistence},
	{"Topics and subscriptions", "defaults are filled in (10 s, 7 days, 31 days)", checkDefaults},
	{"Topics and subscriptions", "settings out of bounds are refused", checkBounds},
	{"Topics and subscriptions", "an update changes what its mask names, and not what is immutable", checkMasks},
	{"Topics and subscriptions", "lists come in pages", checkPages},
	{"Topics and subscriptions", "the subscriptions of a topic are listed", checkTopicSubscriptions},
	{"Topics and subscriptions", "a subscription outlives its topic, with its messages", checkDeletedTopic},
	{"Topics and subscriptions", "a detached subscription delivers nothing", checkDetached},
	{"Topics and subscriptions", "a subscription gets nothing from before it was made", checkStart},
}

func checkNames(ctx context.Context, e *Env) error {
	errs := map[string]error{}
	for _, id := range []string{"ab", "1abc", "googabc", "a b c", "abc/d", "abc$", strings.Repeat("a", 256), ""} {
		_, errs["topic "+id] = e.Publisher.CreateTopic(ctx, &pb.Topic{Name: e.topicName(id)})
	}
	_, errs["no project"] = e.Publisher.CreateTopic(ctx, &pb.Topic{Name: "topics/abc"})
	topic, err := e.topic(ctx, "a-b_c.d~e+f%25")
	if err != nil {
		return fmt.Errorf("a good name: %w", err)
	}
	_, errs["subscription ab"] = e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName("ab"), Topic: topic})
	return refused(codes.InvalidArgument, errs)
}

func checkExistence(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	twice, missing := map[string]error{}, map[string]error{}
	_, twice["topic"] = e.topic(ctx, "topic")
	_, twice["subscription"] = e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: sub, Topic: topic})
	_, missing["publish"] = e.publish(ctx, e.topicName("none"), text("a"))
	_, missing["topic"] = e.Publisher.GetTopic(ctx, &pb.GetTopicRequest{Topic: e.topicName("none")})
	_, missing["subscription"] = e.Subscriber.GetSubscription(ctx, &pb.GetSubscriptionRequest{Subscription: e.subName("none")})
	_, missing["pull"] = e.Subscriber.Pull(ctx, &pb.PullRequest{Subscription: e.subName("none"), MaxMessages: 1})
	_, missing["delete topic"] = e.Publisher.DeleteTopic(ctx, &pb.DeleteTopicRequest{Topic: e.topicName("none")})
	_, missing["delete subscription"] = e.Subscriber.DeleteSubscription(ctx, &pb.DeleteSubscriptionRequest{Subscription: e.subName("none")})
	_, missing["subscription of no topic"] = e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName("other"), Topic: e.topicName("none")})
	return errors.Join(refused(codes.AlreadyExists, twice), refused(codes.NotFound, missing))
}

func checkDefaults(ctx context.Context, e *Env) error {
	_, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	got, err := e.Subscriber.GetSubscription(ctx, &pb.GetSubscriptionRequest{Subscription: sub})
	if err != nil {
		return err
	}
	return errors.Join(
		same("ack_deadline_seconds", got.AckDeadlineSeconds, 10),
		same("message_retention_duration", got.MessageRetentionDuration.AsDuration(), 7*24*time.Hour),
		same("expiration_policy.ttl", got.ExpirationPolicy.GetTtl().AsDuration(), 31*24*time.Hour),
		same("state", got.State, pb.Subscription_ACTIVE),
	)
}

func checkBounds(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	errs := map[string]error{}
	n := 0
	refuse := func(what string, s *pb.Subscription) {
		n++
		s.Name, s.Topic = e.subName(fmt.Sprintf("sub%d", n)), topic
		_, errs[what] = e.Subscriber.CreateSubscription(ctx, s)
	}
	dead := func(n int32) *pb.DeadLetterPolicy {
		return &pb.DeadLetterPolicy{DeadLetterTopic: topic, MaxDeliveryAttempts: n}
	}
	refuse("ack deadline 9", &pb.Subscription{AckDeadlineSeconds: 9})
	refuse("ack deadline 601", &pb.Subscription{AckDeadlineSeconds: 601})
	refuse("retention 9m", &pb.Subscription{MessageRetentionDuration: durationpb.New(9 * time.Minute)})
	refuse("retention 32d", &pb.Subscription{MessageRetentionDuration: durationpb.New(32 * 24 * time.Hour)})
	refuse("4 attempts", &pb.Subscription{DeadLetterPolicy: dead(4)})
	refuse("101 attempts", &pb.Subscription{DeadLetterPolicy: dead(101)})
	refuse("backoff 601s", &pb.Subscription{RetryPolicy: &pb.RetryPolicy{MaximumBackoff: durationpb.New(601 * time.Second)}})
	refuse("backoff turned round", &pb.Subscription{RetryPolicy: &pb.RetryPolicy{
		MinimumBackoff: durationpb.New(20 * time.Second), MaximumBackoff: durationpb.New(10 * time.Second)}})
	refuse("expiration 1h", &pb.Subscription{ExpirationPolicy: &pb.ExpirationPolicy{Ttl: durationpb.New(time.Hour)}})
	_, errs["topic retention 9m"] = e.Publisher.CreateTopic(ctx, &pb.Topic{Name: e.topicName("other"), MessageRetentionDuration: durationpb.New(9 * time.Minute)})
	return refused(codes.InvalidArgument, errs)
}

func checkMasks(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, &pb.Subscription{AckDeadlineSeconds: 20, Labels: map[string]string{"a": "b"}})
	if err != nil {
		return err
	}
	update := func(s *pb.Subscription, paths ...string) (*pb.Subscription, error) {
		s.Name = sub
		return e.Subscriber.UpdateSubscription(ctx, &pb.UpdateSubscriptionRequest{Subscription: s, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	got, err := update(&pb.Subscription{AckDeadlineSeconds: 30, RetainAckedMessages: true}, "ack_deadline_seconds")
	if err != nil {
		return err
	}
	wrong := []error{
		same("ack_deadline_seconds", got.AckDeadlineSeconds, 30),
		same("retain_acked_messages, which the mask does not name", got.RetainAckedMessages, false),
		same("label a", got.Labels["a"], "b"),
	}
	if got, err = update(&pb.Subscription{}, "labels"); err == nil {
		err = same("labels after clearing them", len(got.Labels), 0)
	}
	wrong = append(wrong, err)
	changed, err := e.Publisher.UpdateTopic(ctx, &pb.UpdateTopicRequest{
		Topic:      &pb.Topic{Name: topic, Labels: map[string]string{"c": "d"}, MessageRetentionDuration: durationpb.New(time.Hour)},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"message_retention_duration"}},
	})
	wrong = append(wrong, err,
		same("the topic's retention", changed.GetMessageRetentionDuration().AsDuration(), time.Hour),
		same("the topic's labels", len(changed.GetLabels()), 0))
	errs := map[string]error{}
	_, errs["empty mask"] = update(&pb.Subscription{AckDeadlineSeconds: 40})
	_, errs["filter"] = update(&pb.Subscription{Filter: "attributes:a"}, "filter")
	_, errs["enable_message_ordering"] = update(&pb.Subscription{EnableMessageOrdering: true}, "enable_message_ordering")
	_, errs["unknown field"] = update(&pb.Subscription{}, "no_such_field")
	_, errs["out of bounds"] = update(&pb.Subscription{AckDeadlineSeconds: 5}, "ack_deadline_seconds")
	return errors.Join(append(wrong, refused(codes.InvalidArgument, errs))...)
}

func checkPages(ctx context.Context, e *Env) error {
	var want []string
	for i := range 5 {
		topic, err := e.topic(ctx, fmt.Sprintf("topic%d", i))
		if err != nil {
			return err
		}
		want = append(want, topic)
	}
	var got []string
	token := ""
	for pages := 1; ; pages++ {
		out, err := e.Publisher.ListTopics(ctx, &pb.ListTopicsRequest{Project: e.Project, PageSize: 2, PageToken: token})
		if err != nil {
			return err
		}
		if len(out.Topics) > 2 {
			return fmt.Errorf("a page of 2 has %d topics", len(out.Topics))
		}
		for _, t := range out.Topics {
			got = append(got, t.Name)
		}
		if token = out.NextPageToken; token == "" || pages > 10 {
			break
		}
	}
	slices.Sort(got)
	return same("the list", strings.Join(got, " "), strings.Join(want, " "))
}

func checkTopicSubscriptions(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	out, err := e.Publisher.ListTopicSubscriptions(ctx, &pb.ListTopicSubscriptionsRequest{Topic: topic})
	if err != nil {
		return err
	}
	return same("the list", strings.Join(out.Subscriptions, " "), sub)
}

func checkDeletedTopic(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	if _, err := e.Publisher.DeleteTopic(ctx, &pb.DeleteTopicRequest{Topic: topic}); err != nil {
		return err
	}
	got, err := e.Subscriber.GetSubscription(ctx, &pb.GetSubscriptionRequest{Subscription: sub})
	if err != nil {
		return err
	}
	if err := same("its topic", got.Topic, "_deleted-topic_"); err != nil {
		return err
	}
	messages, err := e.pull(ctx, sub, 1)
	return errors.Join(err, sameTexts(messages, "a"))
}

func checkDetached(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a"); err != nil {
		return err
	}
	if _, err := e.Publisher.DetachSubscription(ctx, &pb.DetachSubscriptionRequest{Subscription: sub}); err != nil {
		return err
	}
	_, err = e.Subscriber.Pull(ctx, &pb.PullRequest{Subscription: sub, MaxMessages: 1})
	if err := code(err, codes.FailedPrecondition); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	got, err := e.Subscriber.GetSubscription(ctx, &pb.GetSubscriptionRequest{Subscription: sub})
	return errors.Join(err, same("detached", got.GetDetached(), true))
}

func checkStart(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "before"); err != nil {
		return err
	}
	sub, err := e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName("subscription"), Topic: topic})
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "after"); err != nil {
		return err
	}
	messages, err := e.pull(ctx, sub.Name, 1)
	return errors.Join(err, sameTexts(messages, "after"))
}
