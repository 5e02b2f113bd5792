defmodule ElixirScope.Foundation.Services.TelemetryService do
  @moduledoc """
  The process that stands for the telemetry of a namespace: it answers the seeds' messages, measures the VM, and
  forgets metrics by name that nobody recorded for `metric_retention_ms`. The numbers themselves are in the native
  core; recording does not pass through this process.

  Casts: `{:execute_event, name, measurements, metadata}`, `{:gauge, name, value, metadata}`,
  `{:detach_handlers, names}`. Calls: `:get_metrics`, `:get_status`, `:clear_metrics`, `{:attach_handlers, names}`,
  `:reset_state` (in test mode).

  Its settings are `config :elixir_scope, :telemetry_service`: `enable_vm_metrics`, `enable_process_metrics`,
  `metric_retention_ms`, `cleanup_interval` (ms).
  """

  use GenServer, shutdown: 5_000

  alias ElixirScope.Foundation.{Error, Instance, Native, ProcessRegistry, Telemetry, Utils}
  alias ElixirScope.Foundation.Services.TestMode

  defdelegate status, to: Telemetry
  defdelegate available?, to: Telemetry
  defdelegate execute(name, measurements, metadata), to: Telemetry
  defdelegate measure(name, metadata, fun), to: Telemetry
  defdelegate emit_gauge(name, value, metadata), to: Telemetry
  defdelegate get_metrics, to: Telemetry
  defdelegate attach_handlers(names), to: Telemetry
  defdelegate detach_handlers(names), to: Telemetry

  @doc "Starts the services if they are not running; the options are the running ones'."
  @spec initialize(keyword()) :: :ok | {:error, Error.t()}
  def initialize(_opts \\ []), do: Telemetry.initialize()

  @doc "Counts, one or more."
  @spec emit_counter(Telemetry.name(), map(), non_neg_integer()) :: :ok | {:error, Error.t()}
  def emit_counter(name, metadata, value \\ 1),
    do: Telemetry.count_of(Instance.handle(), name, value, metadata)

  @doc "Forgets what was recorded by name."
  @spec reset_metrics() :: :ok | {:error, Error.t()}
  def reset_metrics, do: Native.metrics_clear(Instance.handle())

  @doc "In test mode: telemetry without metrics by name."
  @spec reset_state() :: :ok | {:error, Error.t()}
  def reset_state, do: TestMode.guard(&reset_metrics/0)

  @doc "Starts the process of a namespace (`:namespace`, default `:production`) and its instance where there is none."
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(opts \\ []) do
    namespace = Keyword.get(opts, :namespace, :production)
    GenServer.start_link(__MODULE__, opts, name: ProcessRegistry.via_tuple(namespace, :telemetry_service))
  end

  @doc "Stops the process; a supervisor of it starts it again."
  @spec stop() :: :ok
  def stop, do: ProcessRegistry.stop(:production, :telemetry_service)

  @impl GenServer
  def init(opts) do
    Process.put(:started_at_ms, System.monotonic_time(:millisecond))
    {namespace, settings} = Keyword.pop(opts, :namespace, :production)

    {:ok, %{namespace: namespace, config: Map.merge(Telemetry.config(), Map.new(settings))},
     {:continue, :open}}
  end

  @impl GenServer
  def handle_continue(:open, state) do
    case Instance.ensure(state.namespace, []) do
      :ok -> {:noreply, tick(state)}
      {:error, reason} -> {:stop, reason, state}
    end
  end

  @impl GenServer
  def handle_call(message, _from, state), do: {:reply, answer(message, state), state}

  @impl GenServer
  def handle_cast({:execute_event, name, measurements, metadata}, state) do
    Telemetry.execute_of(Instance.handle(state.namespace), name, measurements, metadata)
    {:noreply, state}
  end

  def handle_cast({:gauge, name, value, metadata}, state) do
    Telemetry.gauge_of(Instance.handle(state.namespace), name, value, metadata)
    {:noreply, state}
  end

  def handle_cast({:detach_handlers, names}, state) do
    Telemetry.attach_of(Instance.handle(state.namespace), names, false)
    {:noreply, state}
  end

  def handle_cast(_message, state), do: {:noreply, state}

  @impl GenServer
  def handle_info(:tick, state), do: {:noreply, tick(state)}
  def handle_info(_message, state), do: {:noreply, state}

  defp answer(:get_metrics, state), do: Telemetry.metrics_of(Instance.handle(state.namespace), [])
  defp answer(:get_status, state), do: status_of(state)
  defp answer(:clear_metrics, state), do: Native.metrics_clear(Instance.handle(state.namespace))

  defp answer({:attach_handlers, names}, state) do
    Telemetry.attach_of(Instance.handle(state.namespace), names, true)
  end

  defp answer(:reset_state, state) do
    TestMode.guard(fn -> Native.metrics_clear(Instance.handle(state.namespace)) end)
  end

  defp answer(other, _state) do
    Error.error_result(:invalid_input, "The telemetry service knows no message #{Utils.safe_inspect(other)}")
  end

  defp status_of(state) do
    with {:ok, status} <- Telemetry.status_of(Instance.handle(state.namespace)) do
      {:ok, %{status | config: state.config}}
    end
  end

  defp tick(%{config: config} = state) do
    handle = Instance.handle(state.namespace)
    if config.enable_vm_metrics, do: measure_vm(handle)
    if config.enable_process_metrics, do: measure_processes(handle)

    with now when is_integer(now) <- Native.timestamp(handle) do
      Native.metrics_expire(handle, now - config.metric_retention_ms * 1_000_000)
    end

    Process.send_after(self(), :tick, config.cleanup_interval)
    state
  end

  defp measure_vm(handle) do
    Telemetry.gauge_of(handle, [:vm, :memory], :erlang.memory(:total), %{unit: :byte})
    queues = :erlang.statistics(:total_run_queue_lengths)
    Telemetry.gauge_of(handle, [:vm, :total_run_queue_lengths], queues, %{})
  end

  defp measure_processes(handle) do
    Telemetry.gauge_of(handle, [:vm, :system_counts], :erlang.system_info(:process_count), %{of: :processes})
  end
end
