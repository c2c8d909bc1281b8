#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Runs the kernel's own cow.c (peer/build.sh) and cowcheck on this machine, both with the same swap, THP sizes
# and hugetlb pages, and compares the verdicts. Needs root.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

usage() {
	cat <<-USAGE
	usage: peer/compare.sh [--force]

	Leaves peer.tap, ours.jsonl and comparison.txt in target/peer/compare.
	--force builds the peer again.

	Exit code: 0 if both ran and every difference is one of peer/explained.txt,
	1 if not, 4 if it cannot be done here (no root, no peer, no settings).
	USAGE
}
force=()
for arg; do
	case $arg in
	--force) force=(--force) ;;
	-h | --help) usage; exit ;;
	*) usage >&2; exit 2 ;;
	esac
done
cannot() { say "not done: $*"; exit 4; }

((EUID == 0)) || cannot "needs root"
"$root/peer/build.sh" "${force[@]}" || cannot "the peer could not be built"
program=$(build_cowcheck)
peer=$root/target/peer/cow
results=$root/target/peer/compare
mkdir -p "$results"
rm -f "$results"/{peer.tap,ours.jsonl,ours.txt,comparison.txt}

# Neither has a say in what comes first: the same settings serve both. Their own exit codes tell of findings,
# which are compared below. The peer waits for ever for a child that died, hence the limit.
# shellcheck disable=SC2016
both='
	timeout -k 5 600 "$1" >"$3/peer.tap" 2>"$3/peer.err"; peer=$?
	"$2" run --group cow --output "json=$3/ours.jsonl" >"$3/ours.txt"; ours=$?
	echo "$peer $ours" >"$3/codes"
'
status=0
"$program" provide --wait 300 -- bash -c "$both" both "$peer" "$program" "$results" || status=$?
((status != 125)) || cannot "settings could not be changed"
((status == 0)) || die "running the two failed with $status"
read -r peer_code ours_code <"$results/codes"
((peer_code < 124)) || die "the peer was killed after 600 s, or died ($peer_code)"
((ours_code != 2)) || die "cowcheck did not run: see $results/ours.txt"

"$program" compare "$results/peer.tap" "$results/ours.jsonl" >"$results/comparison.txt" || true
echo "peer: $(<"$root/target/peer/VERSION"), $(tail -n 1 "$results/peer.tap")"
echo "cowcheck: $(tail -n 1 "$results/ours.txt")"
{ "$program" compare --format json "$results/peer.tap" "$results/ours.jsonl" || true; } |
	python3 "$root/peer/explain.py" "$root/peer/explained.txt" "$results/ours.jsonl"
