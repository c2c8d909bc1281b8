#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# A campaign in shards, each a test of Avocado's, then put together. See README.md.
set -euo pipefail
if (($# < 3)); then
	echo "usage: docs/engines/avocado.sh SHARDS SCENARIOS DIRECTORY [ARGUMENT OF EXPLORE...]" >&2
	exit 2
fi
shards=$1 scenarios=$2 into=$(realpath -m "$3")
shift 3
cowcheck=$(command -v cowcheck)
mkdir -p "$into"

# A test for each shard.
for ((shard = 0; shard < shards; shard++)); do
	where=(--shard "$shard/$shards" --results "$into/part$shard")
	printf '%s\0' "$cowcheck" explore "${where[@]}" --jobs 1 --scenarios "$scenarios" "$@"
	printf '\n'
done | python3 -c '
import json, sys
shards = [line.split("\0")[:-1] for line in sys.stdin.read().splitlines()]
name = {"runner.identifier_format": "{args[0]} {args[1]} {args[2]}"}
json.dump([{"kind": "exec-test", "uri": uri, "args": args, "config": name} for uri, *args in shards], sys.stdout)
' >"$into/shards.json"

# A finding makes its shard fail, which does not keep the others from running.
avocado run --job-results-dir "$into/avocado" --max-parallel-tasks="$(nproc)" "$into/shards.json" || true
cowcheck explore merge "$into"/part*/ --into "$into/whole"
