#!/usr/bin/env bash
# Runs the traced compilation of examples/elixir on the binding and writes its events as JSON Lines.
#
# Usage: scripts/demo_elixir.sh OUTPUT.jsonl
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p "$(dirname "$1")"
output=$(realpath -m "$1")
cd bindings/elixir
MIX_ENV=prod exec mix run ../../examples/elixir/trace_compile.exs "$output"
