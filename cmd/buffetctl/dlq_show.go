package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/zap"

	"github.com/buffetbot/ingest"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/schema"
)

type dlqShowCommand struct {
	config.Store
	ID     string `arg:"" help:"The letter's id, or the beginning of it."`
	Raw    bool   `help:"Write the exact original bytes to stdout and nothing else; of a record out of a binary container, the message it came in."`
	Format string `enum:"text,json" default:"text" help:"Output: ${enum}."`
}

// Run implements the command.
func (c *dlqShowCommand) Run(ctx context.Context, std streams, log *zap.Logger) error {
	if c.Raw && c.Format != "text" {
		return config.Usagef("--raw and --format: give one of them")
	}
	return withLake(ctx, c.Store, log, func(lake *ingest.Lake) error {
		l, err := lake.Letter(ctx, c.ID)
		if err != nil {
			return usage(err)
		}
		s := shown{Letter: l}
		if whole, original, err := lake.LetterContents(ctx, l); err != nil {
			s.missing = err
		} else {
			s.Letter, s.original = whole, original
		}
		replays, err := lake.Replays(ctx)
		if err != nil {
			return err
		}
		if mark, done := replays[l.ID]; done {
			s.replayed = &mark
		}
		s.def, _ = lake.Registry().Latest(l.DataType)
		switch {
		case c.Raw:
			return s.raw(std.out)
		case c.Format == "json":
			return s.json(std.out)
		}
		_, err = io.WriteString(std.out, s.text())
		return err
	})
}

// shown is a letter with all that belongs to it.
type shown struct {
	*deadletter.Letter
	original *deadletter.Letter // the message of a rendered record
	missing  error              // why what the letter refers to is not here
	def      *schema.Definition // nil: unknown data type
	replayed *deadletter.ReplayMark
}

// raw writes what was published.
func (s *shown) raw(w io.Writer) error {
	if s.missing != nil {
		return fmt.Errorf("the original bytes are not all here: %w", s.missing)
	}
	bytes := s.Record
	if s.original != nil {
		bytes = s.original.Record
	}
	_, err := w.Write(bytes)
	return err
}

func (s *shown) json(w io.Writer) error {
	all, err := s.all()
	if err != nil {
		return err
	}
	return writeJSON(w, all, true)
}

// all is the letter as JSON, with the message of a rendered record and with what
// is missing.
func (s *shown) all() (map[string]any, error) {
	all := map[string]any{}
	text, err := json.Marshal(s.Letter)
	if err != nil {
		return nil, err
	}
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber()
	if err := numbers.Decode(&all); err != nil {
		return nil, err
	}
	if s.original != nil {
		all["original_message"] = s.original
	}
	if s.replayed != nil {
		all["replayed"] = map[string]any{"run": s.replayed.Run, "at": s.replayed.At, "by": s.replayed.By}
	}
	if s.missing != nil {
		all["payload_error"] = s.missing.Error()
	}
	return all, nil
}

// text is the letter for people.
func (s *shown) text() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "  %-12s %s\n", name, clean(value))
		}
	}
	help, _ := deadletter.Help(s.Reason)
	fmt.Fprintf(&b, "Dead letter %s\n\n", clean(s.ID))
	line("reason", string(s.Reason)+": "+help.Meaning)
	line("field", s.Field)
	line("value", s.Value)
	line("explanation", s.Explanation)
	line("judged as", strings.TrimSpace(s.DataType+" "+s.SchemaVersion))
	b.WriteString("\n")
	line("message", s.MessageID)
	line("record", fmt.Sprintf("%d of the message, counted from 0", s.RecordIndex))
	line("published", s.PublishedAt.Format(time.RFC3339Nano))
	line("topic", s.Topic)
	line("ordering key", s.OrderingKey)
	if s.Attempt > 0 {
		line("deliveries", fmt.Sprint(s.Attempt))
	}
	line("payload", s.PayloadRef)
	if s.replayed != nil {
		line("replayed", fmt.Sprintf("%s, by %s (run %s)", s.replayed.At.Format(time.RFC3339), s.replayed.By, s.replayed.Run))
	}
	if s.missing != nil {
		line("", "the payload cannot be read, so part of the letter is missing here: "+s.missing.Error())
	}
	if len(s.Attributes) > 0 {
		b.WriteString("\nAttributes of the message\n")
		for _, key := range slices.Sorted(maps.Keys(s.Attributes)) {
			fmt.Fprintf(&b, "  %s = %s\n", clean(key), clean(s.Attributes[key]))
		}
	}
	s.record(&b)
	fmt.Fprintf(&b, "\nWhat to do next\n  %s\n", help.Next)
	fmt.Fprintf(&b, "  The original bytes: buffetctl dlq show --raw %[1]s\n  Once it is mended:  buffetctl dlq replay %[1]s --dry-run\n", clean(s.ID))
	return b.String()
}

