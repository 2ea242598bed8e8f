"""What was published, as an answer like a reader's: the judge of all readers."""

import datetime as dt

import pyarrow as pa

import messages
import readers


def answer(sent, table, q, ours):
    """The rows that sent must have become. ours gives the publish time, which
    only the broker knows and which created_at defaults to."""
    times = dict(zip(zip(ours.rows["_id"].to_pylist(), ours.rows["_index"].to_pylist()), ours.rows["_published_at"].to_pylist()))
    rows = [r | {} for r in messages.expected_rows(sent).get(table.data_type, []) if matches(r, table, q)]
    for r in rows:
        r["created_at"] = r["created_at"] or times.get((r["_id"], r["_index"]))
    columns = [c for c in table.columns if c not in ("_published_at", "_schema_version", "_flags")]
    schema = pa.schema([(c, readers.CANONICAL[table.columns[c]]) for c in columns])
    found = pa.Table.from_pylist(sorted(rows, key=lambda r: (r["_id"], r["_index"])), schema=schema)
    facts = {}
    known = readers.Table(table.lake, table.data_type)
    for name, kind, c in readers.fact_names(known):
        if c is None or c in columns:
            facts |= fact(found, name, kind, c)
    return readers.Answer("published", facts, {c: table.columns[c] for c in columns}, found)


def fact(rows, name, kind, c):
    """One fact, worked out in Python."""
    values = [v for v in rows[c].to_pylist() if v is not None] if c else []
    if kind == "count":
        return {name: rows.num_rows}
    if kind == "nulls":
        return {name: rows.num_rows - len(values)}
    if kind == "distinct":
        return {name: len(set(values))}
    if not values:
        return {name: None}
    if kind == "sum":
        return {name: readers.plain(sum(values), "sum")}
    key = (lambda v: v.encode()) if isinstance(values[0], str) else None
    return {name: (min if kind == "min" else max)(values, key=key)}


def matches(row, table, q):
    time = row[table.event_time]
    day = time.astimezone(messages.UTC).date() if isinstance(time, dt.datetime) else time
    return ((q.day is None or day == q.day) and (q.symbol is None or row[table.symbol] == q.symbol)
            and (q.since is None or q.since <= time < q.until) and (q.over is None or row[table.amount] > q.over)
            and (q.null is None or row[q.null] is None))
