package schema

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// one is a list of one reason.
func one(r Reason) []Reason { return []Reason{r} }

// oddInputs are the contract's bad and odd inputs, by number, and after them one
// input for each reason that none of those has. Where the contract says nothing
// of an input, it is rejected.
func oddInputs(t testing.TB) []oddInput {
	good := record("market_data")
	return append(append(oddMessages(t, good), oddValues()...), otherReasons()...)
}

// oddMessages are those whose trouble is not in one value.
func oddMessages(t testing.TB, good string) []oddInput {
	padded := func(size int) string { return good + strings.Repeat(" ", size-len(good)) }
	nested := func(levels int) string {
		return record("market_data", "x="+strings.Repeat("[", levels-1)+strings.Repeat("]", levels-1))
	}
	packed := string(compressed(t, "gzip", []byte(good)))
	many := strings.Repeat(good+"\n", 49_999) + record("market_data", "price=") + "\n" + strings.Repeat(good+"\n", 50_000)
	return []oddInput{
		{n: 1, what: "a payload of 10 MB", cases: []oddCase{
			{name: "in white space", data: padded(10_000_000)},
			{name: "in an unknown field", change: []string{`x="` + strings.Repeat("x", 10_000_000-len(good)-8) + `"`}, field: "symbol", want: "AAPL", counted: "unknown_field"},
			{name: "to the last byte", data: padded(MaxMessageBytes)},
		}},
		{n: 2, what: "over the cap", cases: []oddCase{{data: padded(MaxMessageBytes + 1), rejected: one(TooLarge)}}},
		{n: 3, what: "empty data", cases: []oddCase{{name: "no bytes", rejected: one(EmptyPayload)}, {name: "white space", data: " \n", rejected: one(EmptyPayload)}}},
		{n: 4, what: "null", cases: []oddCase{{data: "null", rejected: one(NullPayload)}}},
		{n: 5, what: "[]", cases: []oddCase{{data: "[]", rejected: one(EmptyArray)}}},
		{n: 6, what: "nesting", cases: []oddCase{
			{name: "of 32", data: nested(32), counted: "unknown_field"},
			{name: "beyond 32", data: nested(33), rejected: one(TooDeep)},
			{name: "without end", data: nested(100_000), rejected: one(TooDeep)},
		}},
		{n: 7, what: "duplicate keys", cases: []oddCase{
			{name: "of a field", data: `{"price":1,` + good[1:], rejected: one(DuplicateKey)},
			{name: "of an unknown name", data: `{"x":1,"x":1,` + good[1:], rejected: one(DuplicateKey)},
			{name: "inside", change: []string{`x={"a":1,"a":2}`}, rejected: one(DuplicateKey)},
			{name: "one of them escaped", data: `{"pr\u0069ce":1,` + good[1:], rejected: one(DuplicateKey)},
		}},
		{n: 8, what: "a key in another case", cases: []oddCase{
			{name: "beside it", change: []string{`SYMBOL="MSFT"`}, field: "symbol", want: "AAPL", counted: "unknown_field"},
			{name: "in its place", change: []string{`symbol=`, `SYMBOL="MSFT"`}, rejected: one(MissingRequired)},
			{name: "at STRICT", level: Strict, change: []string{`SYMBOL="MSFT"`}, rejected: one(UnknownField)},
		}},
		{n: 9, what: "trailing garbage", cases: []oddCase{{data: good + " x", rejected: one(TrailingData)}, {name: "after an array", data: "[" + good + "]]", rows: 1, rejected: one(TrailingData), at: []int32{1}}}},
		{n: 10, what: "two documents where one is expected", cases: []oddCase{{data: good + good, rejected: one(TrailingData)}, {name: "in a line", data: good + "\n" + good + good, rows: 1, rejected: one(TrailingData), at: []int32{1}}}},
		{n: 11, what: "byte-order mark", cases: []oddCase{
			{data: "\ufeff" + good, rejected: one(ByteOrderMark)},
			{name: "at LENIENT", level: Lenient, data: "\ufeff" + good, counted: "byte_order_mark"},
		}},
		{n: 12, what: "invalid UTF-8", cases: []oddCase{
			{change: []string{"data_source=\"A\xff\""}, rejected: one(InvalidUTF8)},
			{name: "at LENIENT", level: Lenient, change: []string{"data_source=\"A\xff\""}, rejected: one(InvalidUTF8)},
			{name: "in a name", change: []string{"x=1"}, data: strings.Replace(record("market_data", "x=1"), `"x"`, "\"\xff\"", 1), rejected: one(InvalidUTF8)},
		}},
		{n: 13, what: "lone surrogates", cases: []oddCase{
			{name: "high", change: []string{`data_source="\ud800"`}, rejected: one(LoneSurrogate)},
			{name: "low", change: []string{`data_source="\udc00"`}, rejected: one(LoneSurrogate)},
			{name: "in what is dropped", change: []string{`x="\ud800"`}, rejected: one(LoneSurrogate)},
			{name: "a pair", change: []string{`data_source="\ud83d\ude00"`}, field: "data_source", want: "😀"},
		}},
		{n: 49, what: "unknown field", cases: []oddCase{
			{name: "at STANDARD", change: []string{"extra=1"}, field: "symbol", want: "AAPL", counted: "unknown_field"},
			{name: "at STRICT", level: Strict, change: []string{"extra=1"}, rejected: one(UnknownField)},
			{name: "at LENIENT", level: Lenient, change: []string{"extra=1"}, field: "symbol", want: "AAPL", counted: "unknown_field"},
		}},
		{n: 50, what: "missing required", cases: []oddCase{
			{name: "absent", change: []string{"price="}, rejected: one(MissingRequired)},
			{name: "null", change: []string{"price=null"}, rejected: one(MissingRequired)},
			{name: "at LENIENT", level: Lenient, change: []string{"price=null"}, rejected: one(MissingRequired)},
		}},
		{n: 51, what: "another data type than the topic's", cases: []oddCase{
			{name: "by attribute", attrs: []string{"message_type", "options_data"}, rejected: one(WrongDataType)},
			{name: "by field", change: []string{`data_type="forecasts"`}, rejected: one(WrongDataType)},
			{name: "by its fields alone", data: record("forecasts"), rejected: one(MissingRequired)},
		}},
		{n: 52, what: "unknown schema revision", also: []string{"pipeline TestAMessageThatIsAheadWaitsForItsDefinition", "pipeline TestAMessageThatIsAheadForTooLong"}, cases: []oddCase{
			{name: "newer", attrs: []string{"schema_version", "v1.10.0"}, rejected: one(UnknownSchemaVersion)},
			{name: "no version at all", attrs: []string{"schema_version", "latest"}, rejected: one(UnknownSchemaVersion)},
		}},
		{n: 53, what: "forged event_id", cases: []oddCase{
			{name: "that looks like a message id", attrs: []string{"event_id", "m:1"}, each: "e:m:1"},
			{name: "of the number of a message", attrs: []string{"event_id", "1"}, each: "e:1"},
			{name: "none", each: "m:1"},
		}},
		{n: 54, what: "gzip bomb", cases: []oddCase{{data: string(compressed(t, "gzip", bytes.Repeat([]byte(" "), 30<<20))), attrs: []string{"content_encoding", "gzip"}, rejected: one(DecompressionBomb)}}},
		{n: 55, what: "truncated gzip", cases: []oddCase{{data: packed[:len(packed)-5], attrs: []string{"content_encoding", "gzip"}, rejected: one(CorruptEncoding)}}},
		{n: 56, what: "content encoding that lies", cases: []oddCase{
			{name: "plain called gzip", data: good, attrs: []string{"content_encoding", "gzip"}, rejected: one(CorruptEncoding)},
			{name: "gzip called zstd", data: packed, attrs: []string{"content_encoding", "zstd"}, rejected: one(CorruptEncoding)},
			{name: "gzip called nothing", data: packed, rejected: one(JSONSyntax)},
		}},
		{n: 57, what: "100,000 records, one bad", also: []string{". TestOneBadRecordOfMany"}, cases: []oddCase{{data: many, rows: 99_999, rejected: one(MissingRequired), at: []int32{49_999}}}},
		{n: 58, what: "the same record twice in one message", also: []string{". TestOneBadRecordOfMany"}, cases: []oddCase{{data: "[" + good + "," + good + "]", rows: 2, each: "m:1"}}},
		{n: 59, what: "one identity with other bytes", differs: true, also: []string{"fsck TestAnEventIDForSeveralRecords", "compaction TestOlderPublicationReplacesTheLiveRow", "compaction TestDuplicatesAreDroppedAndCounted", "query TestOneIdentityWithOtherValues"}},
		{n: 60, what: "U+2028 in logs", also: []string{"telemetry TestLinesAreJSONWhereNobodyWatches"}, cases: []oddCase{{change: []string{`data_source="a\u2028b"`}, field: "data_source", want: "a\u2028b"}}},
	}
}

