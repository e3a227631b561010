#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
rm -rf .verifier; mkdir .verifier && cp /tests/driver.py .verifier/ || fail "no driver"
confined python3 .verifier/driver.py < /tests/in > /tmp/got || fail "it fails"
diff /tmp/got /tests/out || fail "wrong unions"
reward 1
