#!/usr/bin/env bash
# Sets everything up and runs one bench: `scripts/bench.sh cold [pairs]`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=${1:?which bench: cold}
shift
scripts/setup.sh
exec node "bench/dist/$name.js" "$@"
