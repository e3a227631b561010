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
mkdir -p .verifier/driver && cp /tests/testdata/driver.go .verifier/driver/main.go || fail "no driver"
confined go build -o .verifier/bin ./.verifier/driver || fail "it does not build"
confined .verifier/bin < /tests/in > /tmp/got || fail "it fails or hangs"
diff /tmp/got /tests/out || fail "wrong results"
reward 1
