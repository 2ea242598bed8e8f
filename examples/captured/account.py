#!/usr/bin/env python3
"""Accounts for every record that run.sh has published.

    examples/captured/account.py bin/buffetctl file:///…/lake MESSAGES

Records in = rows in the lake + dead letters, for each captured file and data
type; then the reasons, each with records to judge by. Exit code 1 where a file
does not add up.
"""

import collections
import csv
import json
import pathlib
import re
import subprocess
import sys

EXAMPLES = 3


def query(buffetctl, lake, data_type, columns, format):
    args = [buffetctl, "query", "--data-bucket", lake, "--type", data_type, "--columns", columns, "--format", format]
    done = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
    yield from done.stdout
    if done.wait():
        sys.exit(f"account.py: {' '.join(args)}: exit code {done.returncode}")


def file_of(event_id):
    """captured/market~oil~brent-daily.csv.gz.1.ndjson is of market/oil/brent-daily.csv.gz"""
    return re.sub(r"\.\d+\.ndjson$", "", event_id.removeprefix("captured/")).replace("~", "/")


def main(buffetctl, lake, messages):
    published = collections.Counter()
    with open(pathlib.Path(messages, "records.tsv"), newline="") as f:
        for r in csv.DictReader(f, delimiter="\t"):
            published[r["file"], r["data type"]] = int(r["records"])

    rows, letters, reasons = collections.Counter(), collections.Counter(), collections.defaultdict(list)
    for data_type in ("market_data", "options_data", "forecasts"):
        for line in query(buffetctl, lake, data_type, "_id", "csv"):
            if line.startswith("e:"):
                rows[file_of(line.strip()[2:]), data_type] += 1
    for line in query(buffetctl, lake, "dead_letters", "data_type,reason,field,value,attributes,data,explanation", "json"):
        letter = json.loads(line)
        file = file_of(json.loads(letter["attributes"])["event_id"])
        letters[file, letter["data_type"]] += 1
        reasons[letter["data_type"], letter["reason"], letter["field"]].append((file, letter))

    wrong = [key for key in published | rows | letters if published[key] != rows[key] + letters[key]]
    print(f"{'data type':14} {'records':>8} {'rows':>8} {'letters':>8}")
    for data_type in ("market_data", "options_data", "forecasts"):
        print(f"{data_type:14}", *(f"{sum(n for (_, t), n in counts.items() if t == data_type):8}" for counts in (published, rows, letters)))
    print("\nfiles with dead letters: records = rows + letters")
    for key in sorted(letters):
        print(f"  {key[0]} ({key[1]}): {published[key]} = {rows[key]} + {letters[key]}")
    print("\nreasons")
    for (data_type, reason, field), found in sorted(reasons.items(), key=lambda item: -len(item[1])):
        files = collections.Counter(file for file, _ in found)
        print(f"  {len(found)} {data_type} {reason} {field or ''}, in {len(files)} files")
        for file, letter in found[:: max(1, len(found) // EXAMPLES)][:EXAMPLES]:
            print(f"      {file}: {letter['value']!r}: {letter['explanation']}")
    for key in wrong:
        print(f"DOES NOT ADD UP: {key}: {published[key]} records, {rows[key]} rows, {letters[key]} letters")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
