#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The compiler at hand, for a kernel that was built by another one: options that it does not know are dropped.
for option; do
	case $option in
	-fmin-function-alignment=*) option=-falign-functions=${option#*=} ;;
	esac
	set -- "$@" "$option"
	shift
done
# Kbuild asks with an empty file whether an option is known.
case " $* " in
*" /dev/null "*) exec gcc "$@" ;;
esac
exec 3>&1
while :; do
	said=$(LC_ALL=C gcc "$@" 2>&1 >&3) && break
	unknown=$(printf '%s\n' "$said" |
		sed -n "s/.*unrecognized command-line option '\(-[^']*\)'.*/\1/p" | head -n 1)
	[ "$unknown" ] || {
		printf '%s\n' "$said" >&2
		exit 1
	}
	for option; do
		[ "$option" = "$unknown" ] || set -- "$@" "$option"
		shift
	done
done
[ -z "$said" ] || printf '%s\n' "$said" >&2
