package gcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// PubSubConfig says which project's Pub/Sub to use.
type PubSubConfig struct {
	Project     string        // required; any name will do for an emulator
	Impersonate string        // none: service account to act as (not against an emulator)
	Tracing     bool          // spans of the client, and trace context in attributes
	Answer      time.Duration // 5s: how long a check or creation waits for a host that does not answer
	Options     []option.ClientOption
}

// PubSub is a client of one project's topics and subscriptions.
type PubSub struct {
	client  *pubsub.Client
	project string
	answer  time.Duration
	options []option.ClientOption // of the client, for the service's other clients
}

// OpenPubSub makes a client. It sends nothing: CheckSubscription finds out
// whether anybody answers.
func OpenPubSub(ctx context.Context, cfg PubSubConfig) (*PubSub, error) {
	if cfg.Project == "" {
		return nil, errors.New("open Pub/Sub: no project: set GOOGLE_CLOUD_PROJECT or --project")
	}
	opts, err := actAs(ctx, cfg.Impersonate, "PUBSUB_EMULATOR_HOST", pubsub.ScopePubSub, pubsub.ScopeCloudPlatform)
	if err != nil {
		return nil, fmt.Errorf("open Pub/Sub of project %s: %w", cfg.Project, err)
	}
	opts = append(opts, cfg.Options...)
	client, err := pubsub.NewClientWithConfig(ctx, cfg.Project, &pubsub.ClientConfig{EnableOpenTelemetryTracing: cfg.Tracing}, opts...)
	if err != nil {
		return nil, fmt.Errorf("open Pub/Sub of project %s: %w", cfg.Project, err)
	}
	return &PubSub{client: client, project: cfg.Project, answer: cmp.Or(cfg.Answer, 5*time.Second), options: opts}, nil
}

// Close ends all connections. What is still held is delivered again.
func (p *PubSub) Close() error { return p.client.Close() }

// full is the name with its project: "projects/P/subscriptions/S". A name that
// has one already stays as it is.
func (p *PubSub) full(kind, name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return fmt.Sprintf("projects/%s/%s/%s", p.project, kind, name)
}

// explain says what went wrong with a thing ("subscription x") and what to do.
func explain(what, role string, err error) error {
	if err == nil {
		return nil
	}
	switch status.Code(err) {
	case codes.NotFound:
		return fmt.Errorf("%s: %w: create it (--create, or terraform), or name another: %w", what, ErrNotFound, err)
	case codes.PermissionDenied:
		return fmt.Errorf("%s: %w: grant %s on it to the account this runs as: %w", what, ErrDenied, role, err)
	case codes.Unauthenticated:
		return fmt.Errorf("%s: %w: no valid credentials: %w", what, ErrDenied, err)
	case codes.Unavailable, codes.DeadlineExceeded:
		return fmt.Errorf("%s: %w: nothing answers at %s: %w", what, ErrUnreachable, endpoint("PUBSUB_EMULATOR_HOST", "pubsub.googleapis.com"), err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
