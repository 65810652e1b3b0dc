#!/usr/bin/env python3
"""Groups of both protocols with librdkafka: KIP-848 members, classic ones, and both in one group.

    python groups_check.py HOST:PORT

Prints what it verified; exits non-zero at the first thing that is wrong.
"""

import struct
import sys
import time
import uuid

from confluent_kafka import Consumer, ConsumerGroupType, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

BROKER = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
RUN = f"groups-{uuid.uuid4().hex[:8]}"
WAIT = 60
KIP848 = {"group.protocol": "consumer"}
CLASSIC = {"group.protocol": "classic", "session.timeout.ms": 6000,
           "partition.assignment.strategy": "cooperative-sticky"}
EAGER = {**CLASSIC, "partition.assignment.strategy": "range"}


def ok(what):
    print(f"ok: groups: {what}", flush=True)


def wait_for(futures):
    return {key: future.result(WAIT) for key, future in futures.items()}


def make(admin, topic, partitions=4, each=20):
    wait_for(admin.create_topics([NewTopic(topic, partitions, 1)]))
    fill(topic, range(partitions), each)


def fill(topic, partitions, each):
    producer = Producer({"bootstrap.servers": BROKER, "linger.ms": 1})
    for partition in partitions:
        for i in range(each):
            producer.produce(topic, value=f"{partition}-{i}", partition=partition)
    assert producer.flush(WAIT) == 0


class Member:
    """A consumer that is polled by hand and knows what it read."""

    def __init__(self, group, topics, config, **more):
        self.reader = Consumer({
            "bootstrap.servers": BROKER, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "topic.metadata.refresh.interval.ms": 1000,
            **config, **more})
        self.reader.subscribe(topics)
        self.seen = []

    def poll(self, timeout=0.05):
        message = self.reader.poll(timeout)
        if message is None:
            return
        if message.error():
            # A topic that is not there yet is no end.
            assert message.error().retriable() or "UNKNOWN_TOPIC" in message.error().name(), \
                message.error()
            return
        self.seen.append((message.topic(), message.partition(), message.offset()))

    def has(self):
        return sorted((p.topic, p.partition) for p in self.reader.assignment())

    def close(self):
        self.reader.close()


def until(members, done, what):
    end = time.time() + WAIT
    while time.time() < end:
        for member in members:
            member.poll()
        if done():
            return
    raise AssertionError(f"{what}: {[member.has() for member in members]}")


def shares(members, counts):
    """Whether the members have so many partitions, none of them twice."""
    held = [place for member in members for place in member.has()]
    return [len(member.has()) for member in members] == counts and len(set(held)) == len(held)


def described(admin, group):
    return wait_for(admin.describe_consumer_groups([group]))[group]


def listed_type(admin, group):
    entries = admin.list_consumer_groups().result(WAIT).valid
    return {entry.group_id: entry.type for entry in entries}.get(group)


def rebalances(admin):
    topic, group = f"{RUN}-t", f"{RUN}-kip848"
    make(admin, topic)
    a = Member(group, [topic], KIP848)
    until([a], lambda: len(a.has()) == 4 and len(a.seen) == 80, "one member reads all")
    b = Member(group, [topic], KIP848)
    until([a, b], lambda: shares([a, b], [2, 2]), "two members share")
    a.reader.commit(asynchronous=False,
                    offsets=[TopicPartition(topic, p, 20, "words") for _, p in a.has()])
    b.reader.commit(asynchronous=False,
                    offsets=[TopicPartition(topic, p, 20, "words") for _, p in b.has()])
    told = described(admin, group)
    assert told.type == ConsumerGroupType.CONSUMER and told.state.name == "STABLE", told
    assert told.partition_assignor == "uniform", told.partition_assignor
    assert sorted(len(m.assignment.topic_partitions) for m in told.members) == [2, 2]
    assert listed_type(admin, group) == ConsumerGroupType.CONSUMER
    ok("KIP-848: two members share four partitions, describe and list say so")

    c = Member(group, [topic], {**KIP848, "group.remote.assignor": "range"})
    until([a, b, c], lambda: sorted(len(m.has()) for m in (a, b, c)) == [1, 1, 2], "three members")
    b.close()
    until([a, c], lambda: shares([a, c], [2, 2]), "one left")
    wait_for(admin.create_partitions([NewPartitions(topic, 6)]))
    until([a, c], lambda: shares([a, c], [3, 3]), "new partitions")
    a.close()
    until([c], lambda: len(c.has()) == 6, "the last one")
    committed = c.reader.committed([TopicPartition(topic, 2)], timeout=WAIT)[0]
    assert (committed.offset, committed.metadata) == (20, "words"), committed
    c.close()
    try:
        wait_for(admin.delete_consumer_groups([group]))
    except KafkaException as error:
        raise AssertionError(error) from error
    assert listed_type(admin, group) is None
    ok("KIP-848: members come and go, a topic grows, offsets stay, the group is deleted")


def regex(admin):
    group = f"{RUN}-regex"
    make(admin, f"{RUN}-re-a", 2)
    a = Member(group, [f"^{RUN}-re-.*"], KIP848)
    until([a], lambda: len(a.has()) == 2, "a regular expression")
    make(admin, f"{RUN}-re-b", 2)
    until([a], lambda: len(a.has()) == 4 and len(a.seen) == 80, "a topic that came later")
    wait_for(admin.delete_topics([f"{RUN}-re-a"]))
    until([a], lambda: len(a.has()) == 2, "a topic that went")
    a.close()
    ok("KIP-848: a regular expression follows the topics as they come and go")


