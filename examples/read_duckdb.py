#!/usr/bin/env python3
"""Reads a lake with DuckDB: the compacted table, a day of it, and everything fresh.

    make demo
    pip install duckdb==1.5.5 duckdb-extension-delta==1.5.5 pytz
    python3 examples/read_duckdb.py lake

The PyPI package of the extension is for machines without access to DuckDB's own
server; elsewhere duckdb.connect() and INSTALL delta; LOAD delta do the same.
"""

import glob
import os
import sys

import duckdb
import duckdb_extension_delta

lake = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "lake")
db = duckdb.connect(config={"allow_unsigned_extensions": "true"})
db.execute("LOAD '%s'" % glob.glob(os.path.dirname(duckdb_extension_delta.__file__) + "/extensions/*/delta.duckdb_extension")[0])
db.execute("SET TimeZone = 'UTC'")

print("compacted", *db.execute(f"SELECT count(*), sum(price) FROM delta_scan('{lake}/processed/market_data')").fetchone())

# year, month and day are the partition: files of other days are not opened.
for row in db.execute(f"""
    SELECT symbol, count(*) AS quotes, min(price), max(price) FROM delta_scan('{lake}/processed/market_data')
    WHERE year = 2024 AND month = 1 AND day = 18 GROUP BY symbol ORDER BY quotes DESC, symbol LIMIT 5""").fetchall():
    print(" ", *row)

# What is not compacted yet is in raw/, where a row may stand twice and where
# compacted files stay for a while. Identity makes one row of them.
print("fresh", *db.execute(f"""
    WITH everything AS (
        SELECT * FROM delta_scan('{lake}/processed/market_data')
        UNION ALL BY NAME
        SELECT * FROM read_parquet('{lake}/raw/market_data/**/*.parquet', union_by_name = true, hive_partitioning = true,
                                   hive_types = {{'year': INT, 'month': INT, 'day': INT}})
    ), distinct_rows AS (
        SELECT * FROM everything QUALIFY row_number() OVER (
            PARTITION BY symbol, timestamp, _id, _index, CASE WHEN _id LIKE 'm:%' THEN _published_at END ORDER BY _published_at) = 1
    )
    SELECT count(*), sum(price) FROM distinct_rows""").fetchone())
