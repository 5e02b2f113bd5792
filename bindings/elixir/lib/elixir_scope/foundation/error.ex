defmodule ElixirScope.Foundation.Error do
  @moduledoc """
  The one error struct: what every failing call of this library returns in `{:error, error}`.

  An error says what was wrong, with which value, and what to do. Its `code` and `error_type` come from the
  table that all languages share (`ElixirScope.Foundation.Error.Table`, `docs/errors.md`).

      iex> alias ElixirScope.Foundation.Error
      iex> error = Error.new(:timeout, "No answer in 500 ms")
      iex> {error.code, error.category, error.severity, error.retry_strategy}
      {4301, :external, :medium, :exponential_backoff}
      iex> to_string(error)
      "[4301:timeout] No answer in 500 ms | Severity: medium"
  """

  alias ElixirScope.Foundation.Error.Table

  @type severity :: :low | :medium | :high | :critical
  @type category :: :config | :system | :data | :external | :unknown
  @type retry_strategy :: :no_retry | :immediate | :fixed_delay | :exponential_backoff

  @type t :: %__MODULE__{
          code: pos_integer(),
          error_type: atom(),
          message: String.t(),
          severity: severity(),
          context: map(),
          correlation_id: String.t() | nil,
          timestamp: DateTime.t() | nil,
          stacktrace: list() | nil,
          category: category(),
          subcategory: atom(),
          retry_strategy: retry_strategy(),
          recovery_actions: [String.t()]
        }

  @typedoc "What a caller may add when making an error."
  @type option ::
          {:context, map()} | {:correlation_id, String.t() | nil} | {:stacktrace, list() | nil}

  @enforce_keys [:code, :error_type, :message, :severity]
  defstruct [
    :code,
    :error_type,
    :message,
    :severity,
    :correlation_id,
    :timestamp,
    :stacktrace,
    :category,
    :subcategory,
    :retry_strategy,
    context: %{},
    recovery_actions: []
  ]

  @stacktrace_depth 10
  @longest_delay_ms 30_000

  for row <- Table.rows() do
    defp row(unquote(row.error_type)), do: unquote(Macro.escape(row))
  end

  # A type that the table does not have is somebody else's error: it keeps its name and gets their code.
  defp row(_type), do: row(:external_error)

  @doc """
  An error of this type; the message defaults to the table's.

  Options: `:context` (a map), `:correlation_id`, `:stacktrace` (as `__STACKTRACE__` gives it).

      iex> ElixirScope.Foundation.Error.new(:range_error, nil, context: %{value: 2}).context
      %{value: 2}
      iex> ElixirScope.Foundation.Error.new(:from_elsewhere).code
      9999
  """
  @spec new(atom(), String.t() | nil, [option()]) :: t()
  def new(type, message \\ nil, opts \\ []) when is_atom(type) do
    row = row(type)
    context = Keyword.get(opts, :context) || %{}

    %__MODULE__{
      code: row.code,
      error_type: type,
      message: message || row.message,
      severity: row.severity,
      context: context,
      correlation_id: Keyword.get(opts, :correlation_id),
      timestamp: DateTime.utc_now(),
      stacktrace: format_stacktrace(Keyword.get(opts, :stacktrace)),
      category: row.category,
      subcategory: row.subcategory,
      retry_strategy: row.retry_strategy,
      recovery_actions: recovery_actions(row, context)
    }
  end

  @doc "`{:error, error}` with a new error of this type."
  @spec error_result(atom(), String.t() | nil, [option()]) :: {:error, t()}
  def error_result(type, message \\ nil, opts \\ []), do: {:error, new(type, message, opts)}

  @doc """
  Says what was being done when an inner call failed.

  An `%Error{}` keeps its type and gains `wrapped_by`, `wrapper_message` and `wrapper_context`; a raw reason
  becomes a new error of the given type with `original_reason` in its context; everything else passes.

      iex> alias ElixirScope.Foundation.Error
      iex> {:error, error} = Error.wrap_error({:error, :enoent}, :io_error, "Reading the preset")
      iex> {error.error_type, error.context.original_reason}
      {:io_error, :enoent}
      iex> Error.wrap_error({:ok, 1}, :io_error)
      {:ok, 1}
  """
  @spec wrap_error(result, atom(), String.t() | nil, [option()]) :: result | {:error, t()} when result: term()
  def wrap_error(result, type, message \\ nil, opts \\ [])

  def wrap_error({:error, %__MODULE__{} = error}, type, message, opts) do
    wrapper = %{
      wrapped_by: type,
      wrapper_message: message,
      wrapper_context: Keyword.get(opts, :context) || %{}
    }

    {:error, %{error | context: Map.merge(error.context || %{}, wrapper)}}
  end

  def wrap_error({:error, reason}, type, message, opts) do
    context = Map.put(Keyword.get(opts, :context) || %{}, :original_reason, reason)
    error_result(type, message, Keyword.put(opts, :context, context))
  end

  def wrap_error(result, _type, _message, _opts), do: result

  @doc """
  The hierarchical code: the category's letter and the last three digits.

      iex> ElixirScope.Foundation.Error.hierarchical_code(ElixirScope.Foundation.Error.new(:range_error))
      "C203"
  """
  @spec hierarchical_code(t()) :: String.t()
  def hierarchical_code(%__MODULE__{error_type: type}), do: row(type).hierarchical

  @doc "Whether trying the same call again may help."
  @spec retryable?(t()) :: boolean()
  def retryable?(%__MODULE__{retry_strategy: strategy}), do: strategy not in [:no_retry, nil]

  @doc "The seeds' name of `retryable?/1`."
  @spec is_retryable?(t()) :: boolean()
  def is_retryable?(%__MODULE__{} = error), do: retryable?(error)

  @doc """
  How long to wait before retry number `attempt` (the first is 0), in milliseconds.

      iex> error = ElixirScope.Foundation.Error.new(:network_error)
      iex> Enum.map(0..5, &ElixirScope.Foundation.Error.retry_delay(error, &1))
      [1000, 2000, 4000, 8000, 16000, 30000]
  """
  @spec retry_delay(t(), non_neg_integer()) :: non_neg_integer() | :infinity
  def retry_delay(%__MODULE__{retry_strategy: :exponential_backoff}, attempt) do
    min(1_000 * Integer.pow(2, min(attempt, 15)), @longest_delay_ms)
  end

  def retry_delay(%__MODULE__{retry_strategy: :fixed_delay}, _attempt), do: 1_000
  def retry_delay(%__MODULE__{retry_strategy: :immediate}, _attempt), do: 0
  def retry_delay(%__MODULE__{}, _attempt), do: :infinity

  @doc "Whether a person should hear of it."
  @spec should_escalate?(t()) :: boolean()
  def should_escalate?(%__MODULE__{severity: severity}), do: severity in [:high, :critical]

  @doc """
  One line for a person: code, type, message, context where there is any, severity.
  """
  @spec to_string(t()) :: String.t()
  def to_string(%__MODULE__{} = error) do
    "[#{error.code}:#{error.error_type}] #{error.message}" <>
      describe(error.context) <> " | Severity: #{error.severity}"
  end

  @doc "Counts the error in telemetry, under its category and subcategory."
  @spec collect_error_metrics(t()) :: :ok
  def collect_error_metrics(%__MODULE__{} = error) do
    name = [:foundation, :errors, error.category || :unknown, error.subcategory || :unknown]
    metadata = %{error_type: error.error_type, severity: error.severity, code: error.code}
    ElixirScope.Foundation.Telemetry.emit_counter(name, metadata)
  end

  @doc """
  A stack trace as data: at most ten entries, each a map of module, function, arity, file and line.
  """
  @spec format_stacktrace(list() | nil) :: list() | nil
  def format_stacktrace(nil), do: nil

  def format_stacktrace(stacktrace) when is_list(stacktrace) do
    stacktrace |> Enum.take(@stacktrace_depth) |> Enum.map(&format_entry/1)
  end

  def format_stacktrace(other), do: [inspect(other)]

  @doc false
  # Used by `Types.Error.new/1`: fills what the caller left out from the table.
  @spec complete(t()) :: t()
  def complete(%__MODULE__{} = error) do
    row = row(error.error_type)

    %{
      error
      | code: error.code || row.code,
        message: error.message || row.message,
        severity: error.severity || row.severity,
        category: error.category || row.category,
        subcategory: error.subcategory || row.subcategory,
        retry_strategy: error.retry_strategy || row.retry_strategy,
        context: error.context || %{},
        timestamp: error.timestamp || DateTime.utc_now()
    }
  end

  defp recovery_actions(row, %{operation: operation}) do
    row.recovery_actions ++ ["Review #{describe_operation(operation)} implementation"]
  end

  defp recovery_actions(row, _context), do: row.recovery_actions

  defp describe_operation(operation) when is_binary(operation) or is_atom(operation), do: "#{operation}"
  defp describe_operation(operation), do: inspect(operation)

  defp describe(context) when context in [nil, %{}], do: ""
  defp describe(context), do: " | Context: #{inspect(context, limit: 3)}"

  defp format_entry({module, function, arity, location}) when is_list(location) do
    file = Keyword.get(location, :file)

    %{
      module: module,
      function: function,
      arity: if(is_list(arity), do: length(arity), else: arity),
      file: file && List.to_string(file),
      line: Keyword.get(location, :line)
    }
  end

  defp format_entry(%{module: _, function: _} = formatted), do: formatted
  defp format_entry(other), do: inspect(other)
end

defimpl String.Chars, for: ElixirScope.Foundation.Error do
  def to_string(error), do: ElixirScope.Foundation.Error.to_string(error)
end
