#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs the kernel's own cow.c (peer/build.sh) and cowcheck on several kernels, each in the same virtual machine, and
# compares the verdicts. Needs QEMU; no root.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

usage() {
	cat <<-USAGE
	usage: peer/guests.sh KERNEL...

	KERNEL is whatever cowcheck vm takes, as in debian:6.12. Leaves ours/ and
	peer/ in target/peer/guests, each with a file for every kernel.

	Exit code: 0 if both ran on every kernel and every difference is one of
	peer/explained.txt, 1 if not, 4 if it cannot be done here.
	USAGE
}
case ${1--h} in
-h | --help) usage; exit ;;
-*) usage >&2; exit 2 ;;
esac

"$root/peer/build.sh" || { say "not done: the peer could not be built"; exit 4; }
program=$(build_cowcheck)
results=$root/target/peer/guests
rm -rf "$results"
mkdir -p "$results"

# Their exit codes tell of findings, which are compared below.
status=0
"$program" vm "$@" --group cow --results "$results/ours" >"$results/ours.txt" || status=$?
((status != 2)) || die "not every kernel could be had"
"$program" vm "$@" --results "$results/peer" -- "$root/target/peer/cow" >"$results/peer.txt" || true

status=0
for ours in "$results"/ours/*.jsonl; do
	kernel=$(basename "$ours" .jsonl)
	theirs=$results/peer/$kernel.out
	# A peer that stopped half-way has no totals.
	totals=$(tail -n 1 "$theirs" 2>/dev/null || true)
	echo "$kernel: cow.c:    $totals"
	echo "$kernel: cowcheck: $(grep '"type":"end"' "$ours" | sed 's/.*"counts":{\([^}]*\)}.*/\1/; s/"//g; s/,/ /g')"
	{ "$program" compare --format json "$theirs" "$ours" || true; } |
		python3 "$root/peer/explain.py" "$root/peer/explained.txt" "$ours" | sed "s/^/$kernel: /" || status=1
	[[ $totals == *Totals:* ]] || { say "$kernel: the peer did not come to its end"; status=1; }
done
exit "$status"
