#!/bin/bash
# Second program of the guest: what systemd would set up on a real host, then the one command, then power off. The last
# line on the serial console is the command's exit status.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/disks/template/usr/local/bin HOME=/root TERM=linux
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=0,mode=620,ptmxmode=666 devpts /dev/pts
for directory in /dev/shm /run /tmp; do mount -t tmpfs tmpfs "$directory"; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
modprobe loop
ip link set lo up
echo guest >/proc/sys/kernel/hostname
for device in /sys/block/vd*; do
  name=$(<"$device/serial")
  [[ $name != root && $name != scratch ]] || continue
  mkdir -p "/disks/$name"
  mount -t erofs -o ro "/dev/${device##*/}" "/disks/$name"
  ln -s "/dev/${device##*/}" "/disks/$name.erofs"
done
cd /disks/repo
stty -F /dev/hvc0 -onlcr
setsid --ctty --wait bash /disks/repo/.command <>/dev/hvc0 >&0 2>&1
printf '\nguest: exit status %s\n' $? >/dev/ttyS0
busybox reboot -f
