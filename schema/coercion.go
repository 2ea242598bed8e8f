package schema

// A coercion is a way in which a stored value differs from the text that was
// sent. Every one is counted.
type coercion uint8

const (
	rounded          coercion = iota // decimal rounded half to even to the scale
	numberAsString                   // "150.25"
	integerForm                      // 10.0 or 1e3 for an integer
	negativeZero                     // -0
	nanToNull                        // NaN, bare or as a string
	infinityToNull                   // Infinity, bare or as a string
	normalised                       // another spelling of an enumerated value
	boolAsString                     // "true"
	jsonText                         // an object or array kept as its own text
	naiveTimestamp                   // no offset: read as UTC
	spaceTimestamp                   // a space for the T
	dateTimestamp                    // a date where a timestamp is wanted: midnight UTC
	timestampDate                    // a timestamp where a date is wanted, at midnight UTC
	epochSeconds                     // numbers, by magnitude
	epochMillis                      //
	epochMicros                      //
	epochNanos                       //
	subMicrosecond                   // digits past the microsecond cut off
	leapSecond                       // :60 read as the next second
	defaulted                        // not sent, taken from the default
	unknownField                     // a name the definition does not have, dropped
	nonFiniteDropped                 // NaN or Infinity inside a value that is dropped
	byteOrderMark                    // LENIENT: skipped
	decimalLoss                      // LENIENT: rounded although that changes the value
	fractionLoss                     // LENIENT: an integer's fraction rounded away
	timeOfDayLoss                    // LENIENT: a date's time of day cut off
	nulled                           // LENIENT: a bad value of a nullable field made null
	coercions
)

// coercionNames are the kinds that Decoder.Coercions reports.
var coercionNames = [coercions]string{
	"rounded", "number_as_string", "integer_form", "negative_zero", "nan_to_null", "infinity_to_null",
	"normalised", "bool_as_string", "json_text", "naive_timestamp", "space_timestamp", "date_timestamp", "timestamp_date",
	"epoch_seconds", "epoch_millis", "epoch_micros", "epoch_nanos", "sub_microsecond", "leap_second",
	"defaulted", "unknown_field", "non_finite_dropped", "byte_order_mark", "decimal_loss", "fraction_loss", "time_of_day_loss", "nulled",
}

// canonical are those that STRICT lets pass: they are part of the definition, or
// of JSON.
var canonical = [coercions]bool{defaulted: true, negativeZero: true}

// A coerced is one coercion of the open record, counted when the record becomes
// a row.
type coerced struct {
	field int16 // -1: none of the definition's
	kind  coercion
}

// coerce notes a coercion. It is false where the level forbids it; the failure
// is set then.
func (d *Decoder) coerce(field int, kind coercion, at int) bool {
	if d.level == Strict && !canonical[kind] {
		reason := NotCanonical
		if kind == unknownField {
			reason = UnknownField
		}
		d.fail(reason, field, at, coercionNames[kind])
		return false
	}
	d.coerced = append(d.coerced, coerced{int16(field), kind})
	return true
}

// keepCoercions makes the open record's coercions those of a row. They are added to
// the totals later, many at once: where a loop over a few ends is hard to foresee.
func (d *Decoder) keepCoercions() {
	d.counted = len(d.coerced)
	if d.counted >= 1024 {
		d.countCoercions()
	}
}

// countCoercions adds what rows were altered by to the totals. No record is open.
func (d *Decoder) countCoercions() {
	for _, c := range d.coerced[:d.counted] {
		d.totals[c.field+1][c.kind]++
	}
	d.coerced, d.counted = d.coerced[:0], 0
}

// Coercions yields what was altered in the rows decoded since NewDecoder: how
// often each kind of coercion befell each field. The field is "" for names that
// the definition does not have.
func (d *Decoder) Coercions(yield func(field, kind string, n int64)) {
	d.countCoercions()
	for i := range d.totals {
		for kind, n := range d.totals[i] {
			if n == 0 {
				continue
			}
			name := ""
			if i > 0 {
				name = d.def.Fields[i-1].Name
			}
			yield(name, coercionNames[kind], n)
		}
	}
}
