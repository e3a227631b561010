#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
for input in /tests/in/*; do
  confined bash ./totals.sh < "$input" > /tmp/got || fail "totals.sh failed for $(basename "$input")"
  diff /tmp/got "/tests/out/$(basename "$input")" || fail "wrong totals for $(basename "$input")"
done
reward 1
