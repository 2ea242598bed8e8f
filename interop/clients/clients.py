"""Checks the embedded broker with Google's Pub/Sub client for Python.

It runs `buffetctl pubsub` in a directory of its own, stops and kills it, and
asks for what Google documents of the service. Each check is a line, ok or FAIL;
the exit code is 1 if one failed. clients.mjs does the same with Node's client.
"""

import argparse
import collections
import datetime as dt
import importlib.metadata
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from google.api_core import exceptions
from google.cloud import pubsub_v1
from google.protobuf import duration_pb2, field_mask_pb2
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
import google.pubsub_v1

PROJECT = "interop"
PATIENCE = 15  # seconds that anything may take
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Report:
    """Counts the checks and prints a line for each."""

    def __init__(self):
        self.checks = self.failed = 0

    def expect(self, promise, got, want):
        self.checks += 1
        if got == want:
            print(f"ok    python: {promise}", flush=True)
            return
        self.failed += 1
        print(f"FAIL  python: {promise}: expected {short(want)}, got {short(got)}", flush=True)


def short(v):
    s = repr(v)
    return s if len(s) < 300 else s[:300] + "..."


class Broker:
    """buffetctl pubsub, which can be stopped and started on the same directory."""

    def __init__(self, bin, directory):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.addr = f"127.0.0.1:{self.port}"
        self.program = pathlib.Path(bin).resolve() / "buffetctl"
        self.directory = pathlib.Path(directory)
        self.process = None

    def start(self):
        log = open(self.directory / "broker.log", "ab")
        self.process = subprocess.Popen([self.program, "pubsub", "--addr", self.addr, "--dir", self.directory / "pubsub"], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"buffetctl pubsub does not answer: {(self.directory / 'broker.log').read_text()[-2000:]}")
                time.sleep(0.05)

    def end(self, sig):
        self.process.send_signal(sig)
        return self.process.wait(PATIENCE)


class Clients:
    """The clients as a program makes them, for the broker in PUBSUB_EMULATOR_HOST, and short ways to use them."""

    def __init__(self, addr):
        os.environ["PUBSUB_EMULATOR_HOST"] = addr
        self.publisher = pubsub_v1.PublisherClient(publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True))
        self.subscriber = pubsub_v1.SubscriberClient()
        # Beneath the client that batches and checks sizes itself.
        channel = grpc.insecure_channel(addr, options=UNLIMITED)
        self.raw = google.pubsub_v1.PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self.wide = google.pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))

    def topic(self, name, **settings):
        path = self.publisher.topic_path(PROJECT, name)
        self.publisher.create_topic(request={"name": path, **settings})
        return path

    def subscription(self, name, topic, **settings):
        path = self.subscriber.subscription_path(PROJECT, name)
        return self.subscriber.create_subscription(request={"name": path, "topic": topic, **settings}).name

    def pair(self, name, **settings):
        topic = self.topic(name)
        return topic, self.subscription(name + "-sub", topic, **settings)

    def publish(self, topic, *data, **kw):
        return [f.result(PATIENCE) for f in [self.publisher.publish(topic, d, **kw) for d in data]]

    def pull(self, sub, n, client=None):
        """n messages, or those that came in time."""
        got, deadline = [], time.monotonic() + PATIENCE
        while len(got) < n and time.monotonic() < deadline:
            try:
                got += (client or self.subscriber).pull(subscription=sub, max_messages=n - len(got), timeout=2, retry=None).received_messages
            except exceptions.DeadlineExceeded:
                pass
        return got

    def more(self, sub):
        """What is there now, without waiting."""
        return data(self.subscriber.pull(subscription=sub, max_messages=1000, return_immediately=True).received_messages)

    def ack(self, sub, messages):
        self.subscriber.acknowledge(subscription=sub, ack_ids=[m.ack_id for m in messages])

    def deadline(self, sub, messages, seconds):
        self.subscriber.modify_ack_deadline(subscription=sub, ack_ids=[m.ack_id for m in messages], ack_deadline_seconds=seconds)

    def stream(self, sub, n, handle):
        """Runs handle on each message of a stream until it has returned true n times."""
        done = queue.Queue()

        def callback(message):
            if handle(message):
                done.put(message)

        future = self.subscriber.subscribe(sub, callback)
        got, deadline = [], time.monotonic() + PATIENCE
        try:
            while len(got) < n:
                got.append(done.get(timeout=max(0.01, deadline - time.monotonic())))
        except queue.Empty:
            pass
        future.cancel()
        try:
            future.result(PATIENCE)
        except Exception as e:  # the stream's own end is part of what is checked
            print(f"      python: the stream of {sub} ended: {e!r}", flush=True)
        return got


