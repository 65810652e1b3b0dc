#!/usr/bin/env bash
# A transactional copy (read, process, write) with stock clients while copier and server are killed with SIGKILL in turn.
#
#   run.sh [COPIER…]     classic (default), consumer: the Java client (TV2) in that group protocol; python: confluent-kafka
#
# COPY_RECORDS (default 100000), COPY_KILLS (default 20: half of them the server's), SERVER_COMMAND (another server's
# command line; {kafka} and {dir} are filled in).
source "$(dirname "$0")/../lib.sh"
classpath=$("$suites/java/build.sh")
: >"$work/results"
for copier in "${@:-classic}"; do
    read -r kafka http < <(free_ports 2)
    mkdir "$work/$copier"
    binary=${MILLSTREAM:-${CARGO_TARGET_DIR:-$suites/../../target}/release/millstream}
    command="$binary server --data-dir $work/$copier/data --kafka 127.0.0.1:$kafka --http 127.0.0.1:$http"
    if [ -n "${SERVER_COMMAND:-}" ]; then
        command=${SERVER_COMMAND//\{kafka\}/$kafka}
        command=${command//\{http\}/$http}
        command=${command//\{dir\}/$work/$copier/data}
    fi
    run=("$copier")
    if [ "$copier" = python ]; then
        source "$suites/python.sh"
        python_with confluent-kafka==2.12.1
        run=("$python" "$suite/copier.py")
    fi
    # shellcheck disable=SC2086
    java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel="${CLIENT_LOG_LEVEL:-off}" -cp "$classpath" \
        suites.CopySuite "127.0.0.1:$kafka" "$work/$copier" "${COPY_RECORDS:-100000}" "${COPY_KILLS:-20}" "${run[@]}" -- $command \
        >"$work/log" 2>&1 || true
    if [ -n "${SUITE_LOG:-}" ]; then cp -r "$work/$copier"/*.log "$work/log" "$SUITE_LOG"; fi
    grep -vE '^(ok|failed): ' "$work/log" | tail -n 20 | cut -c1-600 || true
    if ! grep -q '^ok: ' "$work/log"; then
        printf 'failed\t%s: it ran to its end\n' "$copier" >>"$work/results"
        tail -n 15 "$work/$copier/server.log" "$work/$copier/copier.log" | cut -c1-300
    fi
    sed -nE "s/^ok: (.*) \([0-9]+ ms\)$/passed\t$copier \1/p; s/^FAIL: (.*) \([0-9]+ ms\): .*$/failed\t$copier \1/p" "$work/log" >>"$work/results"
done
report
