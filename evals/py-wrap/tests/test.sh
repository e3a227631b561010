#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
for width in 10 20 1; do
  confined python3 wrap.py $width < /tests/in > /tmp/got || fail "it fails for $width"
  diff /tmp/got /tests/out.$width || fail "wrong for $width"
done
for bad in 0 -3 x; do
  confined python3 wrap.py $bad < /tests/in > /tmp/got; code=$?
  [ $code = 2 ] && [ ! -s /tmp/got ] || fail "wrong for the argument $bad"
done
reward 1
