package schema

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// A record that makes the decoder panic is rejected alone, wherever it stands and
// however many others there are; the rows are those of the message without it.
func TestAPanicIsConfinedToItsRecord(t *testing.T) {
	reg, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	def, _ := reg.Latest("market_data")
	good := func(symbol string) string {
		return `{"symbol":"` + symbol + `","timestamp":"2024-01-15T14:30:00Z","price":1.5,"source":"x"}`
	}
	const trap = `{"symbol":"T","price":2,"trap":1,"timestamp":"2024-01-15T14:30:00Z","source":"x"}`
	for form, join := range map[string]func(...string) string{
		"lines": func(all ...string) string { return strings.Join(all, "\n") },
		"array": func(all ...string) string { return "[" + strings.Join(all, ",") + "]" },
	} {
		for at := range 4 {
			records := []string{good("A"), good("B"), good("C")}
			records = append(records[:at], append([]string{trap}, records[at:]...)...)
			d := def.NewDecoder(Standard)
			d.names["trap"] = 1 << 20 // no such slot
			m := &Message{ID: "1", PublishTime: time.Date(2024, 1, 15, 15, 0, 0, 0, time.UTC), Data: []byte(join(records...))}
			rows := NewColumns(def)
			if !explodes(func() { d.Decode(m, rows) }) {
				t.Fatal("the trap does not panic")
			}
			d = def.NewDecoder(Standard)
			d.names["trap"] = 1 << 20
			rows = NewColumns(def)
			rejected := d.DecodeGuarded(m, rows)
			if len(rejected) != 1 || rejected[0].Reason != "panic" || rejected[0].Index != int32(at) || string(rejected[0].Record) != trap || !strings.Contains(rejected[0].Explanation, "index out of range") {
				t.Errorf("%s, trap at %d: rejected %+v", form, at, rejected)
			}
			if rows.Len() != 3 {
				t.Fatalf("%s, trap at %d: %d rows, want 3", form, at, rows.Len())
			}
			rec := rows.Record()
			for i, want := range []string{"A", "B", "C"} {
				if v := cell(rec, "symbol", i); v != want {
					t.Errorf("%s, trap at %d: row %d is of %s, want %s", form, at, i, v, want)
				}
			}
			again := NewColumns(def)
			if rejected := d.Decode(&Message{ID: "2", PublishTime: time.Date(2024, 1, 15, 15, 0, 0, 0, time.UTC), Data: []byte(good("D"))}, again); len(rejected) != 0 || again.Len() != 1 {
				t.Errorf("%s: the next message gives %d rows, %+v", form, again.Len(), rejected)
			}
		}
	}
}

// A guarded decoder says of messages that do not panic what a plain one says.
func TestAGuardedDecoderSaysTheSame(t *testing.T) {
	reg, _ := Builtin()
	def, _ := reg.Latest("market_data")
	for _, data := range []string{
		`{"symbol":"A","timestamp":"2024-01-15T14:30:00Z","price":1.5,"source":"x"}`,
		`{"symbol":"A","timestamp":"2024-01-15T14:30:00Z","price":1.5,"source":"x"} {`,
		"[{}, 3, {\"symbol\":\"A\",\"timestamp\":\"2024-01-15T14:30:00Z\",\"price\":1.5,\"source\":\"x\"}]",
		"{\"symbol\":\"A\"}\n{\"symbol\":\"A\",\"timestamp\":\"2024-01-15T14:30:00Z\",\"price\":1.5,\"source\":\"x\"}\n{",
		"", "null", "[]", "[",
	} {
		m := &Message{ID: "1", PublishTime: time.Date(2024, 1, 15, 15, 0, 0, 0, time.UTC), Data: []byte(data)}
		plain, guarded := NewColumns(def), NewColumns(def)
		a := def.NewDecoder(Standard).Decode(m, plain)
		b := def.NewDecoder(Standard).DecodeGuarded(m, guarded)
		if plain.Len() != guarded.Len() || len(a) != len(b) {
			t.Errorf("%q: %d rows, %d rejected; guarded %d, %d", data, plain.Len(), len(a), guarded.Len(), len(b))
			continue
		}
		for i := range a {
			if a[i].Reason != b[i].Reason || a[i].Index != b[i].Index || !bytes.Equal(a[i].Record, b[i].Record) {
				t.Errorf("%q: %+v, guarded %+v", data, a[i], b[i])
			}
		}
	}
}

func explodes(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}
