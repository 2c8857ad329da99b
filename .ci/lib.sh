# shellcheck shell=bash
# What the scripts of this folder share. They run with the checkout as the working folder.

# record pass|fail|skip NAME [COUNT]
record() {
  printf '%s\t%s\t%s\n' "$1" "${3:-1}" "$2" >>"$RESULTS"
}

# total pass|fail|skip
total() {
  awk -F '\t' -v kind="$1" '$1 == kind { sum += $2 } END { print sum + 0 }' "$RESULTS"
}

# Every variable the server reads is one of .env.example, which a test holds to be complete.
unset_settings() {
  local name
  while read -r name; do unset "$name"; done < <(grep -oE '^[A-Z_]+' .env.example)
}

# await SECONDS COMMAND…: until the command succeeds.
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    if ((SECONDS >= end)); then return 1; fi
    sleep 0.2
  done
}
