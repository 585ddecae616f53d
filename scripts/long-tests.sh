#!/usr/bin/env bash
# The long forms of tests that `npm test` has in short: fifty cycles of close and reopen, a hundred late writes, a store that is
# away for a minute, a tree of a million entries. Takes about half an hour.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export VM0_CYCLES=50 VM0_IDLE_WRITES=100 VM0_OUTAGE_SECONDS=60 VM0_TREE_ENTRIES=1000000 VM0_LONG_TESTS=1
scripts/setup.sh --tests
# In a mount namespace of its own, so that no mount outlives it.
exec unshare --mount --propagation private sh -c 'mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec "$@"' sh \
  node_modules/.bin/vitest run --testTimeout=3600000 tests/faults.test.ts packages/checkpoints/src/odd-trees.test.ts
