package backfill

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"go.uber.org/zap"
)

// A file is an input whose content is known.
type file struct {
	input   Input
	format  Format
	mapping *mapping // of CSV and Parquet
	content string   // hash of the bytes, uncompressed
	id      string   // hash of the content and of the settings: the event_id of its messages starts with it
}

// ErrChanged is in the error of a file that is no longer what it was when the
// run began: its messages' ids may be those of the old content.
var ErrChanged = errors.New("the file changed while it was read")

// survey reads every file once: what it is, whether its columns fit, and its
// hash. All problems are reported before anything is published.
func (p *prepared) survey(ctx context.Context) error {
	for _, in := range p.Inputs {
		p.total += in.Size
	}
	var problems, unused grouped
	first := map[string]string{} // id -> name
	done := int64(0)
	for _, in := range p.Inputs {
		f, err := p.look(ctx, in, done)
		if ctx.Err() != nil {
			return fmt.Errorf("read %s: %w", in.Name, ErrInterrupted)
		}
		if err != nil {
			problems.add(in.Name, err)
			continue
		}
		done += in.Size
		if f.mapping != nil && len(f.mapping.unused) > 0 {
			unused.add(in.Name, fmt.Errorf("no field is read from %s", quoted(f.mapping.unused)))
		}
		if same, there := first[f.id]; there {
			p.repeated = append(p.repeated, in.Name)
			p.Log.Warn("file left out: another has the same content", zap.String("file", in.Name), zap.String("same", same))
			continue
		}
		first[f.id] = in.Name
		p.files = append(p.files, f)
	}
	if err := unused.join(); err != nil {
		p.Log.Info("columns that are left out", zap.Error(err))
	}
	if len(p.Inputs) == 0 {
		return fmt.Errorf("%w: no files", ErrSettings)
	}
	return problems.join()
}

// grouped gathers what is to be said of files, once for those of which the same
// is to be said.
type grouped struct {
	order []string // texts
	first map[string]error
	files map[string]int
}

func (g *grouped) add(file string, err error) {
	if g.first == nil {
		g.first, g.files = map[string]error{}, map[string]int{}
	}
	text := err.Error()
	if g.files[text]++; g.files[text] == 1 {
		g.order = append(g.order, text)
		g.first[text] = fmt.Errorf("%s: %w", file, err)
	}
}

