#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
for f in main.py shop/orders.py shop/prices.py shop/report.py; do
  cmp -s "$f" "/tests/files/$f" || fail "$f was changed"
done
diff <(cat unused.txt) /tests/unused.txt || fail "the answer is wrong"
reward 1
