package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"github.com/google/uuid"

	"github.com/buffetbot/ingest/config"
	"github.com/buffetbot/ingest/deadletter"
	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/schema"
)

// A CheckConfig says whose needs Check looks at.
type CheckConfig struct {
	Config
	Project       string
	Endpoint      string        // host:port of an emulator; empty: PUBSUB_EMULATOR_HOST, else Google Cloud
	Broker        config.Broker // names of subscriptions and of the dead-letter topic
	Types         []string      // data types; none: all
	Subscriptions bool          // an ingestor is to receive
	Topics        bool          // somebody is to publish
	Write         bool          // create, read and remove an object in the temp bucket
}

// A Finding is what came of looking at one thing that a program needs.
type Finding struct {
	Subject string // "data bucket my-lake"
	Detail  string // what was seen
	Err     error  // what is wrong and what to do; nil: nothing
	Unknown bool   // it could not be found out; that need not be wrong
}

// checkTimeout bounds one try of a check: somebody waits for it.
const checkTimeout = 10 * time.Second

// Check looks whether what the settings name is there and can be reached: buckets,
// definitions, topics, subscriptions. Without Write it changes nothing, and a local
// directory that does not exist yet stays so.
func Check(ctx context.Context, c CheckConfig) []Finding {
	if c.Timeout <= 0 || c.Timeout > checkTimeout {
		c.Timeout = checkTimeout
	}
	registry, all := c.data(ctx)
	for _, s := range []struct{ use, setting string }{{"archive", c.Archive}, {"backup", c.Backup}, {"temp", c.Temp}} {
		if s.setting != "" {
			all = append(all, c.bucket(ctx, s.use, s.setting, nil))
		}
	}
	if c.Write {
		all = append(all, c.probe(ctx))
	}
	if c.Subscriptions || c.Topics {
		all = append(all, c.pubsub(ctx, registry)...)
	}
	return all
}

// data looks at the lake itself and gives the definitions that hold in it, or
// those of the program where they cannot be read.
func (c *CheckConfig) data(ctx context.Context) (*schema.Registry, []Finding) {
	registry, err := schema.Builtin()
	definitions := Finding{Subject: "definitions", Err: err}
	bucket := c.bucket(ctx, "data", c.Bucket, func(store objstore.Store) error {
		var texts []schema.Text
		if texts, definitions.Err = readDefinitions(ctx, store); definitions.Err != nil {
			return nil
		}
		r, err := schema.FromTexts(texts)
		if err != nil {
			definitions.Err = fmt.Errorf("%w (correct or remove the object)", err)
			return nil
		}
		registry = r
		definitions.Detail = fmt.Sprintf("%d data types, %d definitions of the lake's own", len(r.Types()), len(texts))
		return nil
	})
	if definitions.Detail == "" && definitions.Err == nil {
		definitions.Detail, definitions.Unknown = "those of the program; the lake's own were not read", bucket.Err != nil
	}
	return registry, []Finding{bucket, definitions}
}

// bucket lists one object of a bucket, and then does more with it.
func (c *CheckConfig) bucket(ctx context.Context, use, setting string, more func(objstore.Store) error) Finding {
	f := Finding{Subject: use + " bucket " + setting}
	dir, local, err := localDirectory(setting)
	if err != nil {
		f.Err = err
		return f
	}
	if local {
		info, err := os.Stat(dir)
		switch {
		case errors.Is(err, os.ErrNotExist):
			f.Detail = "the directory does not exist yet; it is made when it is first used"
			return f
		case err != nil:
			f.Err = err
			return f
		case !info.IsDir():
			f.Err = fmt.Errorf("%s is no directory: name another", dir)
			return f
		}
	}
	f.Err = c.withStore(ctx, setting, func(store objstore.Store) error {
		f.Detail = "can be listed; it is empty"
		for o, err := range store.List(ctx, "", "") {
			if err != nil {
				return fmt.Errorf("%w (check its name, credentials, and that the account may list it: roles/storage.objectViewer)", err)
			}
			f.Detail = "can be listed; its first object is " + o.Name
			break
		}
		if more == nil {
			return nil
		}
		return more(store)
	})
	return f
}

