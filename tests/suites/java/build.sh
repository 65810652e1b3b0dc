#!/usr/bin/env bash
# Resolves the classpath with Maven (once; the jars stay in ~/.m2) and compiles src/ with javac. Prints the classpath
# to run with: `java -cp "$(build.sh)" suites.ClientSuite 127.0.0.1:9092`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${MILLSTREAM_SUITES_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millstream-suites}
key=$(cksum <"$here/pom.xml" | cut -d' ' -f1)
list=$cache/suites-$key.cp
if [ ! -s "$list" ] || [ ! -e "$(cut -d: -f1 "$list")" ]; then
  mkdir -p "$cache"
  mvn -q -B -f "$here/pom.xml" dependency:build-classpath -Dmdep.outputFile="$list.$$" >&2
  mv "$list.$$" "$list"
fi
sources=$(find "$here/src" -name '*.java' | sort)
classes=$cache/classes-$key-$(cat $sources | cksum | cut -d' ' -f1)
if [ ! -d "$classes" ]; then
  mkdir -p "$classes.$$"
  trap 'rm -rf "$classes.$$"' EXIT
  # shellcheck disable=SC2086
  javac -nowarn -Xlint:none -proc:none -d "$classes.$$" -cp "$(cat "$list")" $sources >&2
  mv "$classes.$$" "$classes" 2>/dev/null || rm -rf "$classes.$$"
fi
echo "$classes:$(cat "$list")"
