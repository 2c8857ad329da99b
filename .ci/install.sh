#!/usr/bin/env bash
# npm ci of the checkout it is started in; again, up to 3 times, when the network failed.
set -uo pipefail

log=$(mktemp)
trap 'rm -f "$log"' EXIT
network='E(CONNREFUSED|CONNRESET|TIMEDOUT|AI_AGAIN|NETUNREACH|HOSTUNREACH|PIPE|5[0-9][0-9])|ERR_SOCKET|ENOTFOUND|network|socket hang up'

for attempt in 1 2 3; do
  code=0
  timeout 240 npm ci >"$log" 2>&1 || code=$?
  cat "$log"
  if ((code == 0)); then exit 0; fi
  if ((code != 124)) && ! grep -qE "$network" "$log"; then exit "$code"; fi
  echo "npm ci: the network failed (attempt $attempt of 3)." >&2
  sleep $((attempt * 3))
done
exit 1
