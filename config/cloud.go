package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Shapes of Google Cloud's names. They refuse what cannot be right, so that a
// typing mistake shows before anything is started; whether a thing exists is for
// config check to find out.
var (
	bucketShape  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*[a-z0-9]$`)
	projectShape = regexp.MustCompile(`^([a-z0-9.-]+\.[a-z]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	accountShape = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*@([a-z0-9][a-z0-9.-]*\.)?gserviceaccount\.com$`)
	regionShape  = regexp.MustCompile(`^(?i)([a-z]+(-[a-z]+)+[0-9]+|us|eu|asia|nam[0-9]+|eur[0-9]+|asia[0-9]+)$`)
	kmsKeyShape  = regexp.MustCompile(`^projects/[^/\s]+/locations/[a-z0-9-]+/keyRings/[a-zA-Z0-9_-]{1,63}/cryptoKeys/[a-zA-Z0-9_-]{1,63}$`)
)

// CheckProject says why a project's id cannot be one.
func CheckProject(id string) error {
	if projectShape.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%q: want a project's id: 6 to 30 lower-case letters, digits and hyphens, beginning with a letter", id)
}

// CheckBucket says why a bucket setting cannot be one: a bucket's name, gs://name
// or file:///directory.
func CheckBucket(setting string) error {
	if rest, local := strings.CutPrefix(setting, "file://"); local {
		dir, err := url.PathUnescape(rest)
		if err != nil || !filepath.IsAbs(dir) {
			return fmt.Errorf("%q: a local directory is written with its full path, as file:///var/lake", setting)
		}
		return nil
	}
	if err := checkBucketName(bucketName(setting)); err != nil {
		return fmt.Errorf("%q: %w", setting, err)
	}
	return nil
}

func checkBucketName(name string) error {
	most := 63
	if strings.Contains(name, ".") {
		most = 222
	}
	switch {
	case strings.Contains(name, "://"):
		return errors.New("want a bucket's name, gs://name, or file:///directory")
	case strings.Contains(name, "/"):
		return errors.New("a bucket without a folder is wanted: the lake has the whole bucket")
	case !bucketShape.MatchString(name) || len(name) < 3 || len(name) > most || strings.Contains(name, ".."):
		return fmt.Errorf("want a bucket's name: 3 to %d lower-case letters, digits, hyphens, underscores and dots, with a letter or digit at both ends", most)
	case strings.HasPrefix(name, "goog") || strings.Contains(name, "google"):
		return errors.New("a bucket's name neither begins with goog nor contains google")
	case net.ParseIP(name) != nil:
		return errors.New("a bucket's name is no IP address")
	}
	return nil
}

func bucketName(setting string) string {
	return strings.TrimSuffix(strings.TrimPrefix(setting, "gs://"), "/")
}

// Local says whether the lake is a directory of this machine.
func (s *Store) Local() bool { return strings.HasPrefix(s.DataBucket, "file://") }

// A bucketSetting is one of the four buckets.
type bucketSetting struct{ use, flag, variable, value string }

func (s *Store) buckets() []bucketSetting {
	return []bucketSetting{
		{"data", "data-bucket", "GCS_DATA_BUCKET", s.DataBucket},
		{"archive", "archive-bucket", "GCS_ARCHIVE_BUCKET", s.ArchiveBucket},
		{"backup", "backup-bucket", "GCS_BACKUP_BUCKET", s.BackupBucket},
		{"temp", "temp-bucket", "GCS_TEMP_BUCKET", s.TempBucket},
	}
}

// shapes is what is wrong with the settings that name things of Google Cloud, as
// far as they are set.
func (s *Store) shapes() []error {
	var all []error
	buckets := s.buckets()
	for i, b := range buckets {
		if b.value == "" {
			continue
		}
		if err := CheckBucket(b.value); err != nil {
			all = append(all, fmt.Errorf("--%s %w", b.flag, err))
			continue
		}
		for _, other := range buckets[:i] {
			if other.value != "" && overlap(other.value, b.value) {
				all = append(all, fmt.Errorf("--%s %s: the %s bucket must be another one than the %s bucket %s", b.flag, b.value, b.use, other.use, other.value))
			}
		}
	}
	match := func(flag, value string, shape *regexp.Regexp, want string) {
		if value != "" && !shape.MatchString(value) {
			all = append(all, fmt.Errorf("--%s %q: want %s", flag, value, want))
		}
	}
	match("service-account-email", s.ServiceAccount, accountShape, "a service account's e-mail address, such as NAME@PROJECT.iam.gserviceaccount.com")
	match("kms-key-id", s.KMSKey, kmsKeyShape, "a key's full name: projects/P/locations/L/keyRings/R/cryptoKeys/K")
	match("region", s.Region, regionShape, "a region's name, such as us-central1")
	if s.Project != "" && !s.Local() && os.Getenv("PUBSUB_EMULATOR_HOST") == "" && os.Getenv("STORAGE_EMULATOR_HOST") == "" {
		if err := CheckProject(s.Project); err != nil {
			all = append(all, fmt.Errorf("--project %w", err))
		}
	}
	return all
}

// overlap says whether two bucket settings name the same place, or one a place
// within the other.
func overlap(a, b string) bool {
	dirA, localA := strings.CutPrefix(a, "file://")
	dirB, localB := strings.CutPrefix(b, "file://")
	if localA != localB {
		return false
	}
	if !localA {
		return bucketName(a) == bucketName(b)
	}
	dirA, dirB = filepath.Clean(dirA)+"/", filepath.Clean(dirB)+"/"
	return strings.HasPrefix(dirA, dirB) || strings.HasPrefix(dirB, dirA)
}

// Missing is what a whole deployment on Google Cloud needs and s lacks, a line
// each. A lake in a directory of this machine needs none of it. One program alone
// may need less, and says so itself.
func (s *Store) Missing() []error {
	if s.Local() {
		return nil
	}
	var all []error
	need := func(value, what, flag, variable string) {
		if value == "" {
			all = append(all, fmt.Errorf("no %s: set --%s or %s; a deployment on Google Cloud needs it", what, flag, variable))
		}
	}
	need(s.Project, "project", "project", "GOOGLE_CLOUD_PROJECT")
	for _, b := range s.buckets() {
		need(b.value, b.use+" bucket", b.flag, b.variable)
	}
	need(s.ServiceAccount, "service account", "service-account-email", "GCS_SERVICE_ACCOUNT_EMAIL")
	return all
}
