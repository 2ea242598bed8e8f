package embedded

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// deletedTopic stands in a subscription for its topic that was deleted.
const deletedTopic = "_deleted-topic_"

// checkName checks the full name of a topic, subscription, snapshot or schema.
func checkName(name, collection string) error {
	project, id, ok := splitName(name, collection)
	if !ok {
		return invalid("Invalid resource name given (name=%s): it has the form projects/{project}/%s/{id}.", name, collection)
	}
	if project == "" || len(id) < 3 || len(id) > 255 || strings.HasPrefix(id, "goog") || !letter(id[0]) {
		return invalid("Invalid resource name given (name=%s): the id has 3 to 255 characters, begins with a letter and not with goog.", name)
	}
	for i := range len(id) {
		if c := id[i]; !letter(c) && (c < '0' || c > '9') && strings.IndexByte("-_.~+%", c) < 0 {
			return invalid("Invalid resource name given (name=%s): the id holds letters, digits and - _ . ~ + %% only.", name)
		}
	}
	return nil
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func splitName(name, collection string) (project, id string, ok bool) {
	rest, ok := strings.CutPrefix(name, "projects/")
	if !ok {
		return "", "", false
	}
	project, rest, _ = strings.Cut(rest, "/")
	id, ok = strings.CutPrefix(rest, collection+"/")
	return project, id, ok && !strings.Contains(id, "/")
}

// Limits of Pub/Sub's quotas page; a megabyte there is a million bytes, but the
// size of a request is counted in mebibytes.
const (
	maxMessages       = 1000
	maxMessageBytes   = 10_000_000
	maxRequestBytes   = 10 << 20
	maxAttributes     = 100
	maxAttributeKey   = 256
	maxAttributeValue = 1024
	maxOrderingKey    = 1024
)

// checkMessage checks a message as it was sent and returns it without the fields
// that only the server may set.
func checkMessage(sent []byte) (message, key []byte, err error) {
	attributes, payload, foreign := 0, 0, false
	ok := fields(sent, func(num protowire.Number, typ protowire.Type, b []byte, _ uint64, _ []byte) bool {
		if typ != protowire.BytesType {
			return true
		}
		switch num {
		case dataField:
			payload = len(b)
		case attributesField:
			attributes++
			err = checkAttribute(b)
		case idField, timeField:
			foreign = true
		case keyField:
			key = b
		}
		return err == nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case !ok:
		return nil, nil, invalid("A message of the request is not a PubsubMessage.")
	case payload > maxMessageBytes || len(sent) > maxRequestBytes:
		return nil, nil, invalid("The value for message_size is too large. You passed %d in the request, but the maximum value is %d.", len(sent), maxMessageBytes)
	case payload == 0 && attributes == 0:
		return nil, nil, invalid("One or more messages in the publish request is empty. Each message must contain either non-empty data, or at least one attribute.")
	case attributes > maxAttributes:
		return nil, nil, invalid("The value for attributes count is too large. You passed %d in the request, but the maximum value is %d.", attributes, maxAttributes)
	case len(key) > maxOrderingKey:
		return nil, nil, invalid("The value for ordering_key is too large. You passed %d bytes in the request, but the maximum value is %d.", len(key), maxOrderingKey)
	case !utf8.Valid(key):
		return nil, nil, invalid("The ordering_key of a message is not UTF-8.")
	}
	if foreign {
		sent = without(sent, idField, timeField)
	}
	return sent, key, nil
}

func checkAttribute(b []byte) error {
	key, value, ok := entry(b)
	switch {
	case !ok || !utf8.Valid(key) || !utf8.Valid(value):
		return invalid("An attribute of a message is not UTF-8.")
	case len(key) == 0:
		return invalid("An attribute of a message has an empty key.")
	case len(key) > maxAttributeKey:
		return invalid("The value for attribute key is too large. You passed %d bytes in the request, but the maximum value is %d.", len(key), maxAttributeKey)
	case len(value) > maxAttributeValue:
		return invalid("The value for attribute value is too large. You passed %d bytes in the request, but the maximum value is %d.", len(value), maxAttributeValue)
	case strings.HasPrefix(string(key), "goog") && !strings.HasPrefix(string(key), "googclient_"):
		return invalid("The attribute key %q begins with goog, which is reserved.", key)
	}
	return nil
}

// without copies a message, leaving out fields.
func without(message []byte, out ...protowire.Number) []byte {
	kept := make([]byte, 0, len(message))
	fields(message, func(num protowire.Number, _ protowire.Type, _ []byte, _ uint64, raw []byte) bool {
		for _, o := range out {
			if num == o {
				return true
			}
		}
		kept = append(kept, raw...)
		return true
	})
	return kept
}
