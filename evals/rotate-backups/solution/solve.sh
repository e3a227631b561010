#!/bin/bash
set -euo pipefail
cd /app
cat > rotate.sh <<'EOF'
#!/bin/bash
set -euo pipefail
dir=$1 keep=$2
[[ $keep =~ ^[0-9]+$ ]] || { echo "rotate.sh: $keep is not a number" >&2; exit 2; }
cd -- "$dir"
mapfile -d '' -t files < <(find . -mindepth 1 -maxdepth 1 -type f ! -name '.*' -print0 | LC_ALL=C sort -z)
remove=$(( ${#files[@]} - keep ))
for (( i = 0; i < remove; i++ )); do rm -- "${files[i]}"; done
EOF
