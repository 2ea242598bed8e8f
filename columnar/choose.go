package columnar

import (
	"math/bits"

	"github.com/buffetbot/ingest/schema"
)

// A setting is how the values of one chunk are written. The zero value is plain.
type setting struct{ dictionary, delta bool }

// A dictionary is tried if, of sampleRows values spread over a chunk, one in
// sampleRepeats repeats another: of a chunk's 131,072 values some 20,000 are then
// distinct, beyond which a dictionary seldom pays.
const (
	sampleRows    = 2048
	sampleRepeats = 20
)

func repeats(distinct, sampled int) bool { return distinct*sampleRepeats <= sampled*(sampleRepeats-1) }

// dictionaryLimit is the size of the values in one chunk's dictionary beyond
// which they are written plain: every reader has to hold the dictionary.
const dictionaryLimit = 1 << 20

// chooseWords picks the smallest of what every engine reads: a dictionary,
// differences (not for doubles), or the words as they are. The sizes are those
// before compression, which does little for the first two. If it is the
// dictionary, e.numbers has its values and e.codes the words' codes.
func (e *chunkEncoder) chooseWords(words []int64, f *schema.Field) setting {
	if len(words) == 0 || f.Kind == schema.Bool {
		return setting{}
	}
	if e.force != nil {
		s := e.force(f)
		s.delta = s.delta && f.Kind != schema.Float64
		s.dictionary = s.dictionary && e.wordCodes(words, len(words)) > 0
		return s
	}
	narrow := physical(f) == physInt32
	width := 8
	if narrow {
		width = 4
	}
	best, size := setting{}, len(words)*width*7/8 // what is no better by an eighth is left as it is
	if f.Kind != schema.Float64 {
		if n := deltaSize(words, narrow); n < size {
			best, size = setting{delta: true}, n
		}
	}
	if e.wordsRepeat(words) {
		if n := e.wordCodes(words, size/width); n > 0 && n < size {
			best = setting{dictionary: true}
		}
	}
	return best
}

func (e *chunkEncoder) wordsRepeat(words []int64) bool {
	stride := max(1, len(words)/sampleRows)
	e.numbers.reset()
	sampled := 0
	for i := 0; i < len(words); i += stride {
		e.numbers.code(words[i])
		sampled++
	}
	return repeats(e.numbers.len(), sampled)
}

// wordCodes makes a dictionary, and gives the size of it and its codes; 0, if it
// would have more entries than limit.
func (e *chunkEncoder) wordCodes(words []int64, limit int) int {
	limit = min(limit, dictionaryLimit/8)
	e.numbers.reset()
	e.codes = growTo(e.codes, len(words))[:len(words)]
	runs, last := 0, int32(-1)
	for i, w := range words {
		if i > 0 && w == words[i-1] {
			e.codes[i] = last
			continue
		}
		last = e.numbers.code(w)
		e.codes[i] = last
		if runs++; e.numbers.len() > limit {
			return 0
		}
	}
	n := e.numbers.len()
	width := int(codeWidth(n))
	return n*8 + min(len(words)*width/8, runs*(2+width/8)) + 16
}

// chooseTexts tells whether strings get a dictionary. If so, e.entries has its
// values, each once, in order of first occurrence, and e.codes the rows' codes.
func (e *chunkEncoder) chooseTexts(v *vector, f *schema.Field) bool {
	if e.force != nil {
		return e.force(f).dictionary && e.textCodes(v)
	}
	if !textsRepeat(v) || !e.textCodes(v) {
		return false
	}
	plain := 0
	for i := range v.n {
		plain += 4 + len(v.at(i))
	}
	coded := len(e.entries.data) + 4*e.entries.len() + v.n*int(codeWidth(e.entries.len()))/8
	return coded < plain/4*3 // plain texts shrink more when they are compressed
}

func textsRepeat(v *vector) bool {
	stride := max(1, v.n/sampleRows)
	seen := make(map[string]struct{}, 64)
	sampled := 0
	for i := 0; i < v.n; i += stride {
		if t := v.at(i); t != nil {
			seen[string(t)] = struct{}{}
			sampled++
		}
	}
	return sampled > 0 && repeats(len(seen), sampled)
}

func (e *chunkEncoder) textCodes(v *vector) bool {
	if e.strings == nil {
		e.strings = map[string]int32{}
	}
	clear(e.strings)
	e.entries.reset()
	e.codes = growTo(e.codes, v.n)[:v.n]
	var known []int32 // for a code of v: ours + 1
	if v.codes != nil {
		known = make([]int32, v.text.len())
	}
	for i := range v.n {
		e.codes[i] = 0
		if v.isNull(i) {
			continue
		}
		if known != nil {
			if k := known[v.codes[i]]; k > 0 {
				e.codes[i] = k - 1
				continue
			}
		}
		t := v.at(i)
		code, ok := e.strings[string(t)]
		if !ok {
			if len(e.entries.data)+len(t) > dictionaryLimit {
				return false
			}
			code = int32(e.entries.len())
			e.entries.add(t)
			e.strings[string(t)] = code
		}
		e.codes[i] = code
		if known != nil {
			known[v.codes[i]] = code + 1
		}
	}
	return true
}

// A wordTable numbers distinct words in order of first occurrence.
type wordTable struct {
	values []int64
	slots  []int32 // number + 1, 0 where free; the length is a power of two
}

const leastSlots = 1024

func (t *wordTable) len() int { return len(t.values) }

func (t *wordTable) reset() {
	t.values = t.values[:0]
	if cap(t.slots) < leastSlots {
		t.slots = make([]int32, leastSlots)
	}
	t.slots = t.slots[:leastSlots]
	clear(t.slots)
}

func (t *wordTable) code(w int64) int32 {
	mask := uint64(len(t.slots) - 1)
	i := hashWord(w, mask)
	for t.slots[i] != 0 {
		if n := t.slots[i] - 1; t.values[n] == w {
			return n
		}
		i = (i + 1) & mask
	}
	t.values = append(t.values, w)
	t.slots[i] = int32(len(t.values))
	if len(t.values)*2 > len(t.slots) {
		t.grow()
	}
	return int32(len(t.values) - 1)
}

func (t *wordTable) grow() {
	n := len(t.slots) * 2
	t.slots = growTo(t.slots, n)[:n]
	clear(t.slots)
	mask := uint64(n - 1)
	for n, w := range t.values {
		i := hashWord(w, mask)
		for t.slots[i] != 0 {
			i = (i + 1) & mask
		}
		t.slots[i] = int32(n + 1)
	}
}

// hashWord mixes all bits of w into those of the mask.
func hashWord(w int64, mask uint64) uint64 {
	high, low := bits.Mul64(uint64(w), 0x9e3779b97f4a7c15)
	return (high ^ low>>32) & mask
}
