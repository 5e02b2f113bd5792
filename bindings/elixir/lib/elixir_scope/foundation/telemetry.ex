defmodule ElixirScope.Foundation.Telemetry do
  @moduledoc """
  Telemetry: counters, gauges and measurements by name, and instruments with labels through handles.

      iex> alias ElixirScope.Foundation.Telemetry
      iex> Telemetry.emit_counter([:doc, :hits], %{path: "/"})
      :ok
      iex> {:ok, metrics} = Telemetry.get_metrics()
      iex> metrics.doc.hits.measurements.counter
      1
      iex> {:ok, hits} = Telemetry.counter("doc.requests", %{method: "GET"})
      iex> Telemetry.add(hits, 2)
      :ok
      iex> {:ok, text} = Telemetry.prometheus()
      iex> text =~ ~s(doc_requests_total{method="GET"} 2)
      true

  Recording runs on the calling process and touches no other. A metric by name keeps, for each measurement, the
  sum (`:counter`), the last value (`:gauge`) or the mean (other numbers); the same numbers are in Prometheus'
  text, other measurements as histograms. Where the host has the `:telemetry` application, what is recorded here
  is emitted into it too, and `attach_telemetry/2` records what others emit.
  """

  require Logger

  alias ElixirScope.Foundation
  alias ElixirScope.Foundation.{Error, Instance, Native}

  @type name :: [atom(), ...]
  @type result(value) :: {:ok, value} | {:error, Error.t()}
  @typedoc "An instrument's handle: a small integer that may be kept anywhere."
  @type instrument :: non_neg_integer()

  @config %{
    enable_vm_metrics: true,
    enable_process_metrics: true,
    metric_retention_ms: 300_000,
    cleanup_interval: 60_000
  }

  @doc "Starts the services if they are not running."
  @spec initialize() :: :ok | {:error, Error.t()}
  def initialize, do: Foundation.ensure_running([])

  @doc "How telemetry is doing."
  @spec status() :: result(map())
  def status, do: status_of(Instance.handle())

  @doc "Whether telemetry answers."
  @spec available?() :: boolean()
  def available?, do: Instance.open?()

  @doc """
  Records every measurement under this name. It is `:ok` also while there is no instance, and past the limit of
  names (which is counted): telemetry is no reason to fail.
  """
  @spec execute(name(), map(), map()) :: :ok | {:error, Error.t()}
  def execute(name, measurements, metadata \\ %{}) do
    execute_of(Instance.handle(), name, measurements, metadata)
  end

  @doc """
  Runs the function and records how long it took, in native units, as `:duration` under the name and `:stop`; when
  it raises, throws or exits, under the name and `:exception`, and passes that on.
  """
  @spec measure(name(), map(), (() -> result)) :: result when result: term()
  def measure(name, metadata, fun) when is_list(name) and is_map(metadata) and is_function(fun, 0) do
    started = System.monotonic_time()

    try do
      fun.()
    catch
      kind, reason ->
        failed = Map.merge(metadata, %{error: reason, kind: kind})
        execute(name ++ [:exception], %{duration: System.monotonic_time() - started}, failed)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      result ->
        execute(name ++ [:stop], %{duration: System.monotonic_time() - started}, metadata)
        result
    end
  end

  @doc "Counts one."
  @spec emit_counter(name(), map()) :: :ok | {:error, Error.t()}
  def emit_counter(name, metadata \\ %{}), do: count_of(Instance.handle(), name, 1, metadata)

  @doc "Sets a gauge."
  @spec emit_gauge(name(), number(), map()) :: :ok | {:error, Error.t()}
  def emit_gauge(name, value, metadata \\ %{}), do: gauge_of(Instance.handle(), name, value, metadata)

  @doc "Measures a function of a module under `[:elixir_scope, :function, :execution]`."
  @spec time_function(module(), atom(), (() -> result)) :: result when result: term()
  def time_function(module, function, fun) do
    measure([:elixir_scope, :function, :execution], %{module: module, function: function}, fun)
  end

  @doc "A gauge under `[:elixir_scope, :performance, name]`."
  @spec emit_performance(atom(), number(), map()) :: :ok | {:error, Error.t()}
  def emit_performance(name, value, metadata \\ %{}) do
    emit_gauge([:elixir_scope, :performance, name], value, metadata)
  end

  @doc "A count under `[:elixir_scope, :system, type]`."
  @spec emit_system_event(atom(), map()) :: :ok | {:error, Error.t()}
  def emit_system_event(type, metadata \\ %{}), do: emit_counter([:elixir_scope, :system, type], metadata)

  @doc """
  All metrics, nested by the atoms of their names, and `:retrieved_at`. An entry has `:timestamp` (of the last
  emission, on the instance's clock), `:measurements`, `:metadata` (of the first) and `:count`.
  `foundation.events_stored`, `.config_updates`, `.config_resets` and `.config_operations` are plain numbers.
  """
  @spec get_metrics() :: result(map())
  def get_metrics, do: metrics_of(Instance.handle(), [])

  @doc "The metrics whose name begins with this, nested as in `get_metrics/0`."
  @spec get_metrics_for([atom()]) :: result(map())
  def get_metrics_for(prefix) when is_list(prefix), do: metrics_of(Instance.handle(), prefix)

  def get_metrics_for(prefix) do
    Error.error_result(:invalid_input, "A prefix is a list of atoms, not #{inspect(prefix, limit: 5)}")
  end

  @doc "Writes every emission of these names to the log, at level debug, until detached."
  @spec attach_handlers([name()]) :: :ok | {:error, Error.t()}
  def attach_handlers(names), do: attach_of(Instance.handle(), names, true)

  @doc "Ends what `attach_handlers/1` began."
  @spec detach_handlers([name()]) :: :ok
  def detach_handlers(names) do
    attach_of(Instance.handle(), names, false)
    :ok
  end

  @doc "The handle of a counter; the same name and labels give the same series."
  @spec counter(String.t(), map()) :: result(instrument())
  def counter(name, labels \\ %{}), do: Native.counter_new(Instance.handle(), name, labels)

  @doc "The handle of a gauge."
  @spec gauge(String.t(), map()) :: result(instrument())
  def gauge(name, labels \\ %{}), do: Native.gauge_new(Instance.handle(), name, labels)

  @doc "The handle of a histogram of numbers that are not negative."
  @spec histogram(String.t(), map()) :: result(instrument())
  def histogram(name, labels \\ %{}), do: Native.histogram_new(Instance.handle(), name, labels)

  @doc "Adds to a counter."
  @spec add(instrument(), non_neg_integer()) :: :ok | {:error, Error.t()}
  def add(counter, n \\ 1), do: Native.counter_add(counter, n)

  @doc "Sets a gauge."
  @spec set(instrument(), number()) :: :ok | {:error, Error.t()}
  def set(gauge, value), do: Native.gauge_set(gauge, value)

  @doc "Adds to a gauge."
  @spec adjust(instrument(), number()) :: :ok | {:error, Error.t()}
  def adjust(gauge, delta), do: Native.gauge_add(gauge, delta)

  @doc "Records into a histogram."
  @spec record(instrument(), number()) :: :ok | {:error, Error.t()}
  def record(histogram, value), do: Native.histogram_record(histogram, value)

  @doc "Says what a metric measures; it stands in Prometheus' text."
  @spec describe(String.t(), String.t()) :: :ok | {:error, Error.t()}
  def describe(name, help), do: Native.describe(Instance.handle(), name, help)

  @doc "All metrics in Prometheus' text format."
  @spec prometheus() :: result(String.t())
  def prometheus, do: Native.prometheus(Instance.handle())

  @doc "All instruments by name, with their series; histograms with count, mean, extremes and percentiles."
  @spec instruments() :: result(map())
  def instruments, do: Native.instruments(Instance.handle())

  @doc "Records what others emit under these names through `:telemetry`, where the host has that application."
  @spec attach_telemetry(term(), [name()]) :: :ok | {:error, Error.t()}
  def attach_telemetry(handler_id, names) do
    case bridge() do
      nil ->
        Error.error_result(:dependency_failed, "The host has no :telemetry application, or the bridge is off")

      telemetry ->
        case telemetry.attach_many(handler_id, names, &__MODULE__.handle_telemetry/4, nil) do
          :ok -> :ok
          {:error, reason} -> Error.error_result(:invalid_input, "Not attached: #{inspect(reason)}")
        end
    end
  end

  @doc false
  # Goes to the instance directly: back into `:telemetry` it would go round for ever.
  def handle_telemetry(name, measurements, metadata, _config) do
    Native.metric_execute(Instance.handle(), name, measurements, metadata)
    :ok
  end

  @doc false
  # An atom under an atom: looked up by every emission, changed never while the application runs.
  def prepare_bridge do
    wanted = Application.get_env(:elixir_scope, :telemetry_bridge, true)
    module = if wanted and Code.ensure_loaded?(:telemetry), do: :telemetry
    :persistent_term.put(__MODULE__, module)
  end

  @doc false
  # A handler of the host's that fails is detached by `:telemetry` itself; the call goes on.
  def forward_registry(what, measurements, metadata) do
    forward([:elixir_scope, :foundation, :registry, what], measurements, metadata)
  end

  @doc false
  def count_of(handle, name, value, metadata) do
    handle |> Native.metric_count(name, value, metadata) |> emitted(name, %{counter: value}, metadata)
  end

  @doc false
  def gauge_of(handle, name, value, metadata) do
    handle |> Native.metric_gauge(name, value, metadata) |> emitted(name, %{gauge: value}, metadata)
  end

  @doc false
  def execute_of(handle, name, measurements, metadata) do
    handle |> Native.metric_execute(name, measurements, metadata) |> emitted(name, measurements, metadata)
  end

  @doc false
  def attach_of(handle, names, attached) when is_list(names) do
    Enum.reduce_while(names, :ok, fn name, :ok ->
      case Native.metric_attach(handle, name, attached) do
        :ok -> {:cont, :ok}
        failure -> {:halt, failure}
      end
    end)
  end

  def attach_of(_handle, names, _attached) do
    Error.error_result(:invalid_input, "Handlers attach to a list of names, not #{inspect(names, limit: 5)}")
  end

  @doc false
  def status_of(handle) do
    with {:ok, %{metrics: metrics, attached: attached}} <- Native.metrics_count(handle) do
      {:ok, %{status: :running, metrics_count: metrics, handlers_count: attached, config: config()}}
    end
  end

  @doc false
  def config, do: Map.merge(@config, Map.new(Application.get_env(:elixir_scope, :telemetry_service, [])))

  @doc false
  def metrics_of(handle, prefix) do
    with {:ok, rows} <- Native.metrics(handle),
         {:ok, status} <- Native.instance_status(handle) do
      metrics =
        rows
        |> Enum.filter(fn row -> List.starts_with?(elem(row, 0), prefix) end)
        |> Enum.reduce(%{}, &put_row/2)
        |> put_own(status, prefix)

      {:ok, Map.put(metrics, :retrieved_at, Native.timestamp(handle))}
    end
  end

  defp emitted(:ok, name, measurements, metadata), do: forward(name, measurements, metadata)

  defp emitted(:attached, name, measurements, metadata) do
    Logger.debug(fn -> "#{inspect(name)} #{inspect(measurements)} #{inspect(metadata, limit: 10)}" end)
    forward(name, measurements, metadata)
  end

  defp emitted({:error, %Error{error_type: type}}, _name, _measurements, _metadata)
       when type in [:service_unavailable, :too_many_series] do
    :ok
  end

  defp emitted(failure, _name, _measurements, _metadata), do: failure

  defp forward(name, measurements, metadata) do
    case bridge() do
      nil -> :ok
      telemetry -> telemetry.execute(name, measurements, metadata)
    end
  end

  defp bridge, do: :persistent_term.get(__MODULE__, nil)

  defp put_row({name, count, last, metadata, measurements}, metrics) do
    entry = %{
      timestamp: last,
      measurements: Map.new(measurements, &measurement/1),
      metadata: :erlang.binary_to_term(metadata),
      count: count
    }

    put_entry(metrics, name, entry)
  end

  # A name may be the beginning of another: its entry and the others' lie in one map.
  defp put_entry(metrics, [last], entry), do: Map.update(metrics, last, entry, &Map.merge(&1, entry))

  defp put_entry(metrics, [key | rest], entry) do
    inner = Map.get(metrics, key, %{})
    Map.put(metrics, key, put_entry(inner, rest, entry))
  end

  defp measurement({key, value}), do: {key, value}
  defp measurement({key, :term, bytes}), do: {key, :erlang.binary_to_term(bytes)}

  # Four names are plain numbers, as far as nothing lies below them.
  defp put_own(metrics, status, prefix) do
    own = %{
      events_stored: status.events.stored,
      config_updates: status.config.updates_count,
      config_resets: status.config.resets_count
    }

    if List.starts_with?([:foundation], Enum.take(prefix, 1)) do
      Enum.reduce(own, metrics, fn {key, number}, metrics -> put_number(metrics, key, number, prefix) end)
      |> flatten_operations()
    else
      metrics
    end
  end

  defp put_number(metrics, key, number, prefix) do
    foundation = Map.get(metrics, :foundation, %{})
    below = foundation |> Map.get(key, %{}) |> Map.drop([:timestamp, :measurements, :metadata, :count])

    cond do
      not List.starts_with?([:foundation, key], prefix) -> metrics
      below != %{} -> metrics
      true -> Map.put(metrics, :foundation, Map.put(foundation, key, number))
    end
  end

  defp flatten_operations(%{foundation: %{config_operations: %{count: count} = entry} = foundation} = metrics)
       when map_size(entry) == 4 do
    %{metrics | foundation: %{foundation | config_operations: count}}
  end

  defp flatten_operations(metrics), do: metrics
end
