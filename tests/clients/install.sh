#!/usr/bin/env bash
# Installs the stock clients the scripts here use: kcat from the distribution, the Python clients,
# pinned, into a virtual environment of their own.
#
#   tests/clients/install.sh
#
# MILLSTREAM_CLIENTS_DIR says where (default: /tmp/millstream-clients). Running it again is cheap.
set -euo pipefail

dir="${MILLSTREAM_CLIENTS_DIR:-/tmp/millstream-clients}"
confluent_kafka=2.16.1
kafka_python=3.0.12

sudo=""
if [ "$(id -u)" -ne 0 ]; then sudo=sudo; fi

if ! command -v kcat >/dev/null || ! python3 -m venv --help >/dev/null 2>&1; then
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq kcat python3-venv >/dev/null
fi
if [ ! -x "$dir/bin/python" ]; then
    python3 -m venv "$dir"
fi
# The codecs are optional parts of kafka-python; confluent-kafka brings its own.
"$dir/bin/pip" install --quiet --disable-pip-version-check \
    "confluent-kafka==$confluent_kafka" "kafka-python==$kafka_python" \
    lz4==4.4.4 python-snappy==0.7.3 zstandard==0.25.0
echo "clients are in $dir"
