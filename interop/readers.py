"""The readers: each answers the same question about one table with its own code.

An answer holds what the reader's own engine worked out (count, nulls, exact
sums, least and greatest, distinct symbols, column types) and the rows
themselves as an Arrow table in one form, to be compared value by value.

    raw         pyarrow, duckdb, polars         over raw/*.parquet, made distinct by identity
    processed   duckdb, polars, deltalake (DataFusion), deltalake-pyarrow, pyarrow   the Delta table
    both        buffetctl query
"""

import dataclasses
import datetime as dt
import decimal
import functools
import glob
import os
import subprocess

import deltalake
import duckdb
import duckdb_extension_delta
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset

import messages
from messages import UTC

PARTITION = {"year": "int32", "month": "int32", "day": "int32"}
CANONICAL = {
    messages.PRICES: pa.decimal128(18, 8), messages.CENTS: pa.decimal128(18, 2), "float64": pa.float64(), "int64": pa.int64(), "int32": pa.int32(),
    "string": pa.string(), "binary": pa.binary(), messages.TIMES: pa.timestamp("us", "UTC"), "date": pa.date32(),
}


@dataclasses.dataclass(frozen=True)
class Question:
    """Which rows: all, or those of a partition, a symbol, a time, an amount."""

    name: str
    day: dt.date | None = None
    symbol: str | None = None
    since: dt.datetime | None = None  # included
    until: dt.datetime | None = None  # not included
    over: decimal.Decimal | None = None
    null: str | None = None  # the column that has no value


@dataclasses.dataclass
class Table:
    """One table of one lake, and how to read it."""

    lake: str
    data_type: str
    version: int | None = None  # of the processed table; None is the newest

    @property
    def columns(self):
        return messages.columns(self.data_type)

    @property
    def symbol(self):
        return messages.SYMBOL[self.data_type]

    @property
    def event_time(self):
        return messages.EVENT_TIME[self.data_type]

    @property
    def amount(self):
        return messages.AMOUNT[self.data_type]

    @property
    def processed(self):
        return f"{self.lake}/processed/{self.data_type}"

    @property
    def raw(self):
        return f"{self.lake}/raw/{self.data_type}"

    def of(self, *kinds):
        return [c for c, kind in self.columns.items() if kind.startswith(kinds)]


@dataclasses.dataclass
class Answer:
    """What one reader says. Facts are keyed as they are printed."""

    reader: str
    facts: dict
    types: dict
    rows: pa.Table


def canonical(rows, table):
    """The rows with one type a column, sorted by identity."""
    rows = rows.select(list(table.columns))
    fields = [pa.field(name, CANONICAL[kind]) for name, kind in table.columns.items()]
    plain = [c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in rows.columns]
    rows = pa.table([c.cast(f.type) for c, f in zip(plain, fields)], schema=pa.schema(fields))
    order = ["_id", "_index", "_published_at", table.symbol, table.event_time]
    return rows.sort_by([(c, "ascending") for c in order]).combine_chunks()


def fact_names(table):
    """What every engine is asked to work out: (name, kind, column)."""
    yield "rows", "count", None
    for c in table.columns:
        yield f"nulls in {c}", "nulls", c
    for c in table.of("decimal", "int"):
        yield f"sum of {c}", "sum", c
    for c in [table.event_time, table.symbol, "_id"] + ([table.amount] if table.amount else []):
        yield f"least {c}", "min", c
        yield f"greatest {c}", "max", c
    yield f"distinct {table.symbol}", "distinct", table.symbol


def plain(value, kind):
    """A fact as a Python value that does not depend on the engine."""
    if isinstance(value, dt.datetime):
        return value.astimezone(UTC)
    if kind == "sum" and value is not None:
        return decimal.Decimal(value).normalize() + 0
    return value


# --- SQL: duckdb, deltalake -------------------------------------------------


def literal(value):
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, dt.datetime):
        return f"timestamptz '{value.isoformat()}'"
    if isinstance(value, dt.date):
        return f"date '{value.isoformat()}'"
    return str(value)


