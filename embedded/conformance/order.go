package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
)

var ordering = []Check{
	{"Ordering keys", "messages of a key come in order", checkInOrder},
	{"Ordering keys", "a nacked message comes again before those that follow it", checkOrderAfterNack},
	{"Ordering keys", "a key that is being worked on goes to nobody else, other keys do", checkKeyBusy},
}

var filtering = []Check{
	{"Filters", "only messages that match are delivered", checkFilters},
	{"Filters", "a filter that cannot be read, or is too long, is refused", checkBadFilters},
}

func keyed(key string, data ...string) []*pb.PubsubMessage {
	var all []*pb.PubsubMessage
	for _, d := range data {
		all = append(all, &pb.PubsubMessage{Data: []byte(d), OrderingKey: key})
	}
	return all
}

func checkInOrder(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, &pb.Subscription{EnableMessageOrdering: true})
	if err != nil {
		return err
	}
	want := map[string]string{}
	for i := range 60 {
		key := fmt.Sprintf("key%d", i%3)
		data := fmt.Sprintf("%d", i)
		if _, err := e.publish(ctx, topic, keyed(key, data)...); err != nil {
			return err
		}
		want[key] += data + " "
	}
	got := map[string]string{}
	for n := 0; n < 60; {
		messages, err := e.pull(ctx, sub, 1)
		if err != nil {
			return fmt.Errorf("after %d messages: %w", n, err)
		}
		for _, m := range messages {
			got[m.Message.OrderingKey] += string(m.Message.Data) + " "
			n++
		}
		if err := e.ack(ctx, sub, messages...); err != nil {
			return err
		}
	}
	for key := range want {
		if err := same(key, got[key], want[key]); err != nil {
			return err
		}
	}
	return nil
}

func checkOrderAfterNack(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, &pb.Subscription{EnableMessageOrdering: true})
	if err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, keyed("key", "a", "b", "c")...); err != nil {
		return err
	}
	t, err := e.open(ctx, &pb.StreamingPullRequest{Subscription: sub})
	if err != nil {
		return err
	}
	defer t.close()
	first, _, err := t.read(3)
	if err := errors.Join(err, sameTexts(first, "a", "b", "c")); err != nil {
		return err
	}
	if err := e.deadline(ctx, sub, 0, first[0]); err != nil {
		return err
	}
	again, _, err := t.read(3)
	return errors.Join(err, sameTexts(again, "a", "b", "c"))
}

func checkKeyBusy(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, &pb.Subscription{EnableMessageOrdering: true})
	if err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, keyed("one", "a")...); err != nil {
		return err
	}
	held, err := e.pull(ctx, sub, 1)
	if err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, keyed("one", "b")...); err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, keyed("two", "c")...); err != nil {
		return err
	}
	other, err := e.pull(ctx, sub, 1)
	if err := errors.Join(err, sameTexts(other, "c")); err != nil {
		return err
	}
	if err := e.none(ctx, sub, 500*time.Millisecond); err != nil {
		return err
	}
	if err := e.ack(ctx, sub, held...); err != nil {
		return err
	}
	next, err := e.pull(ctx, sub, 1)
	return errors.Join(err, sameTexts(next, "b"))
}

func checkFilters(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	filters := map[string]string{ // to the messages that match
		`attributes:lang`:                                  "en de empty",
		`NOT attributes:lang`:                              "none",
		`-attributes:lang`:                                 "none",
		`attributes.lang = "en"`:                           "en",
		`attributes.lang != "en"`:                          "de none empty",
		`hasPrefix(attributes.lang, "d")`:                  "de",
		`attributes.lang = "en" OR attributes.lang = "de"`: "en de",
		`attributes:lang AND NOT (attributes.lang = "en" OR attributes."lang" = "")`: "de",
	}
	subs := map[string]string{}
	n := 0
	for f := range filters {
		n++
		sub, err := e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName(fmt.Sprintf("sub%d", n)), Topic: topic, Filter: f})
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if err := same("the filter it has", sub.Filter, f); err != nil {
			return err
		}
		subs[f] = sub.Name
	}
	for _, lang := range []string{"en", "de"} {
		if _, err := e.publish(ctx, topic, &pb.PubsubMessage{Data: []byte(lang), Attributes: map[string]string{"lang": lang}}); err != nil {
			return err
		}
	}
	if err := e.publishTexts(ctx, topic, "none"); err != nil {
		return err
	}
	if _, err := e.publish(ctx, topic, &pb.PubsubMessage{Data: []byte("empty"), Attributes: map[string]string{"lang": ""}}); err != nil {
		return err
	}
	for f, want := range filters {
		messages, err := e.pull(ctx, subs[f], len(strings.Fields(want)))
		if err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if err := errors.Join(sameSet(messages, want), e.none(ctx, subs[f], 100*time.Millisecond)); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

// sameSet compares the data of messages in any order.
func sameSet(messages []*pb.ReceivedMessage, want string) error {
	missing := map[string]int{}
	for _, w := range strings.Fields(want) {
		missing[w]++
	}
	for _, m := range messages {
		missing[string(m.Message.Data)]--
	}
	for w, n := range missing {
		if n != 0 {
			return fmt.Errorf("%q came, want %s (%s)", texts(messages), want, w)
		}
	}
	return nil
}

func checkBadFilters(ctx context.Context, e *Env) error {
	topic, err := e.topic(ctx, "topic")
	if err != nil {
		return err
	}
	errs := map[string]error{}
	for i, f := range []string{`data = "x"`, `attributes.a`, `attributes.a = b`, `(attributes:a`, `attributes:` + strings.Repeat("a", 250)} {
		_, errs[f] = e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName(fmt.Sprintf("sub%d", i)), Topic: topic, Filter: f})
	}
	return refused(codes.InvalidArgument, errs)
}