def data(received):
    return sorted(m.message.data for m in received)


def code(call, *args, **kw):
    """The name of the status that call ends with."""
    try:
        call(*args, **kw)
        return "OK"
    except exceptions.GoogleAPICallError as e:
        return e.grpc_status_code.name if e.grpc_status_code else repr(e)


def acked(message):
    message.ack()
    return True


def settings(c, r):
    dead = c.topic("settings-dead")
    topic = c.topic("settings", labels={"a": "b"})
    path = c.subscription(
        "settings-sub", topic, filter='attributes.kind = "x"', enable_message_ordering=True, ack_deadline_seconds=30,
        dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5}, retain_acked_messages=True,
        retry_policy={"minimum_backoff": duration_pb2.Duration(seconds=1), "maximum_backoff": duration_pb2.Duration(seconds=7)},
        enable_exactly_once_delivery=True)
    s = c.subscriber.get_subscription(subscription=path)
    r.expect("a subscription keeps what it was created with",
             (s.filter, s.enable_message_ordering, s.ack_deadline_seconds, s.dead_letter_policy.dead_letter_topic,
              s.dead_letter_policy.max_delivery_attempts, s.retain_acked_messages, s.retry_policy.minimum_backoff.seconds,
              s.retry_policy.maximum_backoff.seconds, s.enable_exactly_once_delivery),
             ('attributes.kind = "x"', True, 30, dead, 5, True, 1, 7, True))
    changed = c.subscriber.update_subscription(request={"subscription": {"name": path, "ack_deadline_seconds": 40},
                                                        "update_mask": field_mask_pb2.FieldMask(paths=["ack_deadline_seconds"])})
    r.expect("an update changes what its mask names", (changed.ack_deadline_seconds, changed.filter), (40, 'attributes.kind = "x"'))
    r.expect("a topic keeps its labels", dict(c.publisher.get_topic(topic=topic).labels), {"a": "b"})


def publishing(c, r):
    topic, sub = c.pair("publishing")
    [id] = c.publish(topic, b"one", a="1", b="Größe")
    [m] = c.pull(sub, 1)
    r.expect("a message arrives with data, attributes and id", (m.message.data, dict(m.message.attributes), m.message.message_id),
             (b"one", {"a": "1", "b": "Größe"}, id))
    age = time.time() - m.message.publish_time.timestamp()
    r.expect("its publish time is now", 0 <= age < 60, True)
    c.ack(sub, [m])
    want = [b"%04d" % i for i in range(1000)]
    ids = c.publish(topic, *want)
    got = c.pull(sub, 1000)
    c.ack(sub, got)
    r.expect("1,000 messages have 1,000 ids", len(set(ids)), 1000)
    r.expect("1,000 messages arrive by unary pull", data(got), want)
    r.expect("nothing is left when they are acknowledged", c.more(sub), [])
    batch = c.raw.publish(topic=topic, messages=[{"data": b"b%d" % i} for i in range(10)])
    r.expect("a batch of 10 gets 10 ids, growing", (len(batch.message_ids), sorted(batch.message_ids, key=int)), (10, list(batch.message_ids)))
    got = c.pull(sub, 10)
    r.expect("and arrives", data(got), [b"b%d" % i for i in range(10)])
    c.ack(sub, got)
    big = os.urandom(5 << 20)
    c.publish(topic, big)
    # Without options, gRPC for Python receives no more than 4 MiB on a channel to an emulator.
    got = c.pull(sub, 1, c.wide)
    r.expect("a message of 5 MiB arrives unchanged", [m.message.data == big for m in got], [True])
    c.ack(sub, got)


