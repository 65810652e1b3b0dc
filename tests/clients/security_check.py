"""confluent-kafka and kafka-python against a guarded server: who gets in, and what each may do.

    security_check.py DIR PORT first|again

Started by security.sh, which makes certificates in DIR and a server whose listeners are, from PORT
on: plain, https, SASL_SSL, SSL with client certificates, SASL_PLAINTEXT. `again` runs after a kill -9
and finds the users, ACLs and records of the first run.
"""

import base64
import ssl
import sys
import time
import urllib.error
import urllib.request

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka import KafkaConsumer, KafkaProducer

DIR, PORT, RUN = sys.argv[1], int(sys.argv[2]), sys.argv[3]
PLAIN, HTTPS, SASL_SSL, SSL, SASL_PLAINTEXT = (PORT + n for n in range(5))
TOPIC = "guarded"


def sasl(user, password, mechanism="SCRAM-SHA-512", ca="ca.pem"):
    return {
        "bootstrap.servers": f"localhost:{SASL_SSL}",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": f"{DIR}/{ca}",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
        "socket.timeout.ms": 10000,
        "log_level": 0,
    }


def said(what):
    print(f"   ok: {what}", flush=True)


def first_error(settings, seconds=8):
    """The first error that a client with these settings is told of."""
    errors = []
    producer = Producer({**settings, "error_cb": errors.append})
    end = time.time() + seconds
    while time.time() < end and not errors:
        producer.poll(0.1)
    assert errors, "it got in"
    return errors[0]


def produce(settings, value, topic=TOPIC):
    """The error of a delivery, or None."""
    outcome = []
    producer = Producer({**settings, "message.timeout.ms": 10000})
    producer.produce(topic, value, callback=lambda error, _: outcome.append(error))
    producer.flush(15)
    assert outcome, "nothing was said about the record"
    return outcome[0] and outcome[0].code()


def nothing(settings):
    """Whether these settings read nothing, be it with an error or in silence (librdkafka tells of a
    topic it may not see only now and then)."""
    return consume(settings, 1, 5) in ([], KafkaError.TOPIC_AUTHORIZATION_FAILED)


