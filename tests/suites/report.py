#!/usr/bin/env python3
"""Prints what a suite did and holds it against the suite's ratchet.

    report.py SUITE_DIR RESULTS

RESULTS has lines `passed|failed|skipped<TAB>case`. In SUITE_DIR:

    RATCHET    one number: how many cases must pass. Fewer fail the run; raise it when more do.
    EXCLUDED   `pattern  reason` lines (shell patterns, `#` comments): what cannot apply to one node of Kafka 4.1.

A case that the suite skipped by itself and that does not stand in EXCLUDED has failed: none is lost in silence.
"""

import collections
import fnmatch
import pathlib
import sys


def exclusions(path):
    lines = (line.strip() for line in path.read_text().splitlines()) if path.exists() else ()
    return [line.split(None, 1) for line in lines if line and not line.startswith("#")]


def main():
    directory, results = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    excluded = exclusions(directory / "EXCLUDED")
    for entry in excluded:
        if len(entry) != 2:
            sys.exit(f"{directory.name}/EXCLUDED: {entry[0]} has no reason")
    counts = collections.Counter()
    seen = set()
    rows = [line.split("\t", 1) for line in results.read_text().splitlines()]
    for status, case in sorted(rows, key=lambda row: row[1]):
        if case in seen:
            sys.exit(f"{directory.name}: {case} was reported twice")
        seen.add(case)
        reason = next((why for pattern, why in excluded if fnmatch.fnmatchcase(case, pattern)), None)
        if status == "passed":
            counts["passed"] += 1
            print(f"  passed          {case}")
        elif reason is not None:
            counts["skipped"] += 1
            print(f"  not applicable  {case}: {reason}")
        else:
            counts["failed"] += 1
            print(f"  FAILED          {case}" + (": skipped, but in no list" if status == "skipped" else ""))
    ratchet = int((directory / "RATCHET").read_text())
    passed = counts["passed"]
    print(f"{directory.name}: ratchet {ratchet}" + (": raise it" if passed > ratchet else ""))
    print(f"{passed} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    if passed < ratchet:
        sys.exit(f"{directory.name}: {passed} cases pass, the ratchet is {ratchet}")


main()
