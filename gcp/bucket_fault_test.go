package gcp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/sourcegraph/conc/pool"

	"github.com/buffetbot/ingest/gcp"
	"github.com/buffetbot/ingest/objstore"
)

// between starts a fake service behind a handler that may meddle, and opens its
// one bucket through it.
func between(t *testing.T, meddle func(w http.ResponseWriter, r *http.Request, pass http.Handler), cfg gcp.StorageConfig) *gcp.Bucket {
	t.Helper()
	fake := startStorage(t)
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "b"})
	target, err := url.Parse(fake.URL())
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { meddle(w, r, pass) }))
	t.Cleanup(proxy.Close)
	t.Setenv("STORAGE_EMULATOR_HOST", proxy.URL)
	if cfg.Bucket == "" {
		cfg.Bucket = "b"
	}
	return openBucket(t, cfg)
}

func isUpload(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/upload/") }

// The client would repeat the request and report the refusal of its own
// repetition as a lost race; Retry knows better.
func TestAnUploadAppliedAndAnswered503(t *testing.T) {
	for _, size := range []int{10, 3 << 20} { // one request; a session of pieces
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			var uploads atomic.Int64
			b := between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
				if !isUpload(r) || uploads.Add(1) > 1 || size > 1<<20 {
					pass.ServeHTTP(w, r)
					return
				}
				pass.ServeHTTP(httptest.NewRecorder(), r)
				http.Error(w, "applied, but who knows", http.StatusServiceUnavailable)
			}, gcp.StorageConfig{ChunkSize: 1 << 20})
			data := bytes.Repeat([]byte("0123456789"), size/10)
			o, err := objstore.Retry(b, objstore.RetryPolicy{Base: time.Millisecond}).Create(t.Context(), "x", data, nil)
			if err != nil || o.Size != int64(len(data)) {
				t.Fatalf("Create = %+v, %v", o, err)
			}
			if got := uploads.Load(); size == 10 && got != 2 {
				t.Errorf("%d uploads, want ours and our repetition", got)
			}
		})
	}
}

// Trying again is for objstore.Retry alone, which counts the tries and knows
// their deadline.
func TestEveryRequestIsSentOnce(t *testing.T) {
	for name, op := range map[string]func(ctx context.Context, b *gcp.Bucket) error{
		"create": func(ctx context.Context, b *gcp.Bucket) error {
			_, err := b.Create(ctx, "x", []byte("data"), nil)
			return err
		},
		"create in pieces": func(ctx context.Context, b *gcp.Bucket) error {
			_, err := b.Create(ctx, "x", make([]byte, 1<<20), nil)
			return err
		},
		"replace": func(ctx context.Context, b *gcp.Bucket) error {
			_, err := b.Replace(ctx, "x", []byte("data"), nil, objstore.Any)
			return err
		},
		"stat":   func(ctx context.Context, b *gcp.Bucket) error { _, err := b.Stat(ctx, "x"); return err },
		"read":   func(ctx context.Context, b *gcp.Bucket) error { _, err := b.Read(ctx, "x", 0, -1); return err },
		"remove": func(ctx context.Context, b *gcp.Bucket) error { return b.Remove(ctx, "x", 7) },
		"list": func(ctx context.Context, b *gcp.Bucket) error {
			for _, err := range b.List(ctx, "", "") {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			b := between(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				requests.Add(1)
				http.Error(w, "not now", http.StatusServiceUnavailable)
			}, gcp.StorageConfig{ChunkSize: 256 << 10})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := op(ctx, b)
			for _, answer := range []error{objstore.ErrExist, objstore.ErrPrecondition, objstore.ErrNotExist, objstore.ErrRefused} {
				if err == nil || errors.Is(err, answer) {
					t.Errorf("error = %v, want an unknown outcome", err)
				}
			}
			if got := requests.Load(); got != 1 {
				t.Errorf("%d requests, want 1", got)
			}
		})
	}
}

func TestAFlippedUploadIsRefused(t *testing.T) {
	b := between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		if isUpload(r) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			body = bytes.Replace(body, []byte("payload"), []byte("paYload"), 1)
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		pass.ServeHTTP(w, r)
	}, gcp.StorageConfig{})
	if _, err := b.Create(t.Context(), "x", []byte("the payload of it"), nil); err == nil {
		t.Error("Create of flipped bytes worked")
	}
	if _, err := b.Stat(t.Context(), "x"); !errors.Is(err, objstore.ErrNotExist) {
		t.Errorf("Stat = %v, want ErrNotExist", err)
	}
}

