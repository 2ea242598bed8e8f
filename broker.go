package ingest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/sourcegraph/conc"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/buffetbot/ingest/batching"
	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/pipeline"
	"github.com/buffetbot/ingest/schema"
)

// A broker is the project's Pub/Sub as an ingestor needs it.
type broker struct {
	client   *gcp.PubSub
	schemas  *gcp.Revisions // of an ingestor
	topics   []*gcp.Topic
	policies bool // its dead-letter policy works: the emulators' does not
}

// openPubSub connects to an emulator at endpoint, or where that is empty to
// wherever the environment says.
func openPubSub(ctx context.Context, project, endpoint, account string) (*gcp.PubSub, error) {
	c := gcp.PubSubConfig{Project: project, Impersonate: account}
	if endpoint != "" {
		c.Impersonate = "" // an emulator knows no accounts
		c.Options = []option.ClientOption{
			option.WithEndpoint(endpoint),
			option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		}
	}
	return gcp.OpenPubSub(ctx, c)
}

func dial(ctx context.Context, c IngestConfig, account string) (*broker, error) {
	client, err := openPubSub(ctx, c.Project, c.Endpoint, account)
	if err != nil {
		return nil, err
	}
	return &broker{client: client, policies: c.Endpoint == "" && os.Getenv("PUBSUB_EMULATOR_HOST") == ""}, nil
}

func (b *broker) close() error {
	for _, t := range b.topics {
		t.Close()
	}
	var err error
	if b.schemas != nil {
		err = b.schemas.Close()
	}
	return errors.Join(err, b.client.Close())
}

// deadLetterTopic gives the publisher of rejected records.
func (b *broker) deadLetterTopic(ctx context.Context, c IngestConfig) (deadletter.Publisher, error) {
	if c.Broker.Create {
		if err := b.client.EnsureTopics(ctx, c.Broker.DeadLetterTopic); err != nil {
			return nil, err
		}
	}
	t := b.client.Topic(c.Broker.DeadLetterTopic, gcp.TopicSettings{})
	b.topics = append(b.topics, t)
	return t, nil
}

// perMessage is what a held message is taken to cost, to bound how many are: its
// rows, its receipt, and the client's own bookkeeping.
const perMessage = 4 << 10

// subscription gives the source of a data type's messages, and makes sure that
// it is there.
func (b *broker) subscription(ctx context.Context, c IngestConfig, def *schema.Definition) (pipeline.Source, error) {
	topic := def.Topic
	if def.Name == deadLetters {
		topic = c.Broker.DeadLetterTopic
	}
	name := c.Broker.Subscription[def.Name]
	if name == "" {
		name = topic + "-ingest"
	}
	if err := b.ensure(ctx, c.Broker.Create, def, topic, name); err != nil {
		return nil, err
	}
	budget := int64(c.Ingest.MemoryBudget)
	settings := gcp.SubscriptionSettings{
		MaxOutstandingMessages: int(min(max(budget/perMessage, 1000), 100_000)),
		MaxOutstandingBytes:    int(max(budget, 16<<20)),
		NumGoroutines:          max(c.Broker.Streams, 1),
		DrainTimeout:           2 * c.Ingest.DrainDeadline,
		MaxExtension:           max(time.Hour, c.Ingest.HoldFor+c.Ingest.FlushAge+10*time.Minute), // outlasts whatever holds it
	}
	if c.Broker.Receive == config.ReceiveStream {
		// The budget stops intake, not the service: at its limit nothing would be sealed but by age.
		settings.MaxOutstandingMessages = int(max(budget/batching.MessageCost, 10_000))
		settings.MaxOutstandingBytes = int(max(4*budget, 64<<20))
		return b.client.Stream(name, settings), nil
	}
	return b.client.Subscription(name, settings), nil
}

