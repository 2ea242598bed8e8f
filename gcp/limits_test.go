package gcp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
)

// MaxConnections is about connections, not only requests: a server counts them.
func TestConnectionsAreBounded(t *testing.T) {
	var now, most atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		time.Sleep(time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"name":"x","size":"1","generation":"1","crc32c":"yZRlqg=="}`)
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		case http.StateClosed, http.StateHijacked:
			now.Add(-1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL)
	b := openBucket(t, gcp.StorageConfig{Bucket: "b", MaxConnections: 4})
	callers := pool.New().WithErrors()
	for range 100 {
		callers.Go(func() error { _, err := b.Stat(t.Context(), "x"); return err })
	}
	if err := callers.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := most.Load(); got > 4 || got < 2 {
		t.Errorf("%d connections at once, want at most 4 and more than one", got)
	}
}

// The attempts and the time of a try are those of the settings, on a real connection.
func TestAttemptsAndTimeoutsAreHonoured(t *testing.T) {
	for _, attempts := range []int{1, 3} {
		var requests atomic.Int64
		release := make(chan struct{})
		b := between(t, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			requests.Add(1)
			io.Copy(io.Discard, r.Body)
			select {
			case <-r.Context().Done():
			case <-release:
			}
		}, gcp.StorageConfig{})
		t.Cleanup(func() { close(release) })
		store := objstore.Retry(objstore.Break(b, objstore.BreakerPolicy{}), objstore.RetryPolicy{Attempts: attempts, Timeout: 100 * time.Millisecond, Base: time.Millisecond})
		began := time.Now()
		_, err := store.Create(t.Context(), "x", []byte("data"), nil)
		took := time.Since(began)
		if !errors.Is(err, context.DeadlineExceeded) || requests.Load() != int64(attempts) || took < time.Duration(attempts)*100*time.Millisecond || took > 30*time.Second {
			t.Errorf("%d attempts: %v after %d requests in %v", attempts, err, requests.Load(), took)
		}
	}
}

// Bytes that changed on their way are noticed by range too, where the range is the
// whole object, and a read that ends early always.
func TestAReadThatIsNotTheObject(t *testing.T) {
	const data = "the payload of it"
	flip := func(b []byte) []byte { return bytes.Replace(b, []byte("payload"), []byte("paYload"), 1) }
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		off, n int64
		want   string // "": an error
	}{
		{"all, flipped", flip, 0, -1, ""},
		{"a range that is all, flipped", flip, 0, int64(len(data)), ""},
		{"a range beyond the end, flipped", flip, 0, 1000, ""},
		{"from the end, all, flipped", flip, -int64(len(data)), -1, ""},
		{"all, cut", cut, 0, -1, ""},
		{"a range, cut", cut, 4, 7, ""},
		{"from the end, cut", cut, -6, -1, ""},
		{"a range as it is", bytes.Clone, 4, 7, "payload"},
		{"from the end as it is", bytes.Clone, -5, 2, "of"},
		{"beyond the end", bytes.Clone, 11, 100, " of it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if r.URL.Query().Get("alt") != "media" {
					pass.ServeHTTP(w, r)
					return
				}
				answer := httptest.NewRecorder()
				pass.ServeHTTP(answer, r)
				for k, v := range answer.Header() {
					w.Header()[k] = v
				}
				w.Header().Del("Content-Length")
				w.WriteHeader(answer.Code)
				w.(http.Flusher).Flush() // no length: the client cannot see that it is cut
				w.Write(tt.change(answer.Body.Bytes()))
			}, gcp.StorageConfig{})
			create(t, b, "x", data)
			got, err := b.Read(t.Context(), "x", tt.off, tt.n)
			if tt.want == "" && err == nil || tt.want != "" && (err != nil || string(got) != tt.want) {
				t.Errorf("Read = %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// A key that cannot be used is named, and is no reason to look for the bucket.
func TestAKeyThatCannotBeUsed(t *testing.T) {
	const key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
	for status, text := range map[int]string{
		400: `Cloud KMS key is disabled.`,
		403: `Permission denied on Cloud KMS key. Please ensure that your Cloud Storage service account has been authorized to use this key.`,
		404: `Cloud KMS key not found: ` + key,
	} {
		b := between(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"code":%d,"message":%q}}`, status, text)
		}, gcp.StorageConfig{KMSKeyName: key})
		_, err := b.Create(t.Context(), "x", []byte("data"), nil)
		if !errors.Is(err, objstore.ErrRefused) || !strings.Contains(err.Error(), "the key "+key+" of bucket b cannot be used: is it enabled") {
			t.Errorf("%d: %v", status, err)
		}
	}
}
