#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Whether mutants are caught as they must be.

usage: lab.py KILLS.json <MUTANTS

A line of MUTANTS has a name, and a rule that the failure must name, among others. Exit code 4 if the kernel or its
module could not be had.
"""
import json
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        kills = json.load(file)
    for undone in kills["undone"]:
        print(f"not done: {undone}")
    if kills["undone"]:
        sys.exit(4)
    wrong = []
    for ground in kills["grounds"]:
        wrong += [f"without a bug: {fault}" for fault in ground["faults"]]
        if len(ground["references"]) < 2 or ground["fit"] < 30:
            wrong.append(f"{ground['references']} with {ground['fit']} checks: too few to judge by")
    rows = {row["mutant"]: row for row in kills["rows"]}
    for line in sys.stdin:
        mutant, rule = line.split()
        row = rows.get(mutant, {"fate": "not run"})
        if row["fate"] != "caught":
            wrong.append(f"{mutant}: {row['fate']} {row.get('reason', '')}")
            continue
        kill = row["kills"][0]
        if rule not in kill.get("rules", []):
            wrong.append(f"{mutant}: caught by {kill['check']} for {kill.get('rules')}, not for {rule}: {kill['reason']}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(rows)} mutants are caught, each by its rule")


if __name__ == "__main__":
    main()
