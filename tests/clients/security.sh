#!/usr/bin/env bash
# Stock clients against a guarded server: TLS, SASL, client certificates, ACLs, HTTP's Basic
# authentication. Starts and stops the server itself, with certificates made on the spot.
#
#   tests/clients/install.sh
#   tests/clients/security.sh PATH/TO/millstream
#
# MILLSTREAM_CLIENTS_DIR says where install.sh put the Python clients; MILLSTREAM_SECURITY_PORT is the
# first of five ports that are used (default 25010).
set -euo pipefail

server="${1:?usage: security.sh PATH/TO/millstream}"
here="$(cd "$(dirname "$0")" && pwd)"
python="${MILLSTREAM_CLIENTS_DIR:-/tmp/millstream-clients}/bin/python"
port="${MILLSTREAM_SECURITY_PORT:-25010}"
dir="$(mktemp -d)"
pid=""
stop() {
    if [ -n "$pid" ]; then kill -TERM "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; fi
    rm -rf "$dir" || true
}
trap stop EXIT

# One authority for server and clients, and one that nobody trusts.
authority() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -keyout "$dir/$1.key" -out "$dir/$1.pem" -subj "/CN=$1" 2>/dev/null
}
certificate() { # NAME SUBJECT ALTERNATIVE-NAMES
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
        -keyout "$dir/$1.key" -out "$dir/$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
        -extfile <(printf '%s\n' "$3" "basicConstraints=CA:FALSE") -out "$dir/$1.pem" 2>/dev/null
}
authority ca
authority other
certificate server "/O=Example/CN=localhost" "subjectAltName=DNS:localhost,IP:127.0.0.1"
certificate client "/O=Example/CN=carol" "extendedKeyUsage=clientAuth"
printf 'alice:wonder-land\nbob:builder\n' >"$dir/users"

start() {
    MILLSTREAM_ADMIN_PASSWORD=root-secret "$server" server --data-dir "$dir/data" \
        --kafka "127.0.0.1:$port" --http "127.0.0.1:$((port + 1))" --http-tls \
        --kafka-listener "SASL_SSL://127.0.0.1:$((port + 2))" \
        --kafka-listener "SSL://127.0.0.1:$((port + 3))" \
        --kafka-listener "SASL_PLAINTEXT://127.0.0.1:$((port + 4))" \
        --advertised-listener "SASL_SSL://localhost:$((port + 2))" \
        --tls-cert "$dir/server.pem" --tls-key "$dir/server.key" \
        --tls-client-ca "$dir/ca.pem" --tls-client-auth requested \
        --sasl-user-file "$dir/users" 2>>"$dir/log" &
    pid=$!
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$((port + 2))") 2>/dev/null && return
        sleep 0.1
    done
    echo "the server did not come up:" && cat "$dir/log" && exit 1
}

start
"$python" "$here/security_check.py" "$dir" "$port" first
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
start
"$python" "$here/security_check.py" "$dir" "$port" again

echo "-- the SQL shell over https"
sql() { "$server" sql --server "https://localhost:$((port + 1))" --ca "$dir/ca.pem" "$@"; }
MILLSTREAM_USER=admin MILLSTREAM_PASSWORD=root-secret sql -e "SHOW TOPICS;" | grep -q guarded
if MILLSTREAM_USER=alice MILLSTREAM_PASSWORD=wonder-land sql -e "SHOW TOPICS;" >"$dir/out" 2>&1; then
    echo "alice may run SQL without the right to" && exit 1
fi
if MILLSTREAM_USER=admin MILLSTREAM_PASSWORD=wrong sql -e "SHOW TOPICS;" >"$dir/out" 2>&1; then
    echo "a wrong password runs SQL" && exit 1
fi

echo "-- the command line's tools over TLS"
export MILLSTREAM_CA="$dir/ca.pem" MILLSTREAM_KAFKA="localhost:$((port + 2))"
MILLSTREAM_USER=admin MILLSTREAM_PASSWORD=root-secret "$server" topics list | grep -q guarded
MILLSTREAM_USER=alice MILLSTREAM_PASSWORD=wonder-land "$server" produce guarded <<<"from the command line"
if MILLSTREAM_USER=alice MILLSTREAM_PASSWORD=wrong "$server" topics list >"$dir/out" 2>&1; then
    echo "a wrong password lists topics" && exit 1
fi

echo "-- a renewed certificate, without a restart"
serial() {
    openssl s_client -connect "localhost:$((port + 2))" -CAfile "$dir/ca.pem" -verify_return_error </dev/null 2>/dev/null |
        openssl x509 -noout -serial
}
before=$(serial)
echo "not a certificate" >"$dir/server.pem"
sleep 3
[ "$(serial)" = "$before" ] || { echo "files that cannot be used took the certificate away"; exit 1; }
certificate server "/O=Example/CN=localhost" "subjectAltName=DNS:localhost,IP:127.0.0.1"
sleep 3
[ "$(serial)" != "$before" ] || { echo "the renewed certificate is not used"; exit 1; }

if grep -qE 'root-secret|wonder-land|builder' "$dir/log"; then
    echo "a password is in the server's log" && exit 1
fi
echo "security: all checks passed"