def streaming(c, r):
    topic, sub = c.pair("streaming")
    want = [b"%04d" % i for i in range(1000)]
    c.publish(topic, *want)
    got = c.stream(sub, 1000, acked)
    r.expect("1,000 messages arrive by streaming pull", sorted(m.data for m in got), want)
    r.expect("acks on the stream count", c.more(sub), [])
    seen = []

    def nack_once(m):
        seen.append(m.data)
        m.nack() if len(seen) == 1 else m.ack()
        return len(seen) > 1

    c.publish(topic, b"again")
    c.stream(sub, 1, nack_once)
    r.expect("a message nacked on the stream comes again", seen, [b"again"] * 2)


def deadlines(c, r):
    topic, sub = c.pair("deadlines")
    c.publish(topic, b"m")
    first = c.pull(sub, 1)
    r.expect("a message with a client is not given to another", c.more(sub), [])
    c.deadline(sub, first, 0)
    again = c.pull(sub, 1)
    r.expect("a nacked message comes again, the same one", [m.message.message_id for m in again], [m.message.message_id for m in first])
    c.deadline(sub, again, 1)
    started = time.monotonic()
    again = c.pull(sub, 1)
    took = time.monotonic() - started
    r.expect("a deadline set to 1 s passes after 1 s", (data(again), 0.8 < took < 4), ([b"m"], True))
    c.deadline(sub, again, 1)
    c.deadline(sub, again, 60)
    time.sleep(1.5)
    r.expect("a deadline that was extended does not", c.more(sub), [])
    c.ack(sub, again)


def ordering(c, r):
    topic, sub = c.pair("ordering", enable_message_ordering=True)
    want = collections.defaultdict(list)
    futures = []
    for i in range(200):
        key = "key-%d" % (i % 4)
        want[key].append(b"%03d" % i)
        futures.append(c.publisher.publish(topic, b"%03d" % i, ordering_key=key))
    [f.result(PATIENCE) for f in futures]
    nacked, seen, lock = set(), collections.defaultdict(list), threading.Lock()

    def handle(m):
        with lock:
            seen[m.ordering_key].append(m.data)
            if m.data in (b"000", b"101") and m.data not in nacked:  # the first of a key, and one amid
                nacked.add(m.data)
                m.nack()
                return False
        m.ack()
        return True

    c.stream(sub, 200, handle)
    r.expect("every message of every key comes", {k: sorted(set(v)) for k, v in seen.items()}, dict(want))
    # The client hands on what it already holds of a key before the nacked message is back.
    back = {k: [b for a, b in zip(v, v[1:]) if b <= a] for k, v in seen.items()}
    r.expect("messages of a key come in order, from the nacked one again", back, {"key-0": [b"000"], "key-1": [b"101"], "key-2": [], "key-3": []})

    topic, sub = c.pair("following", enable_message_ordering=True)
    c.publish(topic, b"1", b"2", b"3", ordering_key="key")
    got = c.pull(sub, 3)
    c.deadline(sub, got[:1], 0)
    again = c.pull(sub, 3)
    r.expect("a nacked message brings those that follow it in its key", [[m.message.data for m in x] for x in (got, again)], [[b"1", b"2", b"3"]] * 2)
    c.ack(sub, again)


def filters(c, r):
    topic, sub = c.pair("filters", filter='attributes.kind = "x" AND hasPrefix(attributes.name, "ab") AND NOT attributes:hidden')
    for d, a in ((b"1", {"kind": "x", "name": "abc"}), (b"2", {"kind": "y", "name": "abc"}), (b"3", {"kind": "x", "name": "bc"}),
                 (b"4", {"kind": "x", "name": "ab", "hidden": ""}), (b"5", {"kind": "x"}), (b"6", {"kind": "x", "name": "ab"})):
        c.publish(topic, d, **a)
    got = c.pull(sub, 2)
    r.expect("a filter lets through what matches, and nothing else", (data(got), c.more(sub)), ([b"1", b"6"], []))
    r.expect("a filter that cannot be read is INVALID_ARGUMENT", code(c.subscription, "filters-bad", topic, filter="kind is x"), "INVALID_ARGUMENT")


