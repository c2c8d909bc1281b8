#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Build the peer: the kernel's own tools/testing/selftests/mm/cow.c, static,
# from Debian's linux-source package. No kernel code is kept in this
# repository; it is fetched and unpacked under OUTDIR/work when this runs.
set -euo pipefail

# What our results are compared with. The archive drops old versions, so this
# is a wish: the nearest one still there is taken, and said on stderr.
WANT=7.2.13-1
# Suites newer than bookworm that carry it; one may be gone, or lag behind.
SUITES="sid trixie-backports experimental"

usage() {
	cat <<-USAGE
	usage: peer/build.sh [--force] [OUTDIR]

	Builds OUTDIR/cow, OUTDIR/kunit/ and OUTDIR/VERSION (OUTDIR: target/peer).
	Does nothing when they are there already, unless --force is given.
	USAGE
}
say() { printf 'peer/build.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

force=
out=
for arg; do
	case $arg in
	--force) force=1 ;;
	-h | --help) usage; exit ;;
	-*) usage >&2; exit 2 ;;
	*) [[ -z $out ]] || { usage >&2; exit 2; }; out=$arg ;;
	esac
done
mkdir -p "${out:=$(dirname "${BASH_SOURCE[0]}")/../target/peer}"
out=$(cd "$out" && pwd -P)

# VERSION is written last, so it also says that the build went well.
if [[ -z $force && -x $out/cow && -s $out/VERSION ]]; then
	echo "peer: $(<"$out/VERSION") (already built)"
	exit
fi
rm -f "$out/VERSION"
work=$out/work
mkdir -p "$work"

# --- tools -----------------------------------------------------------------

# A real static link finds a missing libc.a or liburing.a, which looking for
# commands does not.
tools_work() {
	xz --version >&2 && gcc -xc -static -o "$work/probe" - -luring <<-'PROBE'
	#include <liburing.h>
	int main(void) { struct io_uring r; return io_uring_queue_init(1, &r, 0); }
	PROBE
} 2>"$work/probe.log"

packages=(gcc libc6-dev liburing-dev xz-utils)
if ! tools_work; then
	((EUID == 0)) || die "no static build with liburing, or no xz, on this" \
		"machine (see $work/probe.log); as root: apt-get install ${packages[*]}"
	say "installing ${packages[*]}"
	{
		apt-get -q update
		DEBIAN_FRONTEND=noninteractive apt-get -qy --no-install-recommends \
			install "${packages[@]}"
	} >&2
	tools_work || die "still cannot build: $(<"$work/probe.log")"
fi

# --- the package -----------------------------------------------------------

# A private apt, so that the machine neither learns of these suites nor
# changes. The hooks go because they act on the machine's own caches, and the
# _apt user because it cannot be expected to reach OUTDIR (apt would warn;
# signatures are checked all the same).
mkdir -p "$work"/apt/{state,cache}
cat >"$work/apt/apt.conf" <<CONF
Dir::State "$work/apt/state";
Dir::State::status "/dev/null";
Dir::Cache "$work/apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
apt=(-q -c "$work/apt/apt.conf")

# Where this machine gets Debian itself from; the label tells it from security.
mirror() {
	apt-get "$@" indextargets --format "\$(ORIGIN)|\$(LABEL)|\$(REPO_URI)" |
		awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 !~ /^cdrom:/ && !n++ { print $3 }'
}
uri=$(mirror)
if [[ -z $uri ]]; then
	# Fresh images come without lists, and without them there are no origins.
	apt-get "${apt[@]}" update >&2 || true
	uri=$(mirror "${apt[@]}")
fi
[[ -n $uri ]] || die "found no Debian mirror in this machine's apt configuration"

cat >>"$work/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "-";
CONF
# Only the lists of packages, and of one architecture: they are big enough.
for suite in $SUITES; do
	echo "deb [arch=$(dpkg --print-architecture) target=Packages] $uri $suite main"
done >"$work/apt/sources.list"
apt-get "${apt[@]}" update >&2 || say "not every suite could be read ($SUITES)"

# Nearest: by minor, then by stable release; the first (newest) of equals.
found=$(apt-cache "${apt[@]}" pkgnames linux-source-7. |
	xargs -r apt-cache "${apt[@]}" madison |
	awk -F' *[|] *' -v want="$WANT" '
		function abs(x) { return x < 0 ? -x : x }
		BEGIN { split(want, w, /[-.~+]/) }
		{
			split($2, v, /[-.~+]/)
			d = $2 == want ? -1 : abs(v[2] - w[2]) * 1000 + abs(v[3] - w[3])
			if (!n++ || d < best) { best = d; found = $1 " " $2 }
		}
		END { print found }')
[[ -n $found ]] || die "no linux-source-7.* in $SUITES"
read -r pkg version <<<"$found"
[[ $version == "$WANT" ]] || say "$WANT is gone, taking the nearest: $version"

# A .deb of an earlier run is taken again if its checksum is right.
(cd "$work" && apt-get "${apt[@]}" download "$pkg=$version" >&2)
debs=("$work/${pkg}_${version//:/%3a}"_*.deb)

# --- unpack and build ------------------------------------------------------

# Only what cow.c includes, and kunit: the whole tree is 1.5 GB.
src=$work/src
rm -rf "$src"
mkdir "$src"
dpkg-deb --fsys-tarfile "${debs[0]}" |
	tar -xO --wildcards "./usr/src/$pkg.tar.*" | xz -dc -T0 |
	tar -x -C "$src" --strip-components=1 --no-same-owner \
		--wildcards --no-wildcards-match-slash \
		"$pkg/mm/gup_test.h" \
		"$pkg/tools/include/uapi" \
		"$pkg/tools/arch/*/include/uapi" \
		"$pkg/tools/testing/selftests/*.h" \
		"$pkg/tools/testing/selftests/mm" \
		"$pkg/tools/testing/kunit"

mm=$src/tools/testing/selftests/mm
# The kernel probes for liburing; without it cow.c would quietly skip those
# tests, so here it is a must. 7.3 gave the header another name.
config=$(sed -n 's/^#include "\(local_config[^"]*\)".*/\1/p' "$mm/cow.c")
echo '#define LOCAL_CONFIG_HAVE_LIBURING 1' >"$mm/$config"
# The Makefile's helpers; the second was thp_settings until not long ago.
sources=("$mm"/{cow,vm_util}.c)
for helper in hugepage_settings thp_settings; do
	[[ ! -e $mm/$helper.c ]] || sources+=("$mm/$helper.c")
done
# The flags of mm/Makefile and lib.mk. The tree's tools/include/uapi goes
# before the C library's kernel headers, too old here for PAGEMAP_SCAN; it
# stands in for usr/include, which only a configured kernel tree can make.
gcc -Wall -O2 -D_GNU_SOURCE= -U_FORTIFY_SOURCE -static \
	-I"$src" -I"$mm/.." -isystem "$src/tools/include/uapi" \
	"${sources[@]}" -o "$out/cow" -lrt -lpthread -lm -luring

# The parser that the kernel's own people read KTAP with. kunit.py exits 1
# without a word unless its real path ends like this, and then changes to OUTDIR:
# hand it the results as an absolute path, or on stdin.
rm -rf "$out/kunit" "$out/tools"
mkdir -p "$out/tools/testing/kunit"
cp "$src"/tools/testing/kunit/*.py "$out/tools/testing/kunit/"
ln -s tools/testing/kunit "$out/kunit"

echo "$pkg $version" >"$out/VERSION"
echo "peer: $pkg $version"
