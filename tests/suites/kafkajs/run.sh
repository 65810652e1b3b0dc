#!/usr/bin/env bash
# kafkajs against a fresh server: cases.mjs through its public API (the npm package has no tests of its own).
#
#   run.sh [PART_OF_A_NAME]
source "$(dirname "$0")/../lib.sh"
version=2.2.4

client=$cache/kafkajs-$version
if [ ! -e "$client/node_modules/kafkajs/package.json" ]; then
    command -v npm >/dev/null || apt_install nodejs npm
    mkdir -p "$client"
    (cd "$client" && npm install --silent --no-audit --no-fund --no-save "kafkajs@$version" >/dev/null)
fi
start_server_with_login
# Each case has its own end, but for a client that hangs.
(cd "$client" && BROKERS=$broker SASL=$sasl KAFKAJS_NO_PARTITIONER_WARNING=1 \
    timeout "${SUITE_TIMEOUT:-300}" node "$suite/cases.mjs" ${1:+"$1"}) >"$work/results" 2>"${SUITE_LOG:-$work/log}" || true
head -c 6000 "${SUITE_LOG:-$work/log}"
report
