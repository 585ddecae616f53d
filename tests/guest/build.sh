#!/usr/bin/env bash
# build.sh FOLDER: makes FOLDER with a kernel, an initramfs and a root image of Debian's packages. Nothing is installed on
# the host: the packages are only unpacked.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$1

suite=bookworm
packages=(
  linux-image-cloud-amd64 kmod busybox-static # to boot
  dash bash coreutils findutils grep sed mount util-linux procps libstdc++6
  crun iproute2 nftables e2fsprogs catatonit runit erofs-utils # what VM0 asks for on its host
)
# What reaches the root disk; the root disk brings the rest.
boot_modules=(virtio_pci virtio_blk virtio_console erofs overlay)

mkdir -p "$(dirname "$target")"
build=$(mktemp -d "$(dirname "$target")/.build-XXXXXX")
trap 'rm -rf "$build"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$build/root
mkdir "$build/out" "$root"
chmod 755 "$build"

# The host's mirrors, proxy and certificates, as for the standard template.
sources=$here/../../packages/sandbox/dist/template/debian-sources.js
mapfile -t arguments < <(node --input-type=module -e '
  const { bootstrapArguments } = await import(process.argv[1])
  console.log((await bootstrapArguments(process.argv[2], process.argv[3])).join("\n"))
' "$sources" "$suite" "$root")
((${#arguments[@]})) || exit 1

include=$(IFS=, && echo "${packages[*]}")
unshare --mount --propagation private mmdebstrap --quiet --variant=extract --include="$include" \
  --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr "${arguments[@]}" >"$build/log" 2>&1 ||
  { tail -n 30 "$build/log" >&2; exit 1; }

# No package script has run: what they would have made and the guest needs is made here.
kernel=$(ls "$root/lib/modules")
chroot "$root" /sbin/depmod "$kernel"
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
mkdir -p "$root/disks" "$root/etc/ssl/certs"
ln -s /disks/template/etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
install -m 755 "$here/guest-init.sh" "$root/sbin/guest-init"

initramfs=$build/initramfs
mkdir -p "$initramfs"/{bin,dev,proc,sys,lower,disk,root,modules}
cp "$root/bin/busybox" "$initramfs/bin/busybox"
install -m 755 "$here/boot-init.sh" "$initramfs/init"
for module in "${boot_modules[@]}"; do
  chroot "$root" /sbin/modprobe --set-version "$kernel" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$initramfs/modules/order"
while read -r path; do cp "$root$path" "$initramfs/modules/"; done <"$initramfs/modules/order"
(cd "$initramfs" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$build/out/initramfs"

mv "$root/boot/vmlinuz-$kernel" "$build/out/kernel"
rm -rf "$root"/boot/* "$root"/usr/share/{doc,locale,man} "$root"/var/{cache,lib}/apt "$root/usr/lib/udev"
mkfs.erofs --quiet "$build/out/root" "$root"
mv "$build/out" "$target"
