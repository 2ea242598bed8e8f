"""Rows that correct each other, in other engines: they are read as the log says, and
the conditions that docs/reading.md gives find the rows that are current, and those
that were known at a moment.

The table begins without a natural key, gets one when it has rows, and then a chain of
corrections, until its log has a checkpoint. Session time zones are not UTC here: a
moment in a condition says its own.
"""

import dataclasses
import datetime as dt
import decimal
import json
import pathlib
import re
import shutil

import deltalake
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

import messages
import readers
import spark
from messages import UTC
from readers import Table
from world import wait

ROOT = pathlib.Path(__file__).parent.parent
TYPE = "closing_prices"
COLUMNS = ["symbol", "data_source", "close", "_published_at", "_superseded_at"]
ELSEWHERE = "America/New_York"


@dataclasses.dataclass
class Closing:
    symbol: str
    source: str
    close: decimal.Decimal
    published: dt.datetime
    event: str

    def message(self):
        sent = {"symbol": self.symbol, "timestamp": "2024-01-15T21:00:00Z", "close": str(self.close), "source": self.source}
        return messages.Message(TYPE, [messages.Record(sent, {})], {"event_id": self.event, "published_at": self.published.isoformat()})


def closing(symbol, source, close, published, event):
    return Closing(symbol, source, decimal.Decimal(close), dt.datetime.fromisoformat(published).replace(tzinfo=UTC), event)


BEFORE = [
    closing("AAPL", "x", "185.92", "2024-01-31T22:00:00", "a1"),
    closing("AAPL", "x", "185.29", "2024-01-31T23:59:59.999999", "a2"),
    closing("AAPL", "y", "185.90", "2024-01-31T22:00:00", "a3"),
    closing("MSFT", "x", "388.47", "2024-02-01T02:00:00", "m1"),
    closing("Ünï", "x", "1.00000001", "2024-01-31T22:00:00", "u1"),
]
AFTER = [
    closing("AAPL", "x", "185.30", "2024-02-01T00:00:00.000001", "a4"),
    closing("MSFT", "x", "390.00", "2024-02-01T00:00:00", "m2"),  # arrives after what corrects it
    closing("NVDA", "x", "563.82", "2024-02-01T00:00:01", "n1"),
]
MOMENTS = ["2024-01-31T22:00:00Z", "2024-02-01T00:00:00Z", "2024-02-01T00:00:00.000001Z", "2024-02-01T05:00:00Z", "2024-02-02T00:00:00Z"]


def expected(known, at=None, every=False):
    """The rows current now or at a moment, or all of them."""
    moment = at and dt.datetime.fromisoformat(at)
    rows = []
    for c in known:
        later = [o for o in known if (o.symbol, o.source) == (c.symbol, c.source) and (o.published, o.event) > (c.published, c.event)]
        end = min(later, key=lambda o: (o.published, o.event)).published if later else None
        if every or (end is None if at is None else c.published <= moment and (end is None or end > moment)):
            rows.append((c.symbol, c.source, c.close, c.published, end))
    return sorted(rows, key=str)


# --- the conditions as the document has them ---------------------------------


def conditions():
    """The two conditions of docs/reading.md, and the moment that the second names."""
    text = (ROOT / "docs/reading.md").read_text()
    found = dict((name, condition.strip()) for condition, name in re.findall(r"\bWHERE (.*_superseded_at.*?)\s*-- (current|known then)$", text, re.MULTILINE))
    moment, = set(re.findall(r"'([^']+)'", found["known then"]))
    return found["current"], found["known then"], moment


def condition(at, every):
    if every:
        return "true"
    current, then, moment = conditions()
    return current if at is None else then.replace(moment.removesuffix("Z"), at.removesuffix("Z"))  # with a Z where the document has one


# --- the engines --------------------------------------------------------------


def duck(table, at, every):
    version = "" if table.version is None else f", version => {table.version}"
    cursor = readers.duck().cursor()
    cursor.execute(f"SET TimeZone = '{ELSEWHERE}'")
    return cursor.execute(f"select {', '.join(COLUMNS)} from delta_scan('{table.processed}'{version}) where {condition(at, every)}").to_arrow_table()


def datafusion(table, at, every):
    query = deltalake.QueryBuilder().register("t", readers.delta_table(table))
    return pa.table(query.execute(f"select {', '.join(COLUMNS)} from t where {condition(at, every)}").read_all())


def with_spark(table, at, every):
    session = spark.session()
    session.conf.set("spark.sql.session.timeZone", ELSEWHERE)
    try:
        spark.frame(table).createOrReplaceTempView("t")
        return session.sql(f"select {', '.join(COLUMNS)} from t where {condition(at, every)}").toArrow()
    finally:
        session.conf.set("spark.sql.session.timeZone", "UTC")


def polars_frame(table, at, every):
    frame = polars.scan_delta(table.processed, version=table.version)
    published, superseded = polars.col("_published_at"), polars.col("_superseded_at")
    if at is not None:
        moment = dt.datetime.fromisoformat(at)
        frame = frame.filter((published <= moment) & (superseded.is_null() | (superseded > moment)))
    elif not every:
        frame = frame.filter(superseded.is_null())
    return frame.select(COLUMNS).collect().to_arrow()


