defmodule ElixirScope.Foundation.Application do
  @moduledoc """
  The OTP application `:elixir_scope`: the registry of services, and `ElixirScope.Foundation.Supervisor`.

  Its environment is read when it starts: the configuration sections (`:ai`, `:capture`, `:storage`, `:interface`,
  `:dev`), `:event_store` and `:telemetry` (bounds), `:telemetry_bridge` (`false` keeps events away from a
  `:telemetry` application that the host has), `:test_mode`.
  """

  use Application

  alias ElixirScope.Foundation.{Native, ProcessRegistry, Telemetry}

  @impl Application
  def start(_type, _args) do
    with :ok <- Native.loaded() do
      Telemetry.prepare_bridge()

      children = [
        ProcessRegistry,
        {DynamicSupervisor, name: ElixirScope.Foundation.InstanceSupervisor, strategy: :one_for_one},
        ElixirScope.Foundation.FallbackCache,
        ElixirScope.Foundation.Supervisor
      ]

      Supervisor.start_link(children, strategy: :rest_for_one, name: ElixirScope.Supervisor)
    end
  end

  @impl Application
  def prep_stop(state) do
    # While the VM goes down, no thread of ours may send a message.
    Native.stop_notifying()
    state
  end
end
