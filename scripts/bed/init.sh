#!/bin/sh
# PID 1 of one host: makes the host's own view of the machine, says "ready" through a file, then only reaps. The
# engine and the agent are started into these namespaces from outside, so that each can be killed alone.
#   init.sh NAME DIRECTORY
set -eu
hostname "$1"
# The machine's network namespaces are none of this host's business (and would be pinned here after their removal).
umount -R /run/netns 2>/dev/null || true
# /sys of its own network, so that /sys/class/net is about the host's cable; the machine's cgroups stay where they were.
mkdir -p "$2/cgroup"
mount --rbind /sys/fs/cgroup "$2/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
umount -R "$2/cgroup"
rmdir "$2/cgroup"
resolver=$(readlink -f /etc/resolv.conf || echo /etc/resolv.conf)
mount -t tmpfs -o mode=755 tmpfs /run
case "$resolver" in
  /run/*) mkdir -p "$(dirname "$resolver")" && cp "$2/resolv.conf" "$resolver" ;;
  *) mount --bind "$2/resolv.conf" "$resolver" ;;
esac
mkdir -p /run/lock
: >"$2/ready"
while :; do
  sleep 2147483647 &
  wait $! || true
done
