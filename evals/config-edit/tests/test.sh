#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
same() { confined cat "$1" | diff - "$2"; } # a link of the agent's to the tests leads nowhere
same gateway.conf /tests/gateway.conf || fail "gateway.conf is not as asked for"
reward 1