func (b *broker) ensure(ctx context.Context, create bool, def *schema.Definition, topic, subscription string) error {
	if !create {
		return b.client.CheckSubscription(ctx, subscription, topic)
	}
	return b.ensureSource(ctx, def, topic, subscription)
}

// A PublisherConfig says where to publish.
type PublisherConfig struct {
	Project  string
	Endpoint string // host:port of an emulator; empty: PUBSUB_EMULATOR_HOST, else Google Cloud
	Account  string // service account to act as; none: the ambient one
	Create   bool   // create the topics of the data types, and their subscriptions, where they are missing

	// Registry is the data types that Create is about; nil: those of the program.
	Registry *schema.Registry
	Topics   []string // further topics that Create is about; their subscriptions are called <topic>-ingest
}

// A Publisher publishes to several topics, with many messages in flight.
type Publisher struct {
	broker *broker
	topics map[string]*gcp.Topic

	outcomes conc.WaitGroup
	mu       sync.Mutex // of all but outcomes
	sent     int
	failed   []error
}

// NewPublisher connects to the broker.
func NewPublisher(ctx context.Context, c PublisherConfig) (*Publisher, error) {
	b, err := dial(ctx, IngestConfig{Project: c.Project, Endpoint: c.Endpoint}, c.Account)
	if err != nil {
		return nil, err
	}
	p := &Publisher{broker: b, topics: map[string]*gcp.Topic{}}
	if c.Create {
		if err := p.create(ctx, c); err != nil {
			return nil, errors.Join(err, b.close())
		}
	}
	return p, nil
}

func (p *Publisher) create(ctx context.Context, c PublisherConfig) error {
	registry := c.Registry
	if registry == nil {
		var err error
		if registry, err = schema.Builtin(); err != nil {
			return err
		}
	}
	for _, dataType := range registry.Types() {
		def, _ := registry.Latest(dataType)
		if err := p.broker.ensureSource(ctx, def, def.Topic, def.Topic+"-ingest"); err != nil {
			return err
		}
	}
	for _, topic := range c.Topics {
		def, _ := registry.ForTopic(topic)
		if err := p.broker.ensureSource(ctx, def, topic, topic+"-ingest"); err != nil {
			return err
		}
	}
	return nil
}

// topic is the publisher of one topic, made when it is first asked for.
func (p *Publisher) topic(name string) *gcp.Topic {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.topics[name]
	if t == nil {
		t = p.broker.client.Topic(name, gcp.TopicSettings{})
		p.topics[name], p.broker.topics = t, append(p.broker.topics, t)
	}
	return t
}

// Send publishes m and returns nil when the broker has it; after an error the
// broker may have it all the same. Several goroutines may send at once.
func (p *Publisher) Send(ctx context.Context, topic string, m *schema.Message) error {
	if err := p.topic(topic).Publish(ctx, m); err != nil {
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent++
	return nil
}

// Publish hands m to the broker's client and returns; Close tells how it went.
// m must not change until then. It is for one goroutine.
func (p *Publisher) Publish(ctx context.Context, topic string, m *schema.Message) error {
	if err := p.firstFailure(); err != nil {
		return err
	}
	publication := p.topic(topic).Start(ctx, m)
	p.outcomes.Go(func() {
		_, err := publication.ID(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			p.failed = append(p.failed, fmt.Errorf("topic %s: %w", topic, err))
			return
		}
		p.sent++
	})
	return nil
}

func (p *Publisher) firstFailure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.failed) == 0 {
		return nil
	}
	return p.failed[0]
}

// Close waits for every outcome and says how many messages the broker has.
func (p *Publisher) Close() (sent int, err error) {
	for _, t := range p.topics {
		t.Flush()
	}
	p.outcomes.Wait()
	err = p.firstFailure()
	if n := len(p.failed); n > 1 {
		err = fmt.Errorf("%w (and %d messages more)", err, n-1)
	}
	return p.sent, errors.Join(err, p.broker.close())
}
