package gcp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"strings"
	"unicode/utf8"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/buffetbot/ingest/objstore"
)

// StorageConfig says which bucket to open, and how. A zero field means the value
// beside it.
type StorageConfig struct {
	Bucket         string // required, without gs://
	KMSKeyName     string // none: full name of the customer-managed key of every object written
	Impersonate    string // none: service account to act as (not against an emulator)
	MaxConnections int    // 50: requests at once
	ChunkSize      int    // 16 MiB: objects larger than this are sent in pieces of it
	Options        []option.ClientOption
}

// A Bucket is a Cloud Storage bucket as a Store. It is safe for concurrent use.
type Bucket struct {
	client *storage.Client
	bucket *storage.BucketHandle
	cfg    StorageConfig
	slots  chan struct{} // one per request at once
}

var _ objstore.Store = (*Bucket)(nil)

// OpenBucket makes a client. It sends nothing: a bucket that does not exist is
// found out at first use.
func OpenBucket(ctx context.Context, cfg StorageConfig) (*Bucket, error) {
	if cfg.Bucket == "" || strings.ContainsAny(cfg.Bucket, "/:") {
		return nil, fmt.Errorf("open bucket %q: not a bucket's name", cfg.Bucket)
	}
	cfg.MaxConnections = cmp.Or(cfg.MaxConnections, 50)
	cfg.ChunkSize = cmp.Or(cfg.ChunkSize, googleapi.DefaultUploadChunkSize)
	// Reads through the JSON API, as everything else: the XML one answers under
	// another host, which emulators do not have. No client metrics, which need
	// rights of their own.
	opts := []option.ClientOption{storage.WithJSONReads(), storage.WithDisabledClientMetrics()}
	account, err := actAs(ctx, cfg.Impersonate, "STORAGE_EMULATOR_HOST", storage.ScopeReadWrite)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, err)
	}
	opts = append(opts, account...)
	client, err := storage.NewClient(ctx, append(opts, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", cfg.Bucket, err)
	}
	// The client's own retries cannot tell a lost answer from a lost race: it
	// would repeat an applied write and report the refusal of its own repetition.
	bucket := client.Bucket(cfg.Bucket).Retryer(storage.WithPolicy(storage.RetryNever))
	return &Bucket{client: client, bucket: bucket, cfg: cfg, slots: make(chan struct{}, cfg.MaxConnections)}, nil
}

// Close lets go of the connections.
func (b *Bucket) Close() error { return b.client.Close() }

// List implements objstore.Reader.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[objstore.Object, error] {
	return func(yield func(objstore.Object, error) bool) {
		// The API takes UTF-8 only, and an offset that it includes.
		q := &storage.Query{Prefix: validPrefix(prefix), StartOffset: validPrefix(after), Projection: storage.ProjectionNoACL}
		if err := q.SetAttrSelection([]string{"Name", "Size", "Generation", "Created", "CRC32C", "Metadata"}); err != nil {
			yield(objstore.Object{}, fmt.Errorf("list %s*: %w", prefix, err))
			return
		}
		it := b.bucket.Objects(ctx, q)
		for {
			attrs, err := b.next(ctx, it)
			if errors.Is(err, iterator.Done) {
				return
			}
			if err != nil {
				yield(objstore.Object{}, b.explain("list", prefix+"*", err))
				return
			}
			if !strings.HasPrefix(attrs.Name, prefix) || attrs.Name <= after || objstore.CheckName(attrs.Name) != nil {
				continue
			}
			if !yield(describe(attrs), nil) {
				return
			}
		}
	}
}

// next takes a slot only while a page may be fetched, not while the caller looks
// at it: the caller may need slots itself.
func (b *Bucket) next(ctx context.Context, it *storage.ObjectIterator) (*storage.ObjectAttrs, error) {
	if it.PageInfo().Remaining() == 0 {
		release, err := b.acquire(ctx)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	return it.Next()
}

// Stat implements objstore.Reader.
func (b *Bucket) Stat(ctx context.Context, name string) (objstore.Object, error) {
	release, err := b.begin(ctx, "stat", name)
	if err != nil {
		return objstore.Object{}, err
	}
	defer release()
	attrs, err := b.bucket.Object(name).Attrs(ctx)
	if err != nil {
		return objstore.Object{}, b.explain("stat", name, err)
	}
	return describe(attrs), nil
}

// Read implements objstore.Reader. The bytes of a whole object are checked
// against its checksum.
func (b *Bucket) Read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if n == 0 {
		_, err := b.Stat(ctx, name)
		return []byte{}, err
	}
	release, err := b.begin(ctx, "read", name)
	if err != nil {
		return nil, err
	}
	defer release()
	data, err := b.read(ctx, name, off, n)
	if err != nil {
		return nil, b.explain("read", name, err)
	}
	return data, nil
}

