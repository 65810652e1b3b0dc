#!/usr/bin/env bash
# kcat (librdkafka): metadata with auto-create, every codec, offsets by time, a group, restart from
# the committed offset.
#
#   tests/clients/kcat.sh HOST:PORT
#
# Prints what it verified; exits non-zero at the first thing that is wrong.
set -euo pipefail

broker="${1:?usage: kcat.sh HOST:PORT}"
run="kcat-$$-$(date +%s)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

ok() { echo "ok: kcat: $*"; }
fail() { echo "FAILED: kcat: $*" >&2; exit 1; }
kc() { timeout 60 kcat -b "$broker" -q "$@"; }

# A record from $1 on in the whole topic $2, as `key=value` lines.
read_all() { kc -C -t "$2" -o "$1" -e -f '%k=%s\n'; }

kc -L >/dev/null || fail "the cluster does not answer"
ok "metadata"

# Every codec, with keys and headers; 500 records of 200 bytes so that codecs are really used.
seq 1 500 | awk '{ printf "k%d:value-%0200d\n", $1, $1 }' >"$work/input"
sed 's/:/=/' "$work/input" | sort >"$work/expected"
for codec in none gzip snappy lz4 zstd; do
    topic="$run-$codec"
    kc -P -t "$topic" -K: -z "$codec" -H "codec=$codec" -X enable.idempotence=true <"$work/input"
    read_all beginning "$topic" | sort >"$work/output"
    diff -q "$work/expected" "$work/output" >/dev/null || fail "codec $codec: other records came back"
    headers="$(kc -C -t "$topic" -o beginning -c 1 -f '%h\n')"
    [ "$headers" = "codec=$codec" ] || fail "codec $codec: headers are '$headers'"
    ok "idempotent produce and fetch with codec $codec, keys and headers"
done

for acks in 0 1 all; do
    topic="$run-acks-$acks"
    # Auto-creation has to come first: with acks=0 nobody tells kcat that the topic was not there.
    kc -L -t "$topic" >/dev/null
    seq 1 20 | kc -P -t "$topic" -X acks="$acks"
    for _ in $(seq 50); do
        count="$(read_all beginning "$topic" | wc -l)"
        [ "$count" -eq 20 ] && break
        sleep 0.1
    done
    [ "$count" -eq 20 ] || fail "acks=$acks: $count of 20 records"
    ok "produce with acks=$acks"
done

# Offsets by time: records before and after a pause.
topic="$run-time"
echo early | kc -P -t "$topic"
sleep 1.1
middle="$(date +%s%3N)"
echo late | kc -P -t "$topic"
found="$(kc -Q -t "$topic:0:$middle")"
case "$found" in
    *"offset 1"*) ok "offset by timestamp" ;;
    *) fail "offset by timestamp: '$found'" ;;
esac
[ "$(kc -C -t "$topic" -o -1 -e)" = late ] || fail "the last record is not 'late'"
ok "offset from the end"

# A group reads the first half, commits by leaving, and goes on where it stopped.
topic="$run-group"
seq 1 100 | kc -P -t "$topic"
group() {
    timeout 60 kcat -b "$broker" -q -G "$run-g" -X auto.offset.reset=earliest \
        -X session.timeout.ms=6000 -c "$1" "$topic" 2>/dev/null
}
group 50 >"$work/first"
[ "$(sort -n "$work/first" | tail -1)" = 50 ] || fail "group: the first half ends at $(tail -1 "$work/first")"
group 50 >"$work/second"
[ "$(cat "$work/first" "$work/second" | sort -nu | wc -l)" -eq 100 ] || fail "group: records are missing or doubled"
ok "a group goes on from its committed offset"

echo "kcat: all passed"
