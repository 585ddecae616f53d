#!/usr/bin/env bash
# Runs one command in a virtual machine with Debian's kernel and cgroup v2. See README.md.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'USAGE'
Usage: guest.sh [--timeout SECONDS] [--console FILE] [--disk NAME=IMAGE]... COMMAND [ARGUMENT...]
  --disk      an erofs image, mounted read-only at /disks/NAME (its device is /disks/NAME.erofs)
  --console   where the kernel's messages go (default: nowhere)
  --timeout   the guest is ended after so long (default: never)
Ends with the command's exit status; 124 after the time-out, 125 when the guest ended otherwise.
USAGE
}

timeout=0 console='' disks=()
while (($#)); do
  case $1 in
    --timeout) timeout=$2 && shift 2 ;;
    --console) console=$2 && shift 2 ;;
    --disk) disks+=("$2") && shift 2 ;;
    -h | --help) usage && exit ;;
    -*) usage >&2 && exit 2 ;;
    *) break ;;
  esac
done
(($#)) || { usage >&2; exit 2; }

# The image is made once per recipe; whoever comes meanwhile waits.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/vm0/guest
image=$cache/$(cat "$here"/{build,boot-init,guest-init}.sh | sha256sum | cut -c1-16)
mkdir -p "$cache"
(
  flock 9
  [ -d "$image" ] || "$here/build.sh" "$image"
) 9>"$cache/.lock"

work=$(mktemp -d -t vm0-guest-XXXXXX)
qemu='' terminal=''
finish() {
  local status=$?
  if [ -n "$qemu" ]; then
    kill -KILL "$qemu" 2>/dev/null || true
    wait "$qemu" 2>/dev/null || true
  fi
  [ -z "$terminal" ] || stty "$terminal"
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
: "${console:=$work/console}"
truncate -s 4G "$work/scratch"
mkfs.ext4 -q -E nodiscard "$work/scratch"

drives=()
drive() {
  drives+=(-drive "id=$1,file=$2,format=raw,if=none,cache=unsafe,$3" -device "virtio-blk-pci,drive=$1,serial=$1")
}
drive root "$image/root" readonly=on
drive scratch "$work/scratch" readonly=off
for disk in "${disks[@]}"; do drive "${disk%%=*}" "${disk#*=}" readonly=on; done

# The built repository, as far as the engine needs it.
repository=(packages/{contract,process,sandbox}/{package.json,dist} packages/sandbox/seccomp tests/guest
  node_modules/@vm0/{contract,process,sandbox} node_modules/{koffi,@koromix,zod})
mkdir "$work/repo"
(cd "$here/../.." && cp -a --parents "${repository[@]}" "$work/repo")
printf '%q ' "$@" >"$work/repo/.command"
mkfs.erofs --quiet "$work/repo.erofs" "$work/repo"
drive repo "$work/repo.erofs" readonly=on

# Any other input than a terminal is left alone: QEMU reads it though nobody asked.
input=/dev/null
if [ -t 0 ]; then input=/dev/stdin terminal=$(stty -g); fi
# Not the machine type microvm: its only reference for the kernel's clock is the PIT, and on a busy host half of its emulated
# boots hang because that measurement fails. tsc=reliable: emulated CPUs all read the host's counter, so they are in step.
setpriv --pdeathsig KILL -- timeout --foreground --signal KILL "$timeout" setpriv --pdeathsig KILL -- qemu-system-x86_64 \
  -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 \
  -nodefaults -no-user-config -nographic -no-reboot \
  -kernel "$image/kernel" -initrd "$image/initramfs" \
  -append "console=ttyS0 reboot=t panic=-1 tsc=reliable quiet" \
  -chardev "file,id=console,path=$console" -serial chardev:console \
  -chardev stdio,id=program,signal=off -device virtio-serial-pci -device virtconsole,chardev=program \
  "${drives[@]}" <"$input" &
qemu=$!
ended=0
wait "$qemu" || ended=$?
qemu=''
((ended != 137)) || { echo "guest.sh: the guest was ended after $timeout s" >&2; exit 124; }
status=$(sed -n 's/^guest: exit status \([0-9]*\).*/\1/p' "$console")
[ -n "$status" ] || { tail -n 40 "$console" >&2; echo 'guest.sh: the guest ended without an exit status' >&2; exit 125; }
exit "$status"
