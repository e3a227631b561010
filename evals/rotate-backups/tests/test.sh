#!/bin/bash
# Writes the reward: 1 for a right result, 0 for any other. What the agent has written runs
# with $SAMPAN_CONFINE before it, where that is set: apart from these tests and the reward.
set -u
cd /app || exit 1
reward() { echo "$1" > /logs/verifier/reward.txt; exit 0; }
fail() { echo "FAIL: $*"; reward 0; }
confined() { timeout 120 ${SAMPAN_CONFINE:-} "$@"; }
check() { # DIR: compares what is left with the rest of the arguments
  dir=$1; shift
  printf '%s\0' "$@" | LC_ALL=C sort -z > /tmp/want
  (cd "$dir" && find . -mindepth 1 -printf '%P\0' | LC_ALL=C sort -z) > /tmp/got
  cmp -s /tmp/want /tmp/got || fail "left in '$dir': $(tr '\0' '|' < /tmp/got)"
}
w=/app/.verifier; rm -rf "$w"; mkdir -p "$w/plain" "$w/a b/sub" "$w/few" "$w/word" || fail setup
touch "$w"/plain/{1,2,3,4} "$w/a b/"{'b 1',$'b\n2','-rf',.hidden} "$w/a b/sub/x" "$w"/few/{1,2} "$w"/word/{1,2}
confined bash rotate.sh "$w/plain" 2; check "$w/plain" 3 4
confined bash rotate.sh "$w/a b" 1; check "$w/a b" 'b 1' .hidden sub sub/x
confined bash rotate.sh "$w/few" 5; check "$w/few" 1 2
confined bash rotate.sh "$w/word" x; check "$w/word" 1 2
reward 1
