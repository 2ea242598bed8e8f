package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/embedded"
	"github.com/buffetbot/ingest/gcp/yardstick"
	"github.com/buffetbot/ingest/memory"
)

// bare is the receiver that is no ingestor: Google's client, ack and drop.
const bare = "bare"

// A drain is one receiver. It is run by compare, as a process of its own.
type drain struct {
	Receiver     string `arg:"" help:"bare, client or stream."`
	Subscription string `required:""`
	Lake         string `help:"Directory for rows."`
	Messages     int64  `required:""`
	Rows         int64  `required:"" help:"Records in all messages."`
	Budget       string `default:"256MiB"`
	Outstanding  int    `default:"50000" help:"MaxOutstandingMessages of the bare client."`
	Streams      int    `default:"4"`
	Profile      string `help:"Write a CPU profile here."`
}

// A figure is what one receiver did. CPU and peak memory are the kernel's.
type figure struct {
	Receiver string
	Rows     int64
	Wall     time.Duration // from the first message to the last ack
	CPU      time.Duration // of the whole process
	Peak     int64         // bytes resident
	Files    int64
	Bytes    int64 // of the files
}

func (d *drain) Run(ctx context.Context) error {
	if d.Profile != "" {
		f, err := os.Create(d.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	f := figure{Receiver: d.Receiver, Rows: d.Rows}
	var err error
	if d.Receiver == bare {
		err = d.drop(ctx, &f)
	} else {
		err = d.ingest(ctx, &f)
	}
	if err != nil {
		return err
	}
	if f.Peak, err = peak(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// peak is the most memory that this process ever had resident.
func peak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("peak memory: %w", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("peak memory: no VmHWM in /proc/self/status: %w", err)
	}
	return kib << 10, nil
}

func (d *drain) drop(ctx context.Context, f *figure) error {
	var began atomic.Int64
	s := yardstick.Settings{MaxOutstandingMessages: d.Outstanding, MaxOutstandingBytes: 256 << 20, Streams: d.Streams}
	err := yardstick.Drain(ctx, project, d.Subscription, d.Messages, s, func() { began.Store(time.Now().UnixNano()) })
	f.Wall = time.Since(time.Unix(0, began.Load()))
	return err
}

// ingest is the product: what cmd/ingestor runs, with its defaults.
func (d *drain) ingest(ctx context.Context, f *figure) error {
	var s struct{ config.IngestorSettings }
	args := []string{"--data-bucket", "file://" + d.Lake, "--project", project, "--types", "market_data",
		"--subscription", "market_data=" + d.Subscription, "--receive", d.Receiver, "--memory-budget", d.Budget,
		"--streams", fmt.Sprint(d.Streams)}
	if _, err := config.Parse(&s, "ingestor", "", args, io.Discard); err != nil {
		return err
	}
	memory.Limit(zap.NewNop(), s.Held())
	lake, err := ingest.Open(ctx, ingest.ConfigOf(s.Store, zap.NewNop()))
	if err != nil {
		return err
	}
	defer lake.Close()
	i, err := lake.NewIngestor(ctx, ingest.IngestConfig{Project: s.Project, Types: s.Types.Types, Broker: s.Broker, Ingest: s.Ingest})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began := make(chan time.Time, 1)
	go func() { began <- d.watch(ctx, stop, i) }()
	if err := i.Run(ctx); err != nil {
		return err
	}
	f.Wall = time.Since(<-began)
	did := i.Report().Stats["market_data"]
	f.Files, f.Bytes = did.Files, did.FlushedBytes
	if did.AckedRows != d.Rows || did.AckedLetters != 0 || did.FlushedRows != d.Rows {
		return fmt.Errorf("%s: %d rows flushed, %d acked, %d rejected; want %d rows: %+v", d.Receiver, did.FlushedRows, did.AckedRows, did.AckedLetters, d.Rows, did)
	}
	return nil
}

// watch stops the ingestor when it has everything, and says when it had the first.
func (d *drain) watch(ctx context.Context, stop func(), i *ingest.Ingestor) (began time.Time) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	defer stop()
	for {
		did := i.Report().Stats["market_data"]
		if began.IsZero() && did.Received > 0 {
			began = time.Now()
		}
		if did.Rows >= d.Rows {
			return began
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return began
		}
	}
}

// A broker is an embedded Pub/Sub in a process of its own.
type broker struct {
	Dir string `required:""`
}

func (b *broker) Run(context.Context) error {
	server, err := embedded.Open(embedded.Config{Addr: "127.0.0.1:0", Dir: b.Dir})
	if err != nil {
		return err
	}
	fmt.Println(server.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it ends
	return server.Close()
}