def retries(c, r):
    topic, sub = c.pair("retries", retry_policy={"minimum_backoff": duration_pb2.Duration(seconds=1), "maximum_backoff": duration_pb2.Duration(seconds=2)})
    c.publish(topic, b"m")
    c.deadline(sub, c.pull(sub, 1), 0)
    started = time.monotonic()
    got = c.pull(sub, 1)
    took = time.monotonic() - started
    r.expect("a retry policy of 1 s delays a nacked message by 1 s", (data(got), 0.8 < took < 4), ([b"m"], True))


def seeking(c, r):
    topic, sub = c.pair("seeking", retain_acked_messages=True)
    c.publish(topic, b"a")
    time.sleep(0.02)
    between = dt.datetime.now(dt.timezone.utc)
    time.sleep(0.02)
    c.publish(topic, b"b", b"c")
    c.ack(sub, c.pull(sub, 3))
    c.subscriber.seek(request={"subscription": sub, "time": between})
    got = c.pull(sub, 2)
    r.expect("a seek to a time brings what was published since, though acknowledged, and nothing before", (data(got), c.more(sub)), ([b"b", b"c"], []))
    c.subscriber.seek(request={"subscription": sub, "time": dt.datetime.now(dt.timezone.utc) + dt.timedelta(minutes=1)})
    r.expect("a seek to the future purges", c.more(sub), [])

    topic, sub = c.pair("snapshot")
    c.publish(topic, b"a", b"b")
    both = c.pull(sub, 2)
    c.ack(sub, [m for m in both if m.message.data == b"a"])
    snapshot = c.subscriber.snapshot_path(PROJECT, "snapshot-one")
    c.subscriber.create_snapshot(request={"name": snapshot, "subscription": sub})
    c.publish(topic, b"c")
    c.ack(sub, [m for m in both if m.message.data == b"b"] + c.pull(sub, 1))
    r.expect("nothing is left before the seek", c.more(sub), [])
    c.subscriber.seek(request={"subscription": sub, "snapshot": snapshot})
    got = c.pull(sub, 2)
    r.expect("a seek to a snapshot brings what was unacknowledged then and what came since", (data(got), c.more(sub)), ([b"b", b"c"], []))
    listed = [s.name for s in c.subscriber.list_snapshots(project=f"projects/{PROJECT}")]
    c.subscriber.delete_snapshot(snapshot=snapshot)
    r.expect("a snapshot is listed, and deleted", (listed, list(c.subscriber.list_snapshots(project=f"projects/{PROJECT}"))), ([snapshot], []))


def dead_letters(c, r):
    dead, letters = c.pair("dead")
    topic, sub = c.pair("alive", dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 5})
    [id] = c.publish(topic, b"poison", mine="kept")
    attempts = []
    for _ in range(5):
        got = c.pull(sub, 1)
        published = got[0].message.publish_time if got else None
        attempts += [m.delivery_attempt for m in got]
        c.deadline(sub, got, 0)
    r.expect("delivery attempts are counted from 1 to 5", attempts, [1, 2, 3, 4, 5])
    got = c.pull(letters, 1)
    r.expect("a nacked message is dead-lettered after 5 attempts", (data(got), c.more(sub)), ([b"poison"], []))
    a = dict(got[0].message.attributes) if got else {}
    when = a.pop("CloudPubSubDeadLetterSourceTopicPublishTime", "")
    r.expect("a dead letter says where it comes from", a,
             {"mine": "kept", "CloudPubSubDeadLetterSourceDeliveryCount": "5", "CloudPubSubDeadLetterSourceSubscription": "alive-sub",
              "CloudPubSubDeadLetterSourceSubscriptionProject": PROJECT})
    r.expect("and when it was published", bool(when) and abs(dt.datetime.fromisoformat(when) - published) < dt.timedelta(milliseconds=2), True)
    c.ack(letters, got)
    r.expect("and comes once", c.more(letters), [])


