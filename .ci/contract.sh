#!/usr/bin/env bash
# How much of the contract the schema has. The issues complete it one after the other; until then
# it only must not shrink below .ci/contract-floor, which whoever adds fields raises.
set -euo pipefail

tool=../shared/tools/contract-check.mjs
output=$(node_modules/.bin/node "$tool" schema/schema.graphql --list 2>&1) || true
summary=$(grep '^contract: ' <<<"$output") || {
  echo "$output" >&2
  exit 1
}
echo "$summary"
present=$(sed -E 's/^contract: ([0-9]+) of .*/\1/' <<<"$summary")
floor=$(<.ci/contract-floor)
if ((present < floor)); then
  echo "$output" >&2
  echo "The schema had $floor fields and values of the contract and now has $present." >&2
  exit 1
fi
if ((present > floor)); then echo "More than before: write $present into .ci/contract-floor."; fi
