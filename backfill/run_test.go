package backfill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/buffetbot/ingest/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// goldenID is the id of threeFiles' first file.
const goldenID = "f00208954e648b9fa459c956cb15c853"

// threeFiles are 7 + 4 + 2 records, one of them broken.
func threeFiles(t testing.TB) []string {
	t.Helper()
	var a strings.Builder
	a.WriteString("symbol,timestamp,price\n")
	for i := range 6 {
		fmt.Fprintf(&a, "A%d,2024-01-15,%d.5\n", i, i)
	}
	a.WriteString("short\n")
	return []string{
		store(t, "a.csv", a.String()),
		store(t, "b.csv.gz", zipped("symbol,timestamp,price\nB,2024-01-15,1\nB,2024-01-15,1\nB,2024-01-15,3\nB,2024-01-15,4\n")),
		store(t, "c.ndjson", `{"symbol":"C","timestamp":"2024-01-15"}`+"\n"+`{"symbol":"C","timestamp":"2024-01-16"}`+"\n"),
	}
}

func run(t testing.TB, j *Job) Summary {
	t.Helper()
	s, err := j.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEveryRecordIsPublishedOnce(t *testing.T) {
	b := newBroker()
	j := job(t, b, threeFiles(t)...)
	s := run(t, j)
	if want := (Totals{Rows: 13, Messages: 6, Bytes: s.Bytes, Broken: 1}); s.Totals != want || s.Files != 3 || len(b.rows(t)) != 13 {
		t.Errorf("summary %+v, %d records at the broker; want %+v", s, len(b.rows(t)), want)
	}
	if want := []string{"2024-05-06T07:08:09.123456Z"}; !slices.Equal(slices.Collect(maps.Keys(b.times)), want) {
		t.Errorf("publish times %v, want %v", b.times, want)
	}
	again := run(t, j)
	if !again.AlreadyDone || again.Messages != 0 || b.sent != 6 {
		t.Errorf("the second run: %+v, %d messages sent in all", again, b.sent)
	}
	j.Again, j.Now = true, func() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }
	if s := run(t, j); s.Messages != 6 || b.sent != 12 || len(b.messages) != 6 || len(b.times) != 1 || len(b.changed) > 0 {
		t.Errorf("published again: %+v; the broker has %d messages of %d, at %v, changed %v", s, len(b.messages), b.sent, b.times, b.changed)
	}
}

