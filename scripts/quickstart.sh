#!/usr/bin/env bash
# Sets everything up, starts `vm0 up` on embedded defaults, has a real agent do a real task, destroys its sandbox and goes
# on in a new one; then forks the session from one of its tool calls, and takes it back there. `--keep` leaves the server up.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

keep=''
for argument in "$@"; do
  case "$argument" in
    --keep) keep=yes ;;
    *) echo "Usage: npm run quickstart [-- --keep]" >&2; exit 2 ;;
  esac
done

scripts/setup.sh

vm0=packages/vm0/dist/cli/main.js
data=$(mktemp -d -t vm0-quickstart-XXXXXX)
export VM0_CONFIG=$data/config.json
unset VM0_API_URL VM0_API_KEY
server=''

finish() {
  local status=$?
  trap - EXIT INT TERM
  if [ -n "$keep" ] && [ "$status" = 0 ]; then
    printf '\nThe server stays up (process %s). To use and to end it:\n  export VM0_CONFIG=%s\n  kill %s && rm -rf %s\n' "$server" "$VM0_CONFIG" "$server" "$data"
    exit 0
  fi
  if [ -n "$server" ]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$data"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say '$ vm0 up'
mkfifo "$data/ready"
# In a session of its own, so that Ctrl-C reaches this script first and the server is stopped in order.
setsid node "$vm0" up --port 0 --data "$data/vm0" >"$data/ready" &
server=$!
exec 3<"$data/ready"
IFS= read -r -u 3 line || { wait "$server" || exit $?; exit 1; }
echo "$line"
# Where no sandbox can be kept warm, the run starts cold.
if IFS= read -r -t 20 -u 3 line; then echo "$line"; fi

say '$ vm0 run "Write a word counter in Python, run it on four words, fix what is wrong, and install cowsay to show the result."'
node "$vm0" run 'Write a word counter in Python, run it on four words, fix what is wrong, and install cowsay to show the result.'

say '$ vm0 close        # the sandbox is destroyed: processes, mounts, network, disk'
node "$vm0" close
node "$vm0" sessions
session=$(node "$vm0" sessions --json --limit 1 | node -p 'JSON.parse(require("fs").readFileSync(0)).id.slice(-8)')

say "\$ vm0 run -s $session \"Is our work still there?\"        # a new sandbox"
node "$vm0" run -s "$session" 'Is our work still there? Look at the files, run the program, and check the package.'

say '$ vm0 exec -- python3 count.py sample.txt'
answer=$(node "$vm0" exec -- python3 count.py sample.txt)
echo "$answer"
[ "$answer" = 4 ] || [ -n "${ANTHROPIC_API_KEY:-}" ]

say '$ vm0 log             # every tool call that changed files is a state to go back to'
node "$vm0" log "$session"

first=$(node "$vm0" log "$session" --json --limit 200 | node -p '
  const all = require("fs").readFileSync(0, "utf8").trim().split("\n").map(JSON.parse)
  all.at(-1).id.slice(7, 15)')
say "\$ vm0 run --from $first \"Count line by line instead.\"        # a fork: from before the mistake was mended"
node "$vm0" run --from "$first" 'Count line by line instead, and run it on the same four words.'

say "\$ vm0 rollback $first && vm0 exec -s $session -- ls /workspace        # the first session, at its first tool call"
node "$vm0" rollback "$first"
node "$vm0" exec -s "$session" -- ls /workspace

say 'What to type next'
cat <<'NEXT'
  npm run quickstart -- --keep     the same, and the server stays up
  vm0 run "…" -w .                 a task on your own folder
  vm0 diff                         what the last run changed
  vm0 trace                        where its time and money went
  vm0 why                          what it did and why, and what to change
NEXT