func (b *Bucket) read(ctx context.Context, name string, off, n int64) ([]byte, error) {
	length := n
	if off < 0 {
		length = -1 // the API counts from the end only to the end
	}
	r, err := b.bucket.Object(name).NewRangeReader(ctx, off, length)
	var status *googleapi.Error
	if errors.As(err, &status) && status.Code == http.StatusRequestedRangeNotSatisfiable {
		return []byte{}, nil // it exists, and ends before off
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, 0, max(r.Remain(), 0))
	buf := bytes.NewBuffer(data)
	if _, err := io.Copy(buf, r); err != nil {
		return nil, err
	}
	data = buf.Bytes()
	if err := whole(r, off, n, data); err != nil {
		return nil, err
	}
	if off < 0 && n >= 0 {
		data = data[:min(n, int64(len(data)))]
	}
	return data, nil
}

// whole says whether data is what was asked for: as long as the object's size says,
// and, where it is the object from end to end, with the object's checksum. The
// client checks the checksum only if it asked for no range, and a range's bytes
// have none of their own: they are checked by those who read them.
func whole(r *storage.Reader, off, n int64, data []byte) error {
	size, want := r.Attrs.Size, n
	rest := size - off
	if off < 0 {
		rest, want = min(-off, size), -1
	}
	if want < 0 || want > rest {
		want = max(rest, 0)
	}
	if r.Attrs.Decompressed || size < 0 {
		return nil
	}
	if int64(len(data)) != want {
		return fmt.Errorf("%d bytes came of %d that were asked for", len(data), want)
	}
	if sum := objstore.Checksum(data); int64(len(data)) == size && r.Attrs.CRC32C != 0 && sum != r.Attrs.CRC32C {
		return fmt.Errorf("the bytes that came have checksum %08x, not the object's %08x", sum, r.Attrs.CRC32C)
	}
	return nil
}

// Create implements objstore.Writer.
func (b *Bucket) Create(ctx context.Context, name string, data []byte, metadata map[string]string) (objstore.Object, error) {
	o, err := b.write(ctx, "create", name, data, metadata, &storage.Conditions{DoesNotExist: true})
	if errors.Is(err, objstore.ErrPrecondition) {
		return objstore.Object{}, fmt.Errorf("create %s: %w", name, objstore.ErrExist)
	}
	return o, err
}

// Replace implements objstore.Writer.
func (b *Bucket) Replace(ctx context.Context, name string, data []byte, metadata map[string]string, match objstore.Generation) (objstore.Object, error) {
	return b.write(ctx, "replace", name, data, metadata, condition(match))
}

// Remove implements objstore.Remover.
func (b *Bucket) Remove(ctx context.Context, name string, match objstore.Generation) error {
	release, err := b.begin(ctx, "remove", name)
	if err != nil {
		return err
	}
	defer release()
	o := b.bucket.Object(name)
	if c := condition(match); c != nil {
		o = o.If(*c)
	}
	if err := o.Delete(ctx); err != nil {
		return b.explain("remove", name, err)
	}
	return nil
}

// condition is "only at generation match", or nil for Any.
func condition(match objstore.Generation) *storage.Conditions {
	switch match {
	case objstore.Any:
		return nil
	case 0:
		return &storage.Conditions{DoesNotExist: true}
	}
	return &storage.Conditions{GenerationMatch: int64(match)}
}

func (b *Bucket) write(ctx context.Context, op, name string, data []byte, metadata map[string]string, cond *storage.Conditions) (objstore.Object, error) {
	release, err := b.begin(ctx, op, name)
	if err != nil {
		return objstore.Object{}, err
	}
	defer release()
	ctx, cancel := context.WithCancel(ctx) // ends the upload if it is left early
	defer cancel()
	o := b.bucket.Object(name)
	if cond != nil {
		o = o.If(*cond)
	}
	w := o.NewWriter(ctx)
	b.prepare(w, data, metadata)
	if _, err := w.Write(data); err != nil {
		cancel()
		if closed := w.Close(); closed != nil { // it knows the server's answer; Write only that the pipe broke
			err = closed
		}
		return objstore.Object{}, b.explain(op, name, err)
	}
	if err := w.Close(); err != nil {
		return objstore.Object{}, b.explain(op, name, err)
	}
	made := describe(w.Attrs())
	if made.Size != int64(len(data)) || made.CRC32C != objstore.Checksum(data) {
		return objstore.Object{}, fmt.Errorf("%s %s: the store has %d bytes, checksum %08x, not our %d, %08x",
			op, name, made.Size, made.CRC32C, len(data), objstore.Checksum(data))
	}
	return made, nil
}

