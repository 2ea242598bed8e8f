package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var seeking = []Check{
	{"Seek and snapshots", "a seek back brings retained messages again", checkSeekBack},
	{"Seek and snapshots", "a seek back brings nothing that was not retained", checkSeekUnretained},
	{"Seek and snapshots", "a seek to the future purges", checkPurge},
	{"Seek and snapshots", "a topic's retention serves a subscription made later", checkTopicRetention},
	{"Seek and snapshots", "a seek to a snapshot restores what was unacknowledged then", checkSnapshot},
	{"Seek and snapshots", "snapshots are listed, and deleted", checkSnapshotList},
}

var schemas = []Check{
	{"Schemas", "create, get, list, commit, by revision", checkSchemas},
	{"Schemas", "what is not Avro is refused", checkBadSchemas},
	{"Schemas", "a revision that readers could not read is refused", checkIncompatible},
	{"Schemas", "messages are checked on publish and carry the revision", checkValidated},
}

func (e *Env) seekTime(ctx context.Context, sub string, t time.Time) error {
	_, err := e.Subscriber.Seek(ctx, &pb.SeekRequest{Subscription: sub, Target: &pb.SeekRequest_Time{Time: timestamppb.New(t)}})
	return err
}

func (e *Env) pullAndAck(ctx context.Context, sub string, n int) ([]*pb.ReceivedMessage, error) {
	messages, err := e.pull(ctx, sub, n)
	if err != nil {
		return nil, err
	}
	return messages, e.ack(ctx, sub, messages...)
}

func checkSeekBack(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, &pb.Subscription{RetainAckedMessages: true})
	if err != nil {
		return err
	}
	start := time.Now()
	if err := e.publishTexts(ctx, topic, "a", "b"); err != nil {
		return err
	}
	if _, err := e.pullAndAck(ctx, sub, 2); err != nil {
		return err
	}
	if err := e.seekTime(ctx, sub, start.Add(-time.Minute)); err != nil {
		return err
	}
	again, err := e.pullAndAck(ctx, sub, 2)
	return errors.Join(err, sameSet(again, "a b"), e.none(ctx, sub, 300*time.Millisecond))
}

func checkSeekUnretained(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := e.publishTexts(ctx, topic, "a", "b"); err != nil {
		return err
	}
	messages, err := e.pull(ctx, sub, 2)
	if err != nil {
		return err
	}
	if err := e.ack(ctx, sub, messages[1]); err != nil {
		return err
	}
	if err := e.seekTime(ctx, sub, start.Add(-time.Minute)); err != nil {
		return err
	}
	again, err := e.pull(ctx, sub, 1)
	return errors.Join(err, sameTexts(again, texts(messages[:1])...), e.none(ctx, sub, 500*time.Millisecond))
}

func checkPurge(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a", "b"); err != nil {
		return err
	}
	if _, err := e.pull(ctx, sub, 1); err != nil {
		return err
	}
	if err := e.seekTime(ctx, sub, time.Now().Add(time.Hour)); err != nil {
		return err
	}
	return e.none(ctx, sub, 500*time.Millisecond)
}

func checkTopicRetention(ctx context.Context, e *Env) error {
	topic, err := e.Publisher.CreateTopic(ctx, &pb.Topic{Name: e.topicName("topic"), MessageRetentionDuration: durationpb.New(time.Hour)})
	if err != nil {
		return err
	}
	start := time.Now()
	if err := e.publishTexts(ctx, topic.Name, "before"); err != nil {
		return err
	}
	sub, err := e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName("subscription"), Topic: topic.Name})
	if err != nil {
		return err
	}
	if err := e.seekTime(ctx, sub.Name, start.Add(-time.Minute)); err != nil {
		return err
	}
	messages, err := e.pull(ctx, sub.Name, 1)
	return errors.Join(err, sameTexts(messages, "before"))
}

func checkSnapshot(ctx context.Context, e *Env) error {
	topic, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "a", "b", "c"); err != nil {
		return err
	}
	messages, err := e.pull(ctx, sub, 3)
	if err != nil {
		return err
	}
	if err := e.ack(ctx, sub, messages[1]); err != nil {
		return err
	}
	snap, err := e.Subscriber.CreateSnapshot(ctx, &pb.CreateSnapshotRequest{Name: e.snapName("snapshot"), Subscription: sub})
	if err != nil {
		return err
	}
	if life := time.Until(snap.ExpireTime.AsTime()); life < 6*24*time.Hour || life > 8*24*time.Hour {
		return fmt.Errorf("the snapshot lives %v, want 7 days", life)
	}
	if err := e.ack(ctx, sub, messages[0], messages[2]); err != nil {
		return err
	}
	if err := e.publishTexts(ctx, topic, "d"); err != nil {
		return err
	}
	if _, err := e.pullAndAck(ctx, sub, 1); err != nil {
		return err
	}
	if _, err := e.Subscriber.Seek(ctx, &pb.SeekRequest{Subscription: sub, Target: &pb.SeekRequest_Snapshot{Snapshot: snap.Name}}); err != nil {
		return err
	}
	want := strings.Join([]string{string(messages[0].Message.Data), string(messages[2].Message.Data), "d"}, " ")
	again, err := e.pullAndAck(ctx, sub, 3)
	return errors.Join(err, sameSet(again, want), e.none(ctx, sub, 300*time.Millisecond))
}

