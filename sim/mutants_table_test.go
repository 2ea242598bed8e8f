package sim_test

// The mistakes that the rules were made against, in the code as it is.
var mutants = []mutant{
	{"a plan from before there was a table", "table", 100, []edit{{"compaction/compaction.go", "\t\t// groups know none of their live files.\n\t\tj.group()\n", ""}}},
	{"P1 names without the version", "table", 2000, []edit{
		{"compaction/output.go", "Planned: m.snapshot.Version", "Planned: 0"},
		{"partition/commit.go", "if n.Planned < base.Fence()", "if n.Planned < -1"},
	}},
	{"P1 another suffix where the name exists", "table", 2000, []edit{
		{"compaction/output.go", "Planned: m.snapshot.Version", "Planned: 0"},
		{"compaction/output.go", "\tif errors.Is(err, objstore.ErrExist) {\n\t\tmade, err = m.sameObject(ctx, file)\n\t}\n", otherSuffix},
		{"compaction/rebase.go", "if name.Planned >= head.Fence()", "if name.Planned >= -1"},
		{"partition/commit.go", "if n.Planned < base.Fence()", "if n.Planned < -1"},
	}},
	{"P2 a fence that checkpoints forget", "table", 500, []edit{
		{"partition/checkpoint.go", "\t\tx := s.Txns[id]\n", "\t\tx := s.Txns[id]\n\t\tif id == FenceMark {\n\t\t\tcontinue\n\t\t}\n"},
	}},
	{"P3 orphans at the fence", "table", 1000, []edit{{"sweep/table.go", "o.planned < fence", "o.planned <= fence"}}},
	{"P3 orphans without a fence", "table", 200, []edit{{"sweep/table.go", "o.planned < fence", "o.planned <= p.snapshot.Version+fence*0"}}},
	{"P3 orphans by age", "table", 200, []edit{{"sweep/table.go", "o.planned < fence", "fence > -2 && p.old(o.Created, p.o.OrphanAge)"}}},
	{"P4 P6 a rebase across a fence keeps its objects", "table", 3000, []edit{
		{"partition/commit.go", "if n.Planned < base.Fence()", "if n.Planned < -1"},
		{"compaction/rebase.go", "if name.Planned >= head.Fence()", "if name.Planned >= -1"},
	}},
	{"P4 objects that are younger than the fence", "table", 3000, []edit{
		{"partition/commit.go", "if n.Planned < base.Fence()", "if n.Planned < -1"},
		{"compaction/rebase.go", "if name.Planned >= head.Fence()", "if name.Planned >= head.Fence() || head.Txns[partition.FenceMark].Updated.Before(f.Modified)"},
	}},
	{"P5 a rebase that looks at the next version only", "table", 2000, []edit{
		{"compaction/rebase.go", "why := outdated(j.snapshot, head, batch); why != \"\"", "why := j.nextOnly(ctx, head, base.Version+1, batch); why != \"\""},
		{"compaction/rebase.go", "// outdated says why", nextOnly + "// outdated says why"},
	}},
	{"P5 a rebase that reads entries, those cleaned up being nobody's", "table", 3000, []edit{
		{"compaction/rebase.go", "why := outdated(j.snapshot, head, batch); why != \"\"", "why := j.entriesOnly(ctx, head, batch); why != \"\""},
		{"compaction/rebase.go", "\t\"slices\"\n", "\t\"slices\"\n\t\"strings\"\n"},
		{"compaction/rebase.go", "// outdated says why", entriesOnly + "// outdated says why"},
	}},
	{"P5 a rebase that looks at nothing", "table", 500, []edit{
		{"compaction/rebase.go", "why := outdated(j.snapshot, head, batch); why != \"\"", "why := outdated(j.snapshot, head, batch); why == \"-\""},
	}},
	{"P5 a rebase that does not compare live files", "table", 500, []edit{
		{"compaction/rebase.go", "if !sameFiles(g.Live, head.Partition(g.Key)) {", "if false && !sameFiles(g.Live, head.Partition(g.Key)) {"},
	}},
	{"P7 a rebase that does not look for erasures", "table", 500, []edit{
		{"compaction/rebase.go", "case head.Erased() > planned.Version:", "case head.Erased() > planned.Version+1<<40:"},
	}},
	{"P7 an erasure that counts as a fence only", "table", 3000, []edit{
		{"compaction/rebase.go", "case head.Erased() > planned.Version:", "case head.Erased() > planned.Version+1<<40:"},
		{"partition/snapshot.go", "\tif t, ok := s.Txns[FenceMark]; ok {\n\t\treturn t.Version\n\t}\n\treturn -1\n", "\tif t, ok := s.Txns[FenceMark]; ok {\n\t\treturn max(t.Version, s.Erased())\n\t}\n\treturn s.Erased()\n"},
	}},
	{"P8 times that the writer gives", "table", 1000, []edit{
		{"partition/replay.go", "if err := st.one(o.Name, i+1, &actions[i], o.Created)", writersTimes + "\t\tif err := st.one(o.Name, i+1, &actions[i], at)"},
	}},
	{"P8 tombstones that checkpoints forget", "table", 500, []edit{{"partition/checkpoint.go", "if !grave.Removed.Before(expired)", "if grave.Removed.Before(expired)"}}},
	{"P8 a sweeper by another clock", "table", 200, []edit{{"sweep/sweep.go", "\treturn o.Created, nil\n}\n\n// old tells", "\treturn o.Created.Add(24 * time.Hour), nil\n}\n\n// old tells"}}},
	{"P9 the lowest checkpoint", "table", 500, []edit{{"partition/load.go", "l.checkpoints[n-1]", "l.checkpoints[0]"}}},
	{"P9 a refresh that probes for the next version", "table", 500, []edit{
		{"partition/load.go", "\tl, err := t.list(ctx, t.logName(s.Version+1))\n", "\tl, err := t.probe(ctx, s.Version+1)\n"},
		{"partition/load.go", "// settled tries again", probe + "// settled tries again"},
	}},
	{"P9 entries are not compared with what was listed", "table", 500, []edit{
		{"partition/load.go", "c, found, err := t.checkpointAtOrAbove(ctx, first)", "c, found, err := t.checkpointAtOrAbove(ctx, first+1<<40)"},
		{"partition/load.go", "> s.Properties().LogRetain {", "> s.Properties().LogRetain*1000 {"},
		{"partition/load.go", "case int64(len(data)) != o.Size:", "case len(data) < 0:"},
		{"partition/load.go", "case o.HasCRC32C && objstore", "case o.HasCRC32C && len(data) < 0 && objstore"},
	}},
	{"P10 a refresh that never looks for checkpoints", "table", 500, []edit{
		{"partition/load.go", "if len(l.checkpoints) > 0 || l.foreign", "if l.foreign"},
		{"partition/load.go", "c, found, err := t.checkpointAtOrAbove(ctx, first)", "c, found, err := t.checkpointAtOrAbove(ctx, first+1<<40)"},
	}},
	{"P11 cleanup one too far", "table", 200, []edit{{"partition/cleanup.go", "o.version < below", "o.version <= below"}}},
	{"P11 no retention and no ghost check", "table", 5000, []edit{
		{"partition/cleanup.go", "now.Sub(c.Created) >= retain", "now.Sub(c.Created) >= retain*0"},
		{"partition/commit.go", "case err == nil && found:", "case err == nil && found && c < 0:"},
	}},
	{"P12 no grace", "table", 200, []edit{{"sweep/raw.go", "ok && p.old(mark.Updated, p.o.Grace) {\n\t\t\tdue", "ok && !mark.Updated.IsZero() {\n\t\t\tdue"}}},
	{"P12 raw objects by their own age", "table", 200, []edit{{"sweep/raw.go", "mark, ok := p.snapshot.Txns[f.Name]; ok && p.old(mark.Updated, p.o.Grace) {\n\t\t\tdue", "p.old(f.Object.Created, p.o.Grace) {\n\t\t\tdue"}}},
	{"P13 no dedup against what is live", "table", 50, []edit{{"compaction/plan.go", "g.Live = slices.Clone(s.Partition(g.Key))", "g.Live = nil"}}},
	{"P14 the snapshot before the raw objects", "table", 2000, []edit{
		{"query/plan.go", "\tvar raw []partition.RawFile\n\tvar err error\n", "\tvar raw []partition.RawFile\n\tvar err error\n\tif p.snapshot, err = loadSnapshot(ctx, p.store, p.q); err != nil {\n\t\treturn err\n\t}\n"},
		{"query/plan.go", "\tif p.snapshot, err = loadSnapshot(ctx, p.store, p.q); err != nil {\n\t\treturn err\n\t}\n\tp.inputs", "\tp.inputs"},
	}},
	{"P14 a raw object that is gone is skipped", "table", 2000, []edit{
		{"query/scan.go", "if err == nil || !errors.As(err, &gone)", "if err == nil || errors.As(err, &gone) && gone.in.raw || !errors.As(err, &gone)"},
		{"query/scan.go", "\t\t\tp.result = &result\n\t\t\treturn result, err\n\t\t}\n\t\tif err := p.startOver", "\t\t\tp.result = &result\n\t\t\tif gone != nil {\n\t\t\t\terr = nil\n\t\t\t}\n\t\t\treturn result, err\n\t\t}\n\t\tif err := p.startOver"},
	}},
	{"C3 duplicates are not counted", "table", 50, []edit{{"compaction/execute.go", "f.Duplicates += duplicates", "f.Duplicates += 0"}}},
	{"C3 duplicates go with the file", "table", 50, []edit{{"compaction/execute.go", "\t\t\tduplicates += f.Duplicates\n", ""}}},
	{"K3 an upload that failed is committed", "table", 200, []edit{{"compaction/execute.go", "m.upload(ctx, merged, o)\n\t\tif err != nil {", "m.upload(ctx, merged, o)\n\t\tif err != nil && file.Size < 0 {"}}},
	{"outputs are deleted when the commit is unknown", "table", 500, []edit{
		{"compaction/commit.go", "\t\"github.com/buffetbot/ingest/partition\"\n", "\t\"github.com/buffetbot/ingest/objstore\"\n\t\"github.com/buffetbot/ingest/partition\"\n"},
		{"compaction/commit.go", "\tdone(err)\n\tif errors.Is", deleteOutputs + "\tdone(err)\n\tif errors.Is"},
	}},
	{"raw objects are deleted before the commit", "table", 50, []edit{
		{"compaction/commit.go", "\t\"github.com/buffetbot/ingest/partition\"\n", "\t\"github.com/buffetbot/ingest/objstore\"\n\t\"github.com/buffetbot/ingest/partition\"\n"},
		{"compaction/commit.go", "\tnext, rebased, err := j.commitOnHead", deleteRaw + "\tnext, rebased, err := j.commitOnHead"},
	}},
	{"another's commit is taken for ours", "table", 500, []edit{{"partition/commit.go", "if commitID(data) != id {", "if commitID(data) == \"\" {"}}},
}

