package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Signals gives a context that ends when the program is asked to end, by SIGTERM
// or an interrupt. Asked twice, the program ends at once, with exit code 1.
func Signals(program string) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-asked
		cancel()
		<-asked
		fmt.Fprintf(os.Stderr, "%s: asked twice to end: ended at once, with work unfinished; start it again, and it is taken up\n", program)
		os.Exit(1)
	}()
	return ctx
}

// Started is the outcome of a service's start: nil where it failed only because the
// service was asked to end meanwhile. Nothing was begun, so nothing is unfinished, and
// the end is an ordinary one; the log says so.
func Started(ctx context.Context, log *zap.Logger, err error) error {
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) && status.Code(err) != codes.Canceled {
		return err
	}
	log.Info("asked to end before it had begun; nothing was taken", zap.NamedError("left", err))
	return nil
}
