#!/usr/bin/env bash
# Kafka Streams 4.1, exactly_once_v2 with RocksDB: a word count while its process and the server are killed in turn with
# SIGKILL, then windows, suppress and joins. What is checked: ../java/src/suites/StreamsSuite.java.
#
# STREAMS_WORDS (default 50000), STREAMS_KILLS (of each, default 5), SERVER_COMMAND (another server's command line;
# {kafka}, {http} and {dir} are filled in).
source "$(dirname "$0")/../lib.sh"
source "$suites/java/driver.sh"
drive StreamsSuite "${STREAMS_WORDS:-50000}" "${STREAMS_KILLS:-5}"
report