const (
	writersTimes = `		at := o.Created
		if x := actions[i].Txn; x != nil && x.LastUpdated != nil {
			at = time.UnixMilli(*x.LastUpdated)
		}
		if x := actions[i].Remove; x != nil && x.DeletionTimestamp != nil {
			at = time.UnixMilli(*x.DeletionTimestamp)
		}
`
	probe = `func (t *Table) probe(ctx context.Context, v int64) (l listing, err error) {
	for ; ; v++ {
		o, err := t.store.Stat(ctx, t.entryName(v))
		if errors.Is(err, objstore.ErrNotExist) {
			return l, nil
		}
		if err != nil {
			return l, err
		}
		l.entries = append(l.entries, logObject{v, o})
	}
}

`
	otherSuffix = `	for n := int64(1); errors.Is(err, objstore.ErrExist) && n < 20; n++ {
		if file, err = file.PlannedOn(n); err == nil {
			made, err = m.store.Create(ctx, file.ObjectName(), data, o.Summary.Metadata())
		}
	}
`
	nextOnly = `func (j *job) nextOnly(ctx context.Context, head *partition.Snapshot, v int64, batch []Group) string {
	next, err := j.table.LoadVersion(ctx, v)
	if err != nil || head.Erased() > j.snapshot.Version {
		return "cannot be told"
	}
	return outdated(j.snapshot, next, batch)
}

`
	entriesOnly = `func (j *job) entriesOnly(ctx context.Context, head *partition.Snapshot, batch []Group) string {
	versions, err := j.table.History(ctx, 0)
	if err != nil || head.Erased() > j.snapshot.Version || !head.SameTable(j.snapshot) {
		return "cannot be told"
	}
	for _, v := range versions {
		for _, path := range v.AddedPaths {
			for _, g := range batch {
				if v.Version > j.snapshot.Version && strings.HasPrefix(path, g.Key.Day.Path()) {
					return path + " was added"
				}
			}
		}
	}
	return ""
}

`
	deleteOutputs = `	if errors.Is(err, partition.ErrUnknown) {
		for _, f := range c.Add {
			_ = j.store.(interface {
				Remove(context.Context, string, objstore.Generation) error
			}).Remove(ctx, f.ObjectName(), objstore.Any)
		}
	}
`
	deleteRaw = `	for _, name := range c.Consumed {
		_ = j.store.(interface {
			Remove(context.Context, string, objstore.Generation) error
		}).Remove(ctx, name, objstore.Any)
	}
`
)

