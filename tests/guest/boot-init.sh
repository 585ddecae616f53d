#!/bin/busybox sh
# First program of the guest, in the initramfs: finds the disks by their serial, makes a writable root of them, and hands over.
export PATH=/bin
for tool in mount cat mkdir switch_root insmod; do /bin/busybox ln -s busybox "/bin/$tool"; done
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r path; do insmod "/modules/${path##*/}"; done </modules/order
for device in /sys/block/vd*; do
  case $(cat "$device/serial") in
    root) mount -t erofs -o ro "/dev/${device##*/}" /lower ;;
    scratch) mount -t ext4 "/dev/${device##*/}" /disk ;;
  esac
done
mkdir /disk/upper /disk/work
mount -t overlay -o lowerdir=/lower,upperdir=/disk/upper,workdir=/disk/work overlay /root
exec switch_root /root /sbin/guest-init
