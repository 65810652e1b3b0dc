"""Runs ksqlDB's REST cases (a folder of `rest-query-validation-tests`) against a running server.

    rest_cases.py KAFKA HTTP FOLDER [--only TEXT] [--quiet]

Statements go to `/ksql`, records through confluent-kafka, queries to `/query`, as ksqlDB's own runner does
it. The server is cleaned between cases, so give it a directory of its own. Cases that need a schema-registry
format are skipped. Prints each failure with what came instead; ends with code 1 if there is one.
"""
import argparse
import base64
import copy
import glob
import json
import os
import re
import struct
import sys
import threading
import time
import urllib.error
import urllib.request

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

REGISTRY = re.compile(r"(?i)AVRO|PROTOBUF|JSON_SR")
SETTLE_S = 2.0
PUSH_S = 4.0


class Failed(Exception):
    pass


class Server:
    def __init__(self, kafka, http):
        self.http = "http://" + http
        self.admin = AdminClient({"bootstrap.servers": kafka})
        self.kafka = kafka

    def post(self, path, body, timeout=PUSH_S):
        request = urllib.request.Request(
            self.http + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def ksql(self, text, properties):
        return self.post("/ksql", {"ksql": text, "streamsProperties": properties})

    def clean(self):
        self.ksql("TERMINATE ALL;", {})
        for _ in range(30):
            left = []
            for kind in ("STREAM", "TABLE"):
                for found in self.ksql(f"SHOW {kind}S;", {})[1][0][kind.lower() + "s"]:
                    left.append(found)
                    name = found["name"].replace("`", "``")
                    self.ksql(f"DROP {kind} `{name}`;", {})
            if not left:
                break
        for name in self.ksql("SHOW TYPES;", {})[1][0]["types"]:
            self.ksql(f"DROP TYPE `{name}`;", {})
        topics = [t["name"] for t in self.ksql("SHOW TOPICS;", {})[1][0]["topics"]]
        for done in self.admin.delete_topics(topics).values() if topics else []:
            done.result()

    def create_topics(self, topics):
        new = [NewTopic(name, partitions, 1) for name, partitions in topics.items()]
        for done in self.admin.create_topics(new).values() if new else []:
            done.result()

    def produce(self, records, statements):
        # A producer of its own: one from before would still know the partitions of topics that are gone.
        producer = Producer({"bootstrap.servers": self.kafka, "linger.ms": 0})
        for record in records:
            key_type, key_format, value_format = shapes(statements, record["topic"])
            headers = [(h["KEY"], base64.b64decode(h["VALUE"]) if h["VALUE"] is not None else None)
                       for h in record.get("headers") or []]
            producer.produce(
                record["topic"], key=encode_key(record.get("key"), key_type, key_format, record.get("window")),
                value=encode_value(record.get("value"), value_format), timestamp=record.get("timestamp", 0),
                headers=headers or None)
            # One after another: their order over partitions is part of a case.
            producer.flush()


def shapes(statements, topic):
    """Key type, key format and value format of the relation over a topic."""
    for text in statements:
        if re.search(rf"(?i)kafka_topic\s*=\s*'{re.escape(topic)}'", text):
            key = re.search(r"(?i)[(,]\s*`?\w+`?\s+(\w+)(?:\([^)]*\))?\s+(?:PRIMARY\s+)?KEY", text)
            named = {k.lower(): v for k, v in re.findall(r"(?i)(\w*format)\s*=\s*'(\w+)'", text)}
            both = named.get("format")
            return ((key.group(1).upper() if key else "STRING"), (named.get("key_format") or both or "KAFKA").upper(),
                    (named.get("value_format") or both or "JSON").upper())
    return "STRING", "KAFKA", "JSON"


def encode_key(key, ty, format, window):
    if key is None:
        return None
    if format == "JSON":
        raw = json.dumps(key).encode()
    elif format == "KAFKA" and ty in ("INT", "INTEGER"):
        raw = struct.pack(">i", int(key))
    elif format == "KAFKA" and ty == "BIGINT":
        raw = struct.pack(">q", int(key))
    elif format == "KAFKA" and ty == "DOUBLE":
        raw = struct.pack(">d", float(key))
    else:
        raw = str(key).encode()
    if window:
        if window["type"].upper() == "SESSION":
            raw += struct.pack(">qq", window["end"], window["start"])
        else:
            raw += struct.pack(">q", window["start"])
    return raw


def encode_value(value, format):
    if value is None:
        return None
    if format == "JSON":
        return json.dumps(value).encode()
    return str(value).encode()


def matches(expected, actual, statements):
    """Whether what is expected is in what came: only the keys listed are compared."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return False
        for name, value in expected.items():
            name, _, how = name.partition("|")
            if how == "STARTS_WITH":
                if not str(actual.get(name, "")).startswith(value):
                    return False
            elif not matches(value, actual.get(name), statements):
                return False
        return True
    if isinstance(expected, list):
        return isinstance(actual, list) and len(expected) == len(actual) and all(
            matches(e, a, statements) for e, a in zip(expected, actual))
    if isinstance(expected, str) and "{STATEMENT}" in expected:
        return True
    if isinstance(expected, float) or isinstance(actual, float):
        return isinstance(actual, (int, float)) and isinstance(expected, (int, float)) and abs(
            expected - actual) <= 1e-9 * max(1, abs(expected))
    return expected == actual


def same_rows(expected, actual, ordered, statements):
    """Whether the elements of a query's answer are as expected: header, rows, last message."""
    pick = lambda all, kind: [e for e in all if kind in e]
    # A pull query's own end is not part of a case: ksqlDB's runner reads it as the end of the answer.
    if not pick(expected, "finalMessage"):
        actual = [e for e in actual if e.get("finalMessage") != "Query Completed"]
    for kind in ("header", "finalMessage", "errorMessage"):
        if not matches([{kind: e[kind]} for e in pick(expected, kind)], pick(actual, kind), statements):
            return False
    rows, left = pick(expected, "row"), pick(actual, "row")
    if ordered:
        return matches(rows, left, statements)
    if len(rows) != len(left):
        return False
    left = list(left)
    for row in rows:
        found = next((a for a in left if matches(row, a, statements)), None)
        if found is None:
            return False
        left.remove(found)
    return True


def expand(test):
    for format in test.get("format", [None]):
        text = json.dumps(test)
        if format is not None:
            text = text.replace("{FORMAT}", format)
        case = json.loads(text)
        case["name"] = test["name"] + (f" - {format}" if format else "")
        yield case


def is_query(text):
    return text.lstrip().upper().startswith("SELECT ")


def run(server, case):
    statements = case["statements"]
    properties = {"auto.offset.reset": "earliest", **{k: v for k, v in case.get("properties", {}).items()}}
    properties = {k.removeprefix("ksql.streams."): v for k, v in properties.items()}
    admin = [s for s in statements if not is_query(s)]
    queries = [s for s in statements if is_query(s)]
    declared = {t["name"]: t.get("numPartitions", t.get("partitions", 4)) for t in case.get("topics", []) if isinstance(t, dict)}
    for text in admin:
        if re.match(r"(?is)\s*CREATE\s+(OR\s+REPLACE\s+)?(SOURCE\s+)?(STREAM|TABLE)\s+\w+\s*\(", text):
            topic = re.search(r"(?i)kafka_topic\s*=\s*'([^']+)'", text)
            if topic and topic.group(1) not in declared and not re.search(r"(?i)partitions\s*=", text):
                declared[topic.group(1)] = 4
    for record in case.get("inputs", []):
        declared.setdefault(record["topic"], 4)
    made = {t for s in admin for t in re.findall(r"(?i)kafka_topic\s*=\s*'([^']+)'", s) if re.search(r"(?i)partitions\s*=", s)}
    server.create_topics({n: p for n, p in declared.items() if n not in made})

    answers, error = [], None
    if admin:
        status, answer = server.ksql("\n".join(admin), properties)
        if status != 200:
            error, answers = (status, answer), answer.get("entities") or []
        else:
            answers = answer
    late = case.get("inputConditions", {}).get("waitForActivePushQuery")
    if error is None and not late:
        server.produce(case.get("inputs", []), statements)

    expected = case.get("responses", [])
    ordered = case.get("outputConditions", {}).get("verifyOrder", False)
    wanted_admin = [r["admin"] for r in expected if "admin" in r]
    wanted_rows = [r["query"] for r in expected if "query" in r]
    failures = []
    if error is None:
        for at, text in enumerate(queries):
            wanted = wanted_rows[at] if at < len(wanted_rows) else None
            body = {"ksql": text, "streamsProperties": properties}
            if late and at == 0:
                box = []
                thread = threading.Thread(target=lambda: box.append(ask(server, body)))
                thread.start()
                time.sleep(0.7)
                server.produce(case.get("inputs", []), statements)
                thread.join()
                status, answer = box[0]
            else:
                until = time.time() + SETTLE_S
                while True:
                    status, answer = ask(server, body)
                    if status != 200 or wanted is None or same_rows(wanted, answer, ordered, statements) or time.time() > until:
                        break
                    time.sleep(0.1)
            if status != 200:
                error = (status, answer)
                break
            if wanted is not None and not same_rows(wanted, answer, ordered, statements):
                failures.append(f"{text}\n      wanted {json.dumps(wanted)}\n      came   {json.dumps(answer)}")
    wanted_error = case.get("expectedError")
    if wanted_error:
        if error is None:
            raise Failed("was not refused, though ksqlDB says: " + str(wanted_error.get("message")))
        if error[0] != wanted_error.get("status", 400):
            raise Failed(f"refused with {error[0]} {error[1].get('message')}")
        return
    if error is not None:
        raise Failed(f"refused: {error[1].get('message')}")
    failures += [] if not expected or matches(wanted_admin, answers, statements) else [
        f"statements: wanted {json.dumps(wanted_admin)}\n      came {json.dumps(answers)}"]
    if failures:
        raise Failed("\n    ".join(failures))


def ask(server, body):
    try:
        return server.post("/query", body)
    except TimeoutError:
        return 200, [{"timeout": True}]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("kafka")
    arguments.add_argument("http")
    arguments.add_argument("folder")
    arguments.add_argument("--only", default="")
    arguments.add_argument("--quiet", action="store_true")
    given = arguments.parse_args()
    server = Server(given.kafka, given.http)
    passed, failed, skipped = 0, 0, 0
    for path in sorted(glob.glob(os.path.join(given.folder, "*.json"))):
        text = re.sub(r"(?m)^\s*//.*$", "", open(path).read())
        for test in json.loads(text)["tests"]:
            for case in expand(test):
                name = os.path.basename(path)[:-5] + " - " + case["name"]
                if given.only not in name:
                    continue
                if REGISTRY.search(json.dumps(case["statements"])) or any("queryProto" in r for r in case.get("responses", [])):
                    skipped += 1
                    continue
                server.clean()
                try:
                    run(server, copy.deepcopy(case))
                    passed += 1
                except Exception as failure:
                    failed += 1
                    print(f"FAILED {name}\n    {failure if not given.quiet else str(failure)[:160]}", flush=True)
    server.clean()
    print(f"{passed} passed, {failed} failed, {skipped} need a registry")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
