#!/bin/bash
set -euo pipefail
cd /app
cat > totals.sh <<'EOF'
#!/bin/bash
awk -F, 'NR==1 && $0=="category,amount" {next} $0!="" {t[$1]+=$2} END {for (c in t) print c, t[c]}' | LC_ALL=C sort
EOF
chmod +x totals.sh
