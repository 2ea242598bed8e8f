"""Readers of other makers against a lake made here. See run.sh.

    publish (google-cloud-pubsub) ─▶ ingestor ─▶ raw/ ─▶ compactor ─▶ processed/
                                                  │                      │
                    pyarrow, duckdb, polars ◀─────┘                      └─▶ duckdb, polars, deltalake, pyarrow
                                     all of them = buffetctl query = what was published

Every difference is printed with the reader, the column and both values; then
the exit code is 1. It is 2 where the check itself could not be run.
"""

import argparse
import datetime as dt
import decimal
import json
import pathlib
import shutil
import sys
import tempfile
import time

import corrections
import damage
import later
import messages
import published
import readers
import scripts
import spark
from compare import WORST, differences
from messages import UTC
from readers import Question, Table
from world import World

decimal.getcontext().prec = 60

DAYS = [dt.date(2024, 1, d) for d in (16, 17, 18, 19)]
LATE = DAYS[2:] + [dt.date(2023, 12, 29), dt.date(2024, 2, 29)]
SYMBOLS = ["AAPL", "MSFT", "BRK.B", "^VIX", "EURUSD=X", "0700.HK", "BTC-USD", "GC=F", "../../x", "O'Neil", "Ünï"]
# A file without a bound of a column is lost to a filter on that column in
# to_pyarrow_dataset of deltalake 1.6: it compares with null. Decimals that no
# float64 holds have no bound here (docs/format.md, docs/reading.md).
KNOWN = {(readers.arrow_delta, "amount")}
TYPES = ["market_data", "options_data", "forecasts"]


class Check:
    """Counts comparisons and prints what differs."""

    def __init__(self, quiet=False):
        self.answers = 0
        self.complaints = []
        self.quiet = quiet

    def complain(self, stage, text):
        self.complaints.append(f"{stage}: {text}")
        if not self.quiet:
            print(f"DIFFERENT  {stage}: {text}", flush=True)

    def compare(self, stage, answer, reference, table):
        self.answers += 1
        lines = differences(answer, reference, table)
        for line in lines if self.quiet else lines[:WORST]:
            self.complain(stage, f"{answer.reader}: {line}")
        if len(lines) > WORST and not self.quiet:
            self.complain(stage, f"{answer.reader}: and {len(lines) - WORST} more")

    def ask(self, stage, reader, table, q):
        """A reader's answer, or a complaint and nothing."""
        try:
            return reader(table, q)
        except Exception as e:  # whatever a reader of another maker raises is a finding
            self.complain(stage, f"{getattr(reader, '__name__', 'buffetctl')}: {type(e).__name__}: {str(e)[:500]}")
            return None

    def table(self, stage, table, others, binary, sent, sent_ours=None):
        """All questions about one table: what readers say is what was published."""
        ours = lambda t, q: readers.buffetctl(binary, t, q)
        for q in questions(table):
            where = f"{stage} {table.data_type} {q.name}"
            own = self.ask(where, ours, table, q)
            if own is None:
                continue
            self.compare(where, own, published.answer(sent if sent_ours is None else sent_ours, table, q, own), table)
            if sent_ours is not None:  # ours is fresh, theirs is not: only what was published can judge
                judge = published.answer(sent, table, q, own)
            else:
                judge = own
            for reader in others:
                if (reader, q.name) in KNOWN:
                    continue
                if (answer := self.ask(where, reader, table, q)) is not None:
                    self.compare(where, answer, judge, table)


def questions(table):
    yield Question("all")
    yield Question("partition", day=DAYS[2])
    yield Question("symbol", symbol="^VIX")
    yield Question("amount", over=decimal.Decimal("700.25"))
    yield Question("null", null={"market_data": "high", "options_data": "volume", "forecasts": "confidence_score"}[table.data_type])
    if table.columns[table.event_time] == "date":
        yield Question("time", since=DAYS[1], until=DAYS[3])
    else:
        yield Question("time", since=dt.datetime(2024, 1, 17, 15, 1, 2, 345678, UTC), until=dt.datetime(2024, 1, 18, 16, 30, 0, 1, UTC))


def dead_letters(check, stage, world, others):
    """The dead letters are a table as the others are; their reasons are those expected."""
    table, q = Table(world.lake, "dead_letters"), Question("all")
    own = check.ask(stage, lambda t, q: readers.buffetctl(world.bin / "buffetctl", t, q), table, q)
    if own is None:
        return
    got = {}
    for reason in own.rows["reason"].to_pylist():
        got[reason] = got.get(reason, 0) + 1
    if got != (want := messages.expected_reasons(world.published)):
        check.complain(stage, f"buffetctl: dead letters by reason: {got}, published {want}")
    for reader in others:
        if (answer := check.ask(stage, reader, table, q)) is not None:
            check.compare(f"{stage} dead_letters", answer, own, table)


def checkpoint(check, world, publisher, first):
    """Commits until the log has a checkpoint; then a copy without the entries before it.
    That of the checkpoint's own version stays, as in every clean-up: Spark asks for it."""
    log = pathlib.Path(world.lake, "processed/market_data/_delta_log")
    while not (log / "_last_checkpoint").exists():
        world.publish([publisher.single("market_data", *publisher.market())])
        world.compact()
    copy = world.directory / "checkpoint"
    shutil.copytree(world.lake, copy / "lake")
    newest = max(int(p.name.split(".")[0]) for p in log.glob("*.checkpoint.parquet"))
    for entry in (copy / "lake/processed/market_data/_delta_log").glob("*.json"):
        if int(entry.stem) < newest:
            entry.unlink()
    check.table(f"checkpoint {newest}", Table(str(copy / "lake"), "market_data"), readers.PROCESSED, world.bin / "buffetctl", world.published)
    time_travel(check, world, first)


