package embedded

import (
	"slices"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// checkSchemaSettings checks what a topic says of its schema.
func (s *Server) checkSchemaSettings(in *pb.SchemaSettings) error {
	if in == nil || in.Schema == deletedSchema {
		return nil
	}
	h, err := s.schema(in.Schema)
	if err != nil {
		return err
	}
	if in.Encoding != pb.Encoding_JSON && in.Encoding != pb.Encoding_BINARY {
		return invalid("Invalid schema_settings given: the encoding is JSON or BINARY.")
	}
	for _, id := range []string{in.FirstRevisionId, in.LastRevisionId} {
		if _, ok := h.find(id); id != "" && !ok {
			return notFound(in.Schema + "@" + id)
		}
	}
	return nil
}

// validator returns what checks the messages of a topic with a schema, newest
// revision first, and notes in each which one it met; nil for other topics.
func (s *Server) validator(t *pb.Topic) func(message []byte) ([]byte, error) {
	settings := t.GetSchemaSettings()
	if settings == nil {
		return nil
	}
	h, err := s.schema(settings.Schema)
	if err != nil {
		return func([]byte) ([]byte, error) {
			return nil, precondition("The schema of the topic was deleted (resource=%s).", t.Name)
		}
	}
	revisions := allowed(h.revisions, settings.FirstRevisionId, settings.LastRevisionId)
	return func(message []byte) ([]byte, error) {
		data := payload(message)
		var why error
		for _, r := range slices.Backward(revisions) {
			err := conforms(r.avro, settings.Encoding, data)
			if err == nil {
				return noteSchema(message, settings, r), nil
			}
			if why == nil {
				why = err
			}
		}
		return nil, invalid("Message failed schema validation: %v.", why)
	}
}

// allowed cuts revisions to those from first to last; empty is no bound.
func allowed(all []revision, first, last string) []revision {
	is := func(id string) func(revision) bool {
		return func(r revision) bool { return r.pb.RevisionId == id }
	}
	if i := slices.IndexFunc(all, is(last)); i >= 0 {
		all = all[:i+1]
	}
	if i := slices.IndexFunc(all, is(first)); i >= 0 {
		all = all[i:]
	}
	return all
}

func noteSchema(message []byte, settings *pb.SchemaSettings, r revision) []byte {
	message = slices.Clone(message)
	message = appendAttribute(message, "googclient_schemaencoding", settings.Encoding.String())
	message = appendAttribute(message, "googclient_schemaname", settings.Schema)
	return appendAttribute(message, "googclient_schemarevisionid", r.pb.RevisionId)
}

// payload is the data of a message.
func payload(message []byte) (data []byte) {
	fields(message, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64, _ []byte) bool {
		if num == dataField && typ == protowire.BytesType {
			data = b
		}
		return true
	})
	return data
}
