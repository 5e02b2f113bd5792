defmodule ElixirScope.Foundation.ErrorContext do
  @moduledoc """
  What is being done, by whom, on behalf of which chain of work: kept while a function runs, and attached to
  the error that comes out of it.

      iex> alias ElixirScope.Foundation.{Error, ErrorContext}
      iex> context = ErrorContext.new(MyApp, :import, metadata: %{file: "a.csv"})
      iex> {:error, error} = ErrorContext.with_context(context, fn -> Error.error_result(:io_error) end)
      iex> error.context.operation_context.metadata
      %{file: "a.csv"}
      iex> ErrorContext.with_context(context, fn -> {:error, :raw} end)
      {:error, :raw}

  All durations and times are nanoseconds of the monotonic clock.
  """

  alias ElixirScope.Foundation.{Error, Telemetry, Utils}

  @type breadcrumb :: %{module: module(), function: atom(), timestamp: integer(), metadata: map()}

  @type t :: %__MODULE__{
          operation_id: pos_integer(),
          module: module(),
          function: atom(),
          correlation_id: String.t(),
          start_time: integer(),
          metadata: map(),
          breadcrumbs: [breadcrumb()],
          parent_context: t() | nil
        }

  @typedoc "Options of `new/3`."
  @type option :: {:correlation_id, String.t()} | {:metadata, map()} | {:parent_context, t() | nil}

  @enforce_keys [:operation_id, :module, :function, :correlation_id, :start_time]
  defstruct [
    :operation_id,
    :module,
    :function,
    :correlation_id,
    :start_time,
    metadata: %{},
    breadcrumbs: [],
    parent_context: nil
  ]

  @key :error_context

  @doc "A context for this function; it begins with one breadcrumb."
  @spec new(module(), atom(), [option()]) :: t()
  def new(module, function, opts \\ []) when is_atom(module) and is_atom(function) do
    %__MODULE__{
      operation_id: Utils.generate_id(),
      module: module,
      function: function,
      correlation_id: Keyword.get(opts, :correlation_id) || Utils.generate_correlation_id(),
      start_time: now(),
      metadata: Keyword.get(opts, :metadata, %{}),
      breadcrumbs: [breadcrumb(module, function, %{})],
      parent_context: Keyword.get(opts, :parent_context)
    }
  end

  @doc "A context for a step of `parent`: its correlation id, its metadata with more, its breadcrumbs and one."
  @spec child_context(t(), module(), atom(), map()) :: t()
  def child_context(%__MODULE__{} = parent, module, function, metadata \\ %{}) do
    %__MODULE__{
      operation_id: Utils.generate_id(),
      module: module,
      function: function,
      correlation_id: parent.correlation_id,
      start_time: now(),
      metadata: Map.merge(parent.metadata, metadata),
      breadcrumbs: parent.breadcrumbs ++ [breadcrumb(module, function, metadata)],
      parent_context: parent
    }
  end

  @doc "Marks a place that the work has passed."
  @spec add_breadcrumb(t(), module(), atom(), map()) :: t()
  def add_breadcrumb(%__MODULE__{} = context, module, function, metadata \\ %{}) do
    %{context | breadcrumbs: context.breadcrumbs ++ [breadcrumb(module, function, metadata)]}
  end

  @doc "Merges metadata into the context; later values win."
  @spec add_metadata(t(), map()) :: t()
  def add_metadata(%__MODULE__{} = context, metadata) when is_map(metadata) do
    %{context | metadata: Map.merge(context.metadata, metadata)}
  end

  @doc """
  Runs `fun` with this context in force.

  A returned `{:error, %Error{}}` is enriched; any other result, a raw `{:error, reason}` too, comes back
  unchanged. An exception becomes `internal_error`; a throw or an exit passes through. The context that was
  in force before is in force again afterwards, whichever way `fun` ends. The duration goes to the gauge
  `[:foundation, :operations, :duration]`.
  """
  @spec with_context(t(), (() -> result)) :: result | {:error, Error.t()} when result: term()
  def with_context(%__MODULE__{} = context, fun) when is_function(fun, 0) do
    outer = Process.put(@key, context)

    try do
      result = fun.()
      Telemetry.emit_gauge([:foundation, :operations, :duration], elapsed(context), describe(context))
      enrich_result(result, context)
    rescue
      exception -> {:error, exception_error(exception, __STACKTRACE__, context)}
    after
      if outer, do: Process.put(@key, outer), else: Process.delete(@key)
    end
  end

  @doc """
  Attaches the context to an error or to an error result.

  An `%Error{}` gains `operation_context` and, where it has none, the correlation id; `{:error, other}`
  becomes `external_error` with `original_reason`; everything else passes.
  """
  @spec enhance_error(term(), t()) :: term()
  def enhance_error(%Error{} = error, %__MODULE__{} = context), do: enrich(error, context)
  def enhance_error({:error, %Error{} = error}, %__MODULE__{} = context), do: {:error, enrich(error, context)}

  def enhance_error({:error, reason}, %__MODULE__{} = context) do
    details = %{original_reason: reason, operation_context: operation_context(context)}
    external_error(details, context.correlation_id)
  end

  def enhance_error(other, %__MODULE__{}), do: other

  @doc """
  Adds a context (or a plain map) and more details to an error result; success passes unchanged.
  """
  @spec add_context(result, t() | map(), map()) :: result | {:error, Error.t()} when result: term()
  def add_context(result, context, details \\ %{})

  def add_context({:error, %Error{} = error}, context, details) do
    added = context |> context_map() |> Map.merge(details)
    {:error, %{error | context: Map.merge(error.context || %{}, added)}}
  end

  def add_context({:error, reason}, context, details) do
    added = context |> context_map() |> Map.merge(details) |> Map.put(:original_reason, reason)
    external_error(added, correlation_id(context))
  end

  def add_context(result, _context, _details), do: result

  @doc "The context in force in this process, or nil. It is not inherited by processes that this one starts."
  @spec get_current_context() :: t() | nil
  def get_current_context, do: Process.get(@key)

  @doc "The breadcrumbs on one line, oldest first, with how long ago each was passed."
  @spec format_breadcrumbs(t()) :: String.t()
  def format_breadcrumbs(%__MODULE__{breadcrumbs: breadcrumbs}) do
    now = now()

    Enum.map_join(breadcrumbs, " -> ", fn crumb ->
      ago = Utils.format_duration(max(now - crumb.timestamp, 0))
      "#{crumb.module}.#{crumb.function} (#{ago} ago)"
    end)
  end

  @doc "Nanoseconds since the context was made."
  @spec get_operation_duration(t()) :: non_neg_integer()
  def get_operation_duration(%__MODULE__{} = context), do: elapsed(context)

  defp enrich_result({:error, %Error{} = error}, context), do: {:error, enrich(error, context)}
  defp enrich_result(result, _context), do: result

  # The innermost context knows most; an outer one does not replace what it wrote.
  defp enrich(%Error{} = error, context) do
    details = Map.put_new_lazy(error.context || %{}, :operation_context, fn -> operation_context(context) end)
    %{error | context: details, correlation_id: error.correlation_id || context.correlation_id}
  end

  defp exception_error(exception, stacktrace, context) do
    details = %{
      exception_type: exception.__struct__,
      exception_message: Exception.message(exception),
      operation_context: operation_context(context)
    }

    error =
      Error.new(:internal_error, "Exception in operation: #{Exception.message(exception)}",
        context: details,
        correlation_id: context.correlation_id,
        stacktrace: stacktrace
      )

    Error.collect_error_metrics(error)
    error
  end

  defp operation_context(context) do
    %{
      operation_id: context.operation_id,
      correlation_id: context.correlation_id,
      breadcrumbs: context.breadcrumbs,
      duration_ns: elapsed(context),
      metadata: context.metadata
    }
  end

  defp context_map(%__MODULE__{} = context), do: %{operation_context: operation_context(context)}
  defp context_map(context) when is_map(context), do: context

  defp correlation_id(%__MODULE__{correlation_id: id}), do: id
  defp correlation_id(_map), do: nil

  defp external_error(details, correlation_id) do
    Error.error_result(:external_error, "External operation failed",
      context: details,
      correlation_id: correlation_id
    )
  end

  defp describe(context) do
    %{module: context.module, function: context.function, correlation_id: context.correlation_id}
  end

  defp breadcrumb(module, function, metadata) do
    %{module: module, function: function, timestamp: now(), metadata: metadata}
  end

  defp elapsed(context), do: now() - context.start_time

  defp now, do: System.monotonic_time(:nanosecond)
end
