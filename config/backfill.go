package config

import (
	"fmt"
	"strings"
	"time"
)

// Backfill says which files become messages, and how.
type Backfill struct {
	Type        string   `env:"BACKFILL_TYPE" default:"market_data" help:"Data type of the records; decides the topic and the fields."`
	DataBucket  string   `env:"GCS_DATA_BUCKET" placeholder:"BUCKET" help:"Lake whose own definitions count too, such as those added by buffetctl schema evolve: a bucket's name, gs://name, or file:///directory (default: the program's alone)."`
	From        []string `env:"BACKFILL_FROM" sep:"none" required:"" placeholder:"FILE" help:"File, glob in quotes, or gs://bucket/glob to read; may be given several times."`
	Format      string   `env:"BACKFILL_FORMAT" enum:"auto,csv,ndjson,parquet" default:"auto" help:"Format of the files: ${enum}; auto looks at their content. CSV and NDJSON may be gzipped."`
	Map         []string `env:"BACKFILL_MAP" sep:";" placeholder:"FIELD=COLUMN" help:"Read a field from a column of another name; columns named as a field are read by themselves. May be given several times."`
	Set         []string `env:"BACKFILL_SET" sep:";" placeholder:"FIELD=VALUE" help:"Give a field one value in every record; a ; in it is written \\;. May be given several times."`
	Null        []string `env:"BACKFILL_NULL" sep:";" placeholder:"TEXT" help:"Text of a CSV cell that means no value, as an empty cell does; such as N/A."`
	Header      []string `env:"BACKFILL_HEADER" placeholder:"NAME,…" help:"Names of the columns of CSV files that have no header line."`
	Delimiter   string   `env:"BACKFILL_DELIMITER" default:"," help:"Character between CSV cells; tab for a tabulator."`
	Source      string   `env:"BACKFILL_SOURCE" default:"backfill" help:"Attribute source of the messages: the data_source of records that have none."`
	Topic       string   `env:"BACKFILL_TOPIC" help:"Topic to publish to (default: the data type's)."`
	Rate        float64  `env:"BACKFILL_RATE" default:"0" placeholder:"ROWS/S" help:"Most records to publish a second (0: no bound)."`
	BatchRows   int      `env:"BACKFILL_BATCH_ROWS" default:"500" help:"Records in one message."`
	BatchBytes  Bytes    `env:"BACKFILL_BATCH_BYTES" default:"4MiB" help:"Most bytes of one message of several records; at most 9MB."`
	InFlight    int      `env:"BACKFILL_IN_FLIGHT" default:"16" help:"Messages that may wait for the broker's answer; they are what is held in memory."`
	Checkpoint  string   `env:"BACKFILL_CHECKPOINT" placeholder:"FILE" help:"What is published already, so that a run goes on where the last one ended (default: .backfill-HASH.json in the working directory, HASH by files, settings and topic)."`
	PublishedAt string   `env:"BACKFILL_PUBLISHED_AT" placeholder:"TIME" help:"Publish time of the records, in RFC 3339 (default: the first start, kept in the checkpoint)."`
	Again       bool     `env:"BACKFILL_AGAIN" help:"Publish again although the checkpoint says that all is done. It adds no row."`
	DryRun      bool     `env:"BACKFILL_DRY_RUN" help:"Publish nothing: judge every record as the ingestor would, report, and end with 1 if one would be rejected."`
	Level       string   `env:"BACKFILL_LEVEL" default:"STANDARD" help:"Validation level of the dry run: STRICT, STANDARD or LENIENT; that of the ingestor, to get its verdicts."`
}

// Problems implements the check of Parse.
func (b *Backfill) Problems() []error {
	var all []error
	add := func(err error) {
		if err != nil {
			all = append(all, err)
		}
	}
	_, err := Pairs("map", b.Map)
	add(err)
	_, err = Pairs("set", b.Set)
	add(err)
	_, err = b.DelimiterByte()
	add(err)
	_, err = b.PublishTime(time.Now())
	add(err)
	if _, err := ParseLevel(b.Level); err != nil {
		add(fmt.Errorf("--level %s: %w", b.Level, err))
	}
	if b.Rate < 0 {
		add(fmt.Errorf("--rate %v: must not be negative", b.Rate))
	}
	if b.BatchRows < 1 {
		add(fmt.Errorf("--batch-rows %d: must be greater than 0", b.BatchRows))
	}
	if b.BatchBytes < 1 {
		add(fmt.Errorf("--batch-bytes %v: must be greater than 0", b.BatchBytes))
	}
	if b.InFlight < 1 || b.InFlight > 1000 {
		add(fmt.Errorf("--in-flight %d: want 1 to 1000", b.InFlight))
	}
	return all
}

// Pairs reads name=value texts, each name once.
func Pairs(flag string, texts []string) (map[string]string, error) {
	m := map[string]string{}
	for _, text := range texts {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" && flag == "map" {
			return nil, fmt.Errorf("--%s %q: want NAME=VALUE", flag, text)
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("--%s %s is given twice", flag, name)
		}
		m[name] = value
	}
	return m, nil
}

// DelimiterByte is the character between cells.
func (b *Backfill) DelimiterByte() (byte, error) {
	switch b.Delimiter {
	case "tab", `\t`:
		return '\t', nil
	}
	if len(b.Delimiter) != 1 || b.Delimiter[0] >= 0x80 {
		return 0, fmt.Errorf("--delimiter %q: want one ASCII character, or tab", b.Delimiter)
	}
	return b.Delimiter[0], nil
}

// PublishTime is the publish time that was asked for, or zero. The decoder
// refuses one that lies in the future, so this does.
func (b *Backfill) PublishTime(now time.Time) (time.Time, error) {
	if b.PublishedAt == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, b.PublishedAt)
	if err != nil {
		return t, fmt.Errorf("--published-at %q: want a time in RFC 3339, such as 2024-01-15T14:30:52Z", b.PublishedAt)
	}
	if t.Year() < 1900 || t.After(now) {
		return t, fmt.Errorf("--published-at %s: must lie between 1900 and now", b.PublishedAt)
	}
	return t, nil
}