// forms say what the record of a letter is.
var forms = map[deadletter.Form]string{
	deadletter.WholeMessage: "the message's payload as it came",
	deadletter.OneRecord:    "one record out of the message's payload",
	deadletter.Rendered:     "a record out of a binary container, as JSON",
}

func (s *shown) record(b *strings.Builder) {
	form := forms[s.Form]
	if form == "" {
		form = "the record as it came"
	}
	fmt.Fprintf(b, "\nRecord: %s, %d bytes\n", form, len(s.Record))
	if s.original != nil {
		fmt.Fprintf(b, "  (the message that it came in has %d bytes)\n", len(s.original.Record))
	}
	var lines []string
	mark := -1
	pretty := jsontext.Value(bytes.Clone(s.Record))
	switch {
	case len(s.Record) == 0:
		return
	case pretty.Indent(jsontext.WithIndent("  ")) == nil:
		lines = strings.Split(strings.TrimSpace(string(pretty)), "\n")
		lines, mark = s.mark(lines)
	case utf8.Valid(s.Record) && !bytes.ContainsFunc(s.Record, func(r rune) bool { return r < ' ' && r != '\n' && r != '\r' && r != '\t' }):
		lines = strings.Split(strings.TrimRight(string(s.Record), "\n"), "\n")
	default:
		dump := s.Record[:min(len(s.Record), maxLines*8)]
		lines = strings.Split(strings.TrimSpace(hex.Dump(dump)), "\n")
		if len(dump) < len(s.Record) {
			lines = append(lines, fmt.Sprintf("… %d bytes more (--raw)", len(s.Record)-len(dump)))
		}
	}
	writeLines(b, lines, mark)
}

// mark finds the line of the field to blame, or adds one for a field that is
// absent. Fields are those of the record itself: two spaces, and the name.
func (s *shown) mark(lines []string) ([]string, int) {
	if s.Field == "" {
		return lines, -1
	}
	names := []string{s.Field}
	if s.def != nil {
		if i := s.def.Field(s.Field); i >= 0 {
			names = append(append(names, s.def.Fields[i].Name), s.def.Fields[i].Aliases...)
		}
	}
	for i, line := range lines {
		for _, name := range names {
			key, err := jsontext.AppendQuote(nil, name)
			if err == nil && strings.HasPrefix(line, "  "+string(key)+":") {
				return lines, i
			}
		}
	}
	if s.Reason == schema.MissingRequired && len(lines) > 1 {
		last := len(lines) - 1
		return slices.Insert(lines, last, fmt.Sprintf("  (no %s)", s.Field)), last
	}
	return lines, -1
}

const (
	maxLines  = 200  // of a record that are shown
	maxColumn = 1000 // of a line
	around    = 3    // lines before and after a marked one further down
)

// writeLines writes the beginning of a text, and the marked line with those around
// it wherever it is.
func writeLines(b *strings.Builder, lines []string, mark int) {
	hidden := 0
	for i, line := range lines {
		if i >= maxLines && (mark < 0 || i < mark-around || i > mark+around) {
			hidden++
			continue
		}
		if hidden > 0 {
			fmt.Fprintf(b, "    … %d lines …\n", hidden)
			hidden = 0
		}
		gutter := "    "
		if i == mark {
			gutter = "  ▶ "
		}
		b.WriteString(gutter + cutTo(clean(strings.TrimSuffix(line, "\r")), maxColumn) + "\n")
	}
	if hidden > 0 {
		fmt.Fprintf(b, "    … %d lines more (--raw)\n", hidden)
	}
}
