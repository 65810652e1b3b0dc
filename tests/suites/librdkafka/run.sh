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
    (cd "$build" && ./configure --disable-sasl --disable-curl && make -j2 libs && make -j2 -C tests test-runner) \
        >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; exit 1; }
fi

# About a hundred of the tests count on four partitions in topics that are made by asking for them.
start_server --default-partitions 4
cat >"$work/test.conf" <<CONF
bootstrap.servers=$broker
test.topic.random=true
CONF
log=${SUITE_LOG:-$work/log}
# -Q quick, -E without the socket emulator, -L without the local tests (they meet librdkafka's mock only), -p parallel.
(cd "$build/tests" && RDKAFKA_TEST_CONF=$work/test.conf TEST_KAFKA_VERSION=4.1.0 TESTS=${1:-} CI=y \
    LD_LIBRARY_PATH=$build/src:$build/src-cpp timeout "${SUITE_TIMEOUT:-420}" \
    ./test-runner -Q -E -L -p"${SUITE_PARALLEL:-3}") >"$log" 2>&1 || true

# The summary's lines: | NAME | STATUS | SECONDS | WHY. The local tests and the like are not of this run.
sed 's/\x1b[^m]*m//g' "$log" | awk -F'|' '/^\| +[0-9]{4}_/ || /^\| [0-9][0-9][0-9][0-9]_/ { print }' >"$work/summary"