def where(table, q, time=literal):
    terms = ["true"]
    if q.day:
        terms.append(f"year = {q.day.year} and month = {q.day.month} and day = {q.day.day}")
    if q.symbol is not None:
        terms.append(f"{table.symbol} = {literal(q.symbol)}")
    if q.since:
        terms.append(f"{table.event_time} >= {time(q.since)} and {table.event_time} < {time(q.until)}")
    if q.over is not None:
        terms.append(f"{table.amount} > {literal(q.over)}")
    if q.null:
        terms.append(f"{q.null} is null")
    return " and ".join(terms)


def sql_facts(table, ask, source, condition):
    """Every fact, by SQL. Count, least and greatest stand in a statement of their
    own, straight from the table: an engine that answers them from the log's
    statistics instead of the rows does so here."""
    facts = {}
    for kinds, where_from in (("count", "min", "max"), f"{source} where {condition}"), (("nulls", "sum", "distinct"), f"(select * from {source} where {condition})"):
        names = [n for n in fact_names(table) if n[1] in kinds]
        for (name, kind, _), value in zip(names, ask(select_facts(table, names, where_from))):
            facts[name] = plain(value, kind)
    return facts


def select_facts(table, names, source):
    """One statement that works out facts, its columns numbered."""
    items = []
    for i, (_, kind, c) in enumerate(names):
        name = f'"{c}"'
        if kind == "sum":
            scale = {"decimal(18,8)": 8, "decimal(18,2)": 2}.get(table.columns[c], 0)
            expr = f"sum(cast({name} as decimal(38,{scale})))"
        else:
            expr = {"count": "count(*)", "nulls": f"count(*) - count({name})", "min": f"min({name})", "max": f"max({name})", "distinct": f"count(distinct {name})"}[kind]
        items.append(f"{expr} as f{i}")
    return f"select {', '.join(items)} from {source}"


@functools.cache
def duck():
    """A DuckDB with the delta extension of the PyPI package: nothing is fetched."""
    extension, = glob.glob(os.path.join(os.path.dirname(duckdb_extension_delta.__file__), "extensions", "*", "delta.duckdb_extension"))
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    connection.execute(f"LOAD '{extension}'")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


DUCK_TYPES = {"DECIMAL(18,8)": messages.PRICES, "DECIMAL(18,2)": messages.CENTS, "DOUBLE": "float64", "BIGINT": "int64", "INTEGER": "int32",
              "VARCHAR": "string", "BLOB": "binary", "TIMESTAMP WITH TIME ZONE": messages.TIMES, "DATE": "date"}


def duck_answer(name, table, q, source):
    condition = where(table, q)
    types = {c: DUCK_TYPES.get(t, t) for c, t, *_ in duck().execute(f"describe select * from {source}").fetchall()}
    facts = sql_facts(table, lambda statement: duck().execute(statement).fetchone(), source, condition)
    return Answer(name, facts, types, canonical(duck().execute(f"select * from {source} where {condition}").to_arrow_table(), table))


def duck_raw_source(table):
    files = f"read_parquet('{table.raw}/**/*.parquet', union_by_name = true, hive_partitioning = true, hive_types = {{'year': INT, 'month': INT, 'day': INT}})"
    return f"""(select * from {files} qualify row_number() over (
        partition by "{table.symbol}", "{table.event_time}", _id, _index, case when _id like 'm:%' then _published_at end order by _published_at) = 1)"""


def duck_raw(table, q):
    return duck_answer("duckdb", table, q, duck_raw_source(table))


def duck_delta(table, q):
    version = "" if table.version is None else f", version => {table.version}"
    return duck_answer("duckdb", table, q, f"delta_scan('{table.processed}'{version})")


DELTA_TYPES = {"decimal(18,8)": messages.PRICES, "decimal(18,2)": messages.CENTS, "double": "float64", "long": "int64", "integer": "int32",
               "string": "string", "binary": "binary", "timestamp": messages.TIMES, "date": "date"}


def delta_table(table):
    return deltalake.DeltaTable(table.processed, version=table.version)


def delta_types(delta):
    return {f.name: DELTA_TYPES.get(f.type.type, f.type.type) for f in delta.schema().fields}


