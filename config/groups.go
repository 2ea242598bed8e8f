package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/buffetbot/ingest/schema"
)

// Log says how programs log.
type Log struct {
	LogFormat string `env:"LOG_FORMAT" enum:"auto,json,console" default:"auto" help:"Log lines as ${enum}; auto is console on a terminal and json elsewhere."`
	LogLevel  string `env:"LOG_LEVEL" enum:"debug,info,warn,error" default:"info" help:"Least severe lines to log: ${enum}."`
}

// Store says where the lake is and how to reach it.
type Store struct {
	DataBucket     string        `env:"GCS_DATA_BUCKET" placeholder:"BUCKET" help:"Where the lake is: a bucket's name, gs://name, or file:///directory."`
	Project        string        `env:"GOOGLE_CLOUD_PROJECT" help:"Google Cloud project of topics, subscriptions and buckets."`
	ArchiveBucket  string        `env:"GCS_ARCHIVE_BUCKET" placeholder:"BUCKET" help:"Where consumed raw files go before they are deleted."`
	BackupBucket   string        `env:"GCS_BACKUP_BUCKET" placeholder:"BUCKET" help:"Where backups go."`
	TempBucket     string        `env:"GCS_TEMP_BUCKET" placeholder:"BUCKET" help:"Where large merges spill; its objects may vanish after a day."`
	ServiceAccount string        `name:"service-account-email" env:"GCS_SERVICE_ACCOUNT_EMAIL" placeholder:"EMAIL" help:"Service account to impersonate."`
	Region         string        `env:"GCS_REGION" default:"us-central1" help:"Region of buckets and services."`
	KMSKey         string        `name:"kms-key-id" env:"GCS_KMS_KEY_ID" placeholder:"KEY" help:"Customer-managed key that encrypts every object written."`
	Connections    int           `name:"max-connections" env:"GCS_MAX_CONNECTIONS" default:"50" help:"Most connections to the store at once."`
	RetryAttempts  int           `env:"GCS_RETRY_ATTEMPTS" default:"3" help:"How often an operation of the store is tried before it counts as failed."`
	Timeout        int           `name:"timeout-seconds" env:"GCS_TIMEOUT_SECONDS" default:"60" help:"Seconds that one try of a store operation may take."`
	BreakerOpen    time.Duration `env:"GCS_BREAKER_OPEN" default:"10s" help:"How long the breaker leaves a store alone that does not answer, before one operation may try."`
	Compression    string        `env:"GCS_COMPRESSION" enum:"snappy" default:"snappy" help:"Compression of Parquet pages: ${enum}."`
}

// Problems implements the check of Parse.
func (s *Store) Problems() []error {
	var all []error
	if s.DataBucket == "" {
		all = append(all, fmt.Errorf("no data bucket: set --data-bucket or GCS_DATA_BUCKET to a bucket's name, gs://name or file:///directory"))
	}
	if s.Connections < 1 {
		all = append(all, fmt.Errorf("--max-connections %d: at least 1 is needed", s.Connections))
	}
	if s.RetryAttempts < 1 {
		all = append(all, fmt.Errorf("--retry-attempts %d: at least 1 is needed", s.RetryAttempts))
	}
	if s.BreakerOpen <= 0 {
		all = append(all, fmt.Errorf("--breaker-open %v: must be greater than 0", s.BreakerOpen))
	}
	if s.Timeout < 1 {
		all = append(all, fmt.Errorf("--timeout-seconds %d: at least 1 is needed", s.Timeout))
	}
	return append(all, s.shapes()...)
}

// Listen says where health and metrics are served.
type Listen struct {
	Listen string `env:"LISTEN_ADDR" default:"" placeholder:"HOST:PORT" help:"Serve /healthz, /readyz and /metrics here, such as 127.0.0.1:9090 (empty: nowhere)."`
	Pprof  bool   `env:"PPROF" help:"Serve /debug/pprof/ under --listen too: profiles of the running program, for whoever can reach it."`
}

// Types chooses data types.
type Types struct {
	Types []string `env:"DATA_TYPES" placeholder:"TYPE,…" help:"Data types to work on (default: every type of the registry)."`
}

// Ways to receive.
const (
	ReceiveClient = "client"
	ReceiveStream = "stream"
)

