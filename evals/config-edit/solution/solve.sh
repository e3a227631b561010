#!/bin/bash
set -euo pipefail
cd /app
sed -i -e 's/^listen = 0.0.0.0:80 /listen = 127.0.0.1:8080 /' -e 's/^workers = 2$/workers = 8/' -e 's/^timeout = 30$/timeout = 60/' gateway.conf
echo 'format = json' >> gateway.conf
