defmodule ElixirScope.Case do
  @moduledoc """
  A test that uses the production instance: it finds it running, without events, metrics, subscribers or updates.
  """

  use ExUnit.CaseTemplate

  alias ElixirScope.Foundation
  alias ElixirScope.Foundation.{Instance, ProcessRegistry}
  alias ElixirScope.Foundation.Services.{ConfigServer, EventStore, TelemetryService}

  using do
    quote do
      alias ElixirScope.Foundation
      alias ElixirScope.Foundation.{Config, Error, Events, Instance, Native, Telemetry}
      alias ElixirScope.Foundation.Types.Event

      import ElixirScope.Case
    end
  end

  setup do
    fresh()
  end

  @doc "The production instance, as new."
  def fresh do
    :ok = Foundation.initialize()
    :ok = ConfigServer.reset_state()
    :ok = EventStore.reset_state()
    :ok = TelemetryService.reset_state()
  end

  @doc "An event that can be stored."
  def event(type \\ :test, data \\ %{}, opts \\ []) do
    {:ok, event} = Foundation.Events.new_event(type, data, opts)
    event
  end

  @doc "A store of its own with these options: its handle."
  def own_store(options \\ []) do
    namespace = {:test, make_ref()}
    start_supervised!({EventStore, [namespace: namespace] ++ options}, id: namespace)
    # It has an instance as soon as it answers.
    {:ok, _status} = GenServer.call(ProcessRegistry.via_tuple(namespace, :event_store), :get_status)
    Instance.handle(namespace)
  end

  @doc "Asks until the answer is true; fails after 5 s."
  def eventually(fun, attempts \\ 500) do
    cond do
      fun.() ->
        true

      attempts == 0 ->
        raise "it never became true"

      true ->
        receive do
        after
          10 -> eventually(fun, attempts - 1)
        end
    end
  end
end
