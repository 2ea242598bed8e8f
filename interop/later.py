"""What happens to a table later: its schema evolves, its past is cleaned up, and
other engines write to it."""

import json
import pathlib
import shutil
import subprocess
import time

import deltalake
import pyarrow as pa

import messages
import readers
from readers import Question, Table


def evolve(check, world, publisher):
    """A column more: messages of both versions, one after the other, in one table."""
    definition = json.loads(world.run("buffetctl", "schema", "show", "--data-bucket", "file://" + world.lake, "market_data"))
    definition["bb.version"] = "1.3.0"
    definition["fields"].append({"name": "sector", "type": ["null", "string"], "default": None, "doc": "of the company"})
    file = world.directory / "v1.3.0.avsc"
    file.write_text(json.dumps(definition))
    world.run("buffetctl", "schema", "evolve", "--data-bucket", "file://" + world.lake, str(file))
    messages.FIELDS["market_data"]["sector"] = messages.STRINGS
    batch = []
    for i in range(40):
        m = publisher.single("market_data", *publisher.market())
        m.attributes["schema_version"] = "v1.2.0" if i % 2 else "v1.3.0"
        m.records[0].row["version"] = "v1.3.0"  # the one that judges
        if i % 2 == 0:
            m.records[0].sent["sector"] = m.records[0].row["sector"] = f"sector {i}"
        batch.append(m)
    world.publish(batch[:1])  # is held until the ingestor has seen the definition
    world.publish(batch[1:])
    world.compact()
    check.table("evolved", Table(world.lake, "market_data"), readers.PROCESSED, world.bin / "buffetctl", world.published)


def forgetful(world):
    """Tables that keep their past for a second instead of weeks. The retention
    only ever rises, so it is written where the table begins."""
    for t in messages.TOPIC:
        entry = pathlib.Path(world.lake, f"processed/{t}/_delta_log/{0:020}.json")
        head, *lines = map(json.loads, entry.read_text().splitlines())
        for line in lines:
            for name in ("delta.deletedFileRetentionDuration", "delta.logRetentionDuration"):
                if "metaData" in line:
                    line["metaData"]["configuration"][name] = "interval 1 second"
        body = "".join(json.dumps(line) + "\n" for line in lines).encode()
        head["commitInfo"]["bbCrc32c"] = f"{crc32c(body):08x}"
        entry.chmod(0o644)
        entry.write_bytes(json.dumps(head).encode() + b"\n" + body)


def crc32c(data):
    """RFC 3720, appendix B.4, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def clean_up(check, world):
    """What nobody needs any more is deleted, the rows stay."""
    lake = pathlib.Path(world.lake)
    before = {p for p in lake.rglob("*") if p.is_file()}
    for _ in range(2):  # raw files and the log's past, then what stands behind the fence
        time.sleep(2)
        world.run("compactor", "--data-bucket", "file://" + world.lake, "--archive-bucket", f"file://{world.directory}/archive", "--once", "--sweep",
                  "--grace", "1s", "--retain", "1s", "--log-retain", "1s", "--orphan-age", "1s")
    world.swept = messages.records_sent(world.published) - world.rows()
    gone = {p.relative_to(lake).parts for p in before if not p.exists()}
    for what, deleted in {
        "raw files": [p for p in gone if p[0] == "raw"],
        "removed files": [p for p in gone if p[0] == "processed" and p[2] != "_delta_log"],
        "log entries": [p for p in gone if p[0] == "processed" and p[2] == "_delta_log"],
    }.items():
        if not deleted:
            check.complain("cleaned up", f"no {what} deleted: the stage shows nothing")
    for t in messages.TOPIC:
        check.table("cleaned up", Table(world.lake, t), readers.PROCESSED, world.bin / "buffetctl", world.published)


# --- other engines write -----------------------------------------------------


def optimize(table):
    return deltalake.DeltaTable(table).optimize.compact(target_size=1 << 30)["numFilesAdded"]


def append(table):
    deltalake.write_deltalake(table, deltalake.DeltaTable(table).to_pyarrow_table().slice(0, 3), mode="append")
    return 1


def append_column(table):
    rows = deltalake.DeltaTable(table).to_pyarrow_table().slice(0, 3)
    deltalake.write_deltalake(table, rows.append_column("extra", pa.array([1, 2, 3])), mode="append", schema_mode="merge")
    return 1


def delete_rows(table):
    return deltalake.DeltaTable(table).delete("symbol = 'AAPL'")["num_removed_files"]


def delete_day(table):
    """Removes whole files, and adds none: nothing to see but that rows are gone."""
    return deltalake.DeltaTable(table).delete("year = 2024 and month = 1 and day = 18")["num_removed_files"]


def vacuum(table):
    deltalake.DeltaTable(table).vacuum(0, enforce_retention_duration=False, dry_run=False)
    return 0


def checkpoint(table):
    deltalake.DeltaTable(table).create_checkpoint()
    return 0


def foreign(check, world):
    """Each writes to a copy: where the table has changed, every program of ours
    refuses it and names the writer; where it has not, nothing has changed for us."""
    for write in (optimize, append, append_column, delete_rows, delete_day, vacuum, checkpoint):
        copy = world.directory / "foreign" / write.__name__
        shutil.copytree(world.lake, copy)
        changed = write(f"{copy}/processed/market_data")
        where = f"after {write.__name__} of deltalake"
        if changed:
            refused(check, world, where, copy)
        else:
            check.table(where, Table(str(copy), "market_data"), readers.PROCESSED, world.bin / "buffetctl", world.published)
        shutil.rmtree(copy)


def refused(check, world, where, copy):
    bucket = f"file://{copy}"
    for name, args in {
        "buffetctl query": ["--data-bucket", bucket, "--type", "market_data"],
        "buffetctl fsck": ["--data-bucket", bucket],
        "compactor": ["--data-bucket", bucket, "--once"],
    }.items():
        check.answers += 1
        program, *words = name.split()
        done = subprocess.run([world.bin / program, *words, *args], capture_output=True, text=True)
        said = done.stdout + done.stderr
        if done.returncode != 1 or "written by delta-rs" not in said:
            check.complain(where, f"{name}: exit code {done.returncode}, not a word of who wrote: {said[-300:]}")
    # The other tables go on.
    readers.buffetctl(world.bin / "buffetctl", Table(str(copy), "forecasts"), Question("all"))
