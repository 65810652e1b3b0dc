#!/usr/bin/env bash
# A transactional copy (read, process, write) with stock clients while copier and server are killed with SIGKILL in turn.
#
#   run.sh [COPIER…]     classic or consumer: the Java client (TV2) in that group protocol; python: confluent-kafka
#                        (the old transaction protocol). Without arguments classic, as the ratchet counts.
#                        With consumer a killed copier's partitions wait for the 45 s of a KIP-848 session.
#
# COPY_RECORDS (default 100000), COPY_KILLS (default 20: half of them the server's); see ../java/driver.sh.
source "$(dirname "$0")/../lib.sh"
source "$suites/java/driver.sh"
if [ $# -eq 0 ]; then set -- classic; fi
for copier in "$@"; do
    run=("$copier")
    if [ "$copier" = python ]; then
        source "$suites/python.sh"
        python_with confluent-kafka==2.16.1
        run=("$python" "$suite/copier.py")
    fi
    drive -l "$copier" CopySuite "${COPY_RECORDS:-100000}" "${COPY_KILLS:-20}" "${run[@]}"
done
report
