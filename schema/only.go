package schema

// only takes a payload for the text of one record, whatever it looks like: a list
// in it, or a second line, was no record of the message that it came out of.
func (d *Decoder) only(p int) {
	all := d.data
	p = skipSpace(all, p, documentSpace)
	switch {
	case p == len(all):
		d.fail(EmptyPayload, -1, p, "")
	case all[p] != '{':
		d.notAnObject(p)
	default:
		end := d.record(p, 0)
		if end < 0 {
			break
		}
		if end = skipSpace(all, end, documentSpace); end == len(all) {
			d.settle(true, 0, 0, len(all))
			return
		}
		d.fail(TrailingData, -1, end, "")
	}
	d.reject(0, 0, len(all))
}
