#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Builds the tests of the module and runs them in a guest of each kernel. With them the kernel's log is searched by the
# program itself; what is left for us is a guest that did not come to its end.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

usage() {
	cat <<-USAGE
	usage: kmod/test/run.sh [--calls N] [--seed N] [KERNEL...]

	Kernels are named as for \`cowcheck vm\` (debian:5.10 debian:6.1 debian:6.12 debian:7.2
	debian:7.3). N random calls are made on each (1000000), which takes one or two minutes.
	COWCHECK names the program (target/*/release/cowcheck). Exit code 1 if anything is
	not as it should be, 3 if something could not be tested.
	USAGE
}
calls=1000000 seed=1 kernels=()
while (($#)); do
	case $1 in
	--calls) calls=$2; shift ;;
	--seed) seed=$2; shift ;;
	-h | --help) usage; exit ;;
	-*) usage >&2; exit 2 ;;
	*) kernels+=("$1") ;;
	esac
	shift
done
((${#kernels[@]})) || kernels=(debian:5.10 debian:6.1 debian:6.12 debian:7.2 debian:7.3)
if [[ -z ${COWCHECK-} ]]; then
	COWCHECK=$(find "$root"/target/*/release "$root/target/release" -maxdepth 1 -name cowcheck -type f 2>/dev/null |
		head -n 1)
	[[ $COWCHECK ]] || { echo "kmod/test/run.sh: no program; cargo build --release, or set COWCHECK" >&2; exit 3; }
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -std=gnu11 -static -O2 -Wall -Wextra -Werror -o "$work/kmod-test" "$here"/*.c -pthread

worst=0
for kernel in "${kernels[@]}"; do
	status=0
	"$COWCHECK" vm "$kernel" -- "$work/kmod-test" "$calls" "$seed" || status=$?
	case $status in
	0) echo "ok: $kernel" ;;
	# 125: the guest died.
	1 | 125) echo "NOT OK: $kernel"; worst=1 ;;
	*) echo "could not be tested: $kernel (exit code $status)"; ((worst == 1)) || worst=3 ;;
	esac
done
exit "$worst"
