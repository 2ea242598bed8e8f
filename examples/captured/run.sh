#!/usr/bin/env bash
# Captured files of real publishers, from file to table, with an account of every record:
#
#   make build
#   examples/captured/run.sh DATA [WORK]
#
# DATA is a folder as convert.py describes; WORK (default: a temporary folder, removed) gets the
# messages and the lake. Run it twice with the same WORK: nothing is added, since the name of
# each message is its event_id. BIN is where the programs are (bin); PORT that of the broker (8095).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=${BIN:-$here/../../bin}
data=${1:?usage: run.sh DATA [WORK]}
if [ $# -gt 1 ]; then
  mkdir -p "$2"
  work=$(cd "$2" && pwd)
else
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
fi
lake=file://$work/lake
export PUBSUB_EMULATOR_HOST=127.0.0.1:${PORT:-8095} GOOGLE_CLOUD_PROJECT=captured

rm -rf "$work/messages"
python3 -B "$here/convert.py" "$data" "$work/messages"

"$bin/ingestor" --embedded --embedded-addr "$PUBSUB_EMULATOR_HOST" --data-bucket "$lake" --flush-age 2s --idle-exit 10s --log-level warn &
ingestor=$!
trap 'kill $ingestor 2>/dev/null || true; [ $# -gt 1 ] || rm -rf "$work"' EXIT
for type in market_data options_data forecasts; do
  for file in "$work/messages/$type"/*.ndjson; do
    [ -e "$file" ] || continue
    "$bin/buffetctl" publish --create --whole --type "$type" --attr "content_type=application/x-ndjson,event_id=captured/$(basename "$file")" "$file" >/dev/null
  done
done
wait $ingestor

"$bin/compactor" --data-bucket "$lake" --once --log-level warn >"$work/compaction.txt" # a line for each day
python3 -B "$here/account.py" "$bin/buffetctl" "$lake" "$work/messages"