def exactly_once(c, r):
    topic, sub = c.pair("once", enable_exactly_once_delivery=True)
    c.publish(topic, *[b"%02d" % i for i in range(50)])
    results = []

    def handle(m):
        results.append(m.ack_with_response())
        return True

    got = c.stream(sub, 50, handle)
    r.expect("acks on a stream with exactly-once delivery are confirmed", {f.result(PATIENCE).name for f in results}, {"SUCCESS"})
    r.expect("no message comes twice", (len(got), len({m.message_id for m in got}), c.more(sub)), (50, 50, []))
    c.publish(topic, b"late")
    late = c.pull(sub, 1)
    c.deadline(sub, late, 1)
    again = c.pull(sub, 1)
    r.expect("an ack after the deadline is refused", code(c.ack, sub, late), "INVALID_ARGUMENT")
    r.expect("and the message came again", (data(again), code(c.ack, sub, again)), ([b"late"], "OK"))


def errors(c, r):
    topic, sub = c.pair("errors")
    missing, absent = c.publisher.topic_path(PROJECT, "missing"), c.subscriber.subscription_path(PROJECT, "absent")
    for what, want, call in (
            ("getting a missing topic", "NOT_FOUND", lambda: c.publisher.get_topic(topic=missing)),
            ("publishing to a missing topic", "NOT_FOUND", lambda: c.publish(missing, b"m")),
            ("deleting a missing topic", "NOT_FOUND", lambda: c.publisher.delete_topic(topic=missing)),
            ("subscribing to a missing topic", "NOT_FOUND", lambda: c.subscription("errors-two", missing)),
            ("pulling from a missing subscription", "NOT_FOUND", lambda: c.subscriber.pull(subscription=absent, max_messages=1)),
            ("streaming from a missing subscription", "NOT_FOUND", lambda: c.subscriber.subscribe(absent, acked).result(PATIENCE)),
            ("creating a topic twice", "ALREADY_EXISTS", lambda: c.topic("errors")),
            ("creating a subscription twice", "ALREADY_EXISTS", lambda: c.subscription("errors-sub", topic)),
            ("a topic's name of two letters", "INVALID_ARGUMENT", lambda: c.topic("ab")),
            ("an ack deadline of 9 s", "INVALID_ARGUMENT", lambda: c.subscription("errors-nine", topic, ack_deadline_seconds=9)),
            ("4 delivery attempts", "INVALID_ARGUMENT", lambda: c.subscription("errors-four", topic, dead_letter_policy={"dead_letter_topic": topic, "max_delivery_attempts": 4})),
            ("an empty message", "INVALID_ARGUMENT", lambda: c.publish(topic, b"")),
            ("a message above 10 MB", "INVALID_ARGUMENT", lambda: c.raw.publish(topic=topic, messages=[{"data": bytes(10_000_001)}])),
            ("an attribute above 1,024 bytes", "INVALID_ARGUMENT", lambda: c.publish(topic, b"m", a="x" * 1025)),
            ("an attribute's name above 256 bytes", "INVALID_ARGUMENT", lambda: c.publish(topic, b"m", **{"k" * 257: "x"})),
            ("101 attributes", "INVALID_ARGUMENT", lambda: c.publish(topic, b"m", **{f"k{i}": "x" for i in range(101)})),
            ("1,001 messages a request", "INVALID_ARGUMENT", lambda: c.raw.publish(topic=topic, messages=[{"data": b"m"}] * 1001))):
        r.expect(f"{what} is {want}", code(call), want)
    r.expect("and leaves nothing", c.more(sub), [])


