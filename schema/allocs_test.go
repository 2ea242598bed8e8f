package schema

import "testing"

// No row allocates, once buffers and dictionaries have grown.
func TestDecodeAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		name     string
		dataType string
		messages [][]byte
	}{
		{"market records", "market_data", payloads(marketRecord, 100, 1, false)},
		{"market lines", "market_data", payloads(marketRecord, 2, 100, false)},
		{"market array", "market_data", payloads(marketRecord, 2, 100, true)},
		{"option records", "options_data", payloads(optionRecord, 100, 1, false)},
		{"coercions", "market_data", [][]byte{
			[]byte(record("market_data", `price="4.420000076293945"`, `volume="10.0"`, `timestamp="2024-01-15 14:30:52"`, `change=NaN`, `bid="inf"`)),
			[]byte(record("market_data", `timestamp=1705329052.5`, `beta=1.2345678901234567890123`, `x={"a":[1,{"b":"\u00e9"}]}`, `symbol="\u00e9"`)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			def := definition(t, tt.dataType)
			dec, rows := def.NewDecoder(Standard), NewColumns(def)
			m := message("")
			m.Attributes = map[string]string{"source": "x", "event_id": "e", "schema_version": "v1.1.0", "content_type": "application/json", "message_type": "x"}
			all := func() {
				rows.Reset()
				for _, p := range tt.messages {
					m.Data = p
					if rejected := dec.Decode(m, rows); len(rejected) > 0 {
						t.Fatal(rejected[0].Explanation)
					}
				}
			}
			all()
			if got := testing.AllocsPerRun(20, all); got != 0 {
				t.Errorf("%v allocations for %d rows", got, rows.Len())
			}
		})
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	def := definition(t, "market_data")
	dec, src, dst := def.NewDecoder(Standard), NewColumns(def), NewColumns(def)
	m := message("")
	for _, p := range payloads(marketRecord, 100, 1, false) {
		m.Data = p
		dec.Decode(m, src)
	}
	all := func() {
		dst.Reset()
		dst.Append(src, 0, 50)
		for row := 50; row < src.Len(); row++ {
			dst.Append(src, row, row+1)
		}
	}
	all()
	if got := testing.AllocsPerRun(20, all); got != 0 {
		t.Errorf("%v allocations for %d rows", got, dst.Len())
	}
}
