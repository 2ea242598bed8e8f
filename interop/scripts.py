"""The Python examples, run as their headers say: what people copy must work."""

import decimal
import os
import pathlib
import subprocess
import sys

import messages
import readers
from readers import Question, Table
from world import wait

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def example(name, *args):
    """The first words of each line that an example prints, with the rest of the line."""
    done = subprocess.run([sys.executable, "-B", EXAMPLES / name, *args], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        raise RuntimeError(f"examples/{name}: exit code {done.returncode}: {done.stderr.strip()[-1500:]}")
    lines = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        lines.setdefault(word, rest)
    return lines


def totals(world):
    """Rows and sum of price of the market table, by buffetctl query."""
    rows = readers.buffetctl(world.bin / "buffetctl", Table(world.lake, "market_data"), Question("all"))
    return rows.facts["rows"], rows.facts["sum of price"]


def run(check, world):
    """Reads what is compacted, publishes one quote more, and reads it fresh."""
    compacted = totals(world)
    for name in ("read_duckdb.py", "read_polars.py", "read_deltalake.py"):
        same(check, name, example(name, world.lake), "compacted", compacted)
    example("publish.py")
    wait("the quote of publish.py in the lake", lambda: totals(world)[0] == compacted[0] + 1)
    fresh, printed = totals(world), example("read_duckdb.py", world.lake)
    same(check, "read_duckdb.py", printed, "compacted", compacted)
    same(check, "read_duckdb.py", printed, "fresh", fresh)


def adopt(world):
    """The quote of publish.py counts among what was published from here on."""
    known = {(r["_id"], r["_index"]) for r in messages.expected_rows(world.published)["market_data"]}
    rows = readers.buffetctl(world.bin / "buffetctl", Table(world.lake, "market_data"), Question("all")).rows.to_pylist()
    for row in (r for r in rows if (r["_id"], r["_index"]) not in known):
        kind, _, name = row["_id"].partition(":")
        record = messages.Record({}, {c: row[c] for c in messages.FIELDS["market_data"]})
        world.published.append(messages.Message("market_data", [record], {"event_id": name} if kind == "e" else {}, id=name))


def same(check, name, printed, word, want):
    check.answers += 1
    count, _, total = printed.get(word, "").partition(" ")
    if (count, decimal.Decimal(total or "NaN")) != (str(want[0]), want[1]):
        check.complain("examples", f"{name}: {word} {count} {total}, buffetctl says {want[0]} {want[1]}")
