package config

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc/status"
)

// TestStarted: a start that the end cut short is an ordinary end; a start that failed
// of itself has failed, also where the end came afterwards.
func TestStarted(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	cut := fmt.Errorf("create topic: %w", context.Canceled)
	broker := fmt.Errorf("create topic: %w", status.FromContextError(context.Canceled).Err())
	refused := errors.New("create topic: refused")
	for _, c := range []struct {
		name      string
		ctx       context.Context
		err, want error
	}{
		{"cut short", ended, cut, nil},
		{"cut short at the broker", ended, broker, nil},
		{"failed, then asked to end", ended, refused, refused},
		{"failed", context.Background(), refused, refused},
		{"canceled by something else", context.Background(), cut, cut},
		{"well", ended, nil, nil},
	} {
		if got := Started(c.ctx, zap.NewNop(), c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
