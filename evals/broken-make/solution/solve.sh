#!/bin/bash
set -euo pipefail
cd /app
sed -i -e 's/words\.list/words.txt/g' -e 's/^    rm/\trm/' Makefile
sed -i -e 's/^\tsed/\tmkdir -p build\n\tsed/' Makefile