// otherReasons reach the reasons that no numbered input has.
func otherReasons() []oddInput {
	return []oddInput{{what: "none of the numbered", cases: []oddCase{
		{name: "not JSON", data: "hello there", rejected: one(JSONSyntax)},
		{name: "not an object", data: "17", rejected: one(NotAnObject)},
		{name: "a format nobody reads", attrs: []string{"content_type", "application/xml"}, rejected: one(UnsupportedContentType)},
		{name: "a compression nobody reads", attrs: []string{"content_encoding", "br"}, rejected: one(UnsupportedEncoding)},
		{name: "published_at that is no time", attrs: []string{"event_id", "x", "published_at", "yesterday"}, rejected: one(BadAttribute)},
		{name: "Avro that is none", data: "x", attrs: []string{"content_type", "avro/binary"}, rejected: one(AvroSyntax)},
		{name: "Arrow that is none", data: "x", attrs: []string{"content_type", arrowType}, rejected: one(ArrowSyntax)},
		{name: "half a share", change: []string{"volume=0.5"}, rejected: one(FractionalInteger)},
		{name: "a date at four o'clock", dataType: "options_data", change: []string{`expiration_date="2024-01-19T16:00:00Z"`}, rejected: one(DateHasTime)},
		{name: "a number as a string at STRICT", level: Strict, change: []string{`volume="1"`}, rejected: one(NotCanonical)},
		{name: "bytes that are not base64", dataType: "dead_letters", rejected: one(BadBinary),
			data: `{"dl_id":"x","data_type":"market_data","reason":"panic","published_at":"2024-01-15T14:30:52Z","data":"` + strconv.Itoa(1) + `!"}`},
	}}}
}
