defmodule ElixirScope.Foundation.Utils do
  @moduledoc """
  Small functions that the modules of the foundation share, and that hosts use too.
  """

  import Bitwise, only: [<<<: 2]

  alias ElixirScope.Foundation.{Instance, Native}

  @truncate_limit 10_000
  @preview_length 100
  @inspect_limit 100
  # Ids made while no store is open: a range that the store's own counter does not reach.
  @local_ids 1 <<< 58

  @doc "A positive integer that no other call of this instance returns; event ids come from here."
  @spec generate_id() :: pos_integer()
  def generate_id do
    case Native.generate_id(Instance.handle()) do
      id when is_integer(id) -> id
      {:error, _absent} -> @local_ids + :erlang.unique_integer([:positive])
    end
  end

  @doc """
  A random UUID (version 4), in lower case.

      iex> ElixirScope.Foundation.Utils.generate_correlation_id() =~ ~r/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab]/
      true
  """
  @spec generate_correlation_id() :: String.t()
  def generate_correlation_id do
    <<a::48, _::4, b::12, _::2, c::62>> = :crypto.strong_rand_bytes(16)

    <<p::binary-8, q::binary-4, r::binary-4, s::binary-4, t::binary-12>> =
      Base.encode16(<<a::48, 4::4, b::12, 2::2, c::62>>, case: :lower)

    <<p::binary, ?-, q::binary, ?-, r::binary, ?-, s::binary, ?-, t::binary>>
  end

  @doc """
  The instance's clock in nanoseconds, as in the timestamps of events: positive, never decreasing while the
  instance is open, comparable with other producers and across restarts.
  """
  @spec monotonic_timestamp() :: pos_integer()
  def monotonic_timestamp do
    case Native.timestamp(Instance.handle()) do
      timestamp when is_integer(timestamp) -> timestamp
      {:error, _absent} -> wall_timestamp()
    end
  end

  @doc "The wall clock in nanoseconds since 1970, UTC."
  @spec wall_timestamp() :: integer()
  def wall_timestamp, do: System.os_time(:nanosecond)

  @doc """
  The term itself, or a summary of it when its external size is beyond the limit (10,000 bytes by default).

      iex> ElixirScope.Foundation.Utils.truncate_if_large("short")
      "short"
      iex> ElixirScope.Foundation.Utils.truncate_if_large(Enum.to_list(1..50), 20).preview
      "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
  """
  @spec truncate_if_large(term(), non_neg_integer()) :: term()
  def truncate_if_large(term, limit \\ @truncate_limit) do
    size = deep_size(term)

    if size <= limit do
      term
    else
      %{truncated: true, original_size: size, preview: preview(term), timestamp: DateTime.utc_now()}
    end
  end

  @doc "The bytes that the term takes in the external term format."
  @spec deep_size(term()) :: non_neg_integer()
  def deep_size(term), do: :erlang.external_size(term)

  @doc "`inspect/2` with bounded output that never raises."
  @spec safe_inspect(term()) :: String.t()
  def safe_inspect(term) do
    inspect(term, limit: @inspect_limit, printable_limit: @inspect_limit)
  rescue
    _exception -> "<uninspectable>"
  end

  @doc """
  Merges maps at every depth; where either side is not a map, the right side wins.

      iex> ElixirScope.Foundation.Utils.deep_merge(%{a: %{b: 1, c: 2}}, %{a: %{c: 3}})
      %{a: %{b: 1, c: 3}}
  """
  @spec deep_merge(map(), map()) :: map()
  def deep_merge(left, right) when is_map(left) and is_map(right) do
    Map.merge(left, right, fn
      _key, %{} = l, %{} = r -> deep_merge(l, r)
      _key, _l, r -> r
    end)
  end

  @doc "The value at a path of nested maps, or the default where it is missing or nil."
  @spec get_nested(map(), [term()], term()) :: term()
  def get_nested(map, path, default \\ nil) when is_list(path) do
    found =
      Enum.reduce_while(path, map, fn key, inner ->
        case inner do
          %{^key => value} -> {:cont, value}
          _other -> {:halt, nil}
        end
      end)

    if found == nil, do: default, else: found
  end

  @doc """
  Puts a value at a path of nested maps, making the maps that are missing.

      iex> ElixirScope.Foundation.Utils.put_nested(%{}, [:a, :b], 1)
      %{a: %{b: 1}}
  """
  @spec put_nested(map(), [term(), ...], term()) :: map()
  def put_nested(map, [key], value), do: Map.put(map, key, value)

  def put_nested(map, [key | rest], value) do
    inner =
      case map do
        %{^key => %{} = inner} -> inner
        _other -> %{}
      end

    Map.put(map, key, put_nested(inner, rest, value))
  end

  @doc """
  One line: control characters and runs of white space become single spaces.

      iex> ElixirScope.Foundation.Utils.sanitize_string("  a\\n\\tb  ")
      "a b"
  """
  @spec sanitize_string(String.t()) :: String.t()
  def sanitize_string(string) when is_binary(string) do
    string |> String.replace(~r/[\s[:cntrl:]]+/u, " ") |> String.trim()
  end

  @doc "String keys become atoms that exist already; others stay, so no input can make atoms."
  @spec atomize_keys(map()) :: map()
  def atomize_keys(map) when is_map(map), do: Map.new(map, fn {key, value} -> {existing_atom(key), value} end)

  @doc "Atom keys become strings."
  @spec stringify_keys(map()) :: map()
  def stringify_keys(map) when is_map(map) do
    Map.new(map, fn
      {key, value} when is_atom(key) -> {Atom.to_string(key), value}
      pair -> pair
    end)
  end

  @doc """
  Calls `fun` until it succeeds: `:max_attempts` (3), `:base_delay` (100 ms, doubling), `:max_delay` (5,000 ms).

      iex> ElixirScope.Foundation.Utils.retry(fn -> {:error, :no} end, max_attempts: 2, base_delay: 1)
      {:error, :max_attempts_exceeded}
      iex> ElixirScope.Foundation.Utils.retry(fn -> 42 end)
      {:ok, 42}
  """
  @spec retry((() -> term()), keyword()) :: {:ok, term()} | {:error, :max_attempts_exceeded}
  def retry(fun, opts \\ []) when is_function(fun, 0) do
    attempts = Keyword.get(opts, :max_attempts, 3)
    base = Keyword.get(opts, :base_delay, 100)
    longest = Keyword.get(opts, :max_delay, 5_000)
    attempt(fun, 1, attempts, base, longest)
  end

  @doc "Whether there is nothing in it: nil, blank text, an empty list or map."
  @spec blank?(term()) :: boolean()
  def blank?(nil), do: true
  def blank?([]), do: true
  def blank?(map) when map == %{}, do: true
  def blank?(string) when is_binary(string), do: String.valid?(string) and String.trim(string) == ""
  def blank?(_term), do: false

  @doc "The opposite of `blank?/1`."
  @spec present?(term()) :: boolean()
  def present?(term), do: not blank?(term)

  @doc """
  Nanoseconds for a person.

      iex> Enum.map([999, 1_500, 2_500_000, 1_500_000_000], &ElixirScope.Foundation.Utils.format_duration/1)
      ["999ns", "1.5μs", "2.5ms", "1.5s"]
  """
  @spec format_duration(non_neg_integer()) :: String.t()
  def format_duration(ns) when is_integer(ns) and ns >= 0 do
    cond do
      ns < 1_000 -> "#{ns}ns"
      ns < 1_000_000 -> "#{Float.round(ns / 1_000, 1)}μs"
      ns < 1_000_000_000 -> "#{Float.round(ns / 1_000_000, 1)}ms"
      true -> "#{Float.round(ns / 1_000_000_000, 1)}s"
    end
  end

  @doc """
  Bytes for a person.

      iex> Enum.map([512, 1_024, 1_048_576, 1_073_741_824], &ElixirScope.Foundation.Utils.format_bytes/1)
      ["512 B", "1.0 KB", "1.0 MB", "1.0 GB"]
  """
  @spec format_bytes(non_neg_integer()) :: String.t()
  def format_bytes(bytes) when is_integer(bytes) and bytes >= 0 do
    cond do
      bytes < 1_024 -> "#{bytes} B"
      bytes < 1_048_576 -> "#{Float.round(bytes / 1_024, 1)} KB"
      bytes < 1_073_741_824 -> "#{Float.round(bytes / 1_048_576, 1)} MB"
      true -> "#{Float.round(bytes / 1_073_741_824, 1)} GB"
    end
  end

  @doc "The function's result and how many microseconds it took."
  @spec measure((() -> result)) :: {result, non_neg_integer()} when result: term()
  def measure(fun) when is_function(fun, 0) do
    started = System.monotonic_time()
    result = fun.()
    {result, System.convert_time_unit(System.monotonic_time() - started, :native, :microsecond)}
  end

  @doc "The function's result and the process's memory before, after, and the difference, in bytes."
  @spec measure_memory((() -> result)) :: {result, {non_neg_integer(), non_neg_integer(), integer()}}
        when result: term()
  def measure_memory(fun) when is_function(fun, 0) do
    before = own_memory()
    result = fun.()
    later = own_memory()
    {result, {before, later, later - before}}
  end

  @doc "Memory, mailbox length, reductions, collections and status of the calling process."
  @spec process_stats() :: map()
  def process_stats do
    self()
    |> Process.info([:memory, :message_queue_len, :reductions, :garbage_collection, :status])
    |> Map.new()
  end

  @doc "Processes, atoms, memory and schedulers of the VM."
  @spec system_stats() :: map()
  def system_stats do
    %{
      process_count: :erlang.system_info(:process_count),
      atom_count: :erlang.system_info(:atom_count),
      memory: :erlang.memory(),
      scheduler_count: :erlang.system_info(:schedulers),
      scheduler_online: :erlang.system_info(:schedulers_online)
    }
  end

  @doc "Whether the term is an integer above 0."
  @spec valid_positive_integer?(term()) :: boolean()
  def valid_positive_integer?(term), do: is_integer(term) and term > 0

  defp preview(string) when is_binary(string) do
    if String.valid?(string) do
      String.slice(string, 0, @preview_length) <> "..."
    else
      safe_inspect(string)
    end
  end

  defp preview(list) when is_list(list), do: list |> take_items(10) |> safe_inspect()
  defp preview(%_{} = struct), do: safe_inspect(struct)
  defp preview(map) when is_map(map), do: map |> Enum.take(5) |> Map.new() |> safe_inspect()
  defp preview(term), do: safe_inspect(term)

  # Enum.take/2 raises on an improper list.
  defp take_items([head | rest], count) when count > 0, do: [head | take_items(rest, count - 1)]
  defp take_items(_rest, _count), do: []

  defp existing_atom(key) when is_binary(key) do
    String.to_existing_atom(key)
  rescue
    ArgumentError -> key
  end

  defp existing_atom(key), do: key

  defp attempt(fun, number, attempts, base, longest) do
    case fun.() do
      {:ok, value} ->
        {:ok, value}

      {:error, _reason} when number >= attempts ->
        {:error, :max_attempts_exceeded}

      {:error, _reason} ->
        Process.sleep(min(base * Integer.pow(2, number - 1), longest))
        attempt(fun, number + 1, attempts, base, longest)

      other ->
        {:ok, other}
    end
  end

  defp own_memory do
    {:memory, bytes} = Process.info(self(), :memory)
    bytes
  end
end