def listing(c, r):
    project = f"projects/{PROJECT}"
    topic, sub = c.pair("listing")
    r.expect("a topic lists its subscriptions", list(c.publisher.list_topic_subscriptions(topic=topic)), [sub])
    pages = list(c.publisher.list_topics(request={"project": project, "page_size": 3}).pages)
    names = [t.name for p in pages for t in p.topics]
    r.expect("topics are listed, in pages, each once", (topic in names, len(set(names)) == len(names), max(len(p.topics) for p in pages) <= 3, len(pages) > 1), (True,) * 4)
    r.expect("subscriptions are listed", sub in [s.name for s in c.subscriber.list_subscriptions(project=project)], True)
    c.publish(topic, b"stays")
    c.publisher.delete_topic(topic=topic)
    r.expect("a deleted topic is not listed", topic in [t.name for t in c.publisher.list_topics(project=project)], False)
    r.expect("its subscription names _deleted-topic_", c.subscriber.get_subscription(subscription=sub).topic, "_deleted-topic_")
    r.expect("and still has its messages", data(c.pull(sub, 1)), [b"stays"])
    c.subscriber.delete_subscription(subscription=sub)
    r.expect("a deleted subscription is not listed", sub in [s.name for s in c.subscriber.list_subscriptions(project=project)], False)
    r.expect("and is NOT_FOUND", code(c.subscriber.get_subscription, subscription=sub), "NOT_FOUND")


def restarts(c, r, broker):
    topic, sub = c.pair("restarts", retain_acked_messages=True)
    open_topic, open_sub = c.pair("through")
    through, arrived = [], threading.Event()

    def callback(m):
        through.append(m.data)
        m.ack()
        if len(through) == 3:
            arrived.set()

    stream = c.subscriber.subscribe(open_sub, callback)
    waiting = c.publish(topic, *[b"%03d" % i for i in range(100)])
    before = {t.name for t in c.publisher.list_topics(project=f"projects/{PROJECT}")}
    for what, sig, exit in (("SIGTERM", signal.SIGTERM, 0), ("kill -9", signal.SIGKILL, -signal.SIGKILL)):
        c.publish(open_topic, b"before " + what.encode())
        got = c.pull(sub, 40)[:40]
        c.ack(sub, got)
        done = {m.message.message_id for m in got}
        waiting = [id for id in waiting if id not in done]
        waiting += c.publish(topic, b"last before " + what.encode())
        held = c.pull(sub, 10)  # with a client, not acknowledged
        r.expect(f"{what} ends the broker", broker.end(sig), exit)
        broker.start()
        r.expect(f"after {what} topics are there", {t.name for t in c.publisher.list_topics(project=f"projects/{PROJECT}")}, before)
        r.expect(f"after {what} a subscription has its settings", c.subscriber.get_subscription(subscription=sub).retain_acked_messages, True)
        all = c.pull(sub, len(waiting))
        r.expect(f"after {what} unacknowledged messages are there, acknowledged ones are not",
                 (sorted(m.message.message_id for m in all), c.more(sub), bool(held)), (sorted(waiting), [], True))
        c.deadline(sub, all, 0)
    c.publish(open_topic, b"after")
    arrived.wait(PATIENCE)
    stream.cancel()
    r.expect("a stream that was open goes on after both", set(through), {b"before SIGTERM", b"before kill -9", b"after"})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="bin", help="directory with buffetctl")
    args = parser.parse_args()
    started, r = time.monotonic(), Report()
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(args.bin, directory)
        try:
            broker.start()
            c = Clients(broker.addr)
            for part in (settings, publishing, streaming, deadlines, ordering, filters, retries, seeking, dead_letters, exactly_once, errors, listing):
                attempt(r, part, c, r)
            attempt(r, restarts, c, r, broker)
        finally:
            if broker.process and broker.process.poll() is None:
                broker.end(signal.SIGKILL)
    version = importlib.metadata.version("google-cloud-pubsub")
    print(f"python: {r.checks} checks, {r.failed} failed, {time.monotonic() - started:.1f} s; google-cloud-pubsub {version}, Python {sys.version.split()[0]}", flush=True)
    os._exit(1 if r.failed else 0)  # a client's threads may still try a broker that is gone


def attempt(r, part, *args):
    try:
        part(*args)
    except Exception as e:
        r.expect(f"{part.__name__} runs to its end", e, "no error")


if __name__ == "__main__":
    main()