// prepare sets what the upload is to be.
//
// An object of up to ChunkSize goes in one request without a buffer (ChunkSize
// 0, which neither retries nor sends a checksum by itself). A larger one goes in
// pieces under a session, whose repeated pieces are harmless: the session
// finishes once, under the condition.
func (b *Bucket) prepare(w *storage.Writer, data []byte, metadata map[string]string) {
	w.ChunkSize = 0
	if len(data) > b.cfg.ChunkSize {
		w.ChunkSize = b.cfg.ChunkSize
	}
	w.CRC32C, w.SendCRC32C = objstore.Checksum(data), true
	w.ContentType = "application/octet-stream"
	w.KMSKeyName = b.cfg.KMSKeyName
	w.Metadata = maps.Clone(metadata)
}

// begin takes a slot for an operation on name.
func (b *Bucket) begin(ctx context.Context, op, name string) (release func(), err error) {
	if err := objstore.CheckName(name); err != nil {
		return nil, fmt.Errorf("%s %s: %w", op, name, err)
	}
	release, err = b.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", op, name, err)
	}
	return release, nil
}

func (b *Bucket) acquire(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case b.slots <- struct{}{}:
		return func() { <-b.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// explain gives an error of the client the meaning of package objstore's.
func (b *Bucket) explain(op, name string, err error) error {
	var status *googleapi.Error
	code := 0
	if errors.As(err, &status) {
		code = status.Code
	}
	why := err
	switch {
	case errors.Is(err, storage.ErrObjectNotExist):
		why = objstore.ErrNotExist
	case code == http.StatusPreconditionFailed:
		why = objstore.ErrPrecondition
	case aboutKey(status):
		why = fmt.Errorf("%w: the key %s of bucket %s cannot be used: is it enabled, and may the bucket's service agent use it? %w",
			objstore.ErrRefused, cmp.Or(b.cfg.KMSKeyName, "(the bucket's default)"), b.cfg.Bucket, err)
	case errors.Is(err, storage.ErrBucketNotExist), code == http.StatusNotFound:
		why = fmt.Errorf("%w: bucket %s does not exist: %w", objstore.ErrRefused, b.cfg.Bucket, err)
	case code == http.StatusUnauthorized:
		why = fmt.Errorf("%w: no valid credentials for bucket %s: %w", objstore.ErrRefused, b.cfg.Bucket, err)
	case code == http.StatusForbidden && !rateLimited(status):
		why = fmt.Errorf("%w: no permission on bucket %s (or its key): %w", objstore.ErrRefused, b.cfg.Bucket, err)
	}
	return fmt.Errorf("%s %s: %w", op, name, why)
}

// aboutKey says whether a refusal is about the key that encrypts the object, and
// not about the bucket: disabled, destroyed, or withdrawn.
func aboutKey(err *googleapi.Error) bool {
	if err == nil || err.Code < 400 || err.Code >= 500 || err.Code == http.StatusTooManyRequests {
		return false
	}
	text := strings.ToLower(err.Message + err.Body)
	return strings.Contains(text, "kms") || strings.Contains(text, "cryptokey")
}

// rateLimited says whether a refusal only means "not so fast".
func rateLimited(err *googleapi.Error) bool {
	for _, e := range err.Errors {
		if e.Reason == "rateLimitExceeded" || e.Reason == "userRateLimitExceeded" {
			return true
		}
	}
	return false
}

func describe(a *storage.ObjectAttrs) objstore.Object {
	return objstore.Object{
		Name: a.Name, Size: a.Size, Generation: objstore.Generation(a.Generation), Created: a.Created,
		CRC32C: a.CRC32C, HasCRC32C: true, Metadata: a.Metadata,
	}
}

// validPrefix is the longest beginning of s that is UTF-8.
func validPrefix(s string) string {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			return s[:i]
		}
		i += n
	}
	return s
}
