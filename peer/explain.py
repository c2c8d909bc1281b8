#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Which differences of a comparison are explained.

usage: cowcheck compare --format json PEER OURS | explain.py EXPLAINED OURS

Exit code: 0 if every difference is explained by the file EXPLAINED, 1 if not.
"""
import json
import sys
from collections import Counter
from fnmatch import fnmatchcase


def rules(path):
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if line and not line.startswith("#"):
            verdicts, name, why = (part.strip() for part in line.split("|", 2))
            peer, ours = (side.strip().split(",") for side in verdicts.split("->"))
            yield peer, ours, name, why


def differences(comparison, ours):
    """Of each: the verdicts of both sides, the name, what ours says."""
    for change in comparison["changed"]:
        name = change.get("description") or change["name"]
        yield change["a"]["verdict"], change["b"]["verdict"], name, change["b"].get("reason", "")
    for group in comparison["only_a"]:
        for name in group["checks"]:
            yield "the only verdict", "missing", name, ""
    for group in comparison["only_b"]:
        for name in group["checks"]:
            check = ours.get(name, {})
            yield "missing", check.get("verdict", "?"), check.get("description", name), check.get("reason", "")


def main():
    explained, path = sys.argv[1:]
    comparison = json.load(sys.stdin)
    ours = {}
    for line in open(path, encoding="utf-8"):
        entry = json.loads(line)
        if entry["type"] == "check":
            ours[entry["id"]] = ours[entry.get("description", entry["id"])] = entry
    known = list(rules(explained))
    reasons, bad = Counter(), 0
    for peer, mine, name, reason in differences(comparison, ours):
        why = next((w for p, o, n, w in known if peer in p and mine in o and fnmatchcase(name, n)), None)
        if why:
            reasons[why] += 1
        else:
            bad += 1
            print(f"unexplained: {peer} -> {mine}: {name}" + (f" ({reason})" if reason else ""))
    for why, count in reasons.items():
        print(f"explained, {count}: {why}")
    for side in ("a", "b"):
        if comparison[side]["truncated"]:
            bad += 1
            print(f"unexplained: {comparison[side]['name']} is not complete")
    matched, same = comparison["matched"], comparison["same"]
    if matched == 0:
        bad += 1
        print("unexplained: nothing could be compared")
    print(f"{same} of {matched} checks have the same verdict; {sum(reasons.values())} differences explained, {bad} not")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
