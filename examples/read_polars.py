#!/usr/bin/env python3
"""Reads a lake with Polars: lazily, so that only the files of the day are opened.

    make demo
    pip install polars==2.1.0 deltalake==1.6.6
    python3 examples/read_polars.py lake
"""

import sys

import polars as pl

lake = sys.argv[1] if len(sys.argv) > 1 else "lake"
quotes = pl.scan_delta(f"{lake}/processed/market_data")
count, total = quotes.select(pl.len(), pl.col("price").cast(pl.Decimal(38, 8)).sum()).collect().row(0)
print("compacted", count, total)

day = quotes.filter(pl.col("year") == 2024, pl.col("month") == 1, pl.col("day") == 18)
per_symbol = day.group_by("symbol").agg(pl.len().alias("quotes"), pl.col("price").min().alias("low"), pl.col("price").max().alias("high"))
for row in per_symbol.sort("quotes", "symbol", descending=[True, False]).head(5).collect().rows():
    print(" ", *row)

# Another version of the table: the one before the first compaction is empty.
print("version 0", pl.scan_delta(f"{lake}/processed/market_data", version=0).select(pl.len()).collect().item())
