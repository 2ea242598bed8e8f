#!/usr/bin/env bash
# Checks the embedded broker of BIN/buffetctl with the Pub/Sub clients of Python
# (from the interpreter in PYTHON) and Node:
#
#   interop/clients/run.sh BIN
set -euo pipefail
bin=$(cd "$1" && pwd)
cd "$(dirname "$0")"

failed=0
"$PYTHON" -B clients.py --bin "$bin" || failed=1

major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
if ((major < 18)) || ! command -v npm >/dev/null; then
  echo "node: skipped, Node 18 or later with npm is not installed (Debian: apt-get install nodejs npm)"
  exit $failed
fi

# The stamp is written last: an installation that was cut off is made again.
if ! cmp -s package-lock.json node_modules/installed.json; then
  echo "installing Node's client into interop/clients/node_modules"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  cp package-lock.json node_modules/installed.json
fi
node clients.mjs "$bin" || failed=1
exit $failed