// The same content gives the same messages, wherever it is and however it is
// stored; anything that changes the records changes every id.
func TestIDsAreOfContentAndSettings(t *testing.T) {
	const content = "symbol,timestamp,price,note\nA,2024-01-15,1.5,x\nB,2024-01-15,2.5,-\nA,2024-01-16,1.5,x\nB,2024-01-16,2.5,x\n"
	messages := func(change func(*Job), name, content string) map[string]string {
		b := newBroker()
		j := job(t, b, store(t, name, content))
		if change != nil {
			change(j)
		}
		run(t, j)
		return b.messages
	}
	want := messages(nil, "a.csv", content)
	if len(want) != 2 {
		t.Fatalf("%d messages, want 2", len(want))
	}
	for name, got := range map[string]map[string]string{
		"another name, gzipped": messages(nil, "b.csv.gz", zipped(content)),
		"another day":           messages(func(j *Job) { j.Now = time.Now }, "a.csv", content),
		"a publish time given":  messages(func(j *Job) { j.PublishedAt = time.Unix(1e9, 0) }, "a.csv", content),
		"the format given":      messages(func(j *Job) { j.Format = CSV }, "a.csv", content),
		"a map to itself":       messages(func(j *Job) { j.Map = map[string]string{"price": "price"} }, "a.csv", content),
		"slow, one at a time":   messages(func(j *Job) { j.InFlight, j.Rate = 1, 1e6 }, "a.csv", content),
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name, change := range map[string]func(*Job){
		"map":         func(j *Job) { j.Map = map[string]string{"beta": "price"} },
		"set":         func(j *Job) { j.Set = map[string]string{"volume": "1"} },
		"null":        func(j *Job) { j.Null = []string{"-"} },
		"batch rows":  func(j *Job) { j.BatchRows = 2 },
		"batch bytes": func(j *Job) { j.BatchBytes = 1000 },
		"source":      func(j *Job) { j.Source = "me" },
		"type": func(j *Job) {
			d, err := schema.Parse([]byte(strings.ReplaceAll(bars, `"name":"bars"`, `"name":"other"`)))
			if err != nil {
				t.Fatal(err)
			}
			j.Definition = d
		},
		"a number that was text": func(j *Job) {
			d, err := schema.Parse([]byte(strings.ReplaceAll(bars, `"note","type":["null","string"]`, `"note","type":["null","long"]`)))
			if err != nil {
				t.Fatal(err)
			}
			j.Definition = d
		},
	} {
		for id := range messages(change, "a.csv", content) {
			if _, same := want[id]; same {
				t.Errorf("another %s, and still the id %s", name, id)
			}
		}
	}
	for id := range messages(nil, "a.csv", content+"C,2024-01-15,1,\n") {
		if _, same := want[id]; same {
			t.Errorf("one record more, and still the id %s", id)
		}
	}
	newer, err := schema.Parse([]byte(strings.ReplaceAll(bars, `"1.0.0"`, `"1.1.0"`)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, messages(func(j *Job) { j.Definition = newer }, "a.csv", content)); diff != "" {
		t.Errorf("a newer definition that reads the same (-want +got):\n%s", diff)
	}
}

// The ids are part of what is in the lakes of users: they never change.
func TestIDsStayWhatTheyAre(t *testing.T) {
	b := newBroker()
	run(t, job(t, b, threeFiles(t)[0]))
	want := []string{
		"bars/backfill-ID-0", "bars/backfill-ID-1", "bars/backfill-ID-2",
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "ID", goldenID)
	}
	if diff := cmp.Diff(want, sortedKeys(b.messages)); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
}

// The broker fails at its first message, then at its second, …, with the message
// lost or only its answer; then the job is run until it is done.
func TestAnyCrashThenOn(t *testing.T) {
	files := threeFiles(t)
	whole := newBroker()
	run(t, job(t, whole, files...))
	for _, inFlight := range []int{1, 4} {
		for _, lost := range []bool{false, true} {
			for k := range 6 {
				t.Run(fmt.Sprintf("inFlight=%d/lost=%v/message=%d", inFlight, lost, k), func(t *testing.T) {
					b := newBroker()
					b.failAt, b.lost = k, lost
					j := job(t, b, files...)
					j.InFlight = inFlight
					first, err := j.Run(t.Context())
					if !errors.Is(err, errBroker) {
						t.Fatalf("error = %v, want the broker's", err)
					}
					c, err := parseCheckpoint(read(t, j.Checkpoint))
					if err != nil || c.Finished || c.Totals != first.Totals || c.Totals.Messages > int64(len(b.messages)) {
						t.Fatalf("checkpoint %+v, %v; the broker has %d messages, the run says %+v", c, err, len(b.messages), first.Totals)
					}
					if inFlight == 1 && c.Totals.Messages != int64(k) {
						t.Errorf("the checkpoint names %d messages, want %d", c.Totals.Messages, k)
					}
					second := run(t, j)
					if second.Before != first.Totals || second.Before.Rows+second.Rows != 13 {
						t.Errorf("the second run: %+v behind %+v", second, first.Totals)
					}
					if diff := cmp.Diff(whole.rows(t), b.rows(t)); diff != "" {
						t.Errorf("records (-want +got):\n%s", diff)
					}
					if len(b.changed) > 0 || len(b.times) != 1 {
						t.Errorf("ids with other content: %v; publish times %v", b.changed, b.times)
					}
				})
			}
		}
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A process that dies leaves the checkpoint of any answer before; every one of
// them leads to the same end.
func TestResumeFromEveryCheckpoint(t *testing.T) {
	files := threeFiles(t)
	var saved [][]byte
	whole := newBroker()
	j := job(t, whole, files...)
	j.InFlight = 1
	j.Progress = func(p Progress) {
		if data, err := os.ReadFile(j.Checkpoint); err == nil {
			saved = append(saved, data)
		}
	}
	run(t, j)
	saved = append(saved, read(t, j.Checkpoint))
	if len(saved) < 7 {
		t.Fatalf("%d checkpoints seen", len(saved))
	}
	for i, data := range saved {
		b := newBroker()
		j := job(t, b, files...)
		if err := os.WriteFile(j.Checkpoint, data, 0o644); err != nil {
			t.Fatal(err)
		}
		s := run(t, j)
		for id, data := range whole.messages { // what the checkpoint names is not sent, the rest is
			if had, there := b.messages[id]; there && had != data {
				t.Errorf("checkpoint %d: message %s has other content", i, id)
			}
		}
		if n := s.Before.Messages + s.Messages; n != 6 || int64(len(b.messages)) != s.Messages {
			t.Errorf("checkpoint %d: %d messages before and %d now, want 6 in all", i, s.Before.Messages, s.Messages)
		}
	}
}

func TestCheckpointsThatAreRefused(t *testing.T) {
	files := threeFiles(t)
	for _, tt := range []struct {
		name   string
		damage func(j *Job, data []byte) []byte
		says   string
	}{
		{"torn", func(_ *Job, data []byte) []byte { return data[:len(data)/2] }, "not readable"},
		{"empty", func(*Job, []byte) []byte { return nil }, "not readable"},
		{"a digit changed", func(_ *Job, data []byte) []byte {
			return []byte(strings.Replace(string(data), `"batches": 1`, `"batches": 0`, 1))
		}, "damaged"},
		{"a later format", func(_ *Job, data []byte) []byte {
			return []byte(strings.Replace(string(data), `"version": 1`, `"version": 2`, 1))
		}, "version 2"},
		{"of another mapping", func(j *Job, data []byte) []byte { j.Set = map[string]string{"volume": "1"}; return data }, "another job"},
		{"of fewer files", func(j *Job, data []byte) []byte { j.Inputs = j.Inputs[:2]; return data }, "another job"},
		{"of another topic", func(j *Job, data []byte) []byte { j.Topic = "elsewhere"; return data }, "another job"},
		{"of another project", func(j *Job, data []byte) []byte { j.Destination = "elsewhere"; return data }, "another job"},
		{"of another publish time", func(j *Job, data []byte) []byte { j.PublishedAt = time.Unix(1e9, 0); return data }, "leave the flag out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker()
			j := job(t, b, files...)
			run(t, j)
			data := tt.damage(j, read(t, j.Checkpoint))
			if err := os.WriteFile(j.Checkpoint, data, 0o644); err != nil {
				t.Fatal(err)
			}
			sent := b.sent
			_, err := j.Run(t.Context())
			if !errors.Is(err, ErrCheckpoint) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "not added twice") {
				t.Errorf("error = %v, want one that says %q and what to do", err, tt.says)
			}
			if b.sent != sent {
				t.Errorf("%d messages were sent", b.sent-sent)
			}
			if string(read(t, j.Checkpoint)) != string(data) {
				t.Error("the checkpoint was overwritten")
			}
		})
	}
}

func TestWhereTheCheckpointIsWithoutAName(t *testing.T) {
	t.Chdir(t.TempDir())
	b := newBroker()
	j := job(t, b, threeFiles(t)...)
	j.Checkpoint = ""
	s := run(t, j)
	if again := run(t, j); !again.AlreadyDone || again.Checkpoint != s.Checkpoint || !strings.HasPrefix(s.Checkpoint, ".backfill-") {
		t.Errorf("checkpoints %q and %q, done: %v", s.Checkpoint, again.Checkpoint, again.AlreadyDone)
	}
	j.BatchRows = 4
	if other := run(t, j); other.Checkpoint == s.Checkpoint {
		t.Error("another job has the same checkpoint")
	}
	if left, _ := filepath.Glob(".backfill-*"); len(left) != 2 {
		t.Errorf("files left: %q, want the two checkpoints", left)
	}
}

func TestSettingsThatDoNotFit(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		change   func(*Job)
		want     []string
	}{
		{"no such field", "symbol,timestamp\n", func(j *Job) { j.Map = map[string]string{"prize": "x"} }, []string{`no field "prize"`, "price"}},
		{"a system column", "symbol,timestamp\n", func(j *Job) { j.Set = map[string]string{"_id": "x"} }, []string{`no field "_id"`}},
		{"mapped and set", "symbol,timestamp\n", func(j *Job) {
			j.Map, j.Set = map[string]string{"note": "symbol"}, map[string]string{"remark": "x"}
		}, []string{"note is both mapped and set"}},
		{"under both its names", "symbol,timestamp\n", func(j *Job) { j.Set = map[string]string{"remark": "x", "note": "y"} }, []string{"note is named twice"}},
		{"no such column", "symbol,timestamp\n", func(j *Job) { j.Map = map[string]string{"price": "close"} }, []string{`no column "close"`, `"symbol", "timestamp"`}},
		{"a column twice", "symbol,timestamp,c,c\n", func(j *Job) { j.Map = map[string]string{"price": "c"} }, []string{`two columns are called "c"`}},
		{"a field twice", "symbol,timestamp,note,remark\n", nil, []string{`"note" and "remark" are both field note`}},
		{"required fields that nothing gives", "sym,when\n", nil, []string{"required field symbol", "required field timestamp", `"sym", "when"`}},
		{"a header with a stray quote", "sym\"bol,timestamp\n", nil, []string{"line 1", "the header"}},
		{"an array", " [{\"symbol\":1}]", nil, []string{"JSON array"}},
		{"UTF-16", "\xff\xfes\x00y\x00", nil, []string{"no text"}},
		{"too many rows", "symbol,timestamp\n", func(j *Job) { j.BatchRows = 1e6 }, []string{"1000000 records a message"}},
		{"too many bytes", "symbol,timestamp\n", func(j *Job) { j.BatchBytes = 1e8 }, []string{"100000000 bytes a message"}},
		{"a delimiter that is a quote", "symbol,timestamp\n", func(j *Job) { j.Delimiter = '"' }, []string{"delimiter"}},
		{"no files", "symbol,timestamp\n", func(j *Job) { j.Inputs = nil }, []string{"no files"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker()
			j := job(t, b, store(t, "f.csv", tt.in))
			if tt.change != nil {
				tt.change(j)
			}
			_, err := j.Run(t.Context())
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error = %v, want one that says %q", err, want)
				}
			}
			if !errors.Is(err, ErrSettings) && !strings.Contains(message(err), "header") {
				t.Errorf("error = %v, want ErrSettings", err)
			}
			if _, err := os.Stat(j.Checkpoint); b.sent > 0 || err == nil {
				t.Errorf("%d messages were sent; checkpoint: %v", b.sent, err)
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	whole := zipped("symbol,timestamp\n" + strings.Repeat("A,2024-01-15\n", 1000))
	for name, content := range map[string]string{"cut short": whole[:len(whole)-20], "a byte flipped": whole[:30] + "\x00" + whole[31:]} {
		b := newBroker()
		_, err := job(t, b, store(t, "good.csv", "symbol,timestamp\nA,2024-01-15\n"), store(t, "f.csv.gz", content)).Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "f.csv.gz: gzip") || b.sent > 0 {
			t.Errorf("%s: error = %v, %d messages sent; want none, and the file named", name, err, b.sent)
		}
	}
}

func TestFilesWithTheSameContentAreReadOnce(t *testing.T) {
	const content = "symbol,timestamp\nA,2024-01-15\n"
	b := newBroker()
	s := run(t, job(t, b, store(t, "a.csv", content), store(t, "copy.csv.gz", zipped(content))))
	if s.Rows != 1 || s.Files != 1 || len(s.Repeated) != 1 || filepath.Base(s.Repeated[0]) != "copy.csv.gz" {
		t.Errorf("summary = %+v", s)
	}
}

// changing is an input whose content is another when it is opened again.
type changing struct {
	io.ReaderAt
	io.Closer
}

func TestAFileThatChanges(t *testing.T) {
	for name, second := range map[string]string{
		"another digit": "symbol,timestamp\nA,2024-01-16\n", "shorter": "symbol,timestamp\n",
	} {
		opened := 0
		const first = "symbol,timestamp\nA,2024-01-15\n"
		j := job(t, newBroker(), store(t, "a.csv", first))
		j.Inputs = []Input{{Name: "a.csv", Size: int64(len(first)), Open: func(context.Context) (Contents, error) {
			opened++
			content := first
			if opened > 1 {
				content = second
			}
			return changing{strings.NewReader(content), io.NopCloser(nil)}, nil
		}}}
		if _, err := j.Run(t.Context()); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: error = %v, want ErrChanged", name, err)
		}
		if c, err := parseCheckpoint(read(t, j.Checkpoint)); err != nil || c.Finished {
			t.Errorf("%s: checkpoint %+v, %v", name, c, err)
		}
	}
}

