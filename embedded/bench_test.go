//go:build unix

package embedded_test

import (
	"bytes"
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/buffetbot/ingest/embedded"
)

// BenchmarkPublishReceive is one publisher and one subscriber of the Go client and
// a durable server, all in this process, with messages of 350 bytes.
func BenchmarkPublishReceive(b *testing.B) {
	server, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	b.Setenv("PUBSUB_EMULATOR_HOST", server.Addr())
	client, err := pubsub.NewClient(b.Context(), "p")
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if _, err := client.TopicAdminClient.CreateTopic(b.Context(), &pubsubpb.Topic{Name: "projects/p/topics/topic"}); err != nil {
		b.Fatal(err)
	}
	_, err = client.SubscriptionAdminClient.CreateSubscription(b.Context(), &pubsubpb.Subscription{
		Name: "projects/p/subscriptions/sub", Topic: "projects/p/topics/topic", AckDeadlineSeconds: 60,
	})
	if err != nil {
		b.Fatal(err)
	}
	topic, sub := client.Publisher("topic"), client.Subscriber("sub")
	topic.PublishSettings.FlowControlSettings = pubsub.FlowControlSettings{
		MaxOutstandingMessages: 20_000, MaxOutstandingBytes: 64 << 20, LimitExceededBehavior: pubsub.FlowControlBlock,
	}
	topic.PublishSettings.CountThreshold = 500
	sub.ReceiveSettings.MaxOutstandingMessages = 50_000
	sub.ReceiveSettings.MaxOutstandingBytes = 256 << 20
	payload := bytes.Repeat([]byte("0123456789"), 35)
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime()
	received := receiveAll(b, sub, b.N)
	for range b.N {
		topic.Publish(b.Context(), &pubsub.Message{Data: payload})
	}
	topic.Stop()
	<-received
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "msgs/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(b.N), "cpu-us/msg")
}

func receiveAll(b *testing.B, sub *pubsub.Subscriber, n int) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		var got atomic.Int64
		err := sub.Receive(ctx, func(_ context.Context, m *pubsub.Message) {
			m.Ack()
			if got.Add(1) == int64(n) {
				cancel()
			}
		})
		if err != nil {
			b.Error(err)
		}
	}()
	return done
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
