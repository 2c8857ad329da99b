#!/usr/bin/env bash
# What the README tells a newcomer, done in the clone this is started in, and a crash.
#   smoke.sh NAME RESULTS
set -uo pipefail

NAME=$1
export RESULTS=$2
CLONE=$(pwd -P)
# shellcheck source=.ci/lib.sh
. .ci/lib.sh
unset_settings
LOG="$CLONE/server.log"
KEY_FILE="$CLONE/.tradewind/admin-key"
NPM_PID=''

# A check that fails ends the run: those after it need what it made.
check() {
  local what=$1
  shift
  if "$@"; then
    echo "ok: $what"
    record pass "$NAME: $what"
    return
  fi
  echo "FAILED: $what" >&2
  if [[ -f $LOG ]]; then
    echo '--- the end of the log' >&2
    tail -n 40 "$LOG" >&2
  fi
  record fail "$NAME: $what"
  exit 1
}

# Node processes of this clone that run our command; npm and its shell are not among them.
server_pids() {
  local folder pid
  for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    [[ $(readlink "$folder/cwd" 2>/dev/null) == "$CLONE" ]] || continue
    [[ $(readlink "$folder/exe" 2>/dev/null) == */node ]] || continue
    tr '\0' ' ' 2>/dev/null <"$folder/cmdline" | grep -q 'tradewind\.[jt]s ' && echo "$pid"
  done
  return 0
}

# All processes of this clone but this script: servers, npm, bots, PostgreSQL (it works in the data
# folder) and its watcher.
clone_pids() {
  local folder
  for folder in /proc/[0-9]*; do
    case $(readlink "$folder/cwd" 2>/dev/null) in
      "$CLONE" | "$CLONE"/*) ;;
      *) continue ;;
    esac
    [[ $(readlink "$folder/exe" 2>/dev/null) == */bash ]] || echo "${folder#/proc/}"
  done
  return 0
}

is_quiet() {
  [[ -z $(clone_pids) ]]
}

# shellcheck disable=SC2317,SC2329
end_all() {
  local pids
  for signal in TERM QUIT KILL; do
    mapfile -t pids < <(clone_pids)
    ((${#pids[@]} > 0)) || return
    kill -s "$signal" "${pids[@]}" 2>/dev/null
    await 10 is_quiet && return
  done
}
trap end_all EXIT
trap 'exit 143' TERM INT

free_port() {
  node_modules/.bin/node -e \
    'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}

# begin SCRIPT: `npm run SCRIPT` in the background.
begin() {
  PORT=$(free_port) || return 1
  export PORT
  npm run "$1" >>"$LOG" 2>&1 &
  NPM_PID=$!
}

is_running() {
  kill -0 "$NPM_PID" 2>/dev/null
}

is_ready() {
  # One that ended will not become ready.
  is_running || return 0
  curl -fsS --max-time 2 -o /dev/null "http://127.0.0.1:$PORT/readyz" 2>/dev/null
}

becomes_ready() {
  await "$1" is_ready && is_running
}

start() {
  begin start && becomes_ready 60
}

# query TEXT: the answer as one line of JSON. The text has no quotes of its own but GraphQL's.
query() {
  local body
  body=$(node_modules/.bin/node -p 'JSON.stringify({ query: process.argv[1] })' "$1") || return 1
  curl -sS --max-time 10 "http://127.0.0.1:$PORT/graphql" \
    -H 'content-type: application/json' \
    -H "authorization: Bearer $(<"$KEY_FILE")" \
    --data-binary "$body"
}

# answers TEXT PATTERN: the answer has it and no errors.
answers() {
  local answer
  answer=$(query "$1") || return 1
  [[ $answer != *'"errors"'* && $answer =~ $2 ]] && return
  echo "$answer" >&2
  return 1
}

knows_the_admin() {
  answers '{ viewer { actor role } }' '"role":"ADMIN"'
}

key_is_private() {
  [[ $(stat -c %a "$KEY_FILE") == 600 ]]
}

opens_a_position() {
  # shellcheck disable=SC2016
  answers 'mutation { openPositions(input: { account: "main", items: [{ exchange: "bybit", symbol: "BTCUSDT",
    side: LONG, quantity: "0.5", entryPrice: "60000" }] }) { results { status } } }' \
    '"status":"CREATED"'
}

reads_the_position() {
  answers '{ positions(account: "main", first: 5) { totalCount nodes { symbol side status quantity entryPrice } } }' \
    '"totalCount":1,.*"symbol":"BTCUSDT","side":"LONG","status":"OPEN","quantity":"0\.5"'
}

survives_a_kill() {
  local pids
  mapfile -t pids < <(server_pids)
  ((${#pids[@]} > 0)) || return 1
  kill -KILL "${pids[@]}"
  wait "$NPM_PID"
  start && reads_the_position
}

stops_by_sigterm() {
  local pids code=0
  mapfile -t pids < <(server_pids)
  ((${#pids[@]} > 0)) || return 1
  kill -TERM "${pids[@]}"
  await 40 is_stopped || return 1
  wait "$NPM_PID" || code=$?
  ((code == 0)) && return
  echo "npm ended with $code" >&2
  return 1
}

is_stopped() {
  ! is_running
}

leaves_no_process() {
  local pid
  await 5 is_quiet && return
  for pid in $(clone_pids); do
    echo "$pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" >&2
  done
  return 1
}

has_positions() {
  is_running || return 0
  [[ -f $KEY_FILE ]] || return 1
  local answer
  answer=$(query '{ positions(account: "main", first: 1) { totalCount } }' 2>/dev/null) || return 1
  [[ $answer =~ \"totalCount\":[1-9] ]]
}

demo_trades() {
  rm -rf .tradewind
  begin demo && await 90 has_positions && is_running
}

if [[ ! -d node_modules ]]; then check 'npm ci' bash .ci/install.sh; fi
check 'npm start becomes ready' start
check 'the admin key is for its owner alone' key_is_private
check 'the admin key opens the API' knows_the_admin
check 'a position is opened' opens_a_position
check 'the position is read' reads_the_position
check 'the position outlives kill -9' survives_a_kill
check 'SIGTERM ends with 0' stops_by_sigterm
check 'no process is left' leaves_no_process
check 'npm run demo trades' demo_trades
check 'the demo ends with 0' stops_by_sigterm
check 'the demo leaves no process' leaves_no_process
