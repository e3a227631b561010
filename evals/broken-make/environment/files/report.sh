#!/bin/sh
# Prints how many words of a file are in words.txt.
tr -s ' \t' '\n\n' < "$1" | grep -c -x -F -f "$(dirname "$0")/../words.txt" || true
