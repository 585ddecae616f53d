/**
 * Builds the image `$BUILD/image.erofs` from `$BUILD`. Runs as the first process of PID and mount namespaces of its own:
 * when it dies, whatever it started and mounted is gone with it.
 *
 * Environment: BUILD, PACKAGES (comma-separated), NODE_PACKAGE, NPM_PACKAGE, UUID; the arguments are mmdebstrap's
 * options and sources. What the host is configured with (mirror, proxy) is used for the build and not kept in the image.
 */
export const buildScript = String.raw`
set -euo pipefail
root="$BUILD/root" node="$BUILD/node"
export LC_ALL=C.UTF-8
umask 022

echo "I: fetching Node.js and npm"
npm install --global --prefix "$node" --ignore-scripts --no-audit --no-fund --no-update-notifier \
  "$NODE_PACKAGE" "$NPM_PACKAGE" >"$BUILD/npm.log" 2>&1 &
npm_pid=$!

mmdebstrap --mode=root --variant=minbase --include="$PACKAGES" \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-include=/usr/share/doc/apt/examples/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook='sed -n "s/^Date: //p" "$1"/var/lib/apt/lists/*Release > "$BUILD/release-dates"' \
  "$@"

wait "$npm_pid" || { echo "npm could not install $NODE_PACKAGE and $NPM_PACKAGE:"; tail -n 20 "$BUILD/npm.log"; exit 1; }
modules="$node/lib/node_modules"
node_module="$modules/$(echo "$NODE_PACKAGE" | sed 's/@.*//')"
cp "$node_module/bin/node" "$root/usr/local/bin/node"
mkdir -p "$root/usr/local/lib/node_modules" "$root/usr/local/share/doc/node"
cp "$node_module/LICENSE" "$root/usr/local/share/doc/node/LICENSE"
rm -rf "$modules/npm/docs" "$modules/npm/man"
cp -R "$modules/npm" "$root/usr/local/lib/node_modules/npm"
chown -hR 0:0 "$root/usr/local"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
mkdir -p "$root/workspace"

echo "I: checking the tools inside"
inside() { env -i HOME=/tmp PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"; }
echo "node $(inside node -v), npm $(inside npm -v)"
for tool in git curl jq rg gcc make python3 zstd ssh; do inside sh -c "command -v $tool" >/dev/null || { echo "$tool is missing"; exit 1; }; done
inside python3 -Bc 'import venv, ssl, ensurepip'

# Debian's own text, from its apt package: the host's mirror is no part of the image.
sed -n 's/^\(deb .* main\).*/\1/p' "$root/usr/share/doc/apt/examples/sources.list" >"$BUILD/sources.list"
[ -s "$BUILD/sources.list" ] || { echo "Debian's example sources.list is missing"; exit 1; }
rm -rf "$root"/etc/apt/sources.list.d/* "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
cp "$BUILD/sources.list" "$root/etc/apt/sources.list"

# Empty files are there as targets of the platform's binds; an empty machine-id means "not set up yet".
for name in hostname resolv.conf machine-id; do rm -f "$root/etc/$name"; : >"$root/etc/$name"; done
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
rm -f "$root/var/lib/dbus/machine-id" "$root/var/cache/ldconfig/aux-cache" "$root"/etc/{passwd,group,shadow,gshadow,subuid,subgid}-
find "$root/var/lib/apt/lists" "$root/var/cache/apt" -type f -delete
rm -rf "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old
rm -rf "$root"/dev/* "$root"/tmp/* "$root"/run/* "$root/usr/share/doc/apt/examples"
find "$root/var/log" -type f -delete

# Files that the build wrote get the date of the packages: the same archive gives the same image.
epoch=0
while read -r date; do seconds=$(date -ud "$date" +%s); [ "$seconds" -gt "$epoch" ] && epoch="$seconds"; done <"$BUILD/release-dates"
[ "$epoch" -gt 0 ] || { echo "the archive's Release files carry no date"; exit 1; }
find "$root" -newermt "@$epoch" -exec touch -h -d "@$epoch" {} +

echo "I: packing the image"
SOURCE_DATE_EPOCH="$epoch" mkfs.erofs --quiet -Eforce-inode-extended -U "$UUID" "$BUILD/image.erofs" "$root"
sync "$BUILD/image.erofs"
`
