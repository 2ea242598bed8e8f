package gcp

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/impersonate"
	"google.golang.org/api/option"
)

// actAs gives the options by which a client acts as the service account: none if
// there is no account, if the emulator's variable is set, or if the ambient
// credentials are the account's already (it need not have the right to
// impersonate itself). It asks for no token yet; the client does, at first use,
// and before each runs out.
func actAs(ctx context.Context, account, emulator string, scopes ...string) ([]option.ClientOption, error) {
	if account == "" || os.Getenv(emulator) != "" || ambient(ctx) == account {
		return nil, nil
	}
	return impersonating(ctx, account, scopes)
}

// impersonating asks for tokens with the ambient credentials, or as opts say.
func impersonating(ctx context.Context, account string, scopes []string, opts ...option.ClientOption) ([]option.ClientOption, error) {
	// The source outlives the opening.
	token, err := impersonate.CredentialsTokenSource(context.WithoutCancel(ctx), impersonate.CredentialsConfig{TargetPrincipal: account, Scopes: scopes}, opts...)
	if err != nil {
		return nil, fmt.Errorf("act as %s (from GCS_SERVICE_ACCOUNT_EMAIL): %w", account, err)
	}
	return []option.ClientOption{option.WithTokenSource(token)}, nil
}

// ambient is the service account of the credentials that the environment gives, or
// "" if they are none's or cannot be found.
func ambient(ctx context.Context) string {
	credentials, err := google.FindDefaultCredentials(ctx)
	if err != nil {
		return ""
	}
	if len(credentials.JSON) > 0 {
		return accountOf(credentials.JSON)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	email, err := metadata.EmailWithContext(ctx, "default")
	if err != nil {
		return ""
	}
	return email
}

// accountOf is the service account of a credentials file: its own, or the one that it
// impersonates.
func accountOf(file []byte) string {
	var c struct {
		Email string `json:"client_email"`
		URL   string `json:"service_account_impersonation_url"`
	}
	if json.Unmarshal(file, &c) != nil {
		return ""
	}
	if c.URL != "" {
		return strings.TrimSuffix(path.Base(c.URL), ":generateAccessToken")
	}
	return c.Email
}
