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
confined cat main.go > /tmp/main.go || fail "there is no main.go"
[ "$(grep -c -E '^(func|type) ' /tmp/main.go)" = 1 ] && grep -q '^func main()' /tmp/main.go || fail "main.go declares more than main"
confined go vet ./... || fail "go vet is not clean"
confined go build -o .verifier/shop . || fail "it does not build"
confined go build -o .verifier/bin ./.verifier/driver || fail "the packages are not as asked for"
confined .verifier/shop < /tests/in > /tmp/got || fail "the program fails"
diff /tmp/got /tests/out || fail "the program prints something else"
confined .verifier/bin < /tests/in > /tmp/got || fail "the packages fail"
diff /tmp/got /tests/out || fail "the packages do something else"
reward 1
