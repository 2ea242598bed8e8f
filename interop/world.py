"""The programs, run as an operator runs them, and a publisher in Python."""

import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pyarrow.dataset
from google.api_core import exceptions
from google.cloud import pubsub_v1

import messages

PROJECT = "interop"
PATIENCE = 90  # seconds that anything may take


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(what, ready):
    """Asks until ready() is true; what is the subject of the complaint."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not after {PATIENCE} seconds")
        time.sleep(0.1)


class World:
    """A broker with an ingestor, a lake, and what has been published into it."""

    def __init__(self, bin, directory):
        self.bin = pathlib.Path(bin).resolve()
        self.directory = pathlib.Path(directory)
        self.lake = str(self.directory / "lake")
        self.broker = f"127.0.0.1:{free_port()}"
        self.health = f"127.0.0.1:{free_port()}"
        self.published = []
        self.swept = 0  # records that were in raw/ and are not any more
        self.process = None

    def __enter__(self):
        log = open(self.directory / "ingestor.log", "wb")
        self.process = subprocess.Popen(
            [self.bin / "ingestor", "--embedded", "--embedded-addr", self.broker, "--project", PROJECT, "--data-bucket", "file://" + self.lake,
             "--flush-age", "500ms", "--own-file-rows", "200", "--schema-refresh", "1s", "--listen", self.health], stdout=log, stderr=log)
        wait("the ingestor to be ready", self.ready)
        os.environ["PUBSUB_EMULATOR_HOST"] = self.broker
        os.environ["GOOGLE_CLOUD_PROJECT"] = PROJECT  # for the examples too
        self.client = pubsub_v1.PublisherClient(publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True))
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the ingestor ended with exit code {self.process.returncode}: {self.log()}")
        try:
            return urllib.request.urlopen(f"http://{self.health}/readyz", timeout=2).status == 200
        except (urllib.error.URLError, OSError):
            return False

    def log(self):
        return (self.directory / "ingestor.log").read_text()[-2000:]

    def stop(self):
        """SIGTERM: the ingestor makes everything durable and ends with 0."""
        self.process.send_signal(signal.SIGTERM)
        if code := self.process.wait(PATIENCE):
            raise RuntimeError(f"the ingestor ended with exit code {code} after SIGTERM: {self.log()}")

    def run(self, program, *args):
        done = subprocess.run([self.bin / program, *args], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def publish(self, batch):
        """Publishes, waits until the broker has accepted, then until all is in the lake."""
        futures = []
        for m in batch:
            topic = self.client.topic_path(PROJECT, messages.TOPIC[m.data_type])
            futures.append(self.client.publish(topic, m.payload(), ordering_key=m.key, **m.attributes))
        for m, future in zip(batch, futures):
            m.id = future.result(PATIENCE)
        self.published += batch
        wait(f"{messages.records_sent(self.published)} records in {self.lake}/raw", self.ingested)

    def ingested(self):
        """Whether raw/ holds a row or a dead letter for each record. Copies may add to it."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the ingestor ended with exit code {self.process.returncode}: {self.log()}")
        return self.rows() >= messages.records_sent(self.published) - self.swept

    def rows(self):
        return sum(self.raw_rows(t) for t in messages.FIELDS)

    def raw_rows(self, data_type):
        raw = pathlib.Path(self.lake, "raw", data_type)
        return pyarrow.dataset.dataset(raw, format="parquet").count_rows() if raw.exists() else 0

    def compact(self):
        return self.run("compactor", "--data-bucket", "file://" + self.lake, "--once")

    def topic_exists(self, name):
        try:
            self.client.get_topic(topic=self.client.topic_path(PROJECT, name))
            return True
        except exceptions.NotFound:
            return False

    def subscribed(self, name):
        return bool(list(self.client.list_topic_subscriptions(topic=self.client.topic_path(PROJECT, name))))
