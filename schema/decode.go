package schema

type Decoder struct{}

func (d *Definition) NewDecoder(level Level) *Decoder                { panic("not yet") }
func (d *Decoder) Decode(m *Message, rows *Columns) []Rejection      { panic("not yet") }
func (d *Decoder) Coercions(yield func(field, kind string, n int64)) { panic("not yet") }
