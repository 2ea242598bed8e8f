package ingest

import (
	"errors"
	"strings"
	"testing"

	"cloud.google.com/go/pubsub/v2"
	apiv1 "cloud.google.com/go/pubsub/v2/apiv1"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/twmb/avro"

	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/query"
)

// A topic whose schema is not the definition's, in each of Avro's encodings: its
// messages become rows by the revision that they name.
func TestTopicsWithASchema(t *testing.T) {
	const avsc = `{"type":"record","name":"Quote","fields":[{"name":"symbol","type":"string"},{"name":"source","type":"string"},
		{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},{"name":"change","type":["null","double"]},
		{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]}`
	const record = `{"symbol":"A","source":"t","price":"\u0000\u0096","change":{"double":1.0},"timestamp":1705329052000}`
	for _, encoding := range []pubsubpb.Encoding{pubsubpb.Encoding_JSON, pubsubpb.Encoding_BINARY} {
		t.Run(encoding.String(), func(t *testing.T) {
			lake, server := world(t)
			t.Setenv("PUBSUB_EMULATOR_HOST", server.Addr())
			schemas, err := apiv1.NewSchemaClient(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer schemas.Close()
			s, err := schemas.CreateSchema(t.Context(), &pubsubpb.CreateSchemaRequest{Parent: "projects/test", SchemaId: "quote", Schema: &pubsubpb.Schema{Type: pubsubpb.Schema_AVRO, Definition: avsc}})
			if err != nil {
				t.Fatal(err)
			}
			client, err := pubsub.NewClient(t.Context(), "test")
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/test/topics/market-data", SchemaSettings: &pubsubpb.SchemaSettings{Schema: s.Name, Encoding: encoding}}); err != nil {
				t.Fatal(err)
			}
			data := []byte(record)
			if encoding == pubsubpb.Encoding_BINARY {
				writer := avro.MustParse(avsc)
				var v any
				if err := errors.Join(writer.DecodeJSON(data, &v)); err != nil {
					t.Fatal(err)
				}
				if data, err = writer.Encode(v); err != nil {
					t.Fatal(err)
				}
			}
			deliver(t, lake, settings(server), post{"market-data", string(data), map[string]string{"event_id": "1"}})
			if got := symbolsOf(t, lake, query.DataQuery{DataType: "market_data", Where: "price = 1.5 and change = 1"}); len(got) != 1 || got[0] != "A" {
				t.Errorf("rows of symbols %q; letters %+v", got, collect(t, lake, LetterFilter{}))
			}
		})
	}
}

// A revision is asked for once, also where it is deleted meanwhile; one that is
// not there, or has no name of Pub/Sub's, is an error.
func TestRevisionsAreAskedForOnce(t *testing.T) {
	_, server := world(t)
	t.Setenv("PUBSUB_EMULATOR_HOST", server.Addr())
	schemas, err := apiv1.NewSchemaClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer schemas.Close()
	s, err := schemas.CreateSchema(t.Context(), &pubsubpb.CreateSchemaRequest{Parent: "projects/test", SchemaId: "quote", Schema: &pubsubpb.Schema{Type: pubsubpb.Schema_AVRO, Definition: `"string"`}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := openPubSub(t.Context(), "test", server.Addr(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r, err := client.Revisions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 2 {
		if got, err := r.Revision(s.Name, s.RevisionId); got != `"string"` || err != nil {
			t.Fatalf("question %d: %q, %v", i, got, err)
		}
		_ = schemas.DeleteSchema(t.Context(), &pubsubpb.DeleteSchemaRequest{Name: s.Name})
	}
	if _, err := r.Revision(s.Name, "00000000"); !errors.Is(err, gcp.ErrNotFound) {
		t.Errorf("an unknown revision: %v", err)
	}
	if _, err := r.Revision("../x", "1"); err == nil || !strings.Contains(err.Error(), "not a name") {
		t.Errorf("no name at all: %v", err)
	}
}