def deltalake_sql(table, q):
    delta = delta_table(table)

    def ask(statement):
        return pa.table(deltalake.QueryBuilder().register("t", delta).execute(statement).read_all())

    # DataFusion has no timestamptz literal; it compares with a cast.
    time = lambda t: f"arrow_cast('{t.isoformat()}', 'Timestamp(Microsecond, Some(\"UTC\"))')" if isinstance(t, dt.datetime) else literal(t)
    condition = where(table, q, time)
    facts = sql_facts(table, lambda statement: [c[0].as_py() for c in ask(statement).columns], "t", condition)
    return Answer("deltalake", facts, delta_types(delta), canonical(ask(f"select * from t where {condition}"), table))


# --- pyarrow ----------------------------------------------------------------

ARROW_TYPES = {str(t): kind for kind, t in CANONICAL.items()}


def arrow_filter(table, q):
    terms = []
    if q.day:
        terms += [pc.field(name) == getattr(q.day, name) for name in PARTITION]
    if q.symbol is not None:
        terms.append(pc.field(table.symbol) == q.symbol)
    if q.since:
        kind = CANONICAL[table.columns[table.event_time]]
        terms += [pc.field(table.event_time) >= pa.scalar(q.since, kind), pc.field(table.event_time) < pa.scalar(q.until, kind)]
    if q.over is not None:
        terms.append(pc.field(table.amount) > pa.scalar(q.over, pa.decimal128(18, 8)))
    if q.null:
        terms.append(pc.field(q.null).is_null())
    return functools.reduce(lambda a, b: a & b, terms) if terms else None


def arrow_facts(rows, table):
    """The facts by pyarrow.compute. Empty sums are null, as in SQL."""
    facts = {}
    for name, kind, c in fact_names(table):
        if kind == "count":
            facts[name] = rows.num_rows
        elif kind == "nulls":
            facts[name] = rows[c].null_count
        elif kind == "sum":
            column = rows[c].cast(pa.decimal128(38, rows[c].type.scale)) if pa.types.is_decimal(rows[c].type) else rows[c]
            facts[name] = plain(pc.sum(column).as_py(), "sum")
        elif kind == "distinct":
            facts[name] = pc.count_distinct(rows[c]).as_py()
        else:
            facts[name] = plain(pc.min_max(rows[c])[kind].as_py(), kind)
    return facts


def arrow_answer(name, table, q, dataset, distinct=False):
    types = {f.name: ARROW_TYPES.get(str(f.type), str(f.type)) for f in dataset.schema}
    rows = canonical(dataset.to_table(filter=arrow_filter(table, q)), table)
    if distinct:
        rows = distinct_rows(rows, table)
    return Answer(name, arrow_facts(rows, table), types, rows)


def distinct_rows(rows, table):
    """One row an identity, the one published first. rows are sorted by it."""
    seen, keep = set(), []
    for i, row in enumerate(rows.select(["_id", "_index", "_published_at", table.symbol, table.event_time]).to_pylist()):
        if not row["_id"].startswith("m:"):
            del row["_published_at"]
        identity = tuple(row.values())
        keep.append(identity not in seen)
        seen.add(identity)
    return rows.filter(pa.array(keep, pa.bool_()))


def arrow_raw(table, q):
    return arrow_answer("pyarrow", table, q, pa.dataset.dataset(table.raw, format="parquet", partitioning="hive"), distinct=True)


def arrow_files(table, q):
    """The live files as plain Parquet: what an engine without Delta sees of them."""
    files = [uri.removeprefix("file://") for uri in delta_table(table).file_uris()]
    partitioning = pa.dataset.partitioning(pa.schema([(c, pa.int32()) for c in PARTITION]), flavor="hive")
    dataset = pa.dataset.dataset(files, format="parquet", partitioning=partitioning, partition_base_dir=table.processed)
    return arrow_answer("pyarrow", table, q, dataset)


def arrow_delta(table, q):
    return arrow_answer("deltalake-pyarrow", table, q, delta_table(table).to_pyarrow_dataset())


# --- polars -----------------------------------------------------------------

