package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/samples"
	"github.com/buffetbot/ingest/schema"
)

type publishCommand struct {
	Files   []string          `arg:"" optional:"" help:"Files with one record a line (NDJSON); - or none reads standard input."`
	Project string            `env:"GOOGLE_CLOUD_PROJECT" required:"" help:"Google Cloud project of the topic."`
	Bucket  string            `name:"data-bucket" env:"GCS_DATA_BUCKET" placeholder:"BUCKET" help:"Lake whose own definitions count too (default: the program's alone)."`
	Type    string            `default:"market_data" help:"Data type of the records; decides the topic."`
	Topic   string            `help:"Topic to publish to (default: the data type's)."`
	Attr    map[string]string `mapsep:"," placeholder:"NAME=VALUE" help:"Message attributes, such as source=yahoo_finance."`
	Batch   int               `default:"1" help:"Records in one message; more than one makes newline-delimited messages."`
	Whole   bool              `help:"Each file is one message, whatever is in it."`
	Samples bool              `help:"Publish the demonstration's sample messages of all types instead."`
	Create  bool              `help:"Create the topic where it is missing."`
}

// Problems implements the check of config.Parse.
func (c *publishCommand) Problems() []error {
	if c.Batch < 1 {
		return []error{fmt.Errorf("--batch %d: at least 1 is needed", c.Batch)}
	}
	return nil
}

// Run implements the command.
func (c *publishCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	registry, err := ingest.Definitions(ctx, ingest.Config{Bucket: c.Bucket, Log: log})
	if err != nil {
		return err
	}
	def, ok := registry.Latest(c.Type)
	if !ok {
		return config.Usagef("--type %s: not in the registry; there are %s (--data-bucket reads those of a lake, too)", c.Type, strings.Join(registry.Types(), ", "))
	}
	topic := c.Topic
	if topic == "" {
		topic = def.Topic
	}
	publisher, err := ingest.NewPublisher(ctx, ingest.PublisherConfig{Project: c.Project, Create: c.Create, Registry: registry})
	if err != nil {
		return err
	}
	err = c.messages(std.in, func(to string, m *schema.Message) error {
		if to == "" {
			to = topic
		}
		return publisher.Publish(ctx, to, m)
	})
	sent, closeErr := publisher.Close()
	if err := errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("publish: %w (%d messages were accepted)", err, sent)
	}
	fmt.Fprintf(std.out, "%d messages published\n", sent)
	return nil
}

// messages hands every message to publish, with its topic where it is not the
// command's.
func (c *publishCommand) messages(in io.Reader, publish func(topic string, m *schema.Message) error) error {
	if c.Samples {
		for _, s := range samples.Messages(samples.Demo(runID())) {
			if err := publish(s.Topic, &s.Message); err != nil {
				return err
			}
		}
		return nil
	}
	files := c.Files
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if err := c.file(name, in, publish); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (c *publishCommand) file(name string, in io.Reader, publish func(string, *schema.Message) error) error {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	send := func(data []byte, attributes map[string]string) error {
		return publish("", &schema.Message{Data: data, Attributes: attributes})
	}
	if c.Whole {
		data, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return send(data, c.Attr)
	}
	return c.lines(in, send)
}

// lines groups a file's lines into messages.
func (c *publishCommand) lines(in io.Reader, send func([]byte, map[string]string) error) error {
	attributes := c.Attr
	if c.Batch > 1 {
		attributes = map[string]string{"content_type": "application/x-ndjson"}
		for k, v := range c.Attr {
			attributes[k] = v
		}
	}
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, schema.MaxMessageBytes)
	var data []byte
	held := 0
	for scanner.Scan() {
		if len(strings.TrimSpace(scanner.Text())) == 0 {
			continue
		}
		if held > 0 {
			data = append(data, '\n')
		}
		data = append(data, scanner.Bytes()...)
		if held++; held == c.Batch {
			if err := send(data, attributes); err != nil {
				return err
			}
			data, held = nil, 0
		}
	}
	if err := scanner.Err(); err != nil {
		return err
	}
	if held > 0 {
		return send(data, attributes)
	}
	return nil
}
