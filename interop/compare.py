"""Compares answers, and says what differs: which reader, which column, both values."""

import pyarrow as pa

from readers import PARTITION

WORST = 5  # differences printed of one answer


def differences(answer, reference, table):
    """How answer differs from reference, a line each."""
    lines = []
    for name, want in reference.facts.items():
        if name in answer.facts and answer.facts[name] != want:
            lines.append(f"{name}: {show(answer.facts[name])}, {reference.reader} says {show(want)}")
    for column, want in table.columns.items():
        got = answer.types.get(column, "missing")
        if got != want:
            lines.append(f"type of {column}: {got}, must be {want}")
    for column, want in PARTITION.items():
        if answer.reader not in ("buffetctl", "published") and answer.types.get(column) != want:
            lines.append(f"type of {column}: {answer.types.get(column, 'missing')}, must be {want}")
    return lines + value_differences(answer, reference)


def value_differences(answer, reference):
    """The first row that differs in each column. Rows are matched by identity."""
    lines = []
    names = [c for c in answer.rows.column_names if c in reference.rows.column_names]
    mine, theirs = keyed(answer.rows), keyed(reference.rows)
    for key in sorted(theirs.keys() - mine.keys())[:1]:
        lines.append(f"row {key}: missing ({len(theirs.keys() - mine.keys())} of them), {reference.reader} has it")
    for key in sorted(mine.keys() - theirs.keys())[:1]:
        lines.append(f"row {key}: there ({len(mine.keys() - theirs.keys())} of them), {reference.reader} does not have it")
    if lines or len(mine) != answer.rows.num_rows or len(theirs) != reference.rows.num_rows:
        if len(mine) != answer.rows.num_rows:
            lines.append(f"rows twice: {answer.rows.num_rows} rows, {len(mine)} identities")
        return lines
    for c in names:
        a, b = answer.rows[c], reference.rows[c]
        if a.equals(b):
            continue
        for key, x, y in zip(mine, a.to_pylist(), b.to_pylist()):
            if x != y:
                lines.append(f"{c} of row {key}: {show(x)}, {reference.reader} says {show(y)}")
                break
    return lines


def keyed(rows: pa.Table):
    """Identity of each row, in the table's order (which is that of identities)."""
    return dict.fromkeys(zip(rows["_id"].to_pylist(), rows["_index"].to_pylist()))


def show(value):
    return "null" if value is None else str(value)
