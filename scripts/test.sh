#!/usr/bin/env bash
# Sets everything up and runs every test, in a mount namespace of its own, so that no mount outlives it.
# The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh --tests
npm run --silent lint

report=$(mktemp -t vm0-tests-XXXXXX.json)
trap 'rm -f "$report"' EXIT
status=0
unshare --mount --propagation private sh -c 'mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified; exec "$@"' sh \
  node_modules/.bin/vitest run --reporter=default --reporter=json --outputFile.json="$report" "$@" || status=$?
node -e '
  const { numPassedTests: passed = 0, numFailedTests: failed = 0, testResults = [] } = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8") || "{}")
  // A file that could not be loaded has no tests of its own to count.
  const broken = testResults.filter(({ status, assertionResults }) => status === "failed" && assertionResults.every((each) => each.status !== "failed")).length
  console.log(`${passed} passed, ${failed + broken} failed`)
' "$report"
exit "$status"
