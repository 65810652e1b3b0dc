# What the runners in this directory share; sourced, not run.
#
#   MILLSTREAM               the server's binary (default: this workspace's release build)
#   MILLSTREAM_BROKER        HOST:PORT of a broker that runs already, e.g. Apache Kafka; then no server is started
#   MILLSTREAM_SUITES_CACHE  where third-party sources and builds are kept (default: ~/.cache/millstream-suites)
#
# After `start_server [OPTION...]`: $broker (HOST:PORT) and $work, a directory for the run that goes away with it.
set -euo pipefail

suites=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
suite=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
cache=${MILLSTREAM_SUITES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millstream-suites}
mkdir -p "$cache"
work=$(mktemp -d)
server=

clean_up() {
    # What a trap's last failing command returns would be the whole run's exit code.
    if [ -n "$server" ]; then { kill -9 "$server" && wait "$server"; } 2>/dev/null || true; fi
    rm -rf "$work" || true
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# Runs apt-get as whoever may; only called when something is missing.
apt_install() {
    local sudo=
    if [ "$(id -u)" -ne 0 ]; then sudo=sudo; fi
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq "$@" >/dev/null
}

# So many ports that were free a moment ago, below the range the system gives to outgoing connections.
free_ports() {
    python3 - "$1" <<'PY'
import random, socket, sys
found = []
while len(found) < int(sys.argv[1]):
    port = random.randrange(20000, 32000)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    if port not in found:
        found.append(port)
print(*found)
PY
}

# Starts a fresh server with the given options and waits until it answers.
start_server() {
    if [ -n "${MILLSTREAM_BROKER:-}" ]; then
        broker=$MILLSTREAM_BROKER
        return
    fi
    local binary=${MILLSTREAM:-${CARGO_TARGET_DIR:-$suites/../../target}/release/millstream}
    local kafka http
    read -r kafka http < <(free_ports 2)
    "$binary" server --data-dir "$work/data" --kafka "127.0.0.1:$kafka" --http "127.0.0.1:$http" "$@" \
        >"$work/server.log" 2>&1 &
    server=$!
    broker=127.0.0.1:$kafka
    for _ in $(seq 300); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$kafka") 2>/dev/null; then return; fi
        if ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 0.1
    done
    echo "the server does not answer at $broker:" >&2
    tail -n 20 "$work/server.log" >&2
    exit 1
}

# The same with a second listener at $sasl (HOST:PORT, SASL_PLAINTEXT) for the user "suite", password "secret". With it
# rights are checked; the suite's clients, named or not, are super users, as in the setups such suites come from.
sasl=
start_server_with_login() {
    if [ -z "${MILLSTREAM_BROKER:-}" ]; then
        sasl=127.0.0.1:$(free_ports 1)
        echo suite:secret >"$work/users"
        set -- --kafka-listener "SASL_PLAINTEXT://$sasl" --sasl-user-file "$work/users" \
            --super-user User:ANONYMOUS --super-user User:suite "$@"
    fi
    start_server "$@"
}

# Prints the table of "$work/results" (STATUS<TAB>CASE lines) and holds it against RATCHET and EXCLUDED.
# The server must have lived to the end: a suite may pass over a broker that died under it.
report() {
    if [ -n "$server" ] && ! kill -0 "$server" 2>/dev/null; then
        echo "the server ended during the suite:" >&2
        tail -n 20 "$work/server.log" >&2
        exit 1
    fi
    python3 "$suites/report.py" "$suite" "$work/results"
}
