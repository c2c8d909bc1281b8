#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Peak memory of cowcheck itself: of the main process and its workers, not of the families, whose memory is what
is tested.

usage: memory.py [--limit MIB] COMMAND...

Runs the command and looks every 10 ms at what its process and that process's children have in memory:
RssAnon + RssFile + RssShmem. A page that several share counts for each. Exit code 1 above the limit.
"""
import os
import subprocess
import sys
import time


def status(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except OSError:
        return {}


def kib(fields):
    names = ("RssAnon", "RssFile", "RssShmem")
    return sum(int(fields[name].split()[0]) for name in names if name in fields)


def children(pid):
    try:
        # A worker is forked by whichever thread starts it.
        tasks = os.listdir(f"/proc/{pid}/task")
        return [int(child) for task in tasks for child in open(f"/proc/{pid}/task/{task}/children").read().split()]
    except OSError:
        return []


def main():
    args = sys.argv[1:]
    limit = 64
    if args[0] == "--limit":
        limit, args = int(args[1]), args[2:]
    # At once, without a shell in between: its process is the main one.
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    peak, parts, samples = 0, {}, 0
    while process.poll() is None:
        now = {}
        for pid in [process.pid] + children(process.pid):
            fields = status(pid)
            if fields:
                now[pid] = (fields["Name"].strip(), kib(fields))
        total = sum(size for _, size in now.values())
        samples += 1
        if total > peak:
            peak, parts = total, now
        time.sleep(0.01)
    told = ", ".join(f"{name} {size / 1024:.1f}" for name, size in parts.values())
    print(f"peak memory of cowcheck itself: {peak / 1024:.1f} MiB ({told}); limit {limit}; {samples} samples")
    if process.returncode not in (0, 1):
        print(f"the command ended with {process.returncode}", file=sys.stderr)
        return 2
    return 1 if peak > limit * 1024 or samples < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
