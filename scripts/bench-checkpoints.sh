#!/usr/bin/env bash
# Checkpoints against restic and `tar | zstd` on one tree: `scripts/bench-checkpoints.sh [files] [case…]`, 100,000 and all by default.
# Cases: save, restore, s3, read; peers, for what the others take. `s3` alone takes half a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
if ! command -v restic >/dev/null; then
  echo 'bench: installing from Debian: restic'
  apt-get install -y --no-install-recommends restic >/dev/null
fi
exec unshare --mount --propagation private node bench/dist/checkpoints.js "$@"
