#!/usr/bin/env bash
# Makes fixtures/compat/VERSION with the code that is here: a session that it exports, and what that session has to have.
# Done once for each release, and never again for the same one: what a release wrote is what later ones have to read.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(node -p 'require("./package.json").version')
if [ -e "fixtures/compat/$version" ] && [ "${1:-}" != --replace ]; then
  echo "fixtures/compat/$version is there: a release's fixture isn't made again (--replace, before it is released)" >&2
  exit 2
fi

scripts/setup.sh --tests
export VM0_COMPAT_FIXTURE=$version
# In a mount namespace of its own, so that no mount outlives it.
exec unshare --mount --propagation private sh -c 'mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec "$@"' sh \
  node_modules/.bin/vitest run tests/compat.test.ts
