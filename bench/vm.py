#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The measuring of vm.sh.

usage: vm.py COWCHECK DIRECTORY RUNS KERNEL OTHER

Rounds of everything take turns, and the best round of each counts: other programs only ever make a round slower.
"""
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time

BEFORE, AFTER, SIDE_BY_SIDE = 0.5, 0.2, 1.15

# The smallest first process: it says a word on the second serial port and resets the machine.
INIT = """
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>
int main(void)
{
	int port;
	mount("devtmpfs", "/dev", "devtmpfs", 0, 0);
	port = open("/dev/ttyS1", O_WRONLY);
	write(port, "up\\n", 3);
	fsync(port);
	reboot(RB_AUTOBOOT);
	return 1;
}
"""
PROGRAM = '#include <stdio.h>\nint main(void) { puts("ran"); return 0; }\n'


def compile_c(text, path):
    subprocess.run(["gcc", "-static", "-O2", "-xc", "-", "-o", path], input=text, text=True, check=True)


def cpio(path, program):
    """The smallest initramfs (buffer-format.rst, newc)."""
    with open(program, "rb") as file:
        data = file.read()
    archive = b""
    for name, mode, rdev, content in (
        ("dev", 0o040755, (0, 0), b""),
        ("dev/console", 0o020600, (5, 1), b""),
        ("init", 0o100755, (0, 0), data),
        ("TRAILER!!!", 0, (0, 0), b""),
    ):
        fields = [1, mode, 0, 0, 1, 0, len(content), 0, 0, *rdev, len(name) + 1, 0]
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + content
        archive += b"\0" * (-len(archive) % 4)
    with open(path, "wb") as file:
        file.write(archive)


def timed(command, **rest):
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, **rest)
    return time.monotonic() - began, done


class Bench:
    def __init__(self, cowcheck, directory, kernel, other):
        self.cowcheck, self.directory, self.kernel, self.other = cowcheck, directory, kernel, other
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        self.program = f"{directory}/program"
        compile_c(PROGRAM, self.program)
        compile_c(INIT, f"{directory}/init")
        cpio(f"{directory}/bare.cpio", f"{directory}/init")
        kept = f"{directory}/kept"
        told = subprocess.run(
            [cowcheck, "vm", kernel, "--accel", "tcg", "--memory", "2G", "--dry-run", "--keep", kept],
            stdout=subprocess.PIPE, check=True, text=True,
        )
        self.qemu = shlex.split(told.stdout)
        at = self.qemu.index("-initrd") + 1
        self.port = f"{os.path.dirname(self.qemu[at])}/results"
        self.qemu[at] = f"{directory}/bare.cpio"

    def bare(self):
        """To the first process, and to the end."""
        if os.path.exists(self.port):
            os.unlink(self.port)
        began = time.monotonic()
        process = subprocess.Popen(self.qemu, stdout=subprocess.DEVNULL)
        up = None
        while process.poll() is None:
            if up is None and os.path.exists(self.port) and os.path.getsize(self.port) > 0:
                up = time.monotonic() - began
            time.sleep(0.002)
            if time.monotonic() - began > 120:
                process.kill()
        assert up is not None, "the bare boot said nothing"
        return up, time.monotonic() - began

    def check(self):
        """To the first check, and from the last check to the end."""
        command = [self.cowcheck, "vm", self.kernel, "--accel", "tcg", "--memory", "2G", "--check", "cow/fork-write/base"]
        began = time.monotonic()
        process = subprocess.Popen(command + ["--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        first = last = None
        for line in process.stdout:
            now = time.monotonic()
            entry = json.loads(line)
            first = now - began if entry["type"] == "start" else first
            if entry["type"] == "check":
                assert entry["verdict"] == "pass", entry
                last = now
        assert process.wait() == 0 and first is not None and last is not None
        return first, time.monotonic() - last

    def run(self):
        took, done = timed([self.cowcheck, "vm", self.kernel, "--accel", "tcg", "--memory", "2G", "--", self.program])
        assert b"ran" in done.stdout and done.returncode == 0, done.stdout
        return took

    def package(self):
        """The kernel as the distribution has it, for tools that want a vmlinuz and its modules."""
        cache = os.environ.get("COWCHECK_CACHE") or os.path.expanduser("~/.cache/cowcheck")
        series = re.escape(self.kernel.removeprefix("debian:"))
        named = [d for d in os.listdir(f"{cache}/debian") if re.match(rf"linux-image-{series}\b", d)]
        found = f"{cache}/debian/{sorted(named)[-1]}"
        tree = f"{self.directory}/tree"
        os.makedirs(f"{tree}/lib")
        shutil.copytree(f"{found}/boot", f"{tree}/boot")
        for modules in (f"{found}/usr/lib/modules", f"{found}/lib/modules"):
            if os.path.isdir(modules):
                shutil.copytree(modules, f"{tree}/lib/modules")
        release = os.listdir(f"{tree}/lib/modules")[0]
        subprocess.run(["depmod", "-b", tree, release], stderr=subprocess.DEVNULL, check=False)
        return f"{tree}/boot/vmlinuz-{release}"

    def virtme_ng(self, image):
        # Without a port of its own for the program, what that prints is lost; the console says how it ended.
        command = ["vng", "--verbose", "-r", image, "--disable-kvm", "--cpus", "2", "--memory", "2G", "--exec", self.program]
        took, done = timed(command)
        return took if b"script exited with code 0" in done.stdout else None

    def vmtest(self, image):
        took, done = timed(["vmtest", "-k", image, self.program])
        return took if b"ran" in done.stdout and done.returncode == 0 else None

    def whole(self, *kernels):
        """The whole group without pages of a gigabyte, one processor for each guest."""
        command = [self.cowcheck, "vm", *kernels, "--accel", "tcg", "--memory", "2G", "--cpus", "1", "--group", "cow"]
        took, done = timed(command)
        assert done.returncode in (0, 3), done.stdout
        return took


def main():
    cowcheck, directory, runs, kernel, other = sys.argv[1:]
    bench = Bench(cowcheck, directory, kernel, other)
    bad = 0

    def tell(what, value, limit, unit=" s"):
        nonlocal bad
        kept = value <= limit
        bad += not kept
        print(f"{what}: {value:.2f}{unit}; limit {limit:.2f}{unit}{'' if kept else ' EXCEEDED'}", flush=True)

    bench.run()  # everything is fetched and in the cache
    found = {name: [] for name in ("up", "bare", "first", "after", "run", "virtme-ng", "vmtest")}
    try:
        image = bench.package()
    except (OSError, IndexError) as error:
        print(f"no package for the others: {error}")
        image = None
    others = {"virtme-ng": ("vng", bench.virtme_ng), "vmtest": ("vmtest", bench.vmtest)}
    for _ in range(int(runs)):
        up, bare = bench.bare()
        first, after = bench.check()
        for name, value in (("up", up), ("bare", bare), ("first", first), ("after", after), ("run", bench.run())):
            found[name].append(value)
        for name, (command, measure) in others.items():
            if image and shutil.which(command):
                found[name].append(measure(image))
    best = {name: min((value for value in values if value is not None), default=None) for name, values in found.items()}

    print(f"{kernel}, software emulation, 2 processors, 2 GiB, best of {runs}:")
    print(f"bare boot: first process after {best['up']:.2f} s, over after {best['bare']:.2f} s")
    tell(f"cowcheck: first check after {best['first']:.2f} s, so added before it", best["first"] - best["up"], BEFORE)
    tell("cowcheck: from the last check to the end", best["after"], AFTER)
    for name in others:
        if best[name] is None:
            print(f"{name}: could not run a program in this kernel here")
        else:
            tell(f"one static program: cowcheck {best['run']:.2f} s, {name} {best[name]:.2f} s; cowcheck's share",
                 best["run"] / best[name], 1.0, "")
    alone = {each: min(bench.whole(each) for _ in range(2)) for each in (kernel, other)}
    both = min(bench.whole(kernel, other) for _ in range(2))
    told = ", ".join(f"{each} {took:.1f} s" for each, took in alone.items())
    tell(f"group cow, one processor each: {told}; side by side {both:.1f} s; of the slower one", both / max(alone.values()),
         SIDE_BY_SIDE, "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
