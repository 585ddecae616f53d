#!/usr/bin/env bash
# A random program of runs, commands, saves, forks, rollbacks, kills and restarts against a model of what must be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { echo 'Usage: npm run torture -- [--faults N (1000)] [--seed N (random; plays a failure again)]'; }

export VM0_TORTURE_FAULTS=1000
while [ $# -gt 0 ]; do
  case "$1" in
    --faults) VM0_TORTURE_FAULTS=${2:?$(usage)}; shift 2 ;;
    --seed) export VM0_TORTURE_SEED=${2:?$(usage)}; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

scripts/setup.sh --tests
# In a mount namespace of its own, so that no mount outlives it.
exec unshare --mount --propagation private sh -c 'mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec "$@"' sh \
  node_modules/.bin/vitest run tests/torture.test.ts
