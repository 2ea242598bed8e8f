package objstore

// SetPageSize makes listings of d read directories in small pages.
func SetPageSize(d *Dir, n int) { d.pageSize = n }
