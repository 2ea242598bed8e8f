"""Spark with Delta Lake, another reader: its own log replay, its vectorised Parquet reader.

It needs Java 17 or later. pyspark is a Python package; the two jars of Delta
Lake come from Maven Central once, with the digests below, into a folder beside
the Python packages.
"""

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.request

import messages
import readers

DELTA = "4.0.1"  # the release for Spark 4.0
JARS = {
    f"delta-spark_2.13/{DELTA}/delta-spark_2.13-{DELTA}.jar": "a1e76860b19fe1e6b205a4ea7a9099a2f9575d39bb71d49b3e679b299d0efb91",
    f"delta-storage/{DELTA}/delta-storage-{DELTA}.jar": "ecc42c5aaa51c423312d9e4e48aa4a12b34740bf2c37de0e8f279277ec3d12e4",
}
MAVEN = os.environ.get("MAVEN_CENTRAL", "https://repo1.maven.org/maven2")

TYPES = {"decimal(18,8)": messages.PRICES, "decimal(18,2)": messages.CENTS, "double": "float64", "bigint": "int64", "int": "int32",
         "string": "string", "binary": "binary", "timestamp": messages.TIMES, "date": "date"}


def java():
    """Java's path, or None where it is missing or too old for Spark 4."""
    home = os.environ.get("JAVA_HOME")
    path = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if not path or not os.path.exists(path):
        return None
    said = subprocess.run([path, "-version"], capture_output=True, text=True).stderr
    version = said.partition('version "')[2].partition(".")[0].partition('"')[0]
    return path if version.isdigit() and int(version) >= 17 else None


def jars():
    """The jars, fetched where they are missing, and what they should be."""
    folder = pathlib.Path(sys.prefix, "jars")
    folder.mkdir(exist_ok=True)
    found = []
    for name, digest in JARS.items():
        path = folder / name.rsplit("/", 1)[1]
        if not path.exists():
            with urllib.request.urlopen(f"{MAVEN}/io/delta/{name}", timeout=120) as answer:
                content = answer.read()
            if hashlib.sha256(content).hexdigest() != digest:
                raise RuntimeError(f"{MAVEN}/io/delta/{name}: its sha256 is not {digest}")
            partial = path.with_suffix(".partial")
            partial.write_bytes(content)
            partial.rename(path)
        found.append(str(path))
    return found


@functools.cache
def session():
    """One Spark in a Java process of its own, which ends with this one."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.jars": ",".join(jars()),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.enableVectorizedReader": "true",
        "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.memory": "1g",
        "spark.sql.shuffle.partitions": "1", "spark.databricks.delta.snapshotPartitions": "1", "spark.log.level": "ERROR",
        "spark.databricks.delta.stats.skipping": "true",  # a wrong bound must show
    }
    builder = SparkSession.builder.master("local[2]").appName("interop")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def frame(table):
    reader = session().read.format("delta")
    if table.version is not None:
        reader = reader.option("versionAsOf", table.version)
    return reader.load(table.processed)


def spark_delta(table, q):
    """The answer of Spark's own engine."""
    rows = frame(table)
    rows.createOrReplaceTempView("t")
    types = {name: TYPES.get(kind, kind) for name, kind in rows.dtypes}
    condition = readers.where(table, q, literal).replace('"', "`")

    def ask(statement):
        return session().sql(statement.replace('"', "`")).first()

    facts = readers.sql_facts(table, ask, "t", condition)
    found = session().sql(f"select * from t where {condition}").toArrow()
    return readers.Answer("spark", facts, types, readers.canonical(found, table))


def literal(value):
    return readers.literal(value).replace("timestamptz", "timestamp")


def history(table):
    """Versions and operations, oldest first, as Spark tells them."""
    told = session().sql(f"describe history delta.`{table.processed}`").select("version", "operation").collect()
    return sorted((row.version, row.operation) for row in told)
