package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/buffetbot/ingest/gcp/yardstick"
	"github.com/buffetbot/ingest/schema"
)

const project = "bench"

// A compare lets each receiver drain the same messages.
type compare struct {
	Messages  int      `default:"1000000" help:"Messages of one record each; 0: none."`
	Batched   int      `default:"6000" help:"Messages of --records records each; 0: none."`
	Records   int      `default:"500" help:"Records in a batched message."`
	Runs      int      `default:"3" help:"Runs of each receiver, in turn; the least CPU time counts."`
	Receivers []string `default:"bare,client,stream" help:"Who is measured, in this order."`
	Budget    string   `default:"256MiB" help:"Memory budget of the ingestors."`
	Streams   int      `default:"4" help:"Streams of every receiver."`
	Seed      uint64   `default:"1" help:"Of the messages."`
	Emulator  bool     `help:"Use Google's Java emulator (gcloud beta emulators pubsub start) instead of the embedded broker. Use fewer messages."`
	Dir       string   `help:"Where broker and rows live meanwhile (default: a temporary directory)." placeholder:"DIR"`
	Profiles  string   `help:"Write a CPU profile of each receiver into this directory." placeholder:"DIR"`
}

func (c *compare) Run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(c.Dir, "drain-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, load := range []struct{ messages, records int }{{c.Messages, 1}, {c.Batched, c.Records}} {
		if load.messages == 0 {
			continue
		}
		if err := c.load(ctx, dir, load.messages, load.records); err != nil {
			return err
		}
	}
	return nil
}

// load measures one kind of message, with a broker of its own.
func (c *compare) load(ctx context.Context, dir string, messages, records int) (err error) {
	addr, stop, err := c.start(ctx, filepath.Join(dir, fmt.Sprintf("broker-%d", records)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := os.Setenv("PUBSUB_EMULATOR_HOST", addr); err != nil {
		return err
	}
	var subs []string
	for run := range c.Runs {
		for _, r := range c.Receivers {
			subs = append(subs, fmt.Sprintf("%s-%d", r, run))
		}
	}
	const topic = "market-data"
	if err := yardstick.Create(ctx, project, topic, subs...); err != nil {
		return err
	}
	t := newTape(c.Seed)
	began := time.Now()
	if err := yardstick.Fill(ctx, project, topic, messages, func(int) *schema.Message { return t.message(records) }); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d messages of %d records published in %v\n", messages, records, time.Since(began).Round(time.Millisecond))
	best := map[string]figure{}
	var usual int64
	for i, sub := range subs {
		receiver := c.Receivers[i%len(c.Receivers)]
		lake := filepath.Join(dir, sub)
		f, err := c.drain(ctx, receiver, sub, lake, messages, records)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "  %-7s %8v cpu %8v wall %6.0f MiB\n", receiver, f.CPU.Round(time.Millisecond), f.Wall.Round(time.Millisecond), float64(f.Peak)/(1<<20))
		if b, ok := best[receiver]; !ok || f.CPU < b.CPU {
			f.Peak = max(f.Peak, b.Peak)
			best[receiver] = f
		} else {
			b.Peak = max(f.Peak, b.Peak)
			best[receiver] = b
		}
		if usual == 0 && receiver != bare {
			if usual, err = usualBytes(lake); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(lake); err != nil {
			return err
		}
	}
	c.report(os.Stdout, messages, records, best, usual)
	return nil
}

// drain runs one receiver as a process and reads what it cost.
func (c *compare) drain(ctx context.Context, receiver, sub, lake string, messages, records int) (figure, error) {
	args := []string{"drain", receiver, "--subscription", sub, "--lake", lake, "--messages", fmt.Sprint(messages),
		"--rows", fmt.Sprint(messages * records), "--budget", c.Budget, "--streams", fmt.Sprint(c.Streams)}
	if records > 1 {
		args = append(args, "--outstanding", "1000")
	}
	if c.Profiles != "" {
		args = append(args, "--profile", filepath.Join(c.Profiles, fmt.Sprintf("%s-%d.pprof", receiver, records)))
	}
	cmd, err := self(ctx, args...)
	if err != nil {
		return figure{}, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return figure{}, fmt.Errorf("%s: %w", receiver, err)
	}
	var f figure
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		return f, fmt.Errorf("%s: its figures: %w", receiver, err)
	}
	f.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return f, nil
}

func self(ctx context.Context, args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, exe, args...), nil
}

// start starts a broker and says where it is.
func (c *compare) start(ctx context.Context, dir string) (addr string, stop func() error, err error) {
	if c.Emulator {
		return startEmulator(ctx, dir)
	}
	cmd, err := self(ctx, "broker", "--dir", dir)
	if err != nil {
		return "", nil, err
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	addr, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("the broker does not say where it is: %w", err), in.Close(), cmd.Wait())
	}
	return strings.TrimSpace(addr), func() error { return errors.Join(in.Close(), cmd.Wait()) }, nil
}

// startEmulator starts Google's, which is a script that starts a script that starts Java:
// they are ended together.
func startEmulator(ctx context.Context, dir string) (addr string, stop func() error, err error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = free.Addr().String()
	if err := free.Close(); err != nil {
		return "", nil, err
	}
	cmd := exec.Command("gcloud", "beta", "emulators", "pubsub", "start", "--host-port="+addr, "--data-dir="+dir, "--project="+project)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	said, err := os.Create(filepath.Join(dir, "emulator.log"))
	if err != nil {
		return "", nil, err
	}
	defer said.Close() // the emulator has its own
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start the emulator: %w", err)
	}
	stop = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // killed, as it should be
		return err
	}
	for range 600 {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return addr, stop, conn.Close()
		}
		select {
		case <-ctx.Done():
			return "", nil, errors.Join(ctx.Err(), stop())
		case <-time.After(100 * time.Millisecond):
		}
	}
	text, _ := os.ReadFile(said.Name())
	return "", nil, errors.Join(fmt.Errorf("the emulator does not answer at %s: it said %q", addr, text), stop())
}
