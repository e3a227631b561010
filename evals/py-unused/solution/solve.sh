#!/bin/bash
set -euo pipefail
cd /app
printf '%s\n' orders._debug orders.cheap prices.discount prices.legacy_round report.footer > unused.txt
