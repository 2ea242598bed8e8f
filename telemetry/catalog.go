package telemetry

import (
	"slices"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
)

// A Metric is one thing that is measured, as operators may rely on it.
// docs/monitoring.md has the list for people; a test compares the two.
type Metric struct {
	Name   string // in OpenTelemetry; Prometheus makes ingest_messages_received_total of ingest.messages.received
	Kind   Kind
	Unit   string
	Help   string
	Labels []string // each with a few, known values

	buckets []float64
}

// A Kind is how a metric behaves.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // only grows
	Gauge     Kind = "gauge"     // goes up and down
	Histogram Kind = "histogram" // how often values fell between bounds
)

// Labels of metrics.
const (
	labelType    = "data_type" // a data type of the registry
	labelOutcome = "outcome"
	labelReason  = "reason" // schema.Reason; empty for what was accepted
	labelVerdict = "verdict"
	labelKind    = "kind"
	labelCause   = "cause"
	labelStore   = "store"
	labelOp      = "operation"
	labelWay     = "direction"
)

// Metrics are all that this package measures, in the order of docs/monitoring.md.
// Those of the Go runtime come on top.
func Metrics() []Metric { return slices.Clone(catalog) }

var catalog []Metric

// define adds a metric to the catalog.
func define(kind Kind, name, unit, help string, labels ...string) Metric {
	m := Metric{Name: name, Kind: kind, Unit: unit, Help: help, Labels: labels}
	if kind == Histogram {
		m.buckets = bounds[unit]
	}
	catalog = append(catalog, m)
	return m
}

// bounds are the buckets of histograms, by unit.
var bounds = map[string][]float64{
	"s":      {0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 21600},
	"By":     {1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30},
	"{row}":  {1, 10, 100, 1e3, 5e3, 1e4, 5e4, 1e5, 5e5, 1e6, 1e7},
	"{file}": {1, 2, 5, 10, 20, 50, 100, 200},
}

// The metrics of an ingestor.
var (
	msgReceived  = define(Counter, "ingest.messages.received", "{message}", "Deliveries taken from the broker.", labelType)
	msgAcked     = define(Counter, "ingest.messages.acked", "{message}", "Messages acknowledged: all of them is durable.", labelType)
	msgNacked    = define(Counter, "ingest.messages.nacked", "{message}", "Messages handed back to the broker, which delivers them again.", labelType)
	msgHeld      = define(Gauge, "ingest.messages.held", "{message}", "Messages taken and not settled yet.", labelType)
	msgPostponed = define(Counter, "ingest.messages.postponed", "{message}", "Deliveries held and handed back because they name a schema version that is not known yet.", labelType)
	panics       = define(Counter, "ingest.messages.panics", "{message}", "Messages whose decoding panicked; they become dead letters.", labelType)
	records      = define(Counter, "ingest.records", "{record}", "Records decoded, by verdict and, where rejected, reason.", labelType, labelVerdict, labelReason)
	coercions    = define(Counter, "ingest.coercions", "{value}", "Values not stored as they were sent, by kind.", labelType, labelKind)
	oldestHeld   = define(Gauge, "ingest.lag.oldest", "s", "Age, since its publication, of the oldest message held; 0 if none is.", labelType)
	latency      = define(Histogram, "ingest.lag.durable", "s", "Time from publication until durable, of up to 100 messages of each batch.", labelType)
	seals        = define(Counter, "ingest.batch.seals", "{batch}", "Batches sealed, by cause.", labelType, labelCause)
	batchAge     = define(Histogram, "ingest.batch.age", "s", "Age of batches when a flush of them begins.", labelType)
	flushes      = define(Counter, "ingest.flushes", "{batch}", "Tries to make a batch durable, by outcome; a batch whose flush failed stays held and is tried again.", labelType, labelOutcome)
	gaveUp       = define(Counter, "ingest.gave_up", "{batch}", "Batches and dead letters held for as long as they may be (--hold-for), then handed back.", labelType)
	flushTime    = define(Histogram, "ingest.flush.duration", "s", "Time that one flush took, the store's retries included.", labelType, labelOutcome)
	flushRows    = define(Histogram, "ingest.flush.rows", "{row}", "Rows of each flush that succeeded.", labelType)
	flushBytes   = define(Histogram, "ingest.flush.bytes", "By", "Bytes written by each flush that succeeded.", labelType)
	flushFiles   = define(Histogram, "ingest.flush.files", "{file}", "Objects made by each flush that succeeded.", labelType)
	letters      = define(Counter, "ingest.dead_letters", "{record}", "Dead letters, by whether publishing them succeeded.", labelType, labelOutcome)
	refreshes    = define(Counter, "ingest.schema.refreshes", "{look}", "Looks for definitions that were added to the lake, by outcome; after one that failed those of before stay.", labelOutcome)
	switches     = define(Counter, "ingest.schema.switches", "{definition}", "Definitions that became current while the ingestor ran.", labelType)
	memoryUsed   = define(Gauge, "ingest.memory.used", "By", "Memory charged to the budget: open and sealed batches, dead letters on their way.")
	memoryCap    = define(Gauge, "ingest.memory.limit", "By", "The memory budget.")
)