func (g *grouped) join() error {
	var all []error
	for _, text := range g.order {
		err := g.first[text]
		if more := g.files[text] - 1; more > 0 {
			err = fmt.Errorf("%w (and the same of %d files more)", err, more)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// look reads a file to its end; done are the bytes of the files before it.
func (p *prepared) look(ctx context.Context, in Input, done int64) (*file, error) {
	o, err := open(ctx, in)
	if err != nil {
		return nil, err
	}
	defer o.close()
	o.report = func(n int64) { p.Progress(Progress{Step: "reading", Done: done + n, Total: p.total}) }
	f := &file{input: in, format: p.Format}
	if f.format == Auto {
		if f.format, err = o.sniff(); err != nil {
			return nil, err
		}
	}
	plan, err := p.plan(o, f)
	if err != nil {
		return nil, err
	}
	if f.content, err = o.drain(); err != nil {
		return nil, err
	}
	f.id = p.fingerprint(f, plan)
	return f, nil
}

// plan finds out how the file's records become ours, and describes it for the
// fingerprint.
func (p *prepared) plan(o *opened, f *file) (string, error) {
	if f.format == NDJSON {
		return p.renaming().String(), nil
	}
	names, err := p.columns(o, f.format)
	if err == io.EOF {
		p.Log.Warn("an empty file", zap.String("file", f.input.Name))
		return "empty", nil
	}
	if err != nil {
		return "", err
	}
	if f.mapping, err = p.mapping(names); err != nil {
		return "", err
	}
	if f.format == Parquet {
		if _, err := parquetRecords(o, f.mapping); err != nil { // columns of a type that cannot be read
			return "", err
		}
	}
	return f.mapping.String(), nil
}

// columns are the names of the file's columns.
func (p *prepared) columns(o *opened, format Format) ([]string, error) {
	if format == Parquet {
		return parquetColumns(o)
	}
	if len(p.Header) > 0 {
		return p.Header, nil
	}
	names, err := (&csv{lines: newLines(o), delimiter: p.Delimiter}).header()
	return names, err
}

// fingerprint is the id of a file: a hash of all that decides its messages. The
// number at the start changes when this program cuts or writes records
// differently.
func (p *prepared) fingerprint(f *file, plan string) string {
	h := sha256.New()
	fmt.Fprintf(h, "backfill 1\n%s %s %s\n%s\n", p.Definition.Name, f.format, f.content, plan)
	fmt.Fprintf(h, "%q %d %d\n", p.Source, p.BatchRows, p.BatchBytes)
	if f.format == CSV {
		null := slices.Clone(p.Null)
		slices.Sort(null)
		fmt.Fprintf(h, "%q %q %q\n", p.Delimiter, p.Header, slices.Compact(null))
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// opened is a file being read from its start: its bytes, uncompressed.
type opened struct {
	ctx      context.Context
	input    Input
	contents Contents
	in       *bufio.Reader // the bytes, hashed as they are taken
	sum      hash.Hash
	consumed int64 // bytes taken from the input
	report   func(consumed int64)
}

func open(ctx context.Context, in Input) (*opened, error) {
	contents, err := in.Open(ctx)
	if err != nil {
		return nil, err
	}
	o := &opened{ctx: ctx, input: in, contents: contents, sum: sha256.New(), report: func(int64) {}}
	raw := bufio.NewReaderSize(&counter{o: o, in: io.NewSectionReader(contents, 0, in.Size)}, 1<<20)
	magic, err := raw.Peek(2)
	if err != nil && err != io.EOF {
		return nil, errors.Join(err, contents.Close())
	}
	plain := io.Reader(raw)
	if string(magic) == "\x1f\x8b" {
		z, err := gzip.NewReader(raw)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("gzip: %w", err), contents.Close())
		}
		plain = &unzipped{z}
	}
	o.in = bufio.NewReaderSize(io.TeeReader(plain, o.sum), 256<<10)
	return o, nil
}

func (o *opened) Read(p []byte) (int, error) { return o.in.Read(p) }
func (o *opened) close()                     { _ = o.contents.Close() } // only read

// drain reads what is left, and gives the hash of everything.
func (o *opened) drain() (string, error) {
	if _, err := io.Copy(io.Discard, o.in); err != nil {
		return "", err
	}
	return hex.EncodeToString(o.sum.Sum(nil)), nil
}

// sniff looks at the content's start for its format.
func (o *opened) sniff() (Format, error) {
	start, err := o.in.Peek(4 << 10)
	if err != nil && err != io.EOF {
		return "", err
	}
	if bytes.HasPrefix(start, []byte("PAR1")) {
		return Parquet, nil
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(start, byteOrderMark), " \t\r\n")
	first, _, _ := bytes.Cut(text, []byte("\n"))
	switch {
	case bytes.HasPrefix(text, []byte("{")):
		return NDJSON, nil
	case bytes.HasPrefix(text, []byte("[")):
		return "", fmt.Errorf("%w: a JSON array; one record a line is wanted (jq -c '.[]'), or a --format", ErrSettings)
	case bytes.IndexByte(first, 0) >= 0:
		return "", fmt.Errorf("%w: no text and no Parquet (UTF-16, or a compression other than gzip?)", ErrSettings)
	}
	return CSV, nil
}

// A counter counts what is taken from an input, and minds the end of a run.
type counter struct {
	o  *opened
	in io.Reader
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.o.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p)
	c.o.consumed += int64(n)
	c.o.report(c.o.consumed)
	if err == io.EOF && c.o.consumed < c.o.input.Size {
		return n, fmt.Errorf("%w: it ends after %d of %d bytes", ErrChanged, c.o.consumed, c.o.input.Size)
	}
	return n, err
}

// unzipped names gzip in its errors.
type unzipped struct{ z *gzip.Reader }

func (u *unzipped) Read(p []byte) (int, error) {
	n, err := u.z.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("gzip: %w", err)
		if strings.Contains(err.Error(), "unexpected EOF") {
			err = fmt.Errorf("%w (the file is cut short)", err)
		}
	}
	return n, err
}

// records reads the file's records.
func (p *prepared) records(o *opened, f *file) (records, error) {
	switch f.format {
	case Parquet:
		return parquetRecords(o, f.mapping)
	case NDJSON:
		return &ndjson{lines: newLines(o), names: p.renaming()}, nil
	}
	null := map[string]bool{}
	for _, text := range p.Null {
		null[text] = true
	}
	r := &csv{lines: newLines(o), delimiter: p.Delimiter, null: null, mapping: f.mapping}
	if len(p.Header) == 0 {
		if _, err := r.header(); err != nil && err != io.EOF {
			return nil, err
		}
	}
	return r, nil
}
