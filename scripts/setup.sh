#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine ready to build and run VM0: Debian packages, npm packages, compiled TypeScript.
# Does only what is missing, says it before it does it, and starts no service. `--tests` adds PostgreSQL's programs, Prometheus, Chromium and QEMU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

debian_packages=(crun erofs-utils mmdebstrap runit nftables iproute2 zstd libzstd1 catatonit e2fsprogs util-linux procps debian-archive-keyring)
policy=/usr/sbin/policy-rc.d
log=''
policy_set=''
policy_kept=''

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

usage() {
  cat <<'USAGE'
Usage: scripts/setup.sh [--tests]
  --tests   also install what the tests need: PostgreSQL's programs and Prometheus (no cluster is made, no server is started), Chromium and QEMU
USAGE
}

with_tests=''
for argument in "$@"; do
  case "$argument" in
    --tests) with_tests=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown argument: $argument" ;;
  esac
done

# Undoes what must not stay, whatever ended the script.
finish() {
  local status=$?
  [ -z "$policy_set" ] || rm -f "$policy"
  [ -z "$policy_kept" ] || mv -f "$policy_kept" "$policy"
  [ -z "$log" ] || rm -f "$log"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# quietly WHAT COMMAND...: the output is shown only when the command fails.
quietly() {
  local what=$1
  shift
  [ -n "$log" ] || log=$(mktemp)
  if ! "$@" >"$log" 2>&1 </dev/null; then
    tail -n 60 "$log" >&2
    fail "$what failed; its last words are above."
  fi
}

check_host() {
  [ "$(id -u)" = 0 ] || fail 'root is needed (packages, mounts, namespaces): run it with sudo.'
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    fail 'apt-get is not here: expected a Debian or Ubuntu machine.'
  command -v node >/dev/null || fail 'Node.js is not on PATH: expected version 20.19 or newer.'
  command -v npm >/dev/null || fail 'npm is not on PATH: it comes with Node.js 20.19 or newer.'
  local version major minor
  version=$(node -p process.versions.node)
  IFS=. read -r major minor _ <<<"$version"
  ((major > 20 || (major == 20 && minor >= 19))) || fail "Node.js $version is too old: expected 20.19 or newer."
}

missing_packages() {
  local installed package
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Abbrev}\n' "$@" 2>/dev/null | awk '$2 == "ii" { print $1 }' || true)
  for package in "$@"; do grep -qxF "$package" <<<"$installed" || printf '%s\n' "$package"; done
}

# Package scripts ask policy-rc.d before they start a service; 101 means "not allowed". runit's own scripts don't all ask,
# so `forbid_services` is backed by `end_services_that_were_started`.
forbid_services() {
  if [ -e "$policy" ]; then
    policy_kept=$(mktemp "$policy.kept-XXXXXX")
    mv -f "$policy" "$policy_kept"
  fi
  policy_set=yes
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
}

install_packages() {
  say "installing from Debian: $*"
  if [[ " $* " == *' postgresql'* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
  fi
  forbid_services
  export DEBIAN_FRONTEND=noninteractive
  quietly 'apt-get update' apt-get update
  quietly 'apt-get install' apt-get install -y --no-install-recommends \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

ensure_debian_packages() {
  local wanted=("${debian_packages[@]}") missing
  if [ -n "$with_tests" ] && ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then wanted+=(postgresql); fi
  if [ -n "$with_tests" ]; then wanted+=(skopeo prometheus faketime); fi
  # Ubuntu's package of that name is no browser.
  if [ -n "$with_tests" ] && grep -qx 'ID=debian' /etc/os-release; then wanted+=(chromium); fi
  if [ -n "$with_tests" ] && [ "$(uname -m)" = x86_64 ]; then wanted+=(qemu-system-x86); fi
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
}

ensure_npm_packages() {
  [ node_modules/.package-lock.json -ot package-lock.json ] || [ ! -e node_modules/.package-lock.json ] || return 0
  say 'installing npm packages: npm ci'
  quietly 'npm ci' npm ci --no-audit --no-fund
  touch node_modules/.package-lock.json
}

check_host
ensure_debian_packages
ensure_npm_packages
quietly 'tsc -b' node_modules/.bin/tsc -b
chmod +x packages/vm0/dist/cli/main.js
say 'ready.'