def time_travel(check, world, first):
    """An earlier version gives what it gave, to every reader that can go there."""
    for data_type, (version, sent) in first.items():
        table = Table(world.lake, data_type, version=version)
        check.table(f"version {version}", table, readers.PROCESSED, world.bin / "buffetctl", sent)


def versions(world):
    return {t: readers.delta_table(Table(world.lake, t)).version() for t in messages.FIELDS}


def run(world, check, step):
    binary = world.bin / "buffetctl"
    publisher = messages.Publisher(7, DAYS, SYMBOLS)
    one = publisher.messages(singles=250, batch=200)
    world.publish(one)
    step(f"{len(one)} messages with {messages.records_sent(one)} records published and ingested")

    for t in TYPES:
        check.table("raw", Table(world.lake, t), readers.RAW, binary, one)
    dead_letters(check, "raw", world, readers.RAW)
    step("raw/ read by pyarrow, duckdb, polars")

    world.compact()
    later.forgetful(world)
    for t in TYPES:
        check.table("compacted", Table(world.lake, t), readers.PROCESSED, binary, one)
    dead_letters(check, "compacted", world, readers.PROCESSED)
    first = {t: (versions(world)[t], one) for t in TYPES}
    step("processed/ read by duckdb, polars, deltalake, pyarrow")

    damage.self_test(Check, world, questions)
    step("damaged copies of the lake: each reported")

    late = messages.Publisher(8, LATE, SYMBOLS + ["NEW"])
    repeats = [m for m in one if "event_id" in m.attributes][:2]
    world.publish(late.messages(singles=40, batch=60) + repeats)
    for t in TYPES:
        check.table("fresh", Table(world.lake, t), readers.PROCESSED, binary, one, sent_ours=world.published)
    step("new rows: seen by buffetctl query at once, by the others not yet")

    world.compact()
    for t in TYPES:
        check.table("compacted again", Table(world.lake, t), readers.PROCESSED, binary, world.published)
    dead_letters(check, "compacted again", world, readers.PROCESSED)
    time_travel(check, world, first)
    step("the new version, and the first one again")

    before = versions(world)
    world.compact()
    if (after := versions(world)) != before:
        check.complain("nothing to compact", f"versions went from {before} to {after}")
    checkpoint(check, world, late, first)
    step("the log's checkpoint, without the entries before it")

    scripts.run(check, world)
    scripts.adopt(world)
    step("the examples")
    later.evolve(check, world, late)
    history(check, "evolved", world)
    step("a column more, two versions of messages in one stream")
    later.clean_up(check, world)
    step("raw files, removed files and the log's past swept away")
    later.foreign(check, world)
    step("other engines write: understood or refused")
    corrections.run(check, world)
    step("corrections: the current rows and those of any moment, by the conditions of docs/reading.md")
    world.stop()


def with_spark(step):
    """Spark too, where there is a Java for it."""
    if not spark.java():
        step("no Java 17 or later: Spark is left out (Debian: apt-get install default-jre-headless)")
        return
    spark.session()
    readers.PROCESSED.append(spark.spark_delta)
    step("Spark started")


def history(check, stage, world):
    """Every reader of the log tells the same versions."""
    for data_type in messages.FIELDS:
        table = Table(world.lake, data_type)
        told = sorted((h["version"], h["operation"]) for h in readers.delta_table(table).history())
        own = sorted((v["version"], v["operation"]) for v in map(json.loads, world.run("buffetctl", "history", "--data-bucket", "file://" + world.lake, "--format", "json", data_type).splitlines()))
        others = {"deltalake": told} | ({"spark": spark.history(table)} if spark.spark_delta in readers.PROCESSED else {})
        for name, theirs in others.items():
            check.answers += 1
            if theirs != own:
                check.complain(f"{stage} {data_type} history", f"{name}: {theirs}, buffetctl says {own}")


def self_test(world, step):
    """A small lake, damaged in every way."""
    world.publish(messages.Publisher(7, DAYS, SYMBOLS).messages(singles=30, batch=40))
    world.compact()
    damage.self_test(Check, world, questions, verbose=True)
    step("damaged copies of the lake: each reported")
    world.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="bin", help="folder of the programs (%(default)s)")
    parser.add_argument("--keep", metavar="DIR", help="leave the lake in this new folder")
    parser.add_argument("--self-test", action="store_true", help="only see the check fail, on damaged copies of a lake")
    args = parser.parse_args()
    started = time.monotonic()

    def step(text):
        print(f"{time.monotonic() - started:6.1f}s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="interop-") as directory:
        check = Check()
        with_spark(step)  # before gRPC, which does not survive how pyspark starts Java
        try:
            with World(args.bin, directory) as world:
                self_test(world, step) if args.self_test else run(world, check, step)
        except AssertionError as e:
            check.complain("self-test", str(e))
        except (RuntimeError, TimeoutError, OSError) as e:
            print(f"interop: {e}", file=sys.stderr)
            return 2
        if args.keep:
            shutil.copytree(world.lake, args.keep)
            print(f"the lake is in {args.keep}")
    if check.complaints:
        print(f"{len(check.complaints)} differences in {check.answers} answers")
        return 1
    print(f"ok: {check.answers} answers compared, no difference" if not args.self_test else "ok: the check reports what is damaged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
