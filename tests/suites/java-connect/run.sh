#!/usr/bin/env bash
# A Kafka Connect 4.1 distributed worker (exactly-once source support, REST) with a file source and a file sink, over
# restarts and kills of worker and server. What is checked: ../java/src/suites/ConnectSuite.java; see ../java/driver.sh.
source "$(dirname "$0")/../lib.sh"
source "$suites/java/driver.sh"
drive ConnectSuite
report
