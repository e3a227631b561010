#!/bin/bash
set -euo pipefail
cd /app
cat > intervals.py <<'EOF'
def merge(intervals):
    """The union of intervals, as a sorted list of pairs."""
    out = []
    for start, end in sorted(intervals):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out
EOF
