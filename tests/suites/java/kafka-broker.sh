#!/usr/bin/env bash
# Apache Kafka 4.x as one KRaft node, from Maven Central: the reference the suites and the bench are held against.
#
#   kafka-broker.sh PORT CONTROLLER_PORT DATA_DIR [key=value ...]   run in the foreground (exec: the pid is the JVM's)
#   kafka-broker.sh --classpath                                     print the classpath only (also for Kafka's tools)
#
# Formats DATA_DIR when it is new. Settings are Kafka's defaults but for what one node needs (replication
# factors of the internal topics); `key=value` arguments are appended to server.properties, the last wins.
# KAFKA_HEAP_OPTS (default Kafka's own: -Xmx1G -Xms1G) and KAFKA_JVM_OPTS are handed to java.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

classpath() {
  local pom=$here/broker/pom.xml out
  # A changed pom is a new file: the resolved classpath is good for as long as ~/.m2 has its jars.
  out=${MILLSTREAM_SUITES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millstream-suites}/broker-$(cksum <"$pom" | cut -d' ' -f1).cp
  if [ ! -s "$out" ] || [ ! -e "$(cut -d: -f1 "$out")" ]; then
    mkdir -p "${out%/*}"
    mvn -q -B -f "$pom" dependency:build-classpath -Dmdep.outputFile="$out.$$" >&2
    mv "$out.$$" "$out"
  fi
  cat "$out"
}

if [ "${1:-}" = --classpath ]; then classpath; echo; exit; fi
[ $# -ge 3 ] || { sed -n '2,9p' "$0"; exit 2; }
port=$1 controller=$2 data=$3
shift 3
cp=$(classpath)
mkdir -p "$data"
data=$(cd "$data" && pwd)
props=$data/server.properties
cat >"$props" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$data/logs
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
EOF
for setting in "$@"; do echo "$setting" >>"$props"; done
log=(-Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG_LEVEL:-warn}" -Dorg.slf4j.simpleLogger.showDateTime=true)
if [ ! -e "$data/logs/meta.properties" ]; then
  # Any 16 bytes in URL-safe base64 are a cluster id.
  id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)
  java -Xmx256m "${log[@]}" -cp "$cp" kafka.tools.StorageTool format -t "$id" -c "$props" >"$data/format.out" 2>&1 ||
    { cat "$data/format.out" >&2; exit 1; }
fi
# The collector settings of Kafka's own kafka-run-class.sh.
exec java ${KAFKA_HEAP_OPTS:--Xmx1G -Xms1G} -server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
  -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true \
  ${KAFKA_JVM_OPTS:-} "${log[@]}" -cp "$cp" kafka.Kafka "$props"
