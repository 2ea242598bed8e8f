package embedded

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// applyMask copies the fields that paths name from one message to another of its
// type. A field that is not set in from is cleared.
func applyMask(to, from proto.Message, paths, mutable []string) error {
	if len(paths) == 0 {
		return invalid("The update_mask in the request is empty: it names the fields to change.")
	}
	for _, path := range paths {
		first, _, _ := strings.Cut(path, ".")
		if !slices.Contains(mutable, first) {
			return invalid("Invalid update_mask provided in the request: %q is not a known or mutable field path.", path)
		}
		if !copyPath(to.ProtoReflect(), from.ProtoReflect(), strings.Split(path, ".")) {
			return invalid("Invalid update_mask provided in the request: %q is not a known field path.", path)
		}
	}
	return nil
}

func copyPath(to, from protoreflect.Message, path []string) bool {
	field := to.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if field == nil {
		return false
	}
	if len(path) == 1 {
		if from.Has(field) {
			to.Set(field, from.Get(field))
		} else {
			to.Clear(field)
		}
		return true
	}
	if field.Kind() != protoreflect.MessageKind || field.IsList() || field.IsMap() {
		return false
	}
	if !from.Has(field) && !to.Has(field) {
		return true
	}
	return copyPath(to.Mutable(field).Message(), from.Get(field).Message(), path[1:])
}
