package objstore

// Dir is a Store in a local directory.
type Dir struct{ *Mem }

// OpenDir opens (and makes, where missing) the directory root as a store.
func OpenDir(root string) (*Dir, error) { panic("not yet") }
