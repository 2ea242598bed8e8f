package main

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest/embedded"
)

type pubsubCommand struct {
	Addr string `env:"EMBEDDED_ADDR" default:"127.0.0.1:8085" help:"Address to listen on."`
	Dir  string `env:"EMBEDDED_DIR" default:"./pubsub" help:"Directory that keeps topics, subscriptions and messages."`
}

// Problems implements the check of config.Parse.
func (c *pubsubCommand) Problems() []error {
	if c.Dir == "" {
		return []error{fmt.Errorf("--dir: a directory is needed")}
	}
	return nil
}

// Run implements the command.
func (c *pubsubCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	server, err := embedded.Open(embedded.Config{Addr: c.Addr, Dir: c.Dir, Log: log})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "Pub/Sub on %s, kept in %s. For any Pub/Sub client:\n  export PUBSUB_EMULATOR_HOST=%s\nCtrl-C stops it; what was answered is kept.\n", server.Addr(), c.Dir, server.Addr())
	<-ctx.Done()
	return server.Close()
}
