#!/bin/sh
# PID 1 of a node in a container: starts the engine, loads the images it is handed, then keeps the agent running, as an
# init system would on a machine. The containers of this node go under
# MOOT_CGROUP in the machine's cgroups.
set -eu

# Docker mounts it read-only; the inner engine must set forwarding and bridge options there.
mount -o remount,rw /proc/sys
# For wireguard-go, where the machine's kernel has no WireGuard.
[ -e /dev/net/tun ] || { mkdir -p /dev/net && mknod -m 600 /dev/net/tun c 10 200; } ||
  echo "There is no /dev/net/tun: without WireGuard in the kernel this node does not encrypt" >&2

dockerd \
  --host unix:///run/docker.sock --data-root /var/lib/docker --storage-driver overlay2 \
  --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "${MOOT_CGROUP:-/moot}/$(hostname)" \
  >/var/log/dockerd.log 2>&1 &
engine=$!
agent=

stop() {
  trap '' TERM INT
  [ -z "$agent" ] || kill -TERM "$agent" 2>/dev/null || true
  [ -z "$agent" ] || wait "$agent" || true
  kill -TERM "$engine" 2>/dev/null || true
  wait "$engine" || true
  exit 0
}
trap stop TERM INT

tries=0
until docker -H unix:///run/docker.sock version >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 600 ] || ! kill -0 "$engine" 2>/dev/null; then
    echo "The node's engine did not start:" >&2
    tail -n 20 /var/log/dockerd.log >&2
    exit 1
  fi
  sleep 0.1
done

# Archives that `docker save` wrote; one that was loaded before, unchanged, is not read again.
for archive in /images/*.tar; do
  [ -e "$archive" ] || continue
  stamp=/var/lib/docker/.loaded-$(basename "$archive")
  seen=$(stat -c '%s %Y' "$archive")
  if [ "$(cat "$stamp" 2>/dev/null)" != "$seen" ]; then
    docker -H unix:///run/docker.sock load --quiet --input "$archive" && echo "$seen" >"$stamp"
  fi
done

if [ "${MOOT_WITHOUT_AGENT:-}" = 1 ]; then
  wait "$engine"
  exit 1
fi

address=$(ip -4 -o addr show dev eth0 | sed -n 's/.*inet \([0-9.]*\).*/\1/p' | head -n 1)
while kill -0 "$engine" 2>/dev/null; do
  node --max-semi-space-size=4 /opt/moot/agent.mjs \
    --data-dir /var/lib/moot --socket /run/moot/moot.sock --docker-socket /run/docker.sock \
    --advertise "$address" --log-level "${MOOT_LOG_LEVEL:-info}" &
  agent=$!
  wait "$agent" || echo "The agent ended with $?; it is started again in a second" >&2
  agent=
  sleep 1 &
  wait $!
done
echo "The node's engine ended:" >&2
tail -n 20 /var/log/dockerd.log >&2
exit 1