POLARS_TYPES = {polars.Decimal(18, 8): messages.PRICES, polars.Decimal(18, 2): messages.CENTS, polars.Float64(): "float64", polars.Int64(): "int64",
                polars.Int32(): "int32", polars.String(): "string", polars.Binary(): "binary", polars.Date(): "date",
                polars.Datetime("us", "UTC"): messages.TIMES}


def polars_filter(table, q):
    terms = [polars.lit(True)]
    if q.day:
        terms += [polars.col(name) == getattr(q.day, name) for name in PARTITION]
    if q.symbol is not None:
        terms.append(polars.col(table.symbol) == q.symbol)
    if q.since:
        terms += [polars.col(table.event_time) >= q.since, polars.col(table.event_time) < q.until]
    if q.over is not None:
        terms.append(polars.col(table.amount) > polars.lit(q.over, polars.Decimal(18, 8)))
    if q.null:
        terms.append(polars.col(q.null).is_null())
    return polars.all_horizontal(terms) if len(terms) > 1 else terms[0]


def polars_facts(frame, table):
    items = []
    for i, (_, kind, c) in enumerate(fact_names(table)):
        column = polars.col(c) if c else None
        expr = {"count": lambda: polars.len(), "nulls": lambda: column.null_count(), "min": lambda: column.min(), "max": lambda: column.max(),
                "sum": lambda: polars.when(column.count() > 0).then(column.cast(polars.Decimal(38, 8)).sum()), "distinct": lambda: column.n_unique()}[kind]()
        items.append(expr.alias(f"f{i}"))
    values = frame.select(items).collect().row(0)
    return {name: plain(v, kind) for (name, kind, _), v in zip(fact_names(table), values)}


def polars_answer(name, table, q, frame, distinct=False):
    types = {c: POLARS_TYPES.get(t, str(t)) for c, t in frame.collect_schema().items()}
    for c in PARTITION:
        if types.get(c) == "int64":
            types[c] = "int32"  # a folder's name says no width
    frame = frame.filter(polars_filter(table, q))
    if distinct:
        identity = [table.symbol, table.event_time, "_id", "_index", "_moment"]
        moment = polars.when(polars.col("_id").str.starts_with("m:")).then(polars.col("_published_at")).alias("_moment")
        frame = frame.with_columns(moment).sort("_published_at").unique(identity, keep="first").drop("_moment")
    return Answer(name, polars_facts(frame, table), types, canonical(frame.collect().to_arrow(), table))


def polars_raw(table, q):
    return polars_answer("polars", table, q, polars.scan_parquet(f"{table.raw}/**/*.parquet", hive_partitioning=True), distinct=True)


def polars_delta(table, q):
    return polars_answer("polars", table, q, polars.scan_delta(table.processed, version=table.version))


# --- buffetctl --------------------------------------------------------------


def buffetctl(binary, table, q):
    """Our own reader, through the command that people type, as Arrow."""
    args = [str(binary), "query", "--data-bucket", "file://" + table.lake, "--type", table.data_type, "--format", "arrow"]
    if table.version is not None:
        args += ["--as-of", str(table.version)]
    if q.day:
        args += ["--from", q.day.isoformat(), "--to", q.day.isoformat()]
    if q.symbol is not None:
        args += ["--symbol", q.symbol]
    if isinstance(q.since, dt.datetime):
        args += ["--from", q.since.isoformat(), "--to", q.until.isoformat()]
    elif q.since:
        args += ["--from", q.since.isoformat(), "--to", (q.until - dt.timedelta(days=1)).isoformat()]
    if q.over is not None:
        args += ["--where", f"{table.amount} > {q.over}"]
    if q.null:
        args += ["--where", f"{q.null} is null"]
    done = subprocess.run(args, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)}: exit code {done.returncode}: {done.stderr.decode().strip()}")
    stream = pa.ipc.open_stream(done.stdout)
    types = {f.name: ARROW_TYPES.get(str(t := f.type.value_type if pa.types.is_dictionary(f.type) else f.type), str(t)) for f in stream.schema}
    rows = canonical(stream.read_all(), table)
    return Answer("buffetctl", arrow_facts(rows, table), types, rows)


RAW = [arrow_raw, duck_raw, polars_raw]
PROCESSED = [duck_delta, polars_delta, deltalake_sql, arrow_delta, arrow_files]
