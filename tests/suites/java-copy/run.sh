#!/usr/bin/env bash
# A transactional copy (read, process, write) with stock clients while copier and server are killed with SIGKILL in turn.
#
#   run.sh [COPIER…]     classic (default), consumer: the Java client (TV2) in that group protocol; python:
#                        confluent-kafka (the old transaction protocol)
#
# COPY_RECORDS (default 100000), COPY_KILLS (default 20: half of them the server's); see ../java/driver.sh.
source "$(dirname "$0")/../lib.sh"
source "$suites/java/driver.sh"
for copier in "${@:-classic}"; do
    run=("$copier")
    if [ "$copier" = python ]; then
        source "$suites/python.sh"
        python_with confluent-kafka==2.12.1
        run=("$python" "$suite/copier.py")
    fi
    drive -l "$copier" CopySuite "${COPY_RECORDS:-100000}" "${COPY_KILLS:-20}" "${run[@]}"
done
report
