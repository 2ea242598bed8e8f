#!/usr/bin/env python3
"""Reads a lake with deltalake (delta-rs): SQL, the history of the table, an earlier version.

    make demo
    pip install deltalake==1.6.6 pyarrow
    python3 examples/read_deltalake.py lake

Never write_deltalake, optimize or vacuum: the table has one writer (docs/reading.md).
"""

import sys

import pyarrow
from deltalake import DeltaTable, QueryBuilder

lake = sys.argv[1] if len(sys.argv) > 1 else "lake"
table = DeltaTable(f"{lake}/processed/market_data")


def sql(statement):
    return pyarrow.table(QueryBuilder().register("quotes", table).execute(statement).read_all()).to_pylist()


(total,) = sql("SELECT count(*) AS n, sum(CAST(price AS DECIMAL(38, 8))) AS price FROM quotes")
print("compacted", total["n"], total["price"])
for row in sql("SELECT symbol, count(*) AS n FROM quotes WHERE year = 2024 AND month = 1 AND day = 18 GROUP BY symbol ORDER BY n DESC, symbol LIMIT 5"):
    print(" ", row["symbol"], row["n"])

for commit in table.history(3):
    print("version", commit["version"], commit["operation"])
earlier = DeltaTable(f"{lake}/processed/market_data", version=0)
print("version 0", earlier.to_pyarrow_dataset().count_rows())
