#!/usr/bin/env python3
"""Kills the broker in the middle of things and looks whether anything was lost.

    python kill_check.py HOST:PORT COMMAND...

COMMAND starts a server that serves Kafka on HOST:PORT and keeps its data between starts. While a
producer and a group of two are at work the server is killed (-9) and started again, several times.
Afterwards every acknowledged record must be there once, and no committed offset may have gone back.
"""

import subprocess
import sys
import threading
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BROKER, COMMAND = sys.argv[1], sys.argv[2:]
RUN = f"kill-{uuid.uuid4().hex[:8]}"
KILLS = 4
PARTITIONS = 3


def start():
    server = subprocess.Popen(COMMAND, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    admin = AdminClient({"bootstrap.servers": BROKER, "log_level": 0})
    end = time.time() + 30
    while True:
        try:
            admin.list_topics(timeout=1)
            return server, admin
        except KafkaException:
            assert server.poll() is None, "the server did not start"
            assert time.time() < end, "the server does not answer"


class Writer(threading.Thread):
    """Produces until told to stop; remembers what was acknowledged, and where."""

    def __init__(self):
        super().__init__(daemon=True)
        self.acknowledged = {}
        self.failed = []
        self.going = True
        self.start()

    def run(self):
        producer = Producer({
            "bootstrap.servers": BROKER, "enable.idempotence": True, "log_level": 0,
            "message.timeout.ms": 60000, "linger.ms": 1, "retry.backoff.ms": 20})

        def done(error, message):
            if error:
                self.failed.append(error)
            else:
                self.acknowledged[message.value()] = (message.partition(), message.offset())

        i = 0
        while self.going:
            try:
                producer.produce(RUN, value=b"%d" % i, on_delivery=done)
                i += 1
            except BufferError:
                pass
            producer.poll(0.001)
        assert producer.flush(60) == 0, "records were neither delivered nor refused"


class Reader(threading.Thread):
    """A member of the group; commits as it goes."""

    def __init__(self, committed):
        super().__init__(daemon=True)
        self.committed = committed
        self.seen = {}
        self.going = True
        self.start()

    def run(self):
        reader = Consumer({
            "bootstrap.servers": BROKER, "group.id": RUN, "auto.offset.reset": "earliest",
            "enable.auto.commit": False, "session.timeout.ms": 6000, "log_level": 0})
        reader.subscribe([RUN])
        while self.going:
            message = reader.poll(0.1)
            if message is None or message.error():
                continue
            self.seen.setdefault(message.value(), set()).add((message.partition(), message.offset()))
            if len(self.seen) % 50 == 0:
                try:
                    for place in reader.commit(asynchronous=False):
                        known = self.committed.get(place.partition, 0)
                        self.committed[place.partition] = max(known, place.offset)
                except KafkaException:
                    pass
        reader.close()


def main():
    server, admin = start()
    for future in admin.create_topics([NewTopic(RUN, PARTITIONS, 1)]).values():
        future.result(30)
    committed = {}
    writer, readers = Writer(), [Reader(committed), Reader(committed)]
    for _ in range(KILLS):
        time.sleep(2)
        server.kill()
        server.wait()
        server, admin = start()
    time.sleep(1)
    writer.going = False
    writer.join(90)
    assert not writer.is_alive() and not writer.failed, writer.failed[:3]
    acknowledged = writer.acknowledged
    assert len(acknowledged) > 100, len(acknowledged)
    print(f"ok: {KILLS} kills, {len(acknowledged)} records acknowledged, none refused", flush=True)

    everything = Consumer({"bootstrap.servers": BROKER, "group.id": f"{RUN}-check"})
    found = {}
    for partition in range(PARTITIONS):
        place = TopicPartition(RUN, partition, 0)
        end = everything.get_watermark_offsets(place, timeout=30)[1]
        everything.assign([place])
        at = 0
        while at < end:
            message = everything.poll(30)
            assert message is not None and not message.error(), message
            assert message.offset() == at, f"offset {message.offset()} instead of {at}"
            assert message.value() not in found, f"{message.value()} is there twice"
            found[message.value()] = (partition, at)
            at += 1
    everything.close()
    lost = {value for value in acknowledged if found.get(value) != acknowledged[value]}
    assert not lost, f"{len(lost)} acknowledged records are lost or moved"
    print("ok: every acknowledged record is there once, at the offset that was acknowledged", flush=True)

    deadline = time.time() + 60
    while time.time() < deadline:
        seen = set(readers[0].seen) | set(readers[1].seen)
        if seen >= set(found):
            break
        time.sleep(0.2)
    assert seen >= set(found), f"the group missed {len(set(found) - seen)} records"
    for reader in readers:
        reader.going = False
        reader.join(60)
    check = Consumer({"bootstrap.servers": BROKER, "group.id": RUN})
    places = [TopicPartition(RUN, partition) for partition in range(PARTITIONS)]
    for place in check.committed(places, timeout=30):
        known = committed.get(place.partition, 0)
        assert place.offset >= known, f"partition {place.partition}: {known} went back to {place.offset}"
    check.close()
    print("ok: the group read everything, and no committed offset went back", flush=True)
    server.terminate()
    assert server.wait(20) == 0, "the server did not stop cleanly"
    print("kill: all passed")


main()