func TestAFlippedReadIsNoticed(t *testing.T) {
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
		w.WriteHeader(answer.Code)
		w.Write(bytes.Replace(answer.Body.Bytes(), []byte("payload"), []byte("paYload"), 1))
	}, gcp.StorageConfig{})
	create(t, b, "x", "the payload of it")
	if got, err := b.Read(t.Context(), "x", 0, -1); err == nil {
		t.Errorf("Read = %q, want an error", got)
	}
}

func TestStatusesHaveMeanings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   error // nil: an unknown outcome
		says   string
	}{
		{"no credentials", 401, "", objstore.ErrRefused, "no valid credentials for bucket b"},
		{"no permission", 403, "", objstore.ErrRefused, "no permission on bucket b (or its key)"},
		{"not so fast, by 403", 403, `{"error":{"code":403,"errors":[{"reason":"rateLimitExceeded"}]}}`, nil, ""},
		{"not so fast", 429, "", nil, ""},
		{"broken", 500, "", nil, ""},
		{"no bucket", 404, "", objstore.ErrRefused, "bucket b does not exist"},
		{"precondition", 412, "", objstore.ErrExist, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := between(t, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}, gcp.StorageConfig{})
			_, err := b.Create(t.Context(), "x", []byte("data"), nil)
			for _, answer := range []error{objstore.ErrExist, objstore.ErrPrecondition, objstore.ErrNotExist, objstore.ErrRefused} {
				if errors.Is(err, answer) != (answer == tt.want) {
					t.Errorf("Create = %v; is it %q: %v", err, answer, errors.Is(err, answer))
				}
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("Create = %v, want one saying %q", err, tt.says)
			}
		})
	}
}

func TestABucketThatIsMissing(t *testing.T) {
	startStorage(t)
	b := openBucket(t, gcp.StorageConfig{Bucket: "nowhere"})
	for _, err := range b.List(t.Context(), "", "") {
		if !errors.Is(err, objstore.ErrRefused) {
			t.Errorf("List = %v, want ErrRefused", err)
		}
	}
	for _, name := range []string{"", "gs://b", "a/b"} {
		if _, err := gcp.OpenBucket(t.Context(), gcp.StorageConfig{Bucket: name}); err == nil {
			t.Errorf("OpenBucket(%q) worked", name)
		}
	}
}

func TestWritesNameTheKey(t *testing.T) {
	const key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
	for _, size := range []int{10, 3 << 20} {
		var named atomic.Int64
		b := between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
			if r.URL.Query().Get("kmsKeyName") == key {
				named.Add(1)
			}
			pass.ServeHTTP(w, r)
		}, gcp.StorageConfig{KMSKeyName: key, ChunkSize: 1 << 20})
		if _, err := b.Create(t.Context(), "x", make([]byte, size), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Replace(t.Context(), "x", make([]byte, size), nil, objstore.Any); err != nil {
			t.Fatal(err)
		}
		if named.Load() != 2 {
			t.Errorf("%d of 2 uploads of %d bytes named the key", named.Load(), size)
		}
	}
}

func TestRequestsAtOnceAreBounded(t *testing.T) {
	var now, most atomic.Int64
	b := between(t, func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		pass.ServeHTTP(w, r)
	}, gcp.StorageConfig{MaxConnections: 3})
	writers := pool.New().WithErrors()
	for i := range 30 {
		writers.Go(func() error {
			_, err := b.Create(t.Context(), fmt.Sprint(i), []byte("x"), nil)
			return err
		})
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	// A listing holds no slot while its reader takes some.
	for o, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Stat(t.Context(), o.Name); err != nil {
			t.Fatal(err)
		}
	}
	if got := most.Load(); got > 3 {
		t.Errorf("%d requests at once, want at most 3", got)
	}
}

func TestAStoreThatHangsIsLeftInTime(t *testing.T) {
	release := make(chan struct{})
	b := between(t, func(http.ResponseWriter, *http.Request, http.Handler) { <-release }, gcp.StorageConfig{})
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := b.Create(ctx, "x", []byte("data"), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Create = %v", err)
	}
	if _, err := b.Read(ctx, "x", 0, -1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read = %v", err)
	}
}

func create(t *testing.T, s objstore.Writer, name, data string) {
	t.Helper()
	if _, err := s.Create(t.Context(), name, []byte(data), nil); err != nil {
		t.Fatal(err)
	}
}
