package backfill

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

var errNoObject = errors.New("no object")

// members calls each for every member of the JSON object that text is: its name,
// and name and value as they are written.
func members(text []byte, each func(name string, key, value []byte)) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(text)) // a Buffer is read in place
	if d.PeekKind() != '{' {
		return errNoObject
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		key, err := d.ReadValue()
		if err != nil {
			return err
		}
		name, err := jsontext.AppendUnquote(nil, key)
		if err != nil {
			return err
		}
		key = slices.Clone(key) // the next read may move it
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		each(string(name), key, value)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errNoObject
	}
	return nil
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
