#!/usr/bin/env python3
"""Groups of both protocols while the server is killed: members come and go, the server comes back.

    python groups_kill_check.py HOST:PORT COMMAND...

COMMAND starts a server that serves Kafka on HOST:PORT and keeps its data between starts. For each
protocol a group of three reads and commits while records are written, members leave and join, and the
server is killed (-9). Nothing may be missed, no commit may go back, and members that nobody fenced
may never own a partition at the same time.
"""

import subprocess
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BROKER, COMMAND = sys.argv[1], sys.argv[2:]
PARTITIONS = 6
KILLS = 3
PROTOCOLS = {
    "consumer": [{"group.protocol": "consumer"}],
    "classic": [{"group.protocol": "classic", "session.timeout.ms": 6000,
                 "partition.assignment.strategy": "cooperative-sticky"}],
    # Members of both in one group.
    "both": [{"group.protocol": "consumer"},
             {"group.protocol": "classic", "session.timeout.ms": 6000,
              "partition.assignment.strategy": "cooperative-sticky"}],
}


def start():
    server = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    admin = AdminClient({"bootstrap.servers": BROKER, "log_level": 0})
    end = time.time() + 60
    while True:
        try:
            admin.list_topics(timeout=1)
            return server, admin
        except KafkaException:
            assert server.poll() is None, "the server did not start"
            assert time.time() < end, "the server does not answer"


class Book:
    """What the group as a whole has read and committed, and who owns what."""

    def __init__(self):
        self.lock = threading.Lock()
        self.read = {partition: set() for partition in range(PARTITIONS)}
        self.committed = {}
        self.owners = {}
        self.doubles = []


class Member(threading.Thread):
    def __init__(self, topic, group, config, book):
        super().__init__(daemon=True)
        self.topic, self.book, self.going = topic, book, True
        self.reader = Consumer({
            "bootstrap.servers": BROKER, "group.id": group, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "log_level": 0, **config})
        self.start()

    def given(self, _, places):
        with self.book.lock:
            for place in places:
                other = self.book.owners.get(place.partition)
                if other is not None and other is not self:
                    self.book.doubles.append(place.partition)
                self.book.owners[place.partition] = self

    def taken(self, _, places):
        with self.book.lock:
            for place in places:
                if self.book.owners.get(place.partition) is self:
                    del self.book.owners[place.partition]

    def run(self):
        self.reader.subscribe(
            [self.topic], on_assign=self.given, on_revoke=self.taken, on_lost=self.taken)
        count = 0
        while self.going:
            message = self.reader.poll(0.1)
            if message is None or message.error():
                continue
            with self.book.lock:
                self.book.read[message.partition()].add(message.offset())
            count += 1
            if count % 20 == 0:
                try:
                    for place in self.reader.commit(asynchronous=False):
                        known = self.book.committed.get(place.partition, 0)
                        self.book.committed[place.partition] = max(known, place.offset)
                except KafkaException:
                    pass
        self.reader.close()

    def stop(self):
        self.going = False
        self.join(60)
        assert not self.is_alive(), "a member does not stop"


class Writer(threading.Thread):
    def __init__(self, topic):
        super().__init__(daemon=True)
        self.topic, self.going, self.written = topic, True, [0] * PARTITIONS
        self.start()

    def run(self):
        producer = Producer({
            "bootstrap.servers": BROKER, "enable.idempotence": True, "log_level": 0,
            "message.timeout.ms": 90000, "linger.ms": 1})
        while self.going:
            for partition in range(PARTITIONS):
                producer.produce(self.topic, value=b"v", partition=partition)
                self.written[partition] += 1
            producer.poll(0)
            time.sleep(0.01)
        assert producer.flush(90) == 0


def run(name, configs, server, admin):
    topic = f"gk-{name}-{uuid.uuid4().hex[:8]}"
    for future in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        future.result(30)
    book, writer, made = Book(), Writer(topic), 0

    def member():
        nonlocal made
        made += 1
        return Member(topic, topic, configs[made % len(configs)], book)

    members = [member() for _ in range(3)]
    for _ in range(KILLS):
        time.sleep(2)
        server.kill()
        server.wait()
        server, admin = start()
        time.sleep(1)
        members.pop(0).stop()
        members.append(member())
    time.sleep(2)
    writer.going = False
    writer.join(120)
    assert not writer.is_alive(), "the writer does not end"
    end = time.time() + 120
    while time.time() < end:
        with book.lock:
            missing = {p: count - len(book.read[p]) for p, count in enumerate(writer.written)
                       if len(book.read[p]) < count}
        if not missing:
            break
        time.sleep(0.2)
    assert not missing, f"{name}: the group misses {missing}"
    assert not book.doubles, f"{name}: owned by two at once: {book.doubles}"
    for one in members:
        one.stop()
    check = Consumer({"bootstrap.servers": BROKER, "group.id": topic})
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    for place in check.committed(places, timeout=30):
        known = book.committed.get(place.partition, 0)
        assert place.offset >= known, f"{place.partition}: {known} went back to {place.offset}"
    check.close()
    print(f"ok: {name}: {KILLS} kills, {sum(writer.written)} records, {made} members: none missed, "
          "none owned twice, no commit went back", flush=True)
    return server, admin


def main():
    server, admin = start()
    for name, configs in PROTOCOLS.items():
        server, admin = run(name, configs, server, admin)
    server.terminate()
    assert server.wait(20) == 0, "the server did not stop cleanly"
    print("groups kill: all passed")


main()
