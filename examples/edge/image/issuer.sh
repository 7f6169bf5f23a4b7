#!/bin/sh
# Caddy, at first without the sites: it gives what it has, so that edges become ready. Their certificates are asked for
# when edges answer, as the CA's questions come through these: what fails is tried again only after a minute.
set -eu
config=/etc/edge/issuer.Caddyfile

begin() {
  until curl --silent --output /dev/null --max-time 2 http://edge/; do sleep 1; done
  # Every node is to know of them.
  sleep 2
  until caddy reload --config "$config" --adapter caddyfile; do sleep 1; done
}

begin &
exec env SITES= caddy run --config "$config" --adapter caddyfile
