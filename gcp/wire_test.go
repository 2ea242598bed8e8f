package gcp

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// randomResponse makes a response of anything that a message may have, or lack.
func randomResponse(dice *rand.Rand) *pubsubpb.StreamingPullResponse {
	r := &pubsubpb.StreamingPullResponse{}
	maybe := func() bool { return dice.IntN(3) > 0 }
	for i := range dice.IntN(20) {
		m := &pubsubpb.ReceivedMessage{AckId: fmt.Sprint("ack-", i, dice.Uint64()), DeliveryAttempt: int32(dice.IntN(3))}
		if maybe() {
			m.Message = &pubsubpb.PubsubMessage{MessageId: fmt.Sprint(dice.Uint64())}
			if maybe() {
				m.Message.Data = bytes.Repeat([]byte{byte(i)}, dice.IntN(1000))
			}
			if maybe() {
				m.Message.OrderingKey = "schlüssel"
			}
			if maybe() {
				m.Message.PublishTime = timestamppb.New(time.Unix(dice.Int64N(1<<33)-1<<31, dice.Int64N(1e9)))
			}
			for a := range dice.IntN(4) {
				if m.Message.Attributes == nil {
					m.Message.Attributes = map[string]string{}
				}
				m.Message.Attributes[fmt.Sprint("k", a)] = fmt.Sprint(dice.IntN(5))
			}
		}
		r.ReceivedMessages = append(r.ReceivedMessages, m)
	}
	if maybe() {
		r.SubscriptionProperties = &pubsubpb.StreamingPullResponse_SubscriptionProperties{ExactlyOnceDeliveryEnabled: dice.IntN(2) == 0, MessageOrderingEnabled: maybe()}
	}
	return r
}

// Responses are read as protobuf reads them, also when one parcel and one buffer
// serve for all.
func TestParcelAgreesWithProtobuf(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	var p parcel
	var in response
	for range 2000 {
		want := randomResponse(dice)
		b, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		half := len(b) / 2 // in two pieces, as gRPC gives it
		if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b[:half]), mem.SliceBuffer(b[half:])}, &in); err != nil {
			t.Fatal(err)
		}
		clear(b)
		if err := p.read(in.bytes); err != nil {
			t.Fatal(err)
		}
		if len(p.messages) != len(want.ReceivedMessages) || len(p.ackIDs) != len(p.messages) || p.exactlyOnce != want.SubscriptionProperties.GetExactlyOnceDeliveryEnabled() {
			t.Fatalf("%d messages, %d ids, exactly once %v; want %v", len(p.messages), len(p.ackIDs), p.exactlyOnce, want)
		}
		for i := range p.messages {
			got, w := &p.messages[i], want.ReceivedMessages[i]
			m := w.GetMessage()
			published := time.Time{}
			if m.GetPublishTime() != nil {
				published = m.PublishTime.AsTime()
			}
			if p.ackIDs[i] != w.AckId || got.Attempt != int(w.DeliveryAttempt) || got.ID != m.GetMessageId() || got.OrderingKey != m.GetOrderingKey() ||
				!bytes.Equal(got.Data, m.GetData()) || !got.PublishTime.Equal(published) || !maps.Equal(got.Attributes, m.GetAttributes()) {
				t.Fatalf("message %d is %+v with id %q, want %v", i, got, p.ackIDs[i], w)
			}
		}
	}
}

// What was read stays as it is when the parcel is used again: ids and texts are
// kept until acks and dead letters.
func TestTextsOutliveTheParcel(t *testing.T) {
	var p parcel
	var ids, messages []string
	for i := range 50 {
		b, _ := proto.Marshal(&pubsubpb.StreamingPullResponse{ReceivedMessages: []*pubsubpb.ReceivedMessage{
			{AckId: fmt.Sprint("ack", i), Message: &pubsubpb.PubsubMessage{MessageId: fmt.Sprint("id", i)}},
		}})
		if err := p.read(b); err != nil {
			t.Fatal(err)
		}
		clear(b)
		ids, messages = append(ids, p.ackIDs[0]), append(messages, p.messages[0].ID)
	}
	for i := range ids {
		if ids[i] != fmt.Sprint("ack", i) || messages[i] != fmt.Sprint("id", i) {
			t.Fatalf("%d: %q, %q", i, ids[i], messages[i])
		}
	}
}

// A text that is not UTF-8 is refused, as protobuf refuses it, and not altered.
func TestTextsAreUTF8(t *testing.T) {
	b, err := proto.Marshal(&pubsubpb.StreamingPullResponse{ReceivedMessages: []*pubsubpb.ReceivedMessage{
		{AckId: "a", Message: &pubsubpb.PubsubMessage{MessageId: "1", OrderingKey: "key-k", Attributes: map[string]string{"name": "value"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"key-k", "name", "value"} {
		damaged := bytes.Replace(b, []byte(text), append([]byte{0xff}, text[1:]...), 1)
		if proto.Unmarshal(damaged, new(pubsubpb.StreamingPullResponse)) == nil {
			t.Fatalf("protobuf reads %q", damaged)
		}
		if err := new(parcel).read(damaged); !errors.Is(err, errWire) {
			t.Errorf("%q: error = %v, want errWire", damaged, err)
		}
	}
}

// A huge response does not cost its size for ever.
func TestAHugeResponseIsNotKept(t *testing.T) {
	var in response
	for _, n := range []int{20 << 20, 1 << 10} {
		if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(make([]byte, n))}, &in); err != nil {
			t.Fatal(err)
		}
	}
	if cap(in.bytes) > keptBytes {
		t.Errorf("%d bytes are kept", cap(in.bytes))
	}
}

// Any bytes are read or refused; what protobuf reads is read alike.
func FuzzParcel(f *testing.F) {
	dice := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		b, _ := proto.Marshal(randomResponse(dice))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p parcel
		err := p.read(b)
		var want pubsubpb.StreamingPullResponse
		if proto.Unmarshal(b, &want) != nil {
			return
		}
		if err != nil {
			t.Fatalf("protobuf reads it: %v", err)
		}
		if len(p.messages) != len(want.ReceivedMessages) {
			t.Fatalf("%d messages, want %d", len(p.messages), len(want.ReceivedMessages))
		}
	})
}

// A request takes so many ids, and so many bytes of them.
func TestFitting(t *testing.T) {
	leases := func(n, size int) (all []*lease) {
		for range n {
			all = append(all, &lease{id: string(make([]byte, size))})
		}
		return all
	}
	for _, tt := range []struct{ n, size, want int }{
		{1, 1 << 20, 1}, {10, 30, 10}, {5000, 30, idsPerRequest}, {5000, 1020, bytesPerRequest / 1024},
	} {
		if got := fitting(leases(tt.n, tt.size)); got != tt.want {
			t.Errorf("%d ids of %d bytes: %d fit, want %d", tt.n, tt.size, got, tt.want)
		}
	}
}
