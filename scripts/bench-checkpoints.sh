#!/usr/bin/env bash
# Checkpoints against restic and `tar | zstd` on one tree: `scripts/bench-checkpoints.sh [files]`, 100,000 by default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh
if ! command -v restic >/dev/null; then
  echo 'bench: installing from Debian: restic'
  apt-get install -y --no-install-recommends restic >/dev/null
fi
exec unshare --mount --propagation private node bench/dist/checkpoints.js "$@"
