"""Gives kafka-python's fixtures the server that runs, one listener per transport, where they would start brokers.

With KAFKA_URI alone the suite leaves its SASL tests out and has no broker for its TLS tests.
"""

import os

from kafka import KafkaAdminClient, KafkaConsumer
from test.integration.fixtures import KafkaFixture


def running(cls, broker_id, transport="PLAINTEXT", partitions=4, replicas=1, sasl_mechanism=None, tmp_dir=None, **_):
    host, port = os.environ["SUITE_" + transport].split(":")
    fixture = cls(host, int(port), broker_id, transport=transport, partitions=partitions, replicas=replicas,
                  sasl_mechanism=sasl_mechanism, tmp_dir=tmp_dir, external=True)
    fixture.ssl_dir = os.environ["SUITE_CERTIFICATES"]
    fixture.start = lambda: None
    return fixture


def topic_names(self):
    """Where the fixture would call Kafka's script."""
    with KafkaAdminClient(**self._enrich_client_params({})) as admin:
        return admin.list_topics()


# kafka-python 3.0.12 forgets a topic that is subscribed while an older metadata request is in flight: the answer to that
# one clears the wish for the next (ClusterMetadata.update_metadata), which then comes after metadata_max_age_ms, five
# minutes. Whether it happens is a race inside the client alone.
KafkaConsumer.DEFAULT_CONFIG["metadata_max_age_ms"] = 500

KafkaFixture.get_topic_names = topic_names
KafkaFixture.instance = classmethod(running)