// The metrics of a store.
var (
	storeOps     = define(Counter, "store.operations", "{operation}", "Operations as their callers saw them, by outcome; the tries within one do not count.", labelStore, labelOp, labelOutcome)
	storeTime    = define(Histogram, "store.operation.duration", "s", "Time of one operation, its retries and waits included; of a listing, without its reader's.", labelStore, labelOp, labelOutcome)
	storeBytes   = define(Counter, "store.transferred", "By", "Bytes of objects read and written by operations that succeeded.", labelStore, labelWay)
	storeRetries = define(Counter, "store.retries", "{try}", "Tries beyond an operation's first.", labelStore, labelOp)
	storeBreaker = define(Gauge, "store.breaker.state", "{state}", "Circuit breaker: 0 closed, 1 half-open, 2 open.", labelStore)
)

// The metrics of a compactor.
var (
	runs           = define(Counter, "compaction.runs", "{run}", "Runs over one table, by outcome.", labelType, labelOutcome)
	runTime        = define(Histogram, "compaction.run.duration", "s", "Time of a run over one table.", labelType, labelOutcome)
	partitions     = define(Counter, "compaction.partitions", "{partition}", "Partitions worked on, by outcome.", labelType, labelOutcome)
	compactedRows  = define(Counter, "compaction.rows", "{row}", "Rows of committed partitions: of the raw files consumed (in), and live afterwards (out).", labelType, labelWay)
	duplicates     = define(Counter, "compaction.duplicates", "{row}", "Rows left out because their identity was there already.", labelType)
	conflicts      = define(Counter, "compaction.conflicts", "{row}", "Duplicates that differ from the row that stayed.", labelType)
	compactedFiles = define(Counter, "compaction.files", "{file}", "Raw files consumed, files added to tables and removed from them.", labelType, labelWay)
	compactedBytes = define(Counter, "compaction.bytes", "By", "Bytes read and written by committed partitions.", labelType, labelWay)
	unreadable     = define(Counter, "compaction.unreadable", "{file}", "Raw files left in place because they cannot be read, at each run that met them.", labelType)
	debtFiles      = define(Gauge, "compaction.debt.files", "{file}", "Raw files not consumed when the last run ended.", labelType)
	debtBytes      = define(Gauge, "compaction.debt.bytes", "By", "Bytes of them.", labelType)
	debtAge        = define(Gauge, "compaction.debt.age", "s", "Age of the oldest of them, now; 0 if there is none.", labelType)
)

func meter() metric.Meter { return otel.GetMeterProvider().Meter(scope) }

// made gives the instrument. The names are ours, so an error is a mistake in the
// catalog, which its test finds; the instrument works all the same.
func made[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}

func (m Metric) counter(from metric.Meter) metric.Int64Counter {
	return made(from.Int64Counter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help)))
}

func (m Metric) histogram(from metric.Meter) metric.Float64Histogram {
	return made(from.Float64Histogram(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help), metric.WithExplicitBucketBoundaries(m.buckets...)))
}

// read gives an instrument that is asked when somebody collects. The gauges that
// are sums over what runs in a process are up-down counters, so that they add up.
func (m Metric) read(from metric.Meter) metric.Int64Observable {
	if m.Kind == Counter {
		return made(from.Int64ObservableCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help)))
	}
	return made(from.Int64ObservableUpDownCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help)))
}

// gauge is read too, and does not add up: of several the last counts.
func (m Metric) gauge(from metric.Meter) metric.Float64ObservableGauge {
	return made(from.Float64ObservableGauge(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.Help)))
}
