#!/usr/bin/env bash
# The demo: Elixir traces a real compilation and writes its events, C reads them, and the counts must agree. Then
# Elixir writes to files and is killed, and C finds everything that had been acknowledged.
#
# Usage: scripts/demo.sh EVENTS.jsonl
set -euo pipefail
cd "$(dirname "$0")/.."
events=$1
report=${events%.jsonl}.c.txt
mkdir -p "$(dirname "$events")"
SECONDS=0
echo "demo 1/3: Elixir (builds the NIF first where it is missing or old)"
scripts/demo_elixir.sh "$events"
echo
echo "demo 2/3: C, on the file that Elixir wrote"
scripts/demo_c.sh "$events" '"correlation_id":"([^"]+)"' | tee "$report" | grep -v '^#' | cut -c -160
written=$(wc -l <"$events")
read=$(sed -n 's/^log_lines_total{[^}]*} //p' "$report")
if [ "$written" != "$read" ]; then
    echo "demo: Elixir wrote $written events, C stored $read" >&2
    exit 1
fi
echo
echo "demo 3/3: Elixir writes to files and is killed in mid-write, C opens what it left"
scripts/demo_kill.sh "$(dirname "$events")/killed"
echo
echo "demo: $written events traced and written by Elixir, $read stored and queried by C, in $SECONDS s; nothing acknowledged was lost"
