#!/usr/bin/env bash
# kafka-python's integration tests against a fresh server.
#
#   run.sh [PYTEST_OPTION...]      e.g. -k transaction
#
# KAFKA_PYTHON_SOURCE   a directory with the source distribution; else it comes from PyPI
source "$(dirname "$0")/../lib.sh"
source "$suites/python.sh"
version=3.0.12

python_with "kafka-python[crc32c,lz4,snappy,zstd]==$version" pytest==9.0.1 pytest-mock==3.15.1 pytest-timeout==2.4.0 py==1.11.0
if [ -z "${KAFKA_PYTHON_SOURCE:-}" ]; then
    source_of "kafka-python==$version" "kafka-python-$version"
    KAFKA_PYTHON_SOURCE=$cache/kafka-python-$version
fi

# A copy of the tests alone, so that `import kafka` finds the installed package.
mkdir "$work/suite" "$work/kafka-bin"
cp -r "$KAFKA_PYTHON_SOURCE/test" "$work/suite/test"
# The source distribution leaves out the package's mark and the module that starts brokers. Against one that runs
# already only the module's names are needed.
touch "$work/suite/test/__init__.py"
if [ ! -e "$work/suite/test/service.py" ]; then
    cat >"$work/suite/test/service.py" <<'PY'
class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def stop(self):
        pass

    def dump_logs(self):
        pass


class SpawnedService:
    pass
PY
fi

cp "$suite/conftest.py" "$work/suite/"

# A certificate of a throw-away authority, as the fixtures make them.
mkdir "$work/certificates"
(cd "$work/certificates" && {
    openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=suite-ca -keyout ca-key -out ca-cert
    openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key -out request
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >names
    openssl x509 -req -days 1 -in request -CA ca-cert -CAkey ca-key -CAcreateserial -extfile names -out certificate
}) 2>/dev/null

# What the fixtures set in the brokers they start themselves, the user among it.
read -r login tls < <(free_ports 2)
echo alice:alice-secret >"$work/users"
start_server --default-partitions 4 --kafka-setting node.id=0 --kafka-setting group.min.session.timeout.ms=1000 \
    --kafka-listener "SASL_PLAINTEXT://127.0.0.1:$login" --sasl-user-file "$work/users" \
    --kafka-listener "SSL://127.0.0.1:$tls" --tls-cert "$work/certificates/certificate" --tls-key "$work/certificates/key" \
    --super-user User:ANONYMOUS --super-user User:alice
# The fixtures look for a directory of Kafka's scripts even when they start nothing.
(cd "$work/suite" && KAFKA_VERSION=4.1 KAFKA_ROOT="$work/kafka-bin" SUITE_PLAINTEXT=$broker \
    SUITE_SASL_PLAINTEXT=127.0.0.1:$login SUITE_SSL=127.0.0.1:$tls SUITE_CERTIFICATES="$work/certificates" \
    "$python" -m pytest -q -p no:cacheprovider --timeout=120 --junit-xml="$work/junit.xml" --tb=short \
    --show-capture="${SUITE_CAPTURE:-no}" test/integration "$@") >"${SUITE_LOG:-$work/log}" 2>&1 || true
grep -E '^(E  |FAILED|ERROR)' "${SUITE_LOG:-$work/log}" | head -n 60 || true
junit_results "$work/junit.xml"
report
