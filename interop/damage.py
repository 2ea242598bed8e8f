"""Damaged copies of a lake: the check must see each, or it checks nothing."""

import json
import pathlib
import shutil
import urllib.parse

import pyarrow as pa
import pyarrow.parquet

import messages
import readers
from readers import Table


def live(lake):
    """The newest entry of the market table's log that adds files: its path and lines."""
    for path in sorted(pathlib.Path(lake, "processed/market_data/_delta_log").glob("*.json"), reverse=True):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        if any("add" in line for line in lines):
            return path, lines
    raise RuntimeError(f"{lake}: no entry adds a file")


def rewrite(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def drop_add(lake):
    """A file of the table is forgotten."""
    path, lines = live(lake)
    lines.remove(next(line for line in lines if "add" in line))
    rewrite(path, lines)


def narrow(lake, of, name, bound):
    path, lines = live(lake)
    for line in lines:
        if "add" in line:
            stats = json.loads(line["add"]["stats"])
            stats[of][name] = bound
            line["add"]["stats"] = json.dumps(stats)
    rewrite(path, lines)


def narrow_symbol(lake):
    """A maximum that hides rows: "^VIX" is above "BRK.B"."""
    narrow(lake, "maxValues", "symbol", "BRK.B")


def narrow_time(lake):
    """A minimum that hides rows."""
    narrow(lake, "minValues", "timestamp", "2030-01-01T00:00:00.000Z")


def flip_value(lake):
    """One price differs in its eighth decimal."""
    path, lines = live(lake)
    add = next(line for line in lines if "add" in line)["add"]
    file = pathlib.Path(lake, "processed/market_data", urllib.parse.unquote(add["path"]))
    rows = pa.parquet.ParquetFile(file).read()
    prices = rows["price"].to_pylist()
    prices[0] += messages.exact("0.00000001")
    at = rows.schema.get_field_index("price")
    rows = rows.set_column(at, rows.schema.field(at), pa.array(prices, rows["price"].type))
    file.chmod(0o644)
    pa.parquet.write_table(rows, file, store_decimal_as_integer=True)
    add["size"] = file.stat().st_size  # readers look for the footer there
    rewrite(path, lines)


def twice(lake):
    """A file is in the table under two names."""
    path, lines = live(lake)
    add = next(line for line in lines if "add" in line)["add"]
    folder = pathlib.Path(lake, "processed/market_data")
    copy = str(pathlib.Path(add["path"]).with_name("copy.parquet"))
    shutil.copy(folder / urllib.parse.unquote(add["path"]), folder / urllib.parse.unquote(copy))
    rewrite(path, lines + [{"add": add | {"path": copy}}])


def lose_raw(lake):
    """A raw file is gone."""
    max(pathlib.Path(lake, "raw/market_data").glob("**/*.parquet"), key=lambda p: p.stat().st_size).unlink()


# What is done, what readers must complain of it, and where it must show.
DAMAGES = [
    (drop_add, readers.PROCESSED, "rows"),
    (narrow_symbol, readers.PROCESSED, "rows"),
    (narrow_time, readers.PROCESSED, "rows"),
    (flip_value, readers.PROCESSED, "price of row"),
    (twice, readers.PROCESSED, "rows twice"),
    (lose_raw, readers.RAW, "rows"),
]
# A row that a statistic hides is lost only to readers that trust it
# (this duckdb skips files by text, and not by timestamp).
TRUSTING = {narrow_symbol: {"duckdb", "polars", "deltalake", "deltalake-pyarrow", "spark"}, narrow_time: {"polars", "deltalake", "deltalake-pyarrow", "spark"}}


def self_test(new_check, world, questions, verbose=False):
    """Damages a copy in each way; raises where no reader sees what was done."""
    whole = {}
    for q in questions(Table(world.lake, "market_data")):
        whole[q.name] = q, readers.duck_delta(Table(world.lake, "market_data"), q)
    for damage, others, sign in DAMAGES:
        copy = world.directory / damage.__name__
        shutil.copytree(world.lake, copy)
        damage(copy)
        check = new_check(quiet=True)
        for name, (q, want) in whole.items():
            for reader in others + [ours(world)]:
                if (answer := check.ask(name, reader, Table(str(copy), "market_data"), q)) is not None:
                    check.compare(name, answer, want, Table(str(copy), "market_data"))
        expect(damage, check.complaints, others, sign)
        if verbose:
            print(f"{damage.__name__}: {damage.__doc__.strip()}")
            for reader in ["duckdb", "polars", "buffetctl"]:
                print("   ", next((c for c in check.complaints if f": {reader}: " in c), f"{reader}: no difference seen")[:300])
        shutil.rmtree(copy)


def ours(world):
    def buffetctl(table, q):
        return readers.buffetctl(world.bin / "buffetctl", table, q)
    return buffetctl


def expect(damage, complaints, others, sign):
    """Every reader that can see the damage complains of it, with the sign."""
    names = {"arrow_raw": "pyarrow", "duck_raw": "duckdb", "polars_raw": "polars", "duck_delta": "duckdb", "polars_delta": "polars",
             "deltalake_sql": "deltalake", "arrow_delta": "deltalake-pyarrow", "arrow_files": "pyarrow", "spark_delta": "spark"}
    those = {names[r.__name__] for r in others}
    for name in TRUSTING.get(damage, those) & those:
        if not any(f": {name}: " in c and sign in c for c in complaints):
            raise AssertionError(f"self-test: {damage.__name__} ({damage.__doc__.strip()}): {name} was not seen to differ in {sign!r}; complaints: {complaints[:10]}")
    if others is readers.PROCESSED and not any("buffetctl: RuntimeError" in c and "damaged log" in c for c in complaints):
        raise AssertionError(f"self-test: {damage.__name__} ({damage.__doc__.strip()}): buffetctl query has not refused the log")
