#!/usr/bin/env bash
# Shows that the crash suite sees: it must be green on the real build and red with each planted fault.
# A fault is a build feature, so each run builds the server anew.
set -uo pipefail
cd "$(dirname "$0")/../.."
cycles="${CYCLES:-30}"
# `PROFILE=` (empty) takes the development profile.
profile="${PROFILE---release}"

# Whatever happens, no faulty binary stays behind under the usual name.
trap 'cargo build $profile -q -p millstream -p millstream-tests --bins' EXIT

crash() { cargo run $profile -q -p millstream-tests "$@" --bin crash -- --cycles "$cycles"; }

echo "== without a fault"
crash || { echo "red without a fault"; exit 1; }
for fault in fault-skip-sync fault-double-apply; do
  echo "== $fault"
  if crash --features "$fault"; then
    echo "$fault was not found"
    exit 1
  fi
done
echo "== green without, red with each"
