# What the suites share whose driver starts and kills the server itself; sourced after lib.sh.

# drive [-l LABEL] CLASS ARGUMENT...: runs `suites.CLASS HOST:PORT DIR ARGUMENT... -- SERVER COMMAND...` and turns its
# lines into results, each case preceded by the label.
#
# SERVER_COMMAND is another server's command line ({kafka}, {http} and {dir} are filled in), SUITE_LOG a directory
# where the logs of all processes are left.
drive() {
    local label= kafka http dir command
    if [ "$1" = -l ]; then label="$2 "; shift 2; fi
    local class=$1
    shift
    classpath=$("$suites/java/build.sh")
    read -r kafka http < <(free_ports 2)
    dir=$(mktemp -d "$work/$class.XXXX")
    command="${MILLSTREAM:-${CARGO_TARGET_DIR:-$suites/../../target}/release/millstream} server --data-dir {dir} --kafka 127.0.0.1:{kafka} --http 127.0.0.1:{http}"
    command=${SERVER_COMMAND:-$command}
    command=${command//\{kafka\}/$kafka}
    command=${command//\{http\}/$http}
    command=${command//\{dir\}/$dir/data}
    # shellcheck disable=SC2086
    java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel="${CLIENT_LOG_LEVEL:-off}" -cp "$classpath" \
        "suites.$class" "127.0.0.1:$kafka" "$dir" "$@" -- $command >"$dir/suite.log" 2>&1 || true
    if [ -n "${SUITE_LOG:-}" ]; then
        mkdir -p "$SUITE_LOG"
        cp "$dir"/*.log "$SUITE_LOG"
    fi
    grep -vE '^(ok|failed): ' "$dir/suite.log" | cut -c1-1200 | tail -n 25 || true
    if ! grep -qE '^[0-9]+ passed' "$dir/suite.log"; then
        printf 'failed\t%sthe suite runs to its end\n' "$label" >>"$work/results"
        for log in "$dir"/*.log; do echo "-- ${log##*/}"; tail -n 12 "$log" | cut -c1-300; done
    fi
    sed -nE "s/^ok: (.*) \([0-9]+ ms\)$/passed\t$label\1/p; s/^FAIL: (.*) \([0-9]+ ms\): .*$/failed\t$label\1/p" \
        "$dir/suite.log" >>"$work/results"
}