def arrow(table, at, every):
    published, superseded, where = pc.field("_published_at"), pc.field("_superseded_at"), None
    if at is not None:
        moment = pa.scalar(dt.datetime.fromisoformat(at), pa.timestamp("us", "UTC"))
        where = (published <= moment) & (superseded.is_null() | (superseded > moment))
    elif not every:
        where = superseded.is_null()
    files = [uri.removeprefix("file://") for uri in readers.delta_table(table).file_uris()]
    return pa.dataset.dataset(files, format="parquet").to_table(columns=COLUMNS, filter=where)


def engines():
    return [duck, datafusion, polars_frame, arrow] + ([with_spark] if spark.spark_delta in readers.PROCESSED else [])


def rows(found):
    """Rows of any engine, in one form and order."""
    lists = [found[c].cast(pa.string()) if c in COLUMNS[:2] else found[c] for c in COLUMNS]
    moments = lambda t: t and t.astimezone(UTC)
    return sorted(((s, d, c, moments(p), moments(e)) for s, d, c, p, e in zip(*(column.to_pylist() for column in lists))), key=str)


def ours(world, lake, *args):
    out = world.run("buffetctl", "query", "--data-bucket", "file://" + lake, "--type", TYPE, "--columns", ",".join(COLUMNS), "--format", "json", *args)
    moment = lambda t: t and dt.datetime.fromisoformat(t)
    found = [json.loads(line, parse_float=decimal.Decimal) for line in out.splitlines()]
    return sorted(((r["symbol"], r["data_source"], decimal.Decimal(r["close"]), moment(r["_published_at"]), moment(r["_superseded_at"])) for r in found), key=str)


# --- the stage ----------------------------------------------------------------


def same(check, stage, name, got, want):
    check.answers += 1
    if got != want:
        missing, more = [r for r in want if r not in got], [r for r in got if r not in want]
        check.complain(stage, f"{name}: {len(got)} rows, want {len(want)}; missing {[tuple(map(str, r)) for r in missing[:2]]}, there {[tuple(map(str, r)) for r in more[:2]]}")


def compare(check, world, stage, known, compacted, lake=None, version=None):
    """Every engine finds the rows of compacted, and ours those of known, raw ones included."""
    lake = lake or world.lake
    table = Table(lake, TYPE, version=version)
    as_of = [] if version is None else ["--as-of", str(version)]
    for at, every in [(None, True), (None, False)] + [(m, False) for m in MOMENTS]:
        where = f"{stage} {'all' if every else at or 'current'}"
        args = ["--superseded"] if every else ["--known-at", at] if at else []
        same(check, where, "buffetctl", ours(world, lake, *args, *as_of), expected(known, at, every))
        for engine in engines():
            try:
                got = rows(engine(table, at, every))
            except Exception as e:  # whatever a reader of another maker raises is a finding
                check.complain(where, f"{engine.__name__}: {type(e).__name__}: {str(e)[:500]}")
                continue
            same(check, where, engine.__name__, got, expected(compacted, at, every))


def declare(world, version, key):
    definition = json.loads((ROOT / "examples/definitions/closing_prices.avsc").read_text())
    definition["bb.version"] = version
    if not key:
        del definition["bb.natural_key"]
    file = world.directory / f"closing-{version}.avsc"
    file.write_text(json.dumps(definition))
    world.run("buffetctl", "schema", "evolve", "--data-bucket", "file://" + world.lake, str(file))


def run(check, world):
    declare(world, "1.0.0", key=False)
    messages.FIELDS[TYPE], messages.TOPIC[TYPE] = {}, "closing-prices"
    wait("the subscription of closing-prices", lambda: world.topic_exists("closing-prices") and world.subscribed("closing-prices"))
    world.publish([c.message() for c in BEFORE])
    world.compact()

    declare(world, "1.1.0", key=True)
    world.compact()
    compare(check, world, "key declared", BEFORE, BEFORE)
    world.publish([c.message() for c in AFTER])
    compare(check, world, "corrected", BEFORE + AFTER, BEFORE)
    world.compact()
    compare(check, world, "corrections compacted", BEFORE + AFTER, BEFORE + AFTER)
    early = readers.delta_table(Table(world.lake, TYPE)).version()

    log, known = pathlib.Path(world.lake, f"processed/{TYPE}/_delta_log"), BEFORE + AFTER
    for n in range(30):
        if (log / "_last_checkpoint").exists():
            break
        again = Closing("AAPL", "x", decimal.Decimal(200 + n), dt.datetime(2024, 2, 1, 4, n, tzinfo=UTC), f"b{n}")
        world.publish([again.message(), again.message()])
        world.compact()
        known = known + [again]
    compare(check, world, "a chain of corrections", known, known)
    compare(check, world, f"version {early}", BEFORE + AFTER, BEFORE + AFTER, version=early)

    copy = world.directory / "corrections"
    shutil.copytree(world.lake, copy)
    newest = max(int(p.name.split(".")[0]) for p in log.glob("*.checkpoint.parquet"))
    for entry in (copy / f"processed/{TYPE}/_delta_log").glob("*.json"):
        if int(entry.stem) < newest:
            entry.unlink()
    compare(check, world, f"checkpoint {newest}", known, known, lake=str(copy))
