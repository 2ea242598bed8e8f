package telemetry

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/objstore/objtest"
)

// observedStore is composed as a lake composes it.
func observedStore(s objstore.Store) objstore.Store {
	return Store(objstore.Retry(Tries(s, "data"), objstore.RetryPolicy{Attempts: 3, Base: time.Microsecond}), "data")
}

func TestConform(t *testing.T) {
	started(t, Config{})
	for name, wrap := range map[string]func(objstore.Store) objstore.Store{
		"Store": func(s objstore.Store) objstore.Store { return Store(s, "data") },
		"Tries": func(s objstore.Store) objstore.Store { return Tries(s, "data") },
		"both":  observedStore,
	} {
		t.Run(name, func(t *testing.T) {
			objtest.Conform(t, func(*testing.T) objstore.Store { return wrap(objstore.NewMem()) })
		})
	}
}

func TestOperationsAreCounted(t *testing.T) {
	tel := started(t, Config{})
	s, ctx := observedStore(objstore.NewMem()), t.Context()
	must := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("error %v, want %v", err, want)
		}
	}
	o, err := s.Create(ctx, "a", []byte("12345"), nil)
	must(err, nil)
	_, err = s.Create(ctx, "a", []byte("12345678"), nil)
	must(err, objstore.ErrExist)
	_, err = s.Replace(ctx, "b", []byte("123"), nil, objstore.Any)
	must(err, nil)
	_, err = s.Replace(ctx, "b", []byte("123"), nil, 1<<40)
	must(err, objstore.ErrPrecondition)
	_, err = s.Read(ctx, "a", 1, 2)
	must(err, nil)
	_, err = s.Read(ctx, "none", 0, -1)
	must(err, objstore.ErrNotExist)
	_, err = s.Stat(ctx, "a")
	must(err, nil)
	_, err = s.Stat(ctx, "../a")
	must(err, objstore.ErrName)
	for range s.List(ctx, "", "") {
	}
	for range s.List(ctx, "", "") {
		break
	}
	must(s.Remove(ctx, "a", o.Generation), nil)
	families := scrape(t, tel)
	want := map[string]float64{
		"operation=create outcome=ok store=data": 1, "operation=create outcome=exists store=data": 1,
		"operation=replace outcome=ok store=data": 1, "operation=replace outcome=precondition store=data": 1,
		"operation=read outcome=ok store=data": 1, "operation=read outcome=not_exist store=data": 1,
		"operation=stat outcome=ok store=data": 1, "operation=stat outcome=bad_name store=data": 1,
		"operation=list outcome=ok store=data": 2, "operation=remove outcome=ok store=data": 1,
	}
	expect(t, families, "store_operations_total", want)
	expect(t, families, "store_operation_duration_seconds", want)
	expect(t, families, "store_transferred_bytes_total", map[string]float64{"direction=written store=data": 8, "direction=read store=data": 2})
	expect(t, families, "store_retries_total", map[string]float64{})
}

func TestRetriesAreCounted(t *testing.T) {
	tel := started(t, Config{})
	for _, mode := range []objtest.Mode{objtest.Fail, objtest.Lose} {
		faults := &objtest.Faults{Store: objstore.NewMem(), Times: 2, Mode: mode}
		if _, err := observedStore(faults).Create(t.Context(), "a", []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	down := observedStore(&objtest.Faults{Store: objstore.NewMem(), Times: -1})
	if _, err := down.Read(t.Context(), "a", 0, -1); err == nil {
		t.Fatal("a store that is down answered")
	}
	for _, err := range down.List(t.Context(), "", "") {
		if err == nil {
			t.Fatal("a store that is down answered")
		}
	}
	families := scrape(t, tel)
	expect(t, families, "store_retries_total", map[string]float64{
		"operation=create store=data": 4, // to compare after a lost answer is no try
		"operation=read store=data":   2, "operation=list store=data": 2,
	})
	expect(t, families, "store_operations_total", map[string]float64{
		"operation=create outcome=ok store=data": 2, "operation=read outcome=failed store=data": 1, "operation=list outcome=failed store=data": 1,
	})
}

// The time of a listing is the store's, not its reader's.
func TestDurations(t *testing.T) {
	tel := started(t, Config{})
	synctest.Test(t, func(t *testing.T) {
		mem := objstore.NewMem()
		s := Store(&objtest.Faults{Store: mem, FailAt: -1, Delay: 2 * time.Second}, "data")
		if _, err := s.Create(t.Context(), "a", nil, nil); err != nil {
			t.Fatal(err)
		}
		for range s.List(t.Context(), "", "") {
			time.Sleep(time.Minute)
		}
	})
	for _, m := range scrape(t, tel)["store_operation_duration_seconds"].GetMetric() {
		if took := m.GetHistogram().GetSampleSum(); took != 2 {
			t.Errorf("%v took %v s, want 2", m.GetLabel(), took)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for want, err := range map[string]error{
		"ok": nil, "exists": objstore.ErrExist, "not_exist": objstore.ErrNotExist, "precondition": objstore.ErrPrecondition,
		"bad_name": objstore.ErrName, "refused": objstore.ErrRefused, "breaker_open": objstore.ErrOpen,
		"canceled": context.Canceled, "timeout": context.DeadlineExceeded, "failed": errors.New("503"),
	} {
		if err != nil {
			err = fmt.Errorf("create a: %w", err)
		}
		if got := outcomeOf(err); got != want {
			t.Errorf("outcome of %v = %s, want %s", err, got, want)
		}
	}
}

func TestBreakerState(t *testing.T) {
	tel := started(t, Config{})
	faults := &objtest.Faults{Store: objstore.NewMem(), Times: -1}
	b := objstore.Break(faults, objstore.BreakerPolicy{Failures: 2, OpenFor: time.Hour})
	if err := ObserveBreaker("data", b); err != nil {
		t.Fatal(err)
	}
	f := scrape(t, tel)["store_breaker_state"]
	if v, ok := values(f)["store=data"]; !ok || v != 0 {
		t.Errorf("store_breaker_state = %v, want 0", f)
	}
	for range 2 {
		_, _ = b.Stat(t.Context(), "a")
	}
	expect(t, scrape(t, tel), "store_breaker_state", map[string]float64{"store=data": 2})
}
