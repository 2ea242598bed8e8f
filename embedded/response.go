package embedded

import (
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is wrapped
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// rawIn receives a request, and rawOut sends a response, as bytes.
type (
	rawIn  struct{ b []byte }
	rawOut struct{ buf *[]byte }
)

// A codec is protobuf, except for rawIn and rawOut.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if out, ok := v.(*rawOut); ok {
		return mem.BufferSlice{mem.NewBuffer(out.buf, responses{})}, nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if in, ok := v.(*rawIn); ok {
		in.b = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// responses is where response buffers come from and go back to when gRPC has
// sent them.
type responses struct{}

var responsePool = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

func (responses) Get(int) *[]byte { return responsePool.Get().(*[]byte) }

func (responses) Put(b *[]byte) {
	if cap(*b) <= 2<<20 { // a huge one is not kept
		*b = (*b)[:0]
		responsePool.Put(b)
	}
}

// appendReceived appends a ReceivedMessage as field 1 of a PullResponse or
// StreamingPullResponse.
func appendReceived(b []byte, id ackID, message []byte, attempt int) []byte {
	size := 1 + 1 + ackIDText + protowire.SizeTag(2) + protowire.SizeBytes(len(message))
	if attempt > 0 {
		size += 1 + protowire.SizeVarint(uint64(attempt))
	}
	b = append(b, 1<<3|2)
	b = protowire.AppendVarint(b, uint64(size))
	b = append(b, 1<<3|2, ackIDText)
	b = id.append(b)
	b = append(b, 2<<3|2)
	b = protowire.AppendBytes(b, message)
	if attempt > 0 {
		b = append(b, 3<<3)
		b = protowire.AppendVarint(b, uint64(attempt))
	}
	return b
}

// appendProperties appends the subscription_properties of a StreamingPullResponse.
func appendProperties(b []byte, exactlyOnce, ordering bool) []byte {
	var p []byte
	if exactlyOnce {
		p = append(p, 1<<3, 1)
	}
	if ordering {
		p = append(p, 2<<3, 1)
	}
	b = append(b, 4<<3|2)
	return protowire.AppendBytes(b, p)
}
