#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
export GOTOOLCHAIN=local GOFLAGS="-mod=mod -ldflags=-w" GOPROXY=off GOSUMDB=off GOWORK=off CGO_ENABLED=0 GOCACHE="${GOCACHE:-/app/.verifier/cache}"
rm -rf /app/.verifier && mkdir -p /app/.verifier/cache || fail "no folder for the build"
confined go build -o .verifier/bin . || fail "it does not build"
for name in one two three; do
  confined .verifier/bin < /tests/$name > /tmp/got || fail "it fails"
  [ "$(cat /tmp/got)" = "$(wc -lwc < /tests/$name | xargs)" ] || fail "wrong for $name: $(cat /tmp/got)"
done
reward 1
