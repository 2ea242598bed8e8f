package embedded

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"github.com/twmb/avro"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// A schemaHistory is the revisions of a schema, oldest first; there is at least
// one.
type schemaHistory struct {
	revisions []revision // replaced, never changed
}

type revision struct {
	pb   *pb.Schema
	avro *avro.Schema
}

// Limits of a schema.
const (
	maxDefinition = 300 << 10
	deletedSchema = "_deleted-schema_"
)

func (h *schemaHistory) latest() revision { return h.revisions[len(h.revisions)-1] }

func (h *schemaHistory) find(id string) (revision, bool) {
	i := slices.IndexFunc(h.revisions, func(r revision) bool { return r.pb.RevisionId == id })
	if i < 0 {
		return revision{}, false
	}
	return h.revisions[i], true
}

// addRevision adds what was stored.
func (st *state) addRevision(m *pb.Schema) error {
	parsed, err := avro.Parse(m.Definition)
	if err != nil {
		return fmt.Errorf("schema %s: %w", m.Name, err)
	}
	r := revision{pb: m, avro: parsed}
	old := st.schemas[m.Name]
	if old == nil {
		old = &schemaHistory{}
	}
	st.schemas[m.Name] = &schemaHistory{revisions: append(slices.Clone(old.revisions), r)}
	return nil
}

// dropRevision drops a revision, or the whole schema if id is empty.
func (st *state) dropRevision(name, id string) {
	old := st.schemas[name]
	if old == nil || id == "" {
		delete(st.schemas, name)
		return
	}
	kept := slices.DeleteFunc(slices.Clone(old.revisions), func(r revision) bool { return r.pb.RevisionId == id })
	st.schemas[name] = &schemaHistory{revisions: kept}
}

func (s *Server) schema(name string) (*schemaHistory, error) {
	s.mu.RLock()
	h := s.state.schemas[name]
	s.mu.RUnlock()
	if h == nil {
		if err := checkName(name, "schemas"); err != nil {
			return nil, err
		}
		return nil, notFound(name)
	}
	return h, nil
}

// parseDefinition checks a schema's type and definition.
func parseDefinition(in *pb.Schema) (*avro.Schema, error) {
	switch {
	case in.GetType() == pb.Schema_PROTOCOL_BUFFER:
		return nil, unsupported("A schema of type PROTOCOL_BUFFER")
	case in.GetType() != pb.Schema_AVRO:
		return nil, invalid("Invalid schema given: it has a type, AVRO.")
	case in.Definition == "":
		return nil, invalid("Invalid schema given: it has a definition.")
	case len(in.Definition) > maxDefinition:
		return nil, invalid("The value for schema definition is too large. You passed %d bytes in the request, but the maximum value is %d.", len(in.Definition), maxDefinition)
	}
	parsed, err := avro.Parse(in.Definition)
	if err != nil {
		return nil, invalid("Invalid schema given: the definition is not Avro: %v.", err)
	}
	return parsed, nil
}

