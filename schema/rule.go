package schema

// A Rule is a condition that good rows do not meet.
type Rule struct {
	Name   string // "high_below_low"
	When   string // the condition, in the language of rules
	Reject bool   // a row that meets it is rejected; otherwise it is flagged
	Bit    int    // of a flagging rule: its bit in _flags, never reused
	Doc    string
}