// Broker says where messages come from.
type Broker struct {
	Embedded        bool              `env:"EMBEDDED" help:"Start an embedded Pub/Sub server and receive from it. Implies --create."`
	EmbeddedAddr    string            `env:"EMBEDDED_ADDR" default:"127.0.0.1:8085" help:"Address of the embedded Pub/Sub server."`
	EmbeddedDir     string            `env:"EMBEDDED_DIR" placeholder:"DIR" help:"Where the embedded Pub/Sub server keeps topics and messages (default: .pubsub in the directory of a local lake, else a temporary one)."`
	Create          bool              `env:"CREATE" help:"Create missing topics and subscriptions (ordering off, exactly-once off)."`
	Subscription    map[string]string `env:"SUBSCRIPTIONS" mapsep:"," placeholder:"TYPE=NAME" help:"Subscription of a data type (default: <topic>-ingest)."`
	DeadLetterTopic string            `env:"DEAD_LETTER_TOPIC" default:"dead-letters" help:"Topic that rejected records are published to."`
	Replay          bool              `env:"REPLAY" help:"Also take dead letters that are replayed (buffetctl dlq replay), from the topic <topic>-replay, subscription <topic>-replay-ingest. Their ids and publish times are believed: let operators alone publish there."`
	Receive         string            `env:"PUBSUB_RECEIVE" enum:"client,stream" default:"stream" help:"How messages are received: ${enum}. stream is this program's own receiver, client Google's library, which takes several times the processor and memory for messages of one record."`
	Streams         int               `env:"PUBSUB_STREAMS" default:"4" help:"StreamingPull streams per subscription."`
}

// Problems implements the check of Parse.
func (b *Broker) Problems() []error {
	if b.Streams < 1 {
		return []error{fmt.Errorf("--streams %d: at least 1 is needed", b.Streams)}
	}
	return nil
}

// Ingest says how rows are validated, batched and flushed.
type Ingest struct {
	Level         map[string]string `env:"LEVELS" mapsep:"," placeholder:"TYPE=LEVEL" help:"Validation level of a data type: STRICT, STANDARD (default) or LENIENT."`
	FlushRows     int               `env:"FLUSH_ROWS" default:"100000" help:"Rows that seal a batch (one data type, one day)."`
	FlushBytes    Bytes             `env:"FLUSH_BYTES" default:"32MiB" help:"Memory held by a batch that seals it; never more than what its flush may take: about a twelfth of the memory budget."`
	FlushAge      time.Duration     `env:"FLUSH_AGE" default:"30s" help:"Age that seals a batch; messages stay unacknowledged until their batch is durable."`
	MemoryBudget  Bytes             `env:"MEMORY_BUDGET" default:"256MiB" help:"Most bytes of open and in-flight batches; a full budget makes intake wait."`
	OwnFileRows   int               `env:"OWN_FILE_ROWS" default:"10000" help:"Rows of one symbol in a batch that earn it a file of its own; the others share one."`
	IdleExit      time.Duration     `env:"IDLE_EXIT" default:"0s" help:"Finish with code 0 once nothing has arrived for this long and everything is durable (0: stay up)."`
	HoldFor       time.Duration     `env:"HOLD_FOR" default:"30m" help:"How long messages that cannot be made durable stay held while the store is down, before they are handed back to the broker; intake pauses meanwhile."`
	StateDir      string            `env:"STATE_DIR" placeholder:"DIR" help:"Where the ids of messages being decoded are noted, so that a message that kills the process thrice becomes a dead letter; it has to outlive the process (default: buffetbot-ingest in the user's cache directory)."`
	SchemaRefresh time.Duration     `env:"SCHEMA_REFRESH" default:"1m" help:"How often to look for definitions that were added to the lake; they are taken up without a restart."`
	UnknownAge    time.Duration     `name:"unknown-schema-age" env:"UNKNOWN_SCHEMA_AGE" default:"10m" help:"How long after its publication a message is tried again that names a schema version newer than any known; then it becomes a dead letter (0: at once)."`
	DrainDeadline time.Duration     `env:"DRAIN_DEADLINE" default:"60s" help:"How long a shutdown may take to make everything durable; the rest is handed back to the broker."`
}

// Problems implements the check of Parse.
func (i *Ingest) Problems() []error {
	var all []error
	positive := func(flag string, ok bool, value any) {
		if !ok {
			all = append(all, fmt.Errorf("--%s %v: must be greater than 0", flag, value))
		}
	}
	positive("flush-rows", i.FlushRows > 0, i.FlushRows)
	positive("flush-bytes", i.FlushBytes > 0, i.FlushBytes)
	positive("flush-age", i.FlushAge > 0, i.FlushAge)
	positive("memory-budget", i.MemoryBudget > 0, i.MemoryBudget)
	positive("hold-for", i.HoldFor > 0, i.HoldFor)
	positive("schema-refresh", i.SchemaRefresh > 0, i.SchemaRefresh)
	positive("own-file-rows", i.OwnFileRows > 0, i.OwnFileRows)
	if i.UnknownAge < 0 {
		all = append(all, fmt.Errorf("--unknown-schema-age %v: must not be negative", i.UnknownAge))
	}
	if i.IdleExit < 0 {
		all = append(all, fmt.Errorf("--idle-exit %v: must not be negative", i.IdleExit))
	}
	for dataType, name := range i.Level {
		if _, err := ParseLevel(name); err != nil {
			all = append(all, fmt.Errorf("--level %s=%s: %w", dataType, name, err))
		}
	}
	return all
}

