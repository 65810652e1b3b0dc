#!/usr/bin/env python3
"""kafka-python (a client of its own, not librdkafka): admin, producers, codecs, groups.

    python kafka_python_check.py HOST:PORT

Prints what it verified; exits non-zero at the first thing that is wrong.
"""

import sys
import threading
import time
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

BROKER = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
RUN = f"kp-{uuid.uuid4().hex[:8]}"
WAIT = 60


def ok(what):
    print(f"ok: kafka-python: {what}", flush=True)


def admin_round_trip():
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    topic = f"{RUN}-made"
    admin.create_topics([NewTopic(name=topic, num_partitions=2, replication_factor=1)])
    try:
        admin.create_topics([NewTopic(name=topic, num_partitions=2, replication_factor=1)])
        raise AssertionError("a topic was made twice")
    except TopicAlreadyExistsError:
        pass
    assert topic in admin.list_topics()
    described = admin.describe_topics([topic])[0]
    assert len(described["partitions"]) == 2, described
    assert admin.describe_cluster()["cluster_id"]
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    admin.close()
    ok("create, describe, list, delete topics; describe the cluster")


def codecs():
    for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
        topic = f"{RUN}-{codec}"
        producer = KafkaProducer(
            bootstrap_servers=BROKER, compression_type=codec, enable_idempotence=True)
        values = [f"{codec}-{i}-".encode() + b"x" * 300 for i in range(500)]
        sent = [
            producer.send(topic, value=value, key=b"k", headers=[("h", b"1"), ("h", b"2")])
            for value in values
        ]
        producer.flush(WAIT)
        assert [future.get(WAIT).offset for future in sent] == list(range(500))
        producer.close()
        reader = KafkaConsumer(
            topic, bootstrap_servers=BROKER, auto_offset_reset="earliest", group_id=None,
            consumer_timeout_ms=10_000)
        got = []
        for record in reader:
            got.append(record)
            if len(got) == 500:
                break
        reader.close()
        assert [record.value for record in got] == values, f"{codec}: other records came back"
        assert list(got[0].headers) == [("h", b"1"), ("h", b"2")], got[0].headers
        ok(f"idempotent produce and fetch with codec {codec}, doubled header keys kept")


def offsets():
    topic = f"{RUN}-offsets"
    producer = KafkaProducer(bootstrap_servers=BROKER)
    for stamp in [1_000, 2_000, 3_000]:
        producer.send(topic, value=b"v", timestamp_ms=stamp).get(WAIT)
    producer.close()
    reader = KafkaConsumer(bootstrap_servers=BROKER, group_id=None)
    place = TopicPartition(topic, 0)
    assert reader.beginning_offsets([place]) == {place: 0}
    assert reader.end_offsets([place]) == {place: 3}
    assert reader.offsets_for_times({place: 1_500})[place].offset == 1
    assert reader.offsets_for_times({place: 9_000})[place] is None
    reader.close()
    ok("beginning, end and offsets by timestamp")


class Member(threading.Thread):
    """A consumer in a thread of its own, as kafka-python wants it."""

    def __init__(self, topic, group):
        super().__init__(daemon=True)
        self.reader = KafkaConsumer(
            topic, bootstrap_servers=BROKER, group_id=group, auto_offset_reset="earliest",
            enable_auto_commit=False, session_timeout_ms=6000, heartbeat_interval_ms=500)
        self.seen = []
        self.owned = set()
        self.going = True
        self.start()

    def run(self):
        while self.going:
            for records in self.reader.poll(timeout_ms=200).values():
                self.seen += [(record.partition, record.offset) for record in records]
            self.owned = {place.partition for place in self.reader.assignment()}
        self.reader.commit()
        self.reader.close()

    def leave(self):
        self.going = False
        self.join(WAIT)
        assert not self.is_alive(), "a member did not end"


def until(condition, what):
    end = time.time() + WAIT
    while not condition():
        assert time.time() < end, what
        time.sleep(0.05)


def group():
    topic, name = f"{RUN}-group", f"{RUN}-group"
    admin = KafkaAdminClient(bootstrap_servers=BROKER)
    admin.create_topics([NewTopic(name=topic, num_partitions=4, replication_factor=1)])
    producer = KafkaProducer(bootstrap_servers=BROKER)
    for i in range(200):
        producer.send(topic, value=b"%d" % i, partition=i % 4)
    producer.flush(WAIT)

    first = Member(topic, name)
    until(lambda: len(first.owned) == 4, "the first member got nothing")
    second = Member(topic, name)
    until(lambda: len(first.owned) == 2 and len(second.owned) == 2, "no rebalance")
    assert first.owned | second.owned == {0, 1, 2, 3}
    until(lambda: len(set(first.seen + second.seen)) == 200, "records are missing")
    ok("two members share the partitions and read everything")

    second.leave()
    until(lambda: len(first.owned) == 4, "the one that stayed did not take over")
    first.leave()
    committed = admin.list_group_offsets({name: None})
    committed = committed.get(name, committed)
    assert {place.partition: at.offset for place, at in committed.items()} == {
        0: 50, 1: 50, 2: 50, 3: 50}, committed
    producer.send(topic, value=b"after", partition=2).get(WAIT)
    third = Member(topic, name)
    until(lambda: third.seen, "nothing was read after the restart")
    third.leave()
    assert third.seen == [(2, 50)], third.seen
    producer.close()
    ok("a new start goes on from the committed offsets")

    lone = KafkaConsumer(bootstrap_servers=BROKER, group_id=f"{name}-lone", enable_auto_commit=False)
    place = TopicPartition(topic, 0)
    lone.assign([place])
    assert lone.committed(place) is None, "an unknown group has no offsets, and that is no error"
    lone.commit({place: OffsetAndMetadata(7, "words", -1)})
    assert lone.committed(place, metadata=True).metadata == "words"
    lone.close()
    ok("commits without membership keep their metadata")
    admin.close()


def main():
    admin_round_trip()
    codecs()
    offsets()
    group()
    print("kafka-python: all passed")


main()
