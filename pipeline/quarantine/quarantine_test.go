package quarantine

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var published = time.UnixMicro(1e15)

// die ends a process as kill -9 does: its locks go, its file stays.
func (j *Journal) die(t *testing.T) {
	t.Helper()
	unmap(j.notes)
	j.file.Close()
}

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAMessageThatKillsThriceIsNotDecodedAgain(t *testing.T) {
	dir := t.TempDir()
	for deaths := range Deaths {
		j := open(t, dir)
		good := j.Take("market_data", "good", published, 0)
		if good.Deaths != 0 {
			t.Errorf("a message that was done with has %d deaths", good.Deaths)
		}
		good.Done()
		h := j.Take("market_data", "bad", published, deaths+1)
		if h.Deaths != deaths {
			t.Fatalf("%d deaths, want %d", h.Deaths, deaths)
		}
		j.die(t)
	}
	j := open(t, dir)
	if h := j.Take("market_data", "bad", published, 4); h.Deaths != Deaths {
		t.Errorf("%d deaths", h.Deaths)
	}
	for name, h := range map[string]Hold{
		"another id":                     j.Take("market_data", "bad2", published, 0),
		"the id of another source":       j.Take("forecasts", "bad", published, 0),
		"the id again, published later":  j.Take("market_data", "bad", published.Add(1000), 0),
		"delivered less often than dead": j.Take("market_data", "bad", published, 1),
	} {
		if h.Deaths != 0 {
			t.Errorf("%s: %d deaths", name, h.Deaths)
		}
		h.Done()
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "hand-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Who was in hand with a killer is decoded alone next time, and cleared.
func TestABystanderIsAcquitted(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	j.Take("m", "killer", published, 0)
	j.Take("m", "bystander", published, 0)
	j.die(t)

	j = open(t, dir)
	if j.Suspects() != 2 {
		t.Fatalf("%d suspects", j.Suspects())
	}
	h := j.Take("m", "bystander", published, 0)
	others := make(chan Hold)
	go func() { others <- j.Take("m", "other", published, 0) }()
	select {
	case <-others:
		t.Error("a suspect is not alone")
	case <-time.After(20 * time.Millisecond):
	}
	h.Done()
	other := <-others
	other.Done()
	if j.Suspects() != 1 {
		t.Errorf("%d suspects", j.Suspects())
	}
	j.die(t)
	j = open(t, dir)
	if h := j.Take("m", "bystander", published, 0); h.Deaths != 0 {
		t.Errorf("acquitted, and %d deaths", h.Deaths)
	}
	j.die(t)
}

// Processes that share a directory do not accuse each other.
func TestProcessesShareADirectory(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	first.Take("m", "in hand", published, 0)
	second := open(t, dir)
	if second.Suspects() != 0 {
		t.Error("a living process's message is suspect")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	first.die(t)
}

func TestDamagedNotesAreForgotten(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{suspectsFile: "{no json", "hand-1": "short", "hand-2": string(make([]byte, 300)) + "\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := open(t, dir)
	if j.Suspects() != 0 {
		t.Errorf("%d suspects", j.Suspects())
	}
	j.die(t)
}

func TestManyAtOnce(t *testing.T) {
	j := open(t, t.TempDir())
	var group sync.WaitGroup
	for g := range 2 * slots {
		group.Go(func() {
			for i := range 20 {
				h := j.Take("m", fmt.Sprint(g, i), published, 0)
				h.Done()
			}
		})
	}
	group.Wait()
	if len(j.free) != slots {
		t.Errorf("%d free slots", len(j.free))
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	var none *Journal
	h := none.Take("m", "1", published, 0)
	h.Done()
}

func BenchmarkTake(b *testing.B) {
	j, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	b.ReportAllocs()
	for b.Loop() {
		h := j.Take("market_data", "1234567890123456", published, 0)
		h.Done()
	}
}