// CreateSchema stores the first revision of a schema.
func (s *Server) CreateSchema(_ context.Context, in *pb.CreateSchemaRequest) (*pb.Schema, error) {
	name := in.Parent + "/schemas/" + in.SchemaId
	if err := checkName(name, "schemas"); err != nil {
		return nil, err
	}
	if _, err := parseDefinition(in.Schema); err != nil {
		return nil, err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, err := s.schema(name); err == nil {
		return nil, alreadyExists(name)
	}
	return s.putRevision(name, in.Schema.Definition, nil)
}

func (s *Server) putRevision(name, definition string, h *schemaHistory) (*pb.Schema, error) {
	m := &pb.Schema{
		Name: name, Type: pb.Schema_AVRO, Definition: definition,
		RevisionId: fmt.Sprintf("%08x", s.random.Uint32()), RevisionCreateTime: timestamppb.New(s.now()),
	}
	for h != nil {
		if _, taken := h.find(m.RevisionId); !taken {
			break
		}
		m.RevisionId = fmt.Sprintf("%08x", s.random.Uint32())
	}
	err := s.change(kindSchema, func(b []byte) []byte { return putProto(b, m) }, func(st *state) {
		_ = st.addRevision(m) // it was parsed before
	})
	return answer(m, err)
}

// CommitSchema adds a revision that is compatible with the latest, both ways.
func (s *Server) CommitSchema(_ context.Context, in *pb.CommitSchemaRequest) (*pb.Schema, error) {
	parsed, err := parseDefinition(in.Schema)
	if err != nil {
		return nil, err
	}
	s.admin.Lock()
	defer s.admin.Unlock()
	h, err := s.schema(in.Name)
	if err != nil {
		return nil, err
	}
	last := h.latest()
	if last.pb.Definition == in.Schema.Definition {
		return nil, alreadyExists(in.Name + "@" + last.pb.RevisionId)
	}
	for _, pair := range [][2]*avro.Schema{{last.avro, parsed}, {parsed, last.avro}} {
		if err := avro.CheckCompatibility(pair[0], pair[1]); err != nil {
			return nil, invalid("The revision is not compatible with revision %s: %v.", last.pb.RevisionId, err)
		}
	}
	return s.putRevision(in.Name, in.Schema.Definition, h)
}

// RollbackSchema makes a new revision of an old one.
func (s *Server) RollbackSchema(_ context.Context, in *pb.RollbackSchemaRequest) (*pb.Schema, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	h, err := s.schema(in.Name)
	if err != nil {
		return nil, err
	}
	old, ok := h.find(in.RevisionId)
	if !ok {
		return nil, notFound(in.Name + "@" + in.RevisionId)
	}
	return s.putRevision(in.Name, old.pb.Definition, h)
}

// DeleteSchemaRevision deletes one revision, but not the last there is.
func (s *Server) DeleteSchemaRevision(_ context.Context, in *pb.DeleteSchemaRevisionRequest) (*pb.Schema, error) {
	name, id, _ := strings.Cut(in.Name, "@")
	s.admin.Lock()
	defer s.admin.Unlock()
	h, err := s.schema(name)
	if err != nil {
		return nil, err
	}
	if _, ok := h.find(id); !ok {
		return nil, notFound(in.Name)
	}
	if len(h.revisions) == 1 {
		return nil, precondition("The only revision of a schema cannot be deleted: delete the schema (resource=%s).", name)
	}
	if err := s.dropSchema(name, id); err != nil {
		return nil, err
	}
	if h, err = s.schema(name); err != nil {
		return nil, err
	}
	return answer(h.latest().pb, nil)
}

// DeleteSchema deletes a schema with its revisions. Topics that use it are left
// with _deleted-schema_, and refuse messages.
func (s *Server) DeleteSchema(_ context.Context, in *pb.DeleteSchemaRequest) (*emptypb.Empty, error) {
	s.admin.Lock()
	defer s.admin.Unlock()
	if _, err := s.schema(in.Name); err != nil {
		return nil, err
	}
	if err := s.dropSchema(in.Name, ""); err != nil {
		return nil, err
	}
	for _, t := range s.allTopics() {
		settings := t.settings()
		if settings.GetSchemaSettings().GetSchema() != in.Name || t.isDeleted() {
			continue
		}
		without := proto.CloneOf(settings)
		without.SchemaSettings.Schema = deletedSchema
		if err := s.putTopic(t, without); err != nil {
			return nil, err
		}
	}
	return &emptypb.Empty{}, nil
}

func (s *Server) dropSchema(name, id string) error {
	return s.change(kindSchemaGone, func(b []byte) []byte { return putString(putString(b, name), id) }, func(st *state) {
		st.dropRevision(name, id)
	})
}

// GetSchema returns the latest revision, or the one after an @.
func (s *Server) GetSchema(_ context.Context, in *pb.GetSchemaRequest) (*pb.Schema, error) {
	name, id, pinned := strings.Cut(in.Name, "@")
	h, err := s.schema(name)
	if err != nil {
		return nil, err
	}
	r := h.latest()
	if pinned {
		var ok bool
		if r, ok = h.find(id); !ok {
			return nil, notFound(in.Name)
		}
	}
	return view(r.pb, in.View != pb.SchemaView_BASIC), nil
}

// view copies a schema, with its definition if full.
func view(m *pb.Schema, full bool) *pb.Schema {
	m = proto.CloneOf(m)
	if !full {
		m.Definition = ""
	}
	return m
}

// ListSchemas lists the latest revisions of a project's schemas by name.
func (s *Server) ListSchemas(_ context.Context, in *pb.ListSchemasRequest) (*pb.ListSchemasResponse, error) {
	s.mu.RLock()
	names := inProject(s.state.schemas, in.Parent)
	s.mu.RUnlock()
	names, next, err := page(names, in.PageSize, in.PageToken)
	if err != nil {
		return nil, err
	}
	out := &pb.ListSchemasResponse{NextPageToken: next}
	for _, name := range names {
		if h, err := s.schema(name); err == nil {
			out.Schemas = append(out.Schemas, view(h.latest().pb, in.View == pb.SchemaView_FULL))
		}
	}
	return out, nil
}

// ListSchemaRevisions lists the revisions of a schema, the latest first.
func (s *Server) ListSchemaRevisions(_ context.Context, in *pb.ListSchemaRevisionsRequest) (*pb.ListSchemaRevisionsResponse, error) {
	h, err := s.schema(in.Name)
	if err != nil {
		return nil, err
	}
	keys := make([]string, len(h.revisions)) // that sort latest first
	for i, r := range h.revisions {
		keys[i] = fmt.Sprintf("%08d@%s", len(h.revisions)-i, r.pb.RevisionId)
	}
	keys, next, err := page(keys, in.PageSize, in.PageToken)
	if err != nil {
		return nil, err
	}
	out := &pb.ListSchemaRevisionsResponse{NextPageToken: next}
	for _, key := range keys {
		_, id, _ := strings.Cut(key, "@")
		if r, ok := h.find(id); ok {
			out.Schemas = append(out.Schemas, view(r.pb, in.View == pb.SchemaView_FULL))
		}
	}
	return out, nil
}

// ValidateSchema checks a definition.
func (s *Server) ValidateSchema(_ context.Context, in *pb.ValidateSchemaRequest) (*pb.ValidateSchemaResponse, error) {
	if _, err := parseDefinition(in.Schema); err != nil {
		return nil, err
	}
	return &pb.ValidateSchemaResponse{}, nil
}

// ValidateMessage checks a message against a schema, stored or given.
func (s *Server) ValidateMessage(_ context.Context, in *pb.ValidateMessageRequest) (*pb.ValidateMessageResponse, error) {
	var parsed *avro.Schema
	switch spec := in.SchemaSpec.(type) {
	case *pb.ValidateMessageRequest_Name:
		name, id, pinned := strings.Cut(spec.Name, "@")
		h, err := s.schema(name)
		if err != nil {
			return nil, err
		}
		r := h.latest()
		if pinned {
			var ok bool
			if r, ok = h.find(id); !ok {
				return nil, notFound(spec.Name)
			}
		}
		parsed = r.avro
	case *pb.ValidateMessageRequest_Schema:
		var err error
		if parsed, err = parseDefinition(spec.Schema); err != nil {
			return nil, err
		}
	default:
		return nil, invalid("A schema is given by name or as a definition.")
	}
	if err := conforms(parsed, in.Encoding, in.Message); err != nil {
		return nil, invalid("Message failed schema validation: %v.", err)
	}
	return &pb.ValidateMessageResponse{}, nil
}

func conforms(schema *avro.Schema, encoding pb.Encoding, message []byte) error {
	var v any
	switch encoding {
	case pb.Encoding_JSON:
		return schema.DecodeJSON(message, &v)
	case pb.Encoding_BINARY:
		rest, err := schema.Decode(message, &v)
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%d bytes are left over", len(rest))
		}
		return err
	}
	return fmt.Errorf("encoding %v: it is JSON or BINARY", encoding)
}
