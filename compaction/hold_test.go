package compaction_test

import (
	"strings"
	"testing"
	"time"

	"github.com/buffetbot/ingest/compaction"
	"github.com/buffetbot/ingest/objstore"
	"github.com/buffetbot/ingest/partition"
)

// A held day is left alone and its neighbours are not; lifted, it is merged.
func TestAHeldDayIsLeftAlone(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	ctx, key := t.Context(), partition.Key{Type: market, Day: jan15}
	l.raw(quotes("AAPL", 0, 3)...)
	l.raw(onDay(jan15+1, quotes("AAPL", 0, 3))...)
	if err := compaction.PlaceHold(ctx, l.store, compaction.Hold{Key: key, By: "ann"}); err == nil {
		t.Error("a hold without a reason is taken")
	}
	if err := compaction.PlaceHold(ctx, l.store, compaction.Hold{Key: key, By: "ann", Reason: "under investigation", Since: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if r := l.compact(); len(r.Tables[0].Partitions) != 1 || r.Tables[0].Partitions[0].Key.Day != jan15+1 || r.Tables[0].Waiting != 1 {
		t.Errorf("held day:\n%s", r)
	}
	plan := first(l.compactor(l.store, compaction.Options{}).Plan(ctx, []string{market}))
	if len(plan) != 1 || !strings.Contains(plan[0].String(), "left alone: held by ann since ") || !strings.Contains(plan[0].String(), "under investigation") {
		t.Errorf("plan %v", plan)
	}
	if err := compaction.LiftHold(ctx, l.store, key, "bob", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := compaction.LiftHold(ctx, l.store, key, "bob", time.Now()); err == nil {
		t.Error("lifted twice")
	}
	if r := l.compact(); r.Tables[0].Commits != 1 || l.identities() != 6 {
		t.Errorf("after the hold:\n%s", r)
	}
	// A note that cannot be read holds: what somebody wanted is not known.
	l.raw(quotes("MSFT", 0, 3)...)
	if _, err := l.store.Replace(ctx, "metadata/holds/market_data/2024-01-15.json", []byte("{"), nil, objstore.Any); err != nil {
		t.Fatal(err)
	}
	if r := l.compact(); r.Tables[0].Commits != 0 {
		t.Errorf("a hold that cannot be read does not hold:\n%s", r)
	}
}

// An unreadable raw object is noted, tried again with growing pauses, keeps no
// other from being merged, and is taken in once it can be read.
func TestUnreadableIsRetriedWithPauses(t *testing.T) {
	l := newLake(t, objstore.NewMem())
	ctx := t.Context()
	good, meta := l.encode(quotes("AAPL", 100, 3)...)
	bad := l.rawName(quote{symbol: "AAPL"})
	l.put(bad, good[:len(good)-7], meta)
	now, tries := time.Now(), 0
	run := func(after time.Duration) compaction.Report {
		t.Helper()
		now = now.Add(after)
		c := l.compactor(&hooked{Store: l.store, before: func(op, name string) {
			if op == "read" && name == bad {
				tries++
			}
		}}, compaction.Options{RetryAfter: 10 * time.Minute})
		c.Clock = func() time.Time { return now }
		r, err := c.Run(ctx, []string{market})
		if err != nil {
			t.Fatalf("%v\n%s", err, r)
		}
		return r
	}
	for _, step := range []struct {
		after time.Duration
		tried bool
	}{{0, true}, {9 * time.Minute, false}, {time.Minute, true}, {19 * time.Minute, false}, {time.Minute, true}} {
		tries = 0
		l.raw(quotes("MSFT", int(now.Add(step.after).Unix()%80000), 1)...)
		if r := run(step.after); r.Tables[0].Commits != 1 {
			t.Errorf("the others of the day were not merged:\n%s", r)
		}
		if (tries > 0) != step.tried {
			t.Errorf("%s later: read %d times, want to be tried %v", step.after, tries, step.tried)
		}
	}
	all, err := compaction.UnreadableObjects(ctx, l.store, market)
	if err != nil || len(all) != 1 || all[0].Name != bad || all[0].Tries != 3 || all[0].Reason == "" || !all[0].Next.Equal(now.Add(40*time.Minute)) {
		t.Fatalf("listed %+v, %v", all, err)
	}
	// At once, on demand; of no other name.
	if _, err := compaction.RetryUnreadable(ctx, l.store, market, bad+"x", now); err == nil {
		t.Error("an object that is not listed is retried")
	}
	if n, err := compaction.RetryUnreadable(ctx, l.store, market, bad, now); n != 1 || err != nil {
		t.Errorf("retry: %d, %v", n, err)
	}
	tries = 0
	if run(0); tries == 0 {
		t.Error("not tried on demand")
	}
	// Somebody puts the right bytes there: another object, tried at once.
	if _, err := l.store.Replace(ctx, bad, good, meta, objstore.Any); err != nil {
		t.Fatal(err)
	}
	if r := run(0); r.Tables[0].Commits != 1 {
		t.Errorf("mended, and not taken in:\n%s", r)
	}
	if all, err := compaction.UnreadableObjects(ctx, l.store, market); len(all) != 0 || err != nil {
		t.Errorf("still listed %v, %v", all, err)
	}
}
