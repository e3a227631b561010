#!/bin/bash
set -euo pipefail
cd /app
{ echo "busiest=$(awk '{print $1}' access.log | sort | uniq -c | sort -rn | awk 'NR==1{print $2}')"
  awk '$4>=400{e++} $4==200{b+=$5} END{print "errors=" e "\nbytes=" b}' access.log; } > answer.txt
