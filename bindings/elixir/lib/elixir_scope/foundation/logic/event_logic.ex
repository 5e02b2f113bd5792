defmodule ElixirScope.Foundation.Logic.EventLogic do
  @moduledoc """
  What can be said about events without a store: make them, write them as bytes and back, sort and group them.
  """

  alias ElixirScope.Foundation.{Error, Utils}
  alias ElixirScope.Foundation.Types.Event
  alias ElixirScope.Foundation.Validation.EventValidator

  # A compressed term names its size; one that claims more than this is not expanded.
  @max_expanded_bytes 64 * 1024 * 1024
  @event_fields [:event_id, :timestamp, :wall_time, :node, :pid, :correlation_id, :parent_id]

  @doc """
  A validated event. Options give fields their values: `:event_id`, `:timestamp`, `:wall_time`, `:node`, `:pid`,
  `:correlation_id`, `:parent_id`; others are left out.
  """
  @spec create_event(term(), term(), keyword()) :: {:ok, Event.t()} | {:error, Error.t()}
  def create_event(type, data, opts \\ []) do
    event = %Event{
      event_type: type,
      event_id: option(opts, :event_id, &Utils.generate_id/0),
      timestamp: option(opts, :timestamp, &Utils.monotonic_timestamp/0),
      wall_time: option(opts, :wall_time, &DateTime.utc_now/0),
      node: option(opts, :node, &node/0),
      pid: option(opts, :pid, &self/0),
      correlation_id: Keyword.get(opts, :correlation_id),
      parent_id: Keyword.get(opts, :parent_id),
      data: data
    }

    with :ok <- EventValidator.validate(event), do: {:ok, event}
  end

  @doc "A `:function_entry` event; the arguments are truncated when they are large."
  @spec create_function_entry(module(), atom(), arity(), term(), keyword()) ::
          {:ok, Event.t()} | {:error, Error.t()}
  def create_function_entry(module, function, arity, args, opts \\ []) do
    data = %{
      call_id: Utils.generate_id(),
      module: module,
      function: function,
      arity: arity,
      args: Utils.truncate_if_large(args),
      caller_module: Keyword.get(opts, :caller_module),
      caller_function: Keyword.get(opts, :caller_function),
      caller_line: Keyword.get(opts, :caller_line)
    }

    create_event(:function_entry, data, Keyword.take(opts, @event_fields))
  end

  @doc "A `:function_exit` event; the result is truncated when it is large."
  @spec create_function_exit(module(), atom(), arity(), term(), term(), non_neg_integer(), atom(), keyword()) ::
          {:ok, Event.t()} | {:error, Error.t()}
  def create_function_exit(module, function, arity, call_id, result, duration_ns, exit_reason, opts \\ []) do
    data = %{
      call_id: call_id,
      module: module,
      function: function,
      arity: arity,
      result: Utils.truncate_if_large(result),
      duration_ns: duration_ns,
      exit_reason: exit_reason
    }

    create_event(:function_exit, data, Keyword.take(opts, @event_fields))
  end

  @doc "A `:state_change` event; the states are truncated when they are large."
  @spec create_state_change(pid(), atom(), term(), term(), keyword()) ::
          {:ok, Event.t()} | {:error, Error.t()}
  def create_state_change(server_pid, callback, old_state, new_state, opts \\ []) do
    data = %{
      server_pid: server_pid,
      callback: callback,
      old_state: Utils.truncate_if_large(old_state),
      new_state: Utils.truncate_if_large(new_state),
      state_diff: if(old_state == new_state, do: :no_change, else: :changed),
      trigger_message: Keyword.get(opts, :trigger_message),
      trigger_call_id: Keyword.get(opts, :trigger_call_id)
    }

    create_event(:state_change, data, Keyword.take(opts, @event_fields))
  end

  @doc "The event in the external term format, compressed unless `compression: false`."
  @spec serialize_event(term(), keyword()) :: {:ok, binary()} | {:error, Error.t()}
  def serialize_event(event, opts \\ [])

  def serialize_event(%Event{} = event, opts) do
    options = if Keyword.get(opts, :compression, true), do: [:compressed], else: []
    {:ok, :erlang.term_to_binary(event, options)}
  end

  def serialize_event(other, _opts) do
    Error.error_result(:serialization_failed, "An event is a Types.Event, not #{Utils.safe_inspect(other)}")
  end

  @doc "The event that these bytes hold, validated. Bytes that would make new atoms are refused."
  @spec deserialize_event(term()) :: {:ok, Event.t()} | {:error, Error.t()}
  def deserialize_event(<<131, 80, size::32, _::binary>> = bytes) when size > @max_expanded_bytes do
    undecodable(bytes, :too_large)
  end

  def deserialize_event(bytes) when is_binary(bytes) do
    with {:ok, event} <- decode(bytes),
         :ok <- EventValidator.validate(event) do
      {:ok, event}
    end
  end

  def deserialize_event(other) do
    Error.error_result(
      :deserialization_failed,
      "A serialised event is a binary, not #{Utils.safe_inspect(other)}"
    )
  end

  @doc "How many bytes `serialize_event/1` makes of it."
  @spec calculate_serialized_size(Event.t()) :: {:ok, non_neg_integer()} | {:error, Error.t()}
  def calculate_serialized_size(event) do
    with {:ok, bytes} <- serialize_event(event), do: {:ok, byte_size(bytes)}
  end

  @doc "The events of this correlation, by time."
  @spec extract_correlation_chain([Event.t()], String.t()) :: [Event.t()]
  def extract_correlation_chain(events, correlation_id) do
    events |> Enum.filter(&(&1.correlation_id == correlation_id)) |> Enum.sort_by(& &1.timestamp)
  end

  @doc "The events by correlation id, each group by time; events without one are left out."
  @spec group_by_correlation([Event.t()]) :: %{String.t() => [Event.t()]}
  def group_by_correlation(events) do
    events
    |> Enum.reject(&(&1.correlation_id == nil))
    |> Enum.sort_by(& &1.timestamp)
    |> Enum.group_by(& &1.correlation_id)
  end

  @doc "The events from `first` to `last`, both included."
  @spec filter_by_time_range([Event.t()], integer(), integer()) :: [Event.t()]
  def filter_by_time_range(events, first, last) do
    Enum.filter(events, fn event -> event.timestamp >= first and event.timestamp <= last end)
  end

  @doc "The event with its data passed through a function."
  @spec transform_event_data(Event.t(), (term() -> term())) :: Event.t()
  def transform_event_data(%Event{} = event, fun) when is_function(fun, 1) do
    %{event | data: fun.(event.data)}
  end

  defp option(opts, key, default) do
    case Keyword.fetch(opts, key) do
      {:ok, value} -> value
      :error -> default.()
    end
  end

  defp decode(bytes) do
    {:ok, :erlang.binary_to_term(bytes, [:safe])}
  rescue
    exception in ArgumentError -> undecodable(bytes, exception)
  end

  defp undecodable(bytes, reason) do
    Error.error_result(:deserialization_failed, "The bytes are not an event of this system",
      context: %{original_error: reason, binary_size: byte_size(bytes)}
    )
  end
end
