#!/usr/bin/env bash
# The binding as others take it: as a path dependency of another Mix project, and inside a release that runs
# without Elixir, Erlang or this checkout in its environment. No network and no Hex are needed.
set -euo pipefail
cd "$(dirname "$0")/.."
binding=$PWD/bindings/elixir
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MIX_ENV=prod MIX_HOME="$work/mix_home"
# One release build of the NIF for both.
export ESF_CARGO_TARGET_DIR="$binding/_build/cargo"

mkdir -p "$work/host/lib"
cat >"$work/host/mix.exs" <<MIX
defmodule Host.MixProject do
  use Mix.Project
  def project, do: [app: :host, version: "1.0.0", deps: [{:elixir_scope, path: "$binding"}]]
  def application, do: [extra_applications: [:logger]]
end
MIX
cat >"$work/host/lib/host.ex" <<'HOST'
defmodule Host do
  alias ElixirScope.Foundation.{Config, Events, Telemetry}

  def check do
    {:ok, 1.0} = Config.get([:ai, :planning, :sampling_rate])
    :ok = Config.update([:ai, :planning, :sampling_rate], 0.5)
    {:ok, event} = Events.new_event(:host_event, {self(), make_ref()}, correlation_id: "host")
    {:ok, id} = Events.store(event)
    {:ok, ^event} = Events.get(id)
    :ok = Telemetry.emit_counter([:host, :checks], %{})
    {:ok, %{status: :healthy}} = ElixirScope.Foundation.health()
    IO.puts("the host's check passed")
  end
end
HOST

cd "$work/host"
mix compile --warnings-as-errors </dev/null
mix run -e 'Host.check()' </dev/null | tee "$work/run"
grep -qx "the host's check passed" "$work/run"

mix release --quiet --path "$work/release" </dev/null
mkdir "$work/elsewhere"
cd "$work/elsewhere"
env -i PATH=/usr/bin:/bin HOME="$work" "$work/release/bin/host" eval \
    '{:ok, _} = Application.ensure_all_started(:host); Host.check()' | tee "$work/run"
grep -qx "the host's check passed" "$work/run"
echo "path dependency and release: passed"