// A run that is told to stop waits for what is on its way, and goes on later.
func TestInterrupted(t *testing.T) {
	files := threeFiles(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		b := newBroker()
		j := job(t, b, files...)
		j.Publisher = slow{b, time.Second}
		j.InFlight = 2
		time.AfterFunc(1500*time.Millisecond, stop)
		s, err := j.Run(ctx)
		if !errors.Is(err, ErrInterrupted) || s.Messages != 5 || len(b.messages) != 5 {
			t.Errorf("error = %v after %d messages, %d at the broker; want ErrInterrupted after 5: two answered, two on their way, one read", err, s.Messages, len(b.messages))
		}
		if s := run(t, j); s.Messages != 1 || len(b.messages) != 6 {
			t.Errorf("the second run published %d messages; the broker has %d", s.Messages, len(b.messages))
		}
	})
}

type slow struct {
	*broker
	answer time.Duration
}

func (s slow) Send(ctx context.Context, topic string, m *schema.Message) error {
	time.Sleep(s.answer)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.broker.Send(ctx, topic, m)
}

func TestAFloodOfBrokenRecordsIsCountedNotLogged(t *testing.T) {
	seen, log := observer.New(zap.WarnLevel)
	j := job(t, newBroker(), store(t, "a.csv", "symbol,timestamp\n"+strings.Repeat("short\n", 1000)))
	j.Log = zap.New(seen)
	if s := run(t, j); s.Broken != 1000 || s.Rows != 1000 || log.Len() != mostTold+1 {
		t.Errorf("summary %+v; %d lines logged, want %d", s.Totals, log.Len(), mostTold+1)
	}
}

func TestRate(t *testing.T) {
	files := threeFiles(t)
	synctest.Test(t, func(t *testing.T) {
		j := job(t, newBroker(), files...)
		j.Rate = 2
		began := time.Now()
		run(t, j)
		if took := time.Since(began); took != 5*time.Second { // the first 3 at once, the other 10 at 2 a second
			t.Errorf("13 records at 2 a second took %v, want 5s", took)
		}
	})
}
