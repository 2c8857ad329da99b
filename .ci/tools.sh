#!/usr/bin/env bash
# Installs the programs of Debian that tests use, where they are missing.
set -euo pipefail

missing=()
for pair in redis-server:redis-server docker-compose:docker-compose chromium:chromium curl:curl git:git; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if ((${#missing[@]} == 0)); then
  echo 'All there.'
  exit 0
fi
if [[ $EUID -ne 0 ]]; then
  echo "Install ${missing[*]} first, or run this as root: it may not install them itself." >&2
  exit 1
fi

for attempt in 1 2 3; do
  if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; then
    exit 0
  fi
  echo "apt-get failed (attempt $attempt of 3)." >&2
  sleep $((attempt * 5))
done
exit 1
