#!/usr/bin/env python3
"""From a stock producer, through SQL, to three stock read_committed consumers.

    sql_sink_check.py HOST:PORT http://HOST:PORT

Produces payments with confluent-kafka, submits a filter and a windowed total over HTTP, and reads the sink
topics with confluent-kafka, kafka-python and kcat. Each must see every result once, and the same.
"""
import json
import subprocess
import sys
import time
import urllib.request
import uuid

from confluent_kafka import Consumer, Producer
from kafka import KafkaConsumer

broker, http = sys.argv[1], sys.argv[2]
run = uuid.uuid4().hex[:8]
PAYMENTS = 2000
# Recent, so that retention keeps it; a second apart.
START_MS = int(time.time()) * 1000 - PAYMENTS * 1000
SECONDS = 30


def ksql(text):
    body = json.dumps({"ksql": text, "streamsProperties": {"auto.offset.reset": "earliest"}}).encode()
    request = urllib.request.Request(http + "/ksql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        return json.load(response)


def payments():
    return [(f"p{i}", f"m{i % 7}", float(i % 200) * 100.0, START_MS + 1_000 * i) for i in range(PAYMENTS)]


def expected():
    alerts = {key: amount for key, _, amount, _ in payments() if amount > 10000}
    totals = {}
    for _, merchant, amount, time_ms in payments():
        window = time_ms // 60_000 * 60_000
        count, total = totals.get((merchant, window), (0, 0.0))
        totals[(merchant, window)] = (count + 1, total + amount)
    return alerts, totals


def account(records):
    """Alerts as they are, totals by their last record; (topic, key bytes, value bytes) in."""
    alerts, totals, doubled = {}, {}, []
    for topic, key, value in records:
        value = json.loads(value)
        if topic.startswith("ALERTS"):
            if key.decode() in alerts:
                doubled.append(key)
            alerts[key.decode()] = value["AMOUNT"]
        else:
            window = int.from_bytes(key[-8:], "big")
            totals[(key[:-8].decode(), window)] = (value["N"], value["TOTAL"])
    assert not doubled, f"doubled: {doubled}"
    return alerts, totals


def read_confluent(topics, done):
    consumer = Consumer({"bootstrap.servers": broker, "group.id": f"sink-{run}", "auto.offset.reset": "earliest",
                         "isolation.level": "read_committed"})
    consumer.subscribe(topics)
    records, deadline = [], time.time() + SECONDS
    while time.time() < deadline and not done(records):
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            records.append((message.topic(), message.key(), message.value()))
    consumer.close()
    return records


def read_kafka_python(topics, done):
    consumer = KafkaConsumer(*topics, bootstrap_servers=broker, group_id=f"sink-kp-{run}",
                             auto_offset_reset="earliest", isolation_level="read_committed")
    records, deadline = [], time.time() + SECONDS
    while time.time() < deadline and not done(records):
        for batch in consumer.poll(500).values():
            records += [(r.topic, r.key, r.value) for r in batch]
    consumer.close()
    return records


def read_kcat(topic):
    lines = subprocess.run(["kcat", "-b", broker, "-t", topic, "-C", "-e", "-q", "-X", "isolation.level=read_committed",
                            "-f", "%k\t%s\n"], check=True, capture_output=True, timeout=SECONDS).stdout
    return [tuple([topic] + line.split(b"\t")) for line in lines.splitlines()]


producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
ksql(f"CREATE STREAM payments_{run} (id STRING KEY, merchant STRING, amount DOUBLE) "
     f"WITH (kafka_topic='payments_{run}', value_format='JSON', partitions=3);"
     f"CREATE STREAM alerts_{run} AS SELECT * FROM payments_{run} WHERE amount > 10000;"
     f"CREATE TABLE totals_{run} AS SELECT merchant, COUNT(*) AS n, SUM(amount) AS total "
     f"FROM payments_{run} WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY merchant;")
for key, merchant, amount, time_ms in payments():
    value = json.dumps({"merchant": merchant, "amount": amount})
    producer.produce(f"payments_{run}", key=key, value=value, timestamp=time_ms)
    producer.poll(0)
assert producer.flush(SECONDS) == 0, "not everything was acknowledged"

want = expected()
sinks = [f"ALERTS_{run.upper()}", f"TOTALS_{run.upper()}"]
for name, read in (("confluent-kafka", read_confluent), ("kafka-python", read_kafka_python)):
    got = account(read(sinks, lambda records: account(records) == want))
    assert got == want, f"{name}: {len(got[0])} alerts of {len(want[0])}, {len(got[1])} windows of {len(want[1])}"
    print(f"{name}: {len(got[0])} alerts and {len(got[1])} windows, each as expected")
got = account(read_kcat(sinks[0]))
assert got[0] == want[0], f"kcat: {len(got[0])} alerts of {len(want[0])}"
print(f"kcat: {len(got[0])} alerts, each as expected")
