#!/usr/bin/env python3
"""Produces customers and payments with confluent-kafka, then reads what the queries of queries.sql made.

Usage: payments.py [host:port]     (after: millstream sql -f examples/payments/queries.sql)
"""
import json
import sys
import time

from confluent_kafka import Consumer, Producer

broker = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
CUSTOMERS = {"c1": ("Ada", "London"), "c2": ("Grace", "New York")}
PAYMENTS = [("p1", "c1", "books", 12.5), ("p2", "c2", "travel", 12000.0), ("p3", "c1", "books", 20000.0)]

producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
for key, (name, city) in CUSTOMERS.items():
    producer.produce("customers", key=key, value=json.dumps({"name": name, "city": city}))
producer.flush(10)
for key, customer, merchant, amount in PAYMENTS:
    value = {"customer_id": customer, "merchant": merchant, "amount": amount}
    producer.produce("payments", key=key, value=json.dumps(value))
if producer.flush(10):
    sys.exit("not everything was acknowledged")
print(f"produced {len(CUSTOMERS)} customers and {len(PAYMENTS)} payments")

consumer = Consumer({
    "bootstrap.servers": broker,
    "group.id": f"payments-example-{time.time()}",
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
})
consumer.subscribe(["FRAUD_ALERT", "PAYMENTS_WITH_CUSTOMER"])
deadline = time.time() + 15
seen = {"FRAUD_ALERT": 0, "PAYMENTS_WITH_CUSTOMER": 0}
while time.time() < deadline and (seen["FRAUD_ALERT"] < 2 or seen["PAYMENTS_WITH_CUSTOMER"] < 3):
    message = consumer.poll(0.5)
    if message is None:
        continue
    if message.error():
        sys.exit(message.error())
    seen[message.topic()] += 1
    print(f"{message.topic()}: {message.key()} {message.value().decode()}")
consumer.close()
if seen["FRAUD_ALERT"] < 2 or seen["PAYMENTS_WITH_CUSTOMER"] < 3:
    sys.exit(f"results are missing: {seen}")
