# The virtual environment of the Python suites; sourced after lib.sh.
#
# After `python_with REQUIREMENT...`: $python, the interpreter of an environment that has exactly these.
python_with() {
    local name
    name=$(basename "$suite")-$(printf '%s\n' "$@" | cksum | cut -d' ' -f1)
    python=$cache/venv-$name/bin/python
    if [ -e "$cache/venv-$name/complete" ]; then return; fi
    if ! python3 -c 'import ensurepip' 2>/dev/null; then apt_install python3-venv; fi
    rm -rf "$cache/venv-$name"
    python3 -m venv "$cache/venv-$name"
    "$python" -m pip install --quiet --disable-pip-version-check "$@"
    touch "$cache/venv-$name/complete"
}

# Unpacks the source distribution PACKAGE==VERSION into $cache/DIRECTORY.
source_of() {
    if [ -d "$cache/$2" ]; then return; fi
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: -d "$work/sdist" "$1"
    mkdir "$work/unpacked"
    tar -xzf "$work"/sdist/*.tar.gz -C "$work/unpacked"
    mv "$work"/unpacked/* "$cache/$2"
}

# Turns pytest's JUnit file into "$work/results". One case may appear twice (the test and its teardown): the worst counts.
junit_results() {
    "$python" - "$1" >"$work/results" <<'PY'
import sys
import xml.etree.ElementTree as tree

worst = ["passed", "skipped", "failed"]
found = {}
for case in tree.parse(sys.argv[1]).iter("testcase"):
    name = case.get("classname").split(".")[-1] + "." + case.get("name")
    kinds = {child.tag for child in case}
    status = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
    found[name] = max(found.get(name, "passed"), status, key=worst.index)
for name, status in found.items():
    print(f"{status}\t{name}")
PY
}
