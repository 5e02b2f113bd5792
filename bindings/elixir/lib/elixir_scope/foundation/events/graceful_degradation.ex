defmodule ElixirScope.Foundation.Events.GracefulDegradation do
  @moduledoc """
  Events when something is in the way: an event is always made, always has bytes, and waits for the store while
  that is away.
  """

  alias ElixirScope.Foundation.{Error, Events, Utils}
  alias ElixirScope.Foundation.Logic.EventLogic
  alias ElixirScope.Foundation.Types.Event

  @buffer :event_fallback_buffer
  @max_buffered 100
  @fallback :elixir_scope_fallback
  @waits_for [:service_unavailable, :store_full]

  @doc """
  An event in any case: as asked for; else with pids, references, functions and ports of its data as text; else
  with a note of what the data was.
  """
  @spec new_event_safe(term(), term()) :: Event.t()
  def new_event_safe(type, data) do
    case Events.new_event(type, data) do
      {:ok, event} -> event
      {:error, _error} -> new_sanitized(type, data)
    end
  end

  @doc "The event as bytes that `deserialize_safe/1` reads, whatever it holds."
  @spec serialize_safe(term()) :: binary()
  def serialize_safe(event) do
    case EventLogic.serialize_event(event) do
      {:ok, bytes} -> bytes
      {:error, error} -> :erlang.term_to_binary({@fallback, Utils.safe_inspect(event), error.message})
    end
  end

  @doc "The event, or what could be kept of it and a warning."
  @spec deserialize_safe(term()) :: {:ok, Event.t() | map()} | {:error, Error.t()}
  def deserialize_safe(bytes) do
    case EventLogic.deserialize_event(bytes) do
      {:ok, event} -> {:ok, event}
      failure -> fallback(bytes, failure)
    end
  end

  @doc """
  Stores the event; while there is no instance it waits in the calling process (the newest 100 do) and is stored
  with the next event that can be.
  """
  @spec store_safe(term()) :: :ok | {:ok, Event.event_id()} | {:error, Error.t()}
  def store_safe(event) do
    case Events.store(event) do
      {:ok, id} ->
        flush()
        {:ok, id}

      {:error, %Error{error_type: :service_unavailable}} ->
        Process.put(@buffer, Enum.take([event | Process.get(@buffer, [])], @max_buffered))
        :ok

      failure ->
        failure
    end
  end

  @doc "What the query finds; nothing and a warning while there is no instance."
  @spec query_safe(map() | keyword()) :: {:ok, [Event.t()]} | {:ok, [], map()} | {:error, Error.t()}
  def query_safe(conditions) do
    case Events.query(conditions) do
      {:error, %Error{error_type: :service_unavailable} = error} -> {:ok, [], %{warning: error.message}}
      answer -> answer
    end
  end

  defp new_sanitized(type, data) do
    case Events.new_event(type, sanitize(data)) do
      {:ok, event} -> event
      {:error, error} -> minimal(type, data, error)
    end
  end

  # Oldest first; what is refused for want of an instance or of room goes on waiting.
  defp flush do
    waiting = @buffer |> Process.delete() |> List.wrap() |> Enum.reverse()

    unsent =
      Enum.drop_while(waiting, fn event ->
        not match?({:error, %Error{error_type: type}} when type in @waits_for, Events.store(event))
      end)

    if unsent != [], do: Process.put(@buffer, Enum.reverse(unsent))
  end

  defp fallback(bytes, failure) when is_binary(bytes) do
    case :erlang.binary_to_term(bytes, [:safe]) do
      {@fallback, text, reason} -> {:ok, %{fallback_data: text, warning: reason}}
      _other -> failure
    end
  rescue
    ArgumentError -> failure
  end

  defp fallback(_bytes, failure), do: failure

  defp sanitize(term) when is_pid(term) or is_reference(term) or is_function(term) or is_port(term) do
    inspect(term)
  end

  defp sanitize(%_{} = struct), do: struct |> Map.from_struct() |> sanitize()
  defp sanitize(%{} = map), do: Map.new(map, fn {key, value} -> {sanitize(key), sanitize(value)} end)
  defp sanitize([head | rest]), do: [sanitize(head) | sanitize(rest)]
  defp sanitize(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> sanitize() |> List.to_tuple()
  defp sanitize(term), do: term

  defp minimal(type, data, error) do
    info = %{original_data_type: kind(data), sanitization_attempted: true, timestamp: Utils.wall_timestamp()}

    %Event{
      event_type: if(is_atom(type) and type != nil, do: type, else: :default),
      event_id: Utils.generate_id(),
      timestamp: Utils.monotonic_timestamp(),
      wall_time: DateTime.utc_now(),
      node: node(),
      pid: self(),
      data: %{original_data_error: error.message, fallback_info: info}
    }
  end

  defp kind(data) when is_binary(data), do: :binary
  defp kind(data) when is_map(data), do: :map
  defp kind(data) when is_list(data), do: :list
  defp kind(data) when is_tuple(data), do: :tuple
  defp kind(_data), do: :other
end
