#!/usr/bin/env bash
# Runs all client checks against a running server.
#
#   tests/clients/install.sh
#   tests/clients/run.sh HOST:PORT http://HOST:PORT
#
# MILLSTREAM_CLIENTS_DIR says where install.sh put the Python clients; MILLSTREAM_BINARY names the binary
# whose shell is tried as well.
set -euo pipefail

broker="${1:?usage: run.sh HOST:PORT http://HOST:PORT}"
http="${2:?usage: run.sh HOST:PORT http://HOST:PORT}"
here="$(cd "$(dirname "$0")" && pwd)"
python="${MILLSTREAM_CLIENTS_DIR:-/tmp/millstream-clients}/bin/python"

bash "$here/kcat.sh" "$broker"
"$python" "$here/confluent_kafka_check.py" "$broker"
"$python" "$here/transactions_check.py" "$broker"
"$python" "$here/groups_check.py" "$broker"
"$python" "$here/kafka_python_check.py" "$broker"
"$python" "$here/sql_sink_check.py" "$broker" "$http"
if [ -n "${MILLSTREAM_BINARY:-}" ]; then
    "$python" "$here/shell_check.py" "$MILLSTREAM_BINARY" "$http"
fi
