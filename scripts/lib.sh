# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-only
#
# What the scripts share. Source it; it changes nothing but PATH and variables.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
me=${0#"$root"/}

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$*"; exit 1; }

# rustup's place is in the PATH of login shells only.
command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME-/root}/.cargo}/bin

# .cargo/config.toml names the target of x86_64, so that only the program is static and no build script;
# on other machines it is this.
host_target() {
	[[ -n ${CARGO_BUILD_TARGET-} ]] || CARGO_BUILD_TARGET=$(rustc -vV | sed -n 's/^host: //p')
	export CARGO_BUILD_TARGET
}

# Builds the program and tells where it is.
build_cowcheck() {
	local told
	host_target
	told=$(cd "$root" && cargo build --release --locked -p cowcheck --bin cowcheck \
		--message-format=json-render-diagnostics) || return
	told=$(grep -o '"executable":"[^"]*"' <<<"$told") || return
	told=${told##*:\"}
	printf '%s\n' "${told%\"}"
}
