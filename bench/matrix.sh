#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# How long the whole matrix takes: the kernel's own cow.c (peer/build.sh) and cowcheck, one after the other, with
# the same swap, THP sizes and hugetlb pages; then cowcheck's own memory. Needs root and a quiet machine.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

usage() {
	cat <<-USAGE
	usage: bench/matrix.sh [--fast] [--runs N]

	--fast    without hugetlb pages of 1 GiB; the times are only told
	--runs N  measure each N times (default 3)

	Exit code: 0 if cowcheck takes at most a third of the peer's time, most of
	which goes into pages of 1 GiB, and 64 MiB of memory; 1 if not.
	USAGE
}
fast='' runs=3
while (($# > 0)); do
	case $1 in
	--fast) fast=1 ;;
	--runs) runs=${2:?--runs needs a number}; shift ;;
	-h | --help) usage; exit ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done
((EUID == 0)) || die "needs root"
"$root/scripts/setup" bench
"$root/peer/build.sh"
program=$(build_cowcheck)
results=$root/target/bench
mkdir -p "$results"

if [[ $fast ]]; then
	# Both look into this directory for the sizes there are. Only the command below sees what is mounted here.
	unshare -m true || die "--fast needs unshare -m"
	# shellcheck disable=SC2016
	hide=(unshare -m bash -euc '
		pools=/sys/kernel/mm/hugepages
		kept=$(mktemp -d)
		mount --bind "$pools" "$kept"
		mount -t tmpfs none "$pools"
		for pool in "$kept"/*; do
			[[ $pool == */hugepages-1048576kB ]] && continue
			mkdir "$pools/${pool##*/}"
			mount --bind "$pool" "$pools/${pool##*/}"
		done
		umount "$kept"
		rmdir "$kept"
		exec "$@"' hide)
else
	hide=(env)
fi

# 1 is no failure here: the kernel may break the contract, the time counts all the same.
"${hide[@]}" "$program" provide --wait 300 -- hyperfine --ignore-failure --runs "$runs" --warmup 1 --shell none \
	--export-json "$results/matrix.json" \
	--command-name peer "$root/target/peer/cow" \
	--command-name cowcheck "$program run --group cow"

status=0
python3 - "$results/matrix.json" "$fast" <<'RATIO' || status=1
import json, sys
peer, ours = (result for result in json.load(open(sys.argv[1]))["results"])
for result in (peer, ours):
    codes = set(result["exit_codes"])
    if codes - {0, 1}:
        sys.exit(f"{result['command']} ended with {codes}")
ratio = peer["median"] / ours["median"]
goal = 0 if sys.argv[2] else 3
told = f"; goal {goal}" if goal else ""
print(f"peer {peer['median']:.2f} s, cowcheck {ours['median']:.2f} s (medians): {ratio:.1f} times as fast{told}")
sys.exit(ratio < goal)
RATIO

"${hide[@]}" "$program" provide --wait 300 -- python3 "$root/bench/memory.py" --limit 64 "$program" run --group cow ||
	status=1
exit "$status"
