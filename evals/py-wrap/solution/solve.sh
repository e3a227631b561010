#!/bin/bash
set -euo pipefail
cd /app
cat > wrap.py <<'EOF'
import re
import sys


def wrap(words, width):
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        yield line


def main():
    try:
        width = int(sys.argv[1])
    except (IndexError, ValueError):
        width = 0
    if width <= 0:
        sys.exit(2)
    paragraphs = re.split(r"\n\s*\n", sys.stdin.read())
    print("\n\n".join("\n".join(wrap(p.split(), width)) for p in paragraphs if p.split()))


main()
EOF
