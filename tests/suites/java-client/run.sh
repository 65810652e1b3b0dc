#!/usr/bin/env bash
# The Java 4.x client script (../java/src/suites/ClientSuite.java) against a fresh server.
#
#   run.sh [PART_OF_A_CASE'S_NAME]
#
# MILLSTREAM_BROKER=HOST:PORT runs it against a broker that is up already: every case passes on Apache Kafka 4.1.1
# (../java/kafka-broker.sh), which is how we know that a check is right.
source "$(dirname "$0")/../lib.sh"
classpath=$("$suites/java/build.sh")
start_server
log=${SUITE_LOG:-$work/log}
java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel="${CLIENT_LOG_LEVEL:-off}" -cp "$classpath" \
    suites.ClientSuite "$broker" "${1:-}" >"$log" 2>&1 || true
grep -E '^FAIL: ' "$log" | cut -c1-600 || true
sed -nE 's/^ok: (.*) \([0-9]+ ms\)$/passed\t\1/p; s/^FAIL: (.*) \([0-9]+ ms\): .*$/failed\t\1/p' "$log" >"$work/results"
report
