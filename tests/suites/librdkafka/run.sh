#!/usr/bin/env bash
# librdkafka's own test-runner, the quick run (`make quick`), against a fresh server.
#
#   run.sh [TESTS]      e.g. 0011,0129 (librdkafka's TESTS variable); default: all that need a broker
#
# LIBRDKAFKA_SOURCE   a directory with librdkafka's source; else it comes from npm: @confluentinc/kafka-javascript
#                     carries the whole of it (2.15.1), tests included, which neither Debian's nor PyPI's packages do
source "$(dirname "$0")/../lib.sh"
package=@confluentinc/kafka-javascript@1.10.1

build=$cache/librdkafka-${package##*@}
if [ -n "${LIBRDKAFKA_SOURCE:-}" ]; then
    build=$work/librdkafka
fi
if [ ! -x "$build/tests/test-runner" ]; then
    for tool in gcc g++ make; do command -v "$tool" >/dev/null || apt_install build-essential; done
    [ -e /usr/include/rapidjson/document.h ] || apt_install rapidjson-dev
    rm -rf "$build"
    if [ -n "${LIBRDKAFKA_SOURCE:-}" ]; then
        cp -r "$LIBRDKAFKA_SOURCE" "$build"
    else
        (cd "$work" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz package/deps/librdkafka)
        mv "$work/package/deps/librdkafka" "$build"
    fi
    # The transaction tests ask for three replicas, which they do not need: one node of Kafka refuses them, too.
    sed -i 's/\(create_topic_wait_exists(.*\), 3, 5000)/\1, 1, 5000)/' "$build/tests/0103-transactions.c"
    (cd "$build" && ./configure --disable-sasl --disable-curl && make -j2 libs && make -j2 -C tests test-runner) \
        >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; exit 1; }
fi

# About a hundred of the tests count on four partitions in topics that are made by asking for them.
start_server_with_login --default-partitions 4
cat >"$work/test.conf" <<CONF
bootstrap.servers=$broker
test.topic.random=true
CONF
log=${SUITE_LOG:-$work/log}
# -Q quick, -E without the socket emulator, -L without the local tests, -p parallel. The local tests, and those in
# TESTS_SKIP, meet librdkafka's own mock of a broker only.
(cd "$build/tests" && env RDKAFKA_TEST_CONF="$work/test.conf" TEST_REPORT="$work/report.json" TEST_KAFKA_VERSION=4.1.0 \
    ${1:+TESTS="$1"} TESTS_SKIP=0009,0139,0150 CI=y LD_LIBRARY_PATH="$build/src:$build/src-cpp" \
    timeout -k 5 "${SUITE_TIMEOUT:-400}" ./test-runner -Q -E -L -p"${SUITE_PARALLEL:-4}") >"$log" 2>&1 || true
rm -f "$build"/tests/stats_*.json

# The report also names what the flags left out; the log says what was run.
python3 - "$work/report.json" "$log" >"$work/results" <<'PY'
import json
import re
import sys

run = set(re.findall(r"=== Running test (\w+)", open(sys.argv[2], errors="replace").read()))
states = {"PASSED": "passed", "SKIPPED": "skipped"}
for name, test in json.load(open(sys.argv[1]))["tests"].items():
    if name in run:
        print(states.get(test["state"], "failed") + "\t" + name)
PY
sed 's/\x1b\[[^m]*m//g' "$log" | grep -E '^\| [0-9]{4}_.* FAILED ' | cut -c1-250 || true
report
