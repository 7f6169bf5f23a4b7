#!/bin/sh
# Caddy, and beside it what brings certificates from the issuer into /certificates, a volume of this node: with what is
# there an edge starts and serves while the issuer is away.
set -eu
config=/etc/edge/edge.Caddyfile
own=/run/edge
mkdir -p "$own/public"
touch "$own/installed"

be_ready() { touch "$own/public/ready"; }

# What begins with "# NAME" becomes NAME.pem, each at once: during an update two edges share the volume. Nothing is ever
# deleted: an issuer that has lost everything begins anew.
install() {
  work="/certificates/$HOSTNAME"
  mkdir -p "$work" &&
    awk -v work="$work" '/^# /{file = work "/" $2; next} file {print > file}' "$own/bundle" &&
    for new in "$work"/*; do
      [ ! -e "$new" ] || mv "$new" "/certificates/${new##*/}.pem"
    done &&
    cp "$own/bundle" "$work/bundle" && mv "$work/bundle" /certificates/bundle && rmdir "$work" &&
    caddy reload --config "$config" --adapter caddyfile --force &&
    mv "$own/bundle" "$own/installed"
}

# Each proves to the other that it has the image's key.
ask() {
  curl --silent --show-error --fail --max-time 5 --cacert /etc/edge/hop.crt --cert /etc/edge/hop.crt \
    --key /etc/edge/hop.key --output "$own/bundle" https://issuer/bundle.txt
}

follow() {
  while :; do
    if ! ask; then
      sleep 1
    elif cmp -s "$own/bundle" "$own/installed"; then
      be_ready
      sleep 10
    elif cmp -s "$own/bundle" "$own/seen"; then
      install || sleep 2
    else
      # Only what is the same a second later: the issuer may be between a certificate and its key.
      mv "$own/bundle" "$own/seen"
      sleep 1
    fi
  done
}

if [ -e /certificates/bundle ]; then
  cp /certificates/bundle "$own/installed"
  be_ready
fi
follow &
exec caddy run --config "$config" --adapter caddyfile
