#!/usr/bin/env bash
# Fuzzes the decoders: tests/fuzz.sh SECONDS [TARGET [FILE]]. Ends by itself; fails when a target does.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:?seconds for each target}"
only="${2:-}"
export RUSTC_BOOTSTRAP=1
# Coverage only: address sanitizing finds nothing where there is no unsafe code, and costs half the speed.
fuzz=(cargo fuzz run --sanitizer none)
if [ -n "${3:-}" ]; then
  exec "${fuzz[@]}" "$only" "$3"
fi
cargo run -q -p millstream-tests --bin hostile -- --fuzz-seeds fuzz/corpus
for entry in fuzz/fuzz_targets/*.rs; do
  target=$(basename "$entry" .rs)
  if [ -z "$only" ] || [ "$only" = "$target" ]; then
    echo "== $target"
    "${fuzz[@]}" "$target" -- -max_total_time="$seconds" -rss_limit_mb=512 -max_len=65536 -print_final_stats=1
  fi
done