func checkSnapshotList(ctx context.Context, e *Env) error {
	_, sub, err := e.pair(ctx, nil)
	if err != nil {
		return err
	}
	name := e.snapName("snapshot")
	if _, err := e.Subscriber.CreateSnapshot(ctx, &pb.CreateSnapshotRequest{Name: name, Subscription: sub}); err != nil {
		return err
	}
	_, err = e.Subscriber.CreateSnapshot(ctx, &pb.CreateSnapshotRequest{Name: name, Subscription: sub})
	if err := code(err, codes.AlreadyExists); err != nil {
		return err
	}
	out, err := e.Subscriber.ListSnapshots(ctx, &pb.ListSnapshotsRequest{Project: e.Project})
	if err != nil {
		return err
	}
	if err := same("snapshots", len(out.Snapshots), 1); err != nil {
		return err
	}
	if _, err := e.Subscriber.DeleteSnapshot(ctx, &pb.DeleteSnapshotRequest{Snapshot: name}); err != nil {
		return err
	}
	_, err = e.Subscriber.GetSnapshot(ctx, &pb.GetSnapshotRequest{Snapshot: name})
	return code(err, codes.NotFound)
}

const (
	avroV1 = `{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}`
	avroV2 = `{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":"string","default":""}]}`
	avroV3 = `{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}`
)

func avroSchema(definition string) *pb.Schema {
	return &pb.Schema{Type: pb.Schema_AVRO, Definition: definition}
}

func (e *Env) schema(ctx context.Context) (*pb.Schema, error) {
	return e.Schemas.CreateSchema(ctx, &pb.CreateSchemaRequest{Parent: e.Project, SchemaId: "schema", Schema: avroSchema(avroV1)})
}

func checkSchemas(ctx context.Context, e *Env) error {
	first, err := e.schema(ctx)
	if err != nil {
		return err
	}
	v2 := avroSchema(avroV2)
	v2.Name = first.Name
	second, err := e.Schemas.CommitSchema(ctx, &pb.CommitSchemaRequest{Name: first.Name, Schema: v2})
	if err != nil {
		return err
	}
	latest, err := e.Schemas.GetSchema(ctx, &pb.GetSchemaRequest{Name: first.Name, View: pb.SchemaView_FULL})
	if err != nil {
		return err
	}
	pinned, err := e.Schemas.GetSchema(ctx, &pb.GetSchemaRequest{Name: first.Name + "@" + first.RevisionId, View: pb.SchemaView_FULL})
	if err != nil {
		return err
	}
	revisions, err := e.Schemas.ListSchemaRevisions(ctx, &pb.ListSchemaRevisionsRequest{Name: first.Name})
	if err != nil {
		return err
	}
	list, err := e.Schemas.ListSchemas(ctx, &pb.ListSchemasRequest{Parent: e.Project})
	if err != nil {
		return err
	}
	_, twice := e.schema(ctx)
	return errors.Join(
		same("revision ids differ", first.RevisionId != second.RevisionId && first.RevisionId != "", true),
		same("the latest definition", latest.Definition, avroV2),
		same("the first definition", pinned.Definition, avroV1),
		same("revisions", len(revisions.GetSchemas()), 2),
		same("schemas", len(list.GetSchemas()), 1),
		code(twice, codes.AlreadyExists),
	)
}

func checkBadSchemas(ctx context.Context, e *Env) error {
	errs := map[string]error{}
	_, errs["create"] = e.Schemas.CreateSchema(ctx, &pb.CreateSchemaRequest{Parent: e.Project, SchemaId: "schema", Schema: avroSchema(`{"type":"nothing"}`)})
	_, errs["validate"] = e.Schemas.ValidateSchema(ctx, &pb.ValidateSchemaRequest{Parent: e.Project, Schema: avroSchema(`{`)})
	if _, err := e.Schemas.ValidateSchema(ctx, &pb.ValidateSchemaRequest{Parent: e.Project, Schema: avroSchema(avroV1)}); err != nil {
		return fmt.Errorf("a good one: %w", err)
	}
	return refused(codes.InvalidArgument, errs)
}

func checkIncompatible(ctx context.Context, e *Env) error {
	first, err := e.schema(ctx)
	if err != nil {
		return err
	}
	v3 := avroSchema(avroV3)
	v3.Name = first.Name
	_, err = e.Schemas.CommitSchema(ctx, &pb.CommitSchemaRequest{Name: first.Name, Schema: v3})
	return code(err, codes.InvalidArgument)
}

func checkValidated(ctx context.Context, e *Env) error {
	schema, err := e.schema(ctx)
	if err != nil {
		return err
	}
	topic, err := e.Publisher.CreateTopic(ctx, &pb.Topic{Name: e.topicName("topic"),
		SchemaSettings: &pb.SchemaSettings{Schema: schema.Name, Encoding: pb.Encoding_JSON}})
	if err != nil {
		return err
	}
	sub, err := e.Subscriber.CreateSubscription(ctx, &pb.Subscription{Name: e.subName("subscription"), Topic: topic.Name})
	if err != nil {
		return err
	}
	_, err = e.publish(ctx, topic.Name, text(`{"a":"x"}`))
	if err := code(err, codes.InvalidArgument); err != nil {
		return fmt.Errorf("a bad message: %w", err)
	}
	if err := e.publishTexts(ctx, topic.Name, `{"a":1}`); err != nil {
		return fmt.Errorf("a good message: %w", err)
	}
	messages, err := e.pull(ctx, sub.Name, 1)
	if err != nil {
		return err
	}
	got := messages[0].Message.Attributes
	return errors.Join(
		same("googclient_schemaencoding", got["googclient_schemaencoding"], "JSON"),
		same("googclient_schemaname", got["googclient_schemaname"], schema.Name),
		same("googclient_schemarevisionid", got["googclient_schemarevisionid"], schema.RevisionId))
}
