package embedded_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/buffetbot/ingest/embedded"
)

func start(t *testing.T) *embedded.Server {
	t.Helper()
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return server
}

// Any client finds the server through PUBSUB_EMULATOR_HOST, and the largest
// message that Pub/Sub allows passes.
func TestAClientPublishesAndReceivesTheLargestMessage(t *testing.T) {
	t.Setenv("PUBSUB_EMULATOR_HOST", start(t).Addr())
	client, err := pubsub.NewClient(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topics/topic"}); err != nil {
		t.Fatal(err)
	}
	_, err = client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/p/subscriptions/sub", Topic: "projects/p/topics/topic", AckDeadlineSeconds: 60,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("0123456789"), 999_000)
	topic := client.Publisher("topic")
	defer topic.Stop()
	if _, err := topic.Publish(t.Context(), &pubsub.Message{Data: want}).Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []byte
	err = client.Subscriber("sub").Receive(ctx, func(_ context.Context, m *pubsub.Message) {
		got = m.Data
		m.Ack()
		cancel()
	})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("received %d bytes, %v; want %d", len(got), err, len(want))
	}
}

func TestStartOnAnAddressInUse(t *testing.T) {
	addr := start(t).Addr()
	if _, err := embedded.Start(addr); err == nil || !strings.Contains(err.Error(), "start embedded Pub/Sub: listen tcp "+addr) {
		t.Errorf("error = %v", err)
	}
}

func TestCloseFreesTheAddress(t *testing.T) {
	server := start(t)
	for range 2 { // twice is allowed
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
