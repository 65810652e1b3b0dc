#!/usr/bin/env bash
# confluent-kafka-python against a fresh server, with both group protocols.
#
#   run.sh [PYTEST_OPTION...]      e.g. -k transaction
#
# Its own integration tests are in no package since 1.5 (PyPI's source distributions leave them out, Debian's mirror
# lacks the source). Our cases.py checks what they check. With CONFLUENT_KAFKA_PYTHON_SOURCE, a directory with the
# repository, its own tests run instead: tests/integration/{admin,consumer,producer}, with BROKERS.
source "$(dirname "$0")/../lib.sh"
source "$suites/python.sh"

python_with confluent-kafka==2.16.1 pytest==9.0.1 pytest-timeout==2.4.0
# Members of a group learn of changes by their heartbeats: the more often, the sooner the cases end.
start_server_with_login --default-partitions 4 --kafka-setting group.consumer.heartbeat.interval.ms=500
log=${SUITE_LOG:-$work/log}
: >"$log"
touch "$work/all"
for protocol in classic consumer; do
    if [ -n "${CONFLUENT_KAFKA_PYTHON_SOURCE:-}" ]; then
        cd "$CONFLUENT_KAFKA_PYTHON_SOURCE"
        cases=(tests/integration/admin tests/integration/consumer tests/integration/producer)
    else
        cd "$suite"
        cases=(cases.py)
    fi
    BROKERS=$broker GROUP_PROTOCOL=$protocol TEST_CONSUMER_GROUP_PROTOCOL=$protocol "$python" -m pytest -q \
        -p no:cacheprovider --timeout=120 --junit-xml="$work/junit.xml" --tb=short --show-capture="${SUITE_CAPTURE:-no}" \
        "${cases[@]}" "$@" >>"$log" 2>&1 || true
    junit_results "$work/junit.xml"
    sed "s/\$/ ($protocol)/" "$work/results" >>"$work/all"
done
mv "$work/all" "$work/results"
grep -E '^(E  |FAILED|ERROR)' "$log" | head -n 80 || true
report
