"""Prints the union of each line, and whether the argument was left alone."""
import json
import sys

sys.path.insert(0, "/app")
from intervals import merge

for line in sys.stdin:
    given = [tuple(p) for p in json.loads(line)]
    before = list(given)
    print([tuple(p) for p in merge(given)], given == before)