func init() {
	mutants = append(mutants, []mutant{
		{"ack although the upload is unknown", "ingest", 100, []edit{{"sink/sink.go", "if err != nil && !errors.Is(err, objstore.ErrExist) {\n\t\treturn Written{}", "if err != nil && errors.Is(err, ErrBatch) {\n\t\treturn Written{}"}}},
		{"ack when one part is durable", "ingest", 100, []edit{
			{"batching/receipt.go", "switch left := r.holds.Add(-1); {", "left := r.holds.Add(-1)\n\tif err == nil && left > 0 && r.once.CompareAndSwap(false, true) {\n\t\tr.settler.Ack()\n\t\treturn\n\t}\n\tif r.once.Load() {\n\t\treturn\n\t}\n\tswitch {"},
			{"batching/receipt.go", "failed  atomic.Bool", "failed, once  atomic.Bool"},
		}},
		{"ack although a part failed", "ingest", 200, []edit{{"batching/receipt.go", "case r.failed.Load():", "case r.failed.Load() && r.settler == nil:"}}},
		{"ack although the dead letter failed", "ingest", 200, []edit{{"pipeline/bury.go", "\t\tp.config.Budget.Release(size)\n\t\treceipt.Release(err)\n\t})\n\treturn nil\n}", "\t\tp.config.Budget.Release(size)\n\t\treceipt.Release(nil)\n\t})\n\treturn nil\n}"}}},
		{"dead letters are tried once and forgotten", "ingest", 100, []edit{{"pipeline/bury.go", "err := p.insist(func(ctx context.Context) error { return p.writer.Send(ctx, letter) })", "err := p.insist(func(ctx context.Context) error { _ = p.writer.Send(ctx, letter); return nil })"}}},
		{"a writer's name that survives a restart", "ingest", 200, []edit{{"sink/sink.go", "Writer: s.config.Writer, Seq: b.Seq,", "Writer: \"w\", Seq: b.Seq % 5,"}}},
		{"partition by arrival", "ingest", 50, []edit{{"sink/sink.go", "Key: b.Key, Category", "Key: partition.Key{Type: b.Key.Type, Day: partition.DayOf(b.Opened.UnixMicro())}, Category"}}},
		{"identity without the index", "ingest", 50, []edit{
			{"columnar/order.go", "return compareValues(k.index, i, o.index, j, k.index.Value, o.index.Value)", "return 0"},
			{"columnar/feed.go", "\treturn d.index.compare(i, &o.index, j)", "\treturn 0"},
			{"columnar/feed.go", "\treturn k.index.compare(0, &d.index, i)", "\treturn 0"},
		}},
		{"verdicts that flip", "ingest", 200, []edit{{"pipeline/receive.go", "caught.Try(func() { rejected = w.decoder.Decode(m, w.rows) })", "caught.Try(func() {\n\t\tif p.counts.received.Load()%7 == 6 {\n\t\t\trejected = []schema.Rejection{{Reason: \"busy\", Record: m.Data}}\n\t\t\treturn\n\t\t}\n\t\trejected = w.decoder.Decode(m, w.rows)\n\t})"}}},
		{"a batch that could not be kept is dropped", "ingest", 200, []edit{{"pipeline/flush.go", "p.settle(b, p.flush(b))", "_ = p.flush(b)\n\t\tp.settle(b, nil)"}}},
	}...)
}