// ParseLevel reads a validation level's name in any case.
func ParseLevel(name string) (schema.Level, error) {
	switch strings.ToUpper(name) {
	case "STANDARD":
		return schema.Standard, nil
	case "STRICT":
		return schema.Strict, nil
	case "LENIENT":
		return schema.Lenient, nil
	}
	return 0, fmt.Errorf("unknown level: want STRICT, STANDARD or LENIENT")
}

// Compact says how raw files are merged.
type Compact struct {
	MinRawAge      time.Duration `env:"MIN_RAW_AGE" default:"0s" help:"Leave raw files younger than this for the next run."`
	TargetFileSize Bytes         `env:"TARGET_FILE_SIZE" default:"256MiB" help:"Size that processed files are cut at, at symbol boundaries."`
	MemoryBudget   Bytes         `env:"COMPACT_MEMORY_BUDGET" default:"512MiB" help:"Bytes that the partitions worked on at once take, about; a large one is merged alone, in as many steps as that needs."`
	TempDir        string        `env:"TEMP_DIR" help:"Folder for copies of inputs and outputs that memory does not hold, on a disk with room for the largest partition three times; empty: the system's."`
	RewriteShare   float64       `env:"REWRITE_SHARE" default:"0.25" help:"Write files again only where the new rows come to this share of their bytes; until then raw files wait, and only the lake's own readers see them. 0: merge each day with new raw files, whole, at every run."`
	RewriteFloor   Bytes         `env:"REWRITE_FLOOR" default:"4MiB" help:"Bytes of files that are written again however few the new rows are."`
	MaxRawWait     time.Duration `env:"MAX_RAW_WAIT" default:"6h" help:"The longest that raw files of a day that goes on wait for company (0s: until the day is sealed)."`
	SealAfter      time.Duration `env:"SEAL_AFTER" default:"6h" help:"From a day's end (UTC) to its final form, made of all of its rows."`
	LateWait       time.Duration `env:"LATE_WAIT" default:"24h" help:"The longest that late raw files of a day that is over wait, and how long such a day must have been at rest before it gets its final form again."`
	LeaseFor       time.Duration `env:"LEASE_FOR" default:"15m" help:"How long a compactor tells the others that it is at a day: it saves them double work (0s: tell nobody)."`
	LeaseFloor     Bytes         `env:"LEASE_FLOOR" default:"16MiB" help:"Days with fewer bytes to read are not worth a lease."`
	RetryAfter     time.Duration `env:"RETRY_UNREADABLE_AFTER" name:"retry-unreadable-after" default:"10m" help:"First pause before a raw file that cannot be read is tried again, doubled each time up to a day (0s: every run tries)."`
	Sweep          bool          `env:"SWEEP" help:"After compacting, archive and delete consumed raw files, and delete removed files, orphans and the log's past once they are old enough."`
	Grace          time.Duration `env:"GRACE" default:"1h" help:"Age after which consumed raw files are archived and deleted (with --sweep)."`
	Retain         time.Duration `env:"RETAIN" default:"168h" help:"Age after which files that the table no longer holds are deleted: time travel and long external queries reach back so far. It is the table's own property, which is raised to it and never lowered."`
	LogRetain      time.Duration `env:"LOG_RETAIN" default:"720h" help:"Age after which the log's past is deleted. It is the table's own property, which is raised to it and never lowered."`
	OrphanAge      time.Duration `env:"ORPHAN_AGE" default:"24h" help:"Age after which data files that no version names are deleted: longer than any merge takes."`
}

// Problems implements the check of Parse.
func (c *Compact) Problems() []error {
	var all []error
	if c.TargetFileSize <= 0 {
		all = append(all, fmt.Errorf("--target-file-size %v: must be greater than 0", c.TargetFileSize))
	}
	if c.MemoryBudget <= 0 {
		all = append(all, fmt.Errorf("--memory-budget %v: must be greater than 0", c.MemoryBudget))
	}
	for _, age := range []struct {
		flag  string
		value time.Duration
	}{{"grace", c.Grace}, {"retain", c.Retain}, {"log-retain", c.LogRetain}, {"orphan-age", c.OrphanAge}} {
		if age.value <= 0 {
			all = append(all, fmt.Errorf("--%s %v: must be greater than 0", age.flag, age.value))
		}
	}
	for _, wait := range []struct {
		flag  string
		value time.Duration
	}{{"min-raw-age", c.MinRawAge}, {"max-raw-wait", c.MaxRawWait}, {"seal-after", c.SealAfter}, {"late-wait", c.LateWait},
		{"lease-for", c.LeaseFor}, {"retry-unreadable-after", c.RetryAfter}} {
		if wait.value < 0 {
			all = append(all, fmt.Errorf("--%s %v: must not be negative", wait.flag, wait.value))
		}
	}
	if c.RewriteShare < 0 || c.RewriteShare > 1 {
		all = append(all, fmt.Errorf("--rewrite-share %v: must be from 0 to 1", c.RewriteShare))
	}
	return all
}
