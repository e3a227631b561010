#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
same() { confined cat "$1" | diff - "$2"; } # a link of the agent's to the tests leads nowhere
for f in main.py shop/orders.py shop/prices.py shop/report.py; do
  same "$f" "/tests/files/$f" || fail "$f was changed"
done
same unused.txt /tests/unused.txt || fail "the answer is wrong"
reward 1
