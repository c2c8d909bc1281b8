#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What `cowcheck vm` adds to the boot of a kernel, beside a bare boot, virtme-ng and vmtest on the same machine; and
# what it costs to run two kernels side by side. Needs QEMU, and a quiet machine.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

usage() {
	cat <<-USAGE
	usage: bench/vm.sh [--runs N] [KERNEL [OTHER]]

	KERNEL  a Debian kernel, as in debian:6.12 (the default); it is compared with
	        the others
	OTHER   the kernel that runs beside it (default debian:6.1)
	--runs  measure each N times (default 5) and take the best

	Exit code: 0 if every limit is kept, 1 if not.
	USAGE
}
runs=5 kernels=()
while (($# > 0)); do
	case $1 in
	--runs) runs=${2:?--runs needs a number}; shift ;;
	-h | --help) usage; exit ;;
	-*) usage >&2; exit 2 ;;
	*) kernels+=("$1") ;;
	esac
	shift
done
"$root/scripts/setup" bench
program=$(build_cowcheck)
tools=$root/target/tools
mkdir -p "$tools" "$root/target/bench"

# The others, if they can be had. Each is a tool of its own; none of their code is here.
if [[ ! -x $tools/python/bin/vng ]]; then
	{ python3 -m venv "$tools/python" && "$tools/python/bin/pip" -q install virtme-ng==1.42; } ||
		say "virtme-ng could not be installed; going on without"
fi
for crate in virtiofsd@1.14.0 vmtest@0.18.0; do
	if [[ ! -x $tools/bin/${crate%@*} ]]; then
		# Away from .cargo/config.toml, which is for our own program.
		(cd / && env -u CARGO_BUILD_TARGET CARGO_TARGET_DIR="$tools/build" cargo install --quiet --locked \
			--root "$tools" "$crate") || say "${crate%@*} could not be installed; going on without"
	fi
done
rm -rf "$tools/build"

PATH=$tools/bin:$tools/python/bin:$PATH exec python3 "$root/bench/vm.py" "$program" "$root/target/bench/vm" "$runs" \
	"${kernels[0]-debian:6.12}" "${kernels[1]-debian:6.1}"
