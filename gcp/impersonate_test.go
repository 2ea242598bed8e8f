package gcp

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"
)

// A redirect sends every request to one server, whatever host it names: the library
// has no setting for the address of the IAM service.
type redirect struct{ to *url.URL }

func (r redirect) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("X-Was", req.URL.Host)
	req.URL.Scheme, req.URL.Host = r.to.Scheme, r.to.Host
	return http.DefaultTransport.RoundTrip(req)
}

// The token is asked for at the IAM service, with our scopes, and is what the bucket is
// shown.
func TestImpersonation(t *testing.T) {
	t.Setenv("STORAGE_EMULATOR_HOST", "")
	var asked []string
	var shown string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if !strings.HasSuffix(r.URL.Path, ":generateAccessToken") {
			shown = r.Header.Get("Authorization")
			io.WriteString(w, `{"name":"x","size":"0","generation":"1","crc32c":"AAAAAA=="}`)
			return
		}
		var body struct {
			Scope    []string
			Lifetime string
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Header.Get("X-Was")+r.URL.Path+" "+strings.Join(body.Scope, ",")+" "+body.Lifetime)
		json.NewEncoder(w).Encode(map[string]string{"accessToken": "token-of-lake", "expireTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	}))
	defer server.Close()
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	opts, err := impersonating(t.Context(), "lake@p.iam.gserviceaccount.com", []string{storage.ScopeReadWrite},
		option.WithHTTPClient(&http.Client{Transport: redirect{to}}))
	if err != nil || len(opts) != 1 {
		t.Fatal(opts, err)
	}
	b, err := OpenBucket(t.Context(), StorageConfig{Bucket: "b", Options: append(opts, option.WithEndpoint(server.URL+"/storage/v1/"))})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 { // the second time with the same token
		if _, err := b.Stat(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	want := "iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/lake@p.iam.gserviceaccount.com:generateAccessToken " + storage.ScopeReadWrite + " 3600s"
	if len(asked) != 1 || asked[0] != want || shown != "Bearer token-of-lake" {
		t.Errorf("asked %q, want once %q; shown %q", asked, want, shown)
	}
}

func TestNobodyActsAsHimself(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, []byte(`{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r","client_email":"me@p.iam.gserviceaccount.com"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	for _, tt := range []struct {
		name, account, emulator string
		want                    int
	}{
		{"another's", "lake@p.iam.gserviceaccount.com", "", 1},
		{"one's own", "me@p.iam.gserviceaccount.com", "", 0},
		{"none", "", "", 0},
		{"an emulator", "lake@p.iam.gserviceaccount.com", "127.0.0.1:1", 0},
	} {
		t.Setenv("STORAGE_EMULATOR_HOST", tt.emulator)
		opts, err := actAs(t.Context(), tt.account, "STORAGE_EMULATOR_HOST", storage.ScopeReadWrite)
		if err != nil || len(opts) != tt.want {
			t.Errorf("%s: %d options, %v; want %d", tt.name, len(opts), err, tt.want)
		}
	}
	for file, want := range map[string]string{
		`{"client_email":"a@b"}`: "a@b",
		`{"type":"impersonated_service_account","service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/c@d:generateAccessToken"}`: "c@d",
		`{"type":"authorized_user"}`: "",
		`nonsense`:                   "",
	} {
		if got := accountOf([]byte(file)); got != want {
			t.Errorf("account of %s = %q", file, got)
		}
	}
}
