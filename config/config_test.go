package config

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

type program struct {
	Store
	Ingest
	Broker
}

func (p *program) Problems() []error { return append(p.Store.Problems(), p.Ingest.Problems()...) }

func TestSizes(t *testing.T) {
	for _, tt := range []struct {
		in, out string
		want    Bytes
	}{
		{"512", "512", 512},
		{"64KiB", "64KiB", 64 << 10},
		{"256MiB", "256MiB", 256 << 20},
		{"1.5GiB", "1536MiB", 3 << 29},
		{"1MB", "1000000", 1_000_000},
		{" 2 B", "2", 2},
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(tt.in)); err != nil || b != tt.want || b.String() != tt.out {
			t.Errorf("size %q = %d %q, %v; want %d %q", tt.in, b, b, err, tt.want, tt.out)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "many", "NaN", "1e30GiB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(in)); err == nil || !strings.Contains(err.Error(), "64MiB") {
			t.Errorf("size %q gives error %v, want one that shows the form", in, err)
		}
	}
}

func TestFlagBeatsVariableBeatsDefault(t *testing.T) {
	t.Setenv("GCS_DATA_BUCKET", "from-environment")
	t.Setenv("FLUSH_ROWS", "7")
	var p program
	if _, err := Parse(&p, "program", "", []string{"--flush-rows", "9", "--subscription", "market_data=mine"}, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	if p.DataBucket != "from-environment" || p.FlushRows != 9 || p.FlushAge != 30*time.Second || p.Subscription["market_data"] != "mine" {
		t.Errorf("settings = %+v", p)
	}
}

func TestEveryProblemIsNamedAtOnce(t *testing.T) {
	var p program
	_, err := Parse(&p, "program", "", []string{
		"--flush-rows", "0", "--flush-age=-1s", "--retry-attempts", "0", "--level", "market_data=LOUD",
	}, &bytes.Buffer{})
	var usage *UsageError
	if !errors.As(err, &usage) {
		t.Fatalf("error = %v, want a usage error", err)
	}
	for _, want := range []string{"no data bucket", "--flush-rows 0", "--flush-age -1s", "--retry-attempts 0", "--level market_data=LOUD"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	_, unknownFlag := Parse(&program{}, "program", "", []string{"--colour"}, &bytes.Buffer{})
	var help bytes.Buffer
	_, helped := Parse(&program{}, "program", "", []string{"--help"}, &help)
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"help", helped, 0},
		{"failed", errors.New("store is down"), 1},
		{"an unknown flag", unknownFlag, 2},
		{"a wrapped usage error", fmt.Errorf("open: %w", Usagef("no bucket")), 2},
	} {
		if got := Exit("program", tt.err); got != tt.want {
			t.Errorf("%s: exit code %d, want %d (%v)", tt.name, got, tt.want, tt.err)
		}
	}
	if !strings.Contains(help.String(), "GCS_DATA_BUCKET") || !strings.Contains(help.String(), "--memory-budget") {
		t.Errorf("help does not teach:\n%s", help.String())
	}
}

func TestBackfillSettings(t *testing.T) {
	t.Setenv("BACKFILL_MAP", "timestamp=date;price=close")
	var b Backfill
	if _, err := Parse(&b, "backfill", "", []string{"--from", "a,b", "--from", "c", "--set", `data_source=x\;y=z`, "--delimiter", "tab"}, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	mapped, err := Pairs("map", b.Map)
	if err != nil || mapped["timestamp"] != "date" || mapped["price"] != "close" {
		t.Errorf("map = %v, %v", mapped, err)
	}
	set, err := Pairs("set", b.Set)
	if err != nil || set["data_source"] != "x;y=z" {
		t.Errorf("set = %q, %v", set, err)
	}
	if d, err := b.DelimiterByte(); d != '\t' || err != nil || len(b.From) != 2 || b.From[0] != "a,b" || b.BatchRows != 500 {
		t.Errorf("delimiter %q, %v; settings %+v", d, err, b)
	}
}
