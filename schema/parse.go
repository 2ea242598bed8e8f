package schema

// Parse reads a definition.
func Parse(avsc []byte) (*Definition, error) { panic("not yet") }
