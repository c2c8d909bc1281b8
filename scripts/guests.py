#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Whether results of guests are what they must be.

usage: guests.py known RESULTS...
       guests.py FAULT RESULTS
       guests.py repro KERNEL STATUS OUTPUT

"known": of each kernel, what its series is known for. A FAULT: that of three checks the second is lost to it, for the
right reason, and no other. "repro": what cow/uring-ro/base came to as a C program.
"""
import json
import re
import sys
from collections import Counter

# What the second check must come to: the verdict, and words of its reason.
FAULTS = {
    "panic": ("crash", "kernel panicked: Kernel panic - not syncing: sysrq triggered crash"),
    "halt": ("timeout", "the guest hung: idle and silent for"),
    "spin": ("timeout", "the guest hung: busy, but silent for"),
    "rubbish": ("crash", "results are garbled"),
    "power-off": ("crash", "went off before it was done"),
    "stale-code": ("inconclusive", "QEMU ran a breakpoint that the guest's kernel had taken away"),
    "memory": ("crash", "the guest ran out of memory: "),
}
FULLY_SHARED = "cow/collapse-fully-shared"


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def need(so, what):
    if not so:
        sys.exit(f"not as it should be: {what}")


def known(path):
    lines = read(path)
    kernel = next(line["kernel"] for line in lines if line["type"] == "start")
    checks = {line["id"]: line for line in lines if line["type"] == "check"}
    count = Counter(check["verdict"] for check in checks.values())
    version = tuple(int(number) for number in re.match(r"(\d+)\.(\d+)", kernel).groups())
    mthp = version >= (6, 8)
    need(lines[-1]["type"] == "end" and "stopped" not in lines[-1], f"{path}: the run was stopped: {lines[-1]}")
    need(len(checks) >= (700 if mthp else 170), f"{kernel}: {len(checks)} checks")
    for bad in ("fail", "crash", "timeout"):
        ids = [name for name, check in checks.items() if check["verdict"] == bad]
        need(not ids, f"{kernel}: {bad}: {', '.join(ids)}")
    need(count["pass"] >= (420 if mthp else 60), f"{kernel}: {count['pass']} passed")
    # With the helper module (all Debian kernels that have headers) nothing is left out but what memory cannot hold.
    ran = [name for name, check in checks.items() if "/ro-pin" in name and check["verdict"] != "skip"]
    if ran and version >= (6, 1):
        left = [name for name, check in checks.items() if check["verdict"] == "skip" and not name.endswith("hugetlb-1g")]
        need(not left, f"{kernel}: left out: {', '.join(left)}")
    # vmsplice with 2 MiB hugetlb pages, on every kernel there is.
    hugetlb = [name for name in checks if re.fullmatch(r"cow/vmsplice-.*/hugetlb-2m", name)]
    need(len(hugetlb) == 4 and all(checks[name]["verdict"] == "xfail" for name in hugetlb), f"{kernel}: {hugetlb}")
    broken = {name for name, check in checks.items() if check["verdict"] == "xfail" and "hugetlb" not in name}
    if version < (5, 18):
        for name in ("cow/vmsplice-child/thp-2m", "cow/vmsplice-child/base-swapped", "cow/uring-ro/base"):
            need(name in broken, f"{kernel}: {name} is broken there, and was not seen to be")
        need(len(broken) >= 25, f"{kernel}: {len(broken)} known bugs seen")
    shared = checks[FULLY_SHARED]
    told = shared.get("reason", "")
    if version < (6, 1):
        need(shared["verdict"] == "skip", f"{kernel}: {shared}")
    elif version < (6, 17):
        need(shared["verdict"] == "inconclusive" and "EINVAL" in told, f"{kernel}: {shared}")
    elif version >= (6, 18):
        need(shared["verdict"] == "pass", f"{kernel}: {shared}")
    told = ", ".join(f"{verdict} {number}" for verdict, number in count.items())
    print(f"{kernel.split()[0]}: {told}: as known")


def fault(name, path):
    lines = read(path)
    checks = [line for line in lines if line["type"] == "check"]
    by_id = {check["id"]: check for check in checks}
    need(len(checks) == 3 == len(by_id), f"{name}: {len(checks)} outcomes")
    verdict, words = FAULTS[name]
    lost = by_id["cow/fork-write/base-swapped"]
    need(lost["verdict"] == verdict and words in lost["reason"], f"{name}: {lost}")
    others = [check for check in checks if check is not lost]
    need(all(check["verdict"] == "pass" for check in others), f"{name}: {others}")
    took = lines[-1]["micros"] / 1e6
    print(f"{name}: {verdict}: {lost['reason']}; the others pass ({took:.0f} s)")


def no_boot(path):
    lines = read(path)
    stopped = lines[-1].get("stopped", "")
    need("no boot: the guest's kernel panicked" in stopped, f"no-boot: {lines[-1]}")
    need(any(line["type"] == "note" and line["text"].startswith("console: ") for line in lines), "no-boot: no console")
    print(f"no-boot: {stopped} ({lines[-1]['micros'] / 1e6:.0f} s)")


def repro(kernel, status, path):
    """Before 5.19 a page is copied that a fixed buffer still shows. A kernel that is no version is not judged."""
    with open(path, encoding="utf-8") as file:
        told = file.read().strip().splitlines()[-1:]
    version = re.fullmatch(r"debian:(\d+)\.(\d+).*", kernel)
    if version:
        is_broken = tuple(int(number) for number in version.groups()) < (5, 19)
        words = "BROKEN: step 7: A read page 0 through the fixed buffer p0" if is_broken else "KEPT: "
        good = status == str(int(is_broken)) and told and words in told[0]
        need(good, f"repro on {kernel}: exit code {status}: {told}")
    print(f"repro on {kernel}: exit code {status}: {''.join(told)}")


def main():
    what, *paths = sys.argv[1:]
    if what == "known":
        for path in paths:
            known(path)
    elif what == "repro":
        repro(*paths)
    elif what == "no-boot":
        no_boot(paths[0])
    else:
        fault(what, paths[0])


if __name__ == "__main__":
    main()