func (c *CheckConfig) withStore(ctx context.Context, setting string, use func(objstore.Store) error) error {
	cfg := c.Config
	cfg.Bucket = setting
	store, closeStore, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	err = use(objstore.Retry(store, objstore.RetryPolicy{Attempts: c.RetryAttempts, Timeout: c.Timeout}))
	return errors.Join(err, closeStore())
}

// probe creates an object in the temp bucket, reads it and removes it.
func (c *CheckConfig) probe(ctx context.Context) Finding {
	f := Finding{Subject: "write to the temp bucket", Detail: "an object was created, read and removed"}
	if c.Temp == "" {
		f.Detail, f.Unknown = "there is no temp bucket to write to: set --temp-bucket or GCS_TEMP_BUCKET", true
		return f
	}
	name, want := "config-check/"+uuid.NewString(), []byte("Written by buffetctl config check --write. It may be removed.\n")
	f.Err = c.withStore(ctx, c.Temp, func(store objstore.Store) error {
		if _, err := store.Create(ctx, name, want, nil); err != nil {
			return fmt.Errorf("%w (the account needs roles/storage.objectUser on it)", err)
		}
		got, err := store.Read(ctx, name, 0, -1)
		if err == nil && !bytes.Equal(got, want) {
			err = fmt.Errorf("%s: %d bytes were written, %d other ones read", name, len(want), len(got))
		}
		return errors.Join(err, store.Remove(ctx, name, objstore.Any))
	})
	return f
}

// pubsub looks at topics and subscriptions.
func (c *CheckConfig) pubsub(ctx context.Context, registry *schema.Registry) []Finding {
	if c.Project == "" {
		return []Finding{{Subject: "Pub/Sub", Detail: "no project is set, so it was not looked at", Unknown: true}}
	}
	client, err := openPubSub(ctx, c.Project, c.Endpoint, c.Account)
	if err != nil {
		return []Finding{{Subject: "Pub/Sub of project " + c.Project, Err: err}}
	}
	defer client.Close()
	types := c.Types
	if len(types) == 0 {
		types = registry.Types()
	}
	var all []Finding
	for _, dataType := range types {
		def, ok := registry.Latest(dataType)
		if !ok {
			all = append(all, Finding{Subject: "data type " + dataType, Err: errors.New("not in the registry: name another with --types, or add it with buffetctl schema evolve")})
			continue
		}
		for f := range c.source(ctx, client, def) {
			all = append(all, f)
			if errors.Is(f.Err, gcp.ErrUnreachable) {
				return all // the others are no more reachable
			}
		}
	}
	return all
}

// source looks at a data type's topic and subscription, as far as they are needed.
func (c *CheckConfig) source(ctx context.Context, client *gcp.PubSub, def *schema.Definition) iter.Seq[Finding] {
	topic, name := def.Topic, c.Broker.Subscription[def.Name]
	if def.Name == deadLetters && c.Broker.DeadLetterTopic != "" {
		topic = c.Broker.DeadLetterTopic
	}
	if name == "" {
		name = topic + "-ingest"
	}
	return func(yield func(Finding) bool) {
		if (c.Topics || def.Name == deadLetters) && !yield(checkTopic(ctx, client, topic)) {
			return
		}
		if c.Subscriptions && !yield(Finding{Subject: "subscription " + name, Detail: "of topic " + topic, Err: client.CheckSubscription(ctx, name, topic)}) {
			return
		}
		if c.Subscriptions && c.Broker.Replay && def.Name != deadLetters {
			name, topic := replaySubscription(def.Topic), def.Topic+deadletter.ReplaySuffix
			yield(Finding{Subject: "subscription " + name, Detail: "of topic " + topic, Err: client.CheckSubscription(ctx, name, topic)})
		}
	}
}

func checkTopic(ctx context.Context, client *gcp.PubSub, topic string) Finding {
	f := Finding{Subject: "topic " + topic, Detail: "exists", Err: client.CheckTopic(ctx, topic)}
	if errors.Is(f.Err, gcp.ErrDenied) { // who may publish need not be allowed to look
		f.Detail, f.Unknown, f.Err = "the account may not look at it (roles/pubsub.viewer); it may still publish there", true, nil
	}
	return f
}