def consume(settings, count, seconds=15):
    consumer = Consumer({**settings, "group.id": "unused", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    values = []
    end = time.time() + seconds
    while len(values) < count and time.time() < end:
        message = consumer.poll(0.5)
        if message is None:
            continue
        if message.error():
            consumer.close()
            return message.error().code()
        values.append(message.value())
    consumer.close()
    return values


def acl(user, operation, permission=AclPermissionType.ALLOW, name=TOPIC, pattern=ResourcePatternType.LITERAL):
    return AclBinding(ResourceType.TOPIC, name, pattern, user, "*", operation, permission)


def create(admin, *acls):
    for future in admin.create_acls(list(acls)).values():
        future.result()


def https(user=None, password=None, path="/ksql"):
    """Status of a statement over https."""
    context = ssl.create_default_context(cafile=f"{DIR}/ca.pem")
    body = b'{"ksql": "SHOW TOPICS;"}' if path == "/ksql" else None
    request = urllib.request.Request(f"https://localhost:{HTTPS}{path}", data=body)
    if user:
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, context=context, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def everything():
    root = sasl("admin", "root-secret")
    admin = AdminClient(root)
    for future in admin.create_topics([NewTopic(TOPIC, 1, 1)]).values():
        future.result()
    metadata = admin.list_topics(timeout=10)
    assert metadata.brokers[1].host == "localhost" and metadata.brokers[1].port == SASL_SSL, metadata.brokers
    said("a super user makes a topic over SASL_SSL, and is told this listener's own address")

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        assert produce(sasl("admin", "root-secret", mechanism), mechanism.encode()) is None
        for user, password in [("admin", "wrong"), ("nobody", "root-secret")]:
            error = first_error(sasl(user, password, mechanism))
            assert error.code() == KafkaError._AUTHENTICATION, error
            assert mechanism in error.str() and user not in error.str(), error.str()
        said(f"{mechanism}: the right password gets in; a wrong one and an unknown user are told alike")
    error = first_error(sasl("admin", "root-secret", ca="other.pem"))
    assert error.code() in (KafkaError._SSL, KafkaError._TRANSPORT), error
    said("a client that trusts another authority does not connect")
    plaintext = {"bootstrap.servers": f"localhost:{SASL_SSL}", "log_level": 0}
    first_error(plaintext)
    said("a client without TLS does not get in")

    # librdkafka looks for its group's coordinator even when it reads without a group.
    everybody = AclBinding(
        ResourceType.GROUP, "*", ResourcePatternType.LITERAL, "User:*", "*", AclOperation.READ, AclPermissionType.ALLOW
    )
    create(admin, everybody)
    alice, bob = sasl("alice", "wonder-land"), sasl("bob", "builder", "PLAIN")
    denied = KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert produce(alice, b"no") == denied and nothing(bob)
    assert produce(alice, b"no", "absent") == denied, "whether a topic exists is not told"
    assert TOPIC not in AdminClient(alice).list_topics(timeout=10).topics
    said("without an ACL nobody writes, reads or sees a topic")
    create(
        admin,
        acl("User:alice", AclOperation.WRITE),
        acl("User:bob", AclOperation.READ, name="guard", pattern=ResourcePatternType.PREFIXED),
        acl("User:bob", AclOperation.WRITE, AclPermissionType.DENY),
    )
    assert produce(alice, b"alice") is None and produce(bob, b"bob") == denied
    expected = [b"PLAIN", b"SCRAM-SHA-256", b"SCRAM-SHA-512", b"alice"]
    assert consume(bob, 4) == expected and nothing(alice)
    said("alice writes and does not read, bob reads and does not write")
    try:
        create(AdminClient(alice), acl("User:alice", AclOperation.READ))
        raise AssertionError("alice gave herself a right")
    except KafkaException as refused:
        assert refused.args[0].code() == KafkaError.CLUSTER_AUTHORIZATION_FAILED, refused
    said("only who may alter the cluster makes ACLs")

    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 8192)
    change = UserScramCredentialUpsertion("dave", scram, b"dave-secret")
    for future in admin.alter_user_scram_credentials([change]).values():
        future.result()
    users = admin.describe_user_scram_credentials().result()
    assert {"admin", "alice", "bob", "dave"} == set(users), users
    create(admin, acl("User:dave", AclOperation.READ))
    assert consume(sasl("dave", "dave-secret", "SCRAM-SHA-256"), 4) == expected
    first_error(sasl("dave", "dave-secret", "SCRAM-SHA-512"))
    said("a user made through Kafka's API logs in by the mechanism it was made for")

    create(admin, acl("User:CN=carol,O=Example", AclOperation.READ))
    certificate = {
        "bootstrap.servers": f"localhost:{SSL}",
        "security.protocol": "SSL",
        "ssl.ca.location": f"{DIR}/ca.pem",
        "log_level": 0,
    }
    shown = {"ssl.certificate.location": f"{DIR}/client.pem", "ssl.key.location": f"{DIR}/client.key"}
    assert consume({**certificate, **shown}, 4) == expected
    assert nothing(certificate), "who shows no certificate is anonymous"
    said("a client certificate is its subject")
    anonymous = {"bootstrap.servers": f"127.0.0.1:{PLAIN}", "log_level": 0}
    assert produce(anonymous, b"no") == denied
    said("the plain listener's clients are nobody")

    filter_all = AclBindingFilter(
        ResourceType.TOPIC, TOPIC, ResourcePatternType.MATCH, "User:bob", None, AclOperation.ANY, AclPermissionType.ANY
    )
    assert len(admin.describe_acls(filter_all).result()) == 2
    said("ACLs are told")


def after_a_kill():
    alice, bob = sasl("alice", "wonder-land"), sasl("bob", "builder", "PLAIN")
    assert produce(alice, b"again") is None
    assert produce(bob, b"no") == KafkaError.TOPIC_AUTHORIZATION_FAILED
    assert consume(sasl("dave", "dave-secret", "SCRAM-SHA-256"), 5)[-1] == b"again"
    said("users, ACLs and records survive kill -9")
    admin = AdminClient(sasl("admin", "root-secret"))
    bobs = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, "User:bob", None, AclOperation.ANY, AclPermissionType.ANY
    )
    removed = [future.result() for future in admin.delete_acls([bobs]).values()]
    assert len(removed[0]) == 2, removed
    assert nothing(bob)
    said("a right that is taken away is gone")

    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
        for protocol, port in [("SASL_SSL", SASL_SSL), ("SASL_PLAINTEXT", SASL_PLAINTEXT)]:
            settings = {
                "bootstrap_servers": f"localhost:{port}" if protocol == "SASL_SSL" else f"127.0.0.1:{port}",
                "security_protocol": protocol,
                "sasl_mechanism": mechanism,
                "sasl_plain_username": "admin",
                "sasl_plain_password": "root-secret",
                "ssl_cafile": f"{DIR}/ca.pem" if protocol == "SASL_SSL" else None,
            }
            producer = KafkaProducer(**settings)
            producer.send(TOPIC, f"kafka-python {mechanism}".encode()).get(timeout=15)
            producer.close()
            consumer = KafkaConsumer(
                TOPIC, **settings, auto_offset_reset="earliest", consumer_timeout_ms=8000, group_id=None
            )
            assert next(iter(consumer)).value == b"PLAIN"
            consumer.close()
        said(f"kafka-python writes and reads with {mechanism}, encrypted and not")

    for who, path, expected in [
        ((), "/ksql", 401),
        (("admin", "wrong"), "/ksql", 401),
        (("nobody", "root-secret"), "/ksql", 401),
        (("alice", "wonder-land"), "/ksql", 403),
        (("admin", "root-secret"), "/ksql", 200),
        (("alice", "wonder-land"), "/info", 200),
        (("alice", "wonder-land"), "/metrics", 403),
        ((), "/metrics", 401),
        ((), "/healthcheck", 200),
        ((), "/nothing", 401),
    ]:
        status = https(*who, path=path)
        assert status == expected, (who, path, status)
    said("SQL over https asks for the same users")


print(f"-- a guarded server, {RUN} run", flush=True)
everything() if RUN == "first" else after_a_kill()
