// Command drain measures the way of messages from a subscription into the lake
// against the least that Google's client can do with them: receive, ack and drop.
//
//	broker (a process of its own)  ◀── fill
//	  └─▶ drain, a process for each receiver ─▶ CPU time and peak memory, as the kernel counted them
//
// Every receiver gets a subscription of its own on one topic, so that all drain the
// same messages. Rows go into a local directory, synced to disk as the product
// does. The broker shares the machine, so compare CPU time, and ratios
// within one run; wall time is what the machine had left.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type program struct {
	Compare compare `cmd:"" default:"withargs" help:"Fill a broker and let each receiver drain it."`
	Broker  broker  `cmd:"" hidden:"" help:"Serve an embedded Pub/Sub until stdin ends."`
	Drain   drain   `cmd:"" hidden:"" help:"Be one receiver and print what was measured."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var p program
	k := kong.Parse(&p, kong.Name("drain"), kong.Description("Measure the receive path against Google's bare client."))
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "drain:", err)
		os.Exit(1)
	}
}