def static(admin):
    topic, group = f"{RUN}-s", f"{RUN}-static"
    make(admin, topic)
    a = Member(group, [topic], KIP848, **{"group.instance.id": "a"})
    b = Member(group, [topic], KIP848, **{"group.instance.id": "b"})
    until([a, b], lambda: shares([a, b], [2, 2]), "two static members")
    mine = a.has()
    epoch = {m.group_instance_id: m.assignment for m in described(admin, group).members}
    a.close()
    until([b], lambda: True, "")
    assert len(described(admin, group).members) == 2, "a static member was forgotten at once"
    a = Member(group, [topic], KIP848, **{"group.instance.id": "a"})
    until([a, b], lambda: a.has() == mine, "the static member is back")
    assert len(b.has()) == 2 and len(epoch) == 2
    a.close()
    b.close()
    ok("KIP-848: a static member comes back to its partitions")


def java_hash(text):
    value = 0
    for unit in text.encode("utf-16-be").hex(" ", 2).split():
        value = (value * 31 + int(unit, 16)) & 0xFFFFFFFF
    return value & 0x7FFFFFFF


def offsets_topic(admin):
    """What a tool that follows groups reads (Burrow and its kin)."""
    topic, group = f"{RUN}-o", f"{RUN}-watched"
    make(admin, topic)
    a = Member(group, [topic], KIP848)
    until([a], lambda: len(a.seen) == 80, "all is read")
    a.reader.commit(asynchronous=False,
                    offsets=[TopicPartition(topic, p, 10 + p, "by a") for p in range(4)])
    a.close()
    shown = admin.list_topics("__consumer_offsets", timeout=WAIT).topics["__consumer_offsets"]
    assert len(shown.partitions) == 50, len(shown.partitions)
    place = TopicPartition("__consumer_offsets", java_hash(group) % 50, 0)
    watcher = Consumer({"bootstrap.servers": BROKER, "group.id": f"{RUN}-watcher",
                        "enable.auto.commit": False})
    end = watcher.get_watermark_offsets(place, timeout=WAIT)[1]
    watcher.assign([place])
    found, at = {}, 0
    while at < end:
        message = watcher.poll(WAIT)
        assert message is not None and not message.error(), message
        at = message.offset() + 1
        key, value = message.key(), message.value()
        kind, = struct.unpack_from(">h", key)
        if kind != 1 or value is None:
            continue
        of, read = text(key, 2)
        name, read = text(key, read)
        partition, = struct.unpack_from(">i", key, read)
        version, offset, leader_epoch = struct.unpack_from(">hqi", value)
        # librdkafka sends the zero at the end of the C string too.
        words = text(value, 14)[0].rstrip("\0")
        assert version == 3, version
        if of == group:
            found[name, partition] = (offset, words)
    watcher.close()
    assert found == {(topic, p): (10 + p, "by a") for p in range(4)}, found
    ok("__consumer_offsets holds the commits in Kafka's format")


def text(data, at):
    length, = struct.unpack_from(">h", data, at)
    return data[at + 2:at + 2 + length].decode(), at + 2 + length


def migrate(admin, config, name):
    topic, group = f"{RUN}-m-{name}", f"{RUN}-migrate-{name}"
    make(admin, topic)
    old = [Member(group, [topic], config) for _ in range(2)]
    until(old, lambda: shares(old, [2, 2]), "two classic members")
    assert listed_type(admin, group) == ConsumerGroupType.CLASSIC
    new = Member(group, [topic], KIP848)
    both = [*old, new]
    until(both, lambda: sorted(len(m.has()) for m in both) == [1, 1, 2] and shares(
        both, [len(m.has()) for m in both]), "both protocols")
    assert listed_type(admin, group) == ConsumerGroupType.CONSUMER
    ok(f"{name}: a KIP-848 member joins a classic group, which goes on")
    for member in both:
        member.reader.commit(asynchronous=False, offsets=[
            TopicPartition(topic, p, 20, "m") for _, p in member.has()])
    old[0].close()
    until([old[1], new], lambda: shares([old[1], new], [2, 2]), "one classic member left")
    new.close()
    until([old[1]], lambda: len(old[1].has()) == 4, "the last KIP-848 member left")
    assert listed_type(admin, group) == ConsumerGroupType.CLASSIC
    told = described(admin, group)
    assert told.type == ConsumerGroupType.CLASSIC and len(told.members) == 1, told
    committed = old[1].reader.committed([TopicPartition(topic, p) for p in range(4)], timeout=WAIT)
    assert [place.offset for place in committed] == [20] * 4, committed
    old[1].close()
    ok(f"{name}: when the last KIP-848 member leaves the group is classic again")
    up = Member(group, [topic], KIP848)
    until([up], lambda: len(up.has()) == 4, "an empty classic group")
    up.poll(0.5)
    assert up.seen == [], "committed records were read again"
    up.close()
    ok(f"{name}: an empty classic group becomes a KIP-848 one and keeps its offsets")


def main():
    admin = AdminClient({"bootstrap.servers": BROKER})
    rebalances(admin)
    regex(admin)
    static(admin)
    offsets_topic(admin)
    migrate(admin, CLASSIC, "cooperative-sticky")
    migrate(admin, EAGER, "range")
    print("groups: all passed")


main()
