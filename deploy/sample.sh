#!/bin/sh
# A service that registers itself: a file server under a name of its own, behind HOST.
# With PASSIVATED=1 it sleeps until the first visitor asks for it, as a supervisor of your own would have it.
set -eu

name=${NAME:?the name of the service} host=${HOST:?the host that leads to it}
mkdir -p "/tmp/$name"
cd "/tmp/$name"
echo "This is $name." >index.html

gogeta route set "$host" service "$name"
if [ "${PASSIVATED:-0}" = 1 ]; then
    gogeta service set "$name" 1 --location "$name:8080" --current passivated --expected passivated
    # The first request has gogeta say that the service is expected to be started.
    until gogeta wait "$host" starting --timeout 1h; do :; done
fi
exec gogeta register "$name" 1 --location "$name:8080" -- python3 -m http.server --protocol HTTP/1.1 8080
