package schema

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Columns never grow by more than they say, nor are larger than they say.
func TestColumnsGrowByNoMoreThanTheySay(t *testing.T) {
	reg, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"market_data", "options_data", "forecasts"} {
		def, ok := reg.Latest(name)
		if !ok {
			t.Fatalf("no definition of %s", name)
		}
		for seed := range uint64(5) {
			draw := rand.New(rand.NewPCG(seed, 1))
			into := NewColumns(def)
			for n := range 200 {
				src := NewColumns(def)
				for range 1 + draw.IntN(60) {
					src.Begin()
					for i := range def.Fields {
						if draw.IntN(4) == 0 {
							continue
						}
						switch text := fmt.Sprintf("%0*d", draw.IntN(40), draw.IntN(1000)); def.Fields[i].Kind {
						case String:
							src.SetString(i, []byte(text))
						case Binary:
							src.SetBinary(i, []byte(text))
						case Int32, Date:
							src.SetInt32(i, 1)
						case Bool:
							src.SetBool(i, true)
						}
					}
					src.Commit()
				}
				from := draw.IntN(src.Len())
				to := from + 1 + draw.IntN(src.Len()-from)
				before, most := into.Bytes(), into.Growth(src, to-from)
				into.Append(src, from, to)
				if grown := into.Bytes() - before; grown > most {
					t.Fatalf("%s: %d rows more than %d grew by %d, said %d", name, to-from, into.Len(), grown, most)
				}
				if n%20 != 0 {
					continue
				}
				packed := into.AppendPacked(nil, 0, into.Len())
				fresh := NewColumns(def)
				fresh.Unpack(packed, into.Len())
				if most := ColumnsBytes(def, into.Len(), into.Len(), into.Text()); fresh.Bytes() > most {
					t.Fatalf("%s: %d rows take %d bytes, said %d", name, into.Len(), fresh.Bytes(), most)
				}
			}
		}
	}
}
