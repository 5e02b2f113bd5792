defmodule ElixirScope.Foundation.Events.Query do
  @moduledoc """
  What `ElixirScope.Foundation.Events.query/1` understands: a map or a keyword of these conditions, which must all
  hold. An unknown key or a value of the wrong type is `invalid_input` that names it.

    * `:event_type` - an atom or a list of atoms, any of which will do
    * `:correlation_id` - a binary
    * `:parent_id`, `:node`, `:pid` - equal to this
    * `:time_range` - `{first, last}` of timestamps, both included
    * `:id_range` - `{first, last}` of event ids, both included
    * `:data` - conditions on the data: a map of keys and equal values, or a list of `{path, operator, value}` with a
      path of keys or positions and one of `:==`, `:!=`, `:<`, `:<=`, `:>`, `:>=`; a path that is not there, and a
      comparison of different kinds, do not hold
    * `:order_by` - `:timestamp` (the default), `:event_id` or `:seq` (the order of storing), alone or as
      `{key, :asc | :desc}`
    * `:offset`, `:limit` - integers of at least 0

  Type, correlation id, time range, order, offset and limit are the store's; the others are looked at in Elixir,
  event by event, in batches.
  """

  alias ElixirScope.Foundation.{Error, Native}
  alias ElixirScope.Foundation.Events.Codec
  alias ElixirScope.Foundation.Types.Event

  @type condition ::
          {[term()], :== | :!= | :< | :<= | :> | :>=, term()}
  @type t :: %__MODULE__{
          types: [atom()],
          correlation_id: binary() | nil,
          time_range: {integer(), integer()} | nil,
          id_range: {integer(), integer()} | nil,
          parent_id: {:is, term()} | nil,
          node: {:is, term()} | nil,
          pid: {:is, term()} | nil,
          data: [condition()],
          order: :timestamp | :event_id | :seq,
          direction: :asc | :desc,
          offset: non_neg_integer(),
          limit: non_neg_integer() | nil
        }

  defstruct types: [],
            correlation_id: nil,
            time_range: nil,
            id_range: nil,
            parent_id: nil,
            node: nil,
            pid: nil,
            data: [],
            order: :timestamp,
            direction: :asc,
            offset: 0,
            limit: nil

  @operators [:==, :!=, :<, :<=, :>, :>=]
  @first_batch 100
  @batch 2_000
  @largest 0x7FFF_FFFF_FFFF_FFFF

  @doc "Understands a map or a keyword."
  @spec new(map() | keyword()) :: {:ok, t()} | {:error, Error.t()}
  def new(conditions) when is_map(conditions) and not is_struct(conditions),
    do: build(Map.to_list(conditions))

  def new(conditions) when is_list(conditions) do
    if Keyword.keyword?(conditions),
      do: build(conditions),
      else: wrong(:query, conditions, "a map or a keyword")
  end

  def new(other), do: wrong(:query, other, "a map or a keyword")

  @doc "What the instance of this handle has: all events of the answer."
  @spec run(t(), non_neg_integer()) :: {:ok, [Event.t()]} | {:error, Error.t()}
  def run(%__MODULE__{} = query, handle) do
    case matching(query, handle) do
      {:ok, rows} -> {:ok, Enum.map(rows, &Codec.event/1)}
      failure -> failure
    end
  end

  @doc "The conditions as the native store takes them."
  @spec native(t()) :: tuple()
  def native(%__MODULE__{} = query) do
    {offset, limit} = if in_store?(query), do: {query.offset, query.limit}, else: {0, nil}
    order = if query.order == :event_id, do: :seq, else: query.order
    {query.types, query.correlation_id, query.time_range, nil, order, query.direction, offset, limit}
  end

  @doc "Whether the store alone can answer it."
  @spec in_store?(t()) :: boolean()
  def in_store?(%__MODULE__{} = query) do
    query.order != :event_id and query.data == [] and
      Enum.all?([query.parent_id, query.node, query.pid, query.id_range], &is_nil/1)
  end

  defp build(pairs) do
    Enum.reduce_while(pairs, {:ok, %__MODULE__{}}, fn {key, value}, {:ok, query} ->
      case put(key, value, query) do
        %__MODULE__{} = query -> {:cont, {:ok, query}}
        failure -> {:halt, failure}
      end
    end)
  end

  defp put(:event_type, type, query) when is_atom(type) and type != nil, do: %{query | types: [type]}

  defp put(:event_type, [_ | _] = types, query) do
    if Enum.all?(types, &is_atom/1),
      do: %{query | types: types},
      else: wrong(:event_type, types, "an atom or a list of atoms")
  end

  defp put(:correlation_id, id, query) when is_binary(id), do: %{query | correlation_id: id}

  defp put(:time_range, {first, last}, query) when is_integer(first) and is_integer(last) do
    %{query | time_range: {clamp(first), clamp(last)}}
  end

  defp put(:id_range, {first, last}, query) when is_integer(first) and is_integer(last) do
    %{query | id_range: {first, last}}
  end

  defp put(:parent_id, id, query) when is_integer(id) or id == nil, do: %{query | parent_id: {:is, id}}
  defp put(:node, node, query) when is_atom(node), do: %{query | node: {:is, node}}
  defp put(:pid, pid, query) when is_pid(pid) or pid == nil, do: %{query | pid: {:is, pid}}
  defp put(:data, conditions, query), do: put_data(conditions, query)

  defp put(:order_by, order, query) when order in [:timestamp, :event_id, :seq], do: %{query | order: order}

  defp put(:order_by, {order, direction}, query)
       when order in [:timestamp, :event_id, :seq] and direction in [:asc, :desc] do
    %{query | order: order, direction: direction}
  end

  defp put(:offset, offset, query) when is_integer(offset) and offset >= 0 do
    %{query | offset: min(offset, @largest)}
  end

  defp put(:limit, nil, query), do: %{query | limit: nil}

  defp put(:limit, limit, query) when is_integer(limit) and limit >= 0,
    do: %{query | limit: min(limit, @largest)}

  defp put(key, value, _query) do
    case expected(key) do
      nil -> unknown(key)
      expected -> wrong(key, value, expected)
    end
  end

  defp put_data(%{} = map, query) when not is_struct(map) do
    %{query | data: Enum.map(map, fn {key, value} -> {[key], :==, value} end)}
  end

  defp put_data(conditions, query) when is_list(conditions) do
    if Enum.all?(conditions, &condition?/1),
      do: %{query | data: conditions},
      else: wrong(:data, conditions, expected(:data))
  end

  defp put_data(other, _query), do: wrong(:data, other, expected(:data))

  defp condition?({path, operator, _value}), do: is_list(path) and path != [] and operator in @operators
  defp condition?(_other), do: false

  defp expected(:event_type), do: "an atom or a list of atoms"
  defp expected(:correlation_id), do: "a binary"
  defp expected(:time_range), do: "a tuple of two integers"
  defp expected(:id_range), do: "a tuple of two integers"
  defp expected(:parent_id), do: "an integer or nil"
  defp expected(:node), do: "an atom"
  defp expected(:pid), do: "a pid or nil"
  defp expected(:data), do: "a map, or a list of {path, operator, value}"
  defp expected(:order_by), do: ":timestamp, :event_id or :seq, or one of them in {key, :asc | :desc}"
  defp expected(:offset), do: "an integer of at least 0"
  defp expected(:limit), do: "an integer of at least 0"
  defp expected(_unknown), do: nil

  defp wrong(key, value, expected) do
    Error.error_result(:invalid_input, "#{key} is #{inspect(value, limit: 5)}; it must be #{expected}",
      context: %{key: key, expected: expected}
    )
  end

  defp unknown(key) do
    Error.error_result(:invalid_input, "a query knows no condition #{inspect(key)}", context: %{key: key})
  end

  defp clamp(timestamp), do: timestamp |> max(-@largest) |> min(@largest)

  defp matching(query, handle) do
    if in_store?(query) do
      rows(query, handle)
    else
      with {:ok, rows} <- rows(query, handle) do
        {:ok, rows |> Enum.filter(&holds?(query, &1)) |> order(query) |> page(query)}
      end
    end
  end

  defp rows(query, handle) do
    case first(query, handle) do
      {:done, rows} -> {:ok, rows}
      {:more, cursor, rows} -> more(cursor, query, [keep(query, rows)])
      failure -> failure
    end
  end

  # A correlation is found through its index; everything else may have to look at many events first.
  defp first(%{correlation_id: nil} = query, handle) do
    Native.event_query_dirty(handle, native(query), @batch)
  end

  defp first(query, handle) do
    conditions = native(query)

    case Native.event_query(handle, conditions, @first_batch) do
      :dirty -> Native.event_query_dirty(handle, conditions, @batch)
      answer -> answer
    end
  end

  defp more(cursor, query, batches) do
    case Native.cursor_next(cursor, @batch) do
      {:done, rows} -> {:ok, Enum.concat(Enum.reverse([keep(query, rows) | batches]))}
      {:more, rows} -> more(cursor, query, [keep(query, rows) | batches])
      failure -> failure
    end
  end

  # What does not hold is let go of batch by batch, so memory is bounded by the answer.
  defp keep(query, rows), do: if(in_store?(query), do: rows, else: Enum.filter(rows, &holds?(query, &1)))

  defp holds?(query, row) do
    {_type, id, _time, _wall, node, pid, _correlation, parent, _encoding, _data, _seq, _version} = row

    equal?(query.parent_id, parent) and equal?(query.node, node) and equal?(query.pid, pid) and
      within?(query.id_range, id) and (query.data == [] or data_holds?(query.data, Codec.event(row).data))
  end

  defp equal?(nil, _value), do: true
  defp equal?({:is, value}, other), do: value === other

  defp within?(nil, _id), do: true
  defp within?({first, last}, id), do: id >= first and id <= last

  defp data_holds?(conditions, data) do
    Enum.all?(conditions, fn {path, operator, value} ->
      case walk(data, path) do
        {:ok, found} -> compare(operator, found, value)
        :error -> false
      end
    end)
  end

  defp walk(value, []), do: {:ok, value}

  defp walk(map, [key | rest]) when is_map(map) do
    case map do
      %{^key => value} -> walk(value, rest)
      _other -> by_text(map, key, rest)
    end
  end

  defp walk(list, [index | rest]) when is_list(list) and is_integer(index) and index >= 0 do
    case nth(list, index) do
      {:ok, value} -> walk(value, rest)
      :error -> :error
    end
  end

  defp walk(tuple, [index | rest])
       when is_tuple(tuple) and is_integer(index) and index >= 0 and index < tuple_size(tuple) do
    walk(elem(tuple, index), rest)
  end

  defp walk(_value, _path), do: :error

  # An atom and a binary of equal text are the same step.
  defp by_text(map, key, rest) when is_atom(key) do
    case Map.fetch(map, Atom.to_string(key)) do
      {:ok, value} -> walk(value, rest)
      :error -> :error
    end
  end

  defp by_text(map, key, rest) when is_binary(key) do
    case Enum.find(map, fn {other, _value} -> is_atom(other) and Atom.to_string(other) == key end) do
      {_key, value} -> walk(value, rest)
      nil -> :error
    end
  end

  defp by_text(_map, _key, _rest), do: :error

  defp nth([value | _rest], 0), do: {:ok, value}
  defp nth([_value | rest], index), do: nth(rest, index - 1)
  defp nth(_end, _index), do: :error

  defp compare(:==, found, value), do: found == value
  defp compare(:!=, found, value), do: found != value

  defp compare(operator, found, value)
       when (is_number(found) and is_number(value)) or (is_binary(found) and is_binary(value)) or
              (is_atom(found) and is_atom(value)) do
    apply(Kernel, operator, [found, value])
  end

  defp compare(_operator, _found, _value), do: false

  defp order(rows, %{order: :event_id, direction: :asc}), do: Enum.sort_by(rows, &elem(&1, 1))
  defp order(rows, %{order: :event_id, direction: :desc}), do: Enum.sort_by(rows, &elem(&1, 1), :desc)
  defp order(rows, _query), do: rows

  defp page(rows, %{offset: offset, limit: nil}), do: Enum.drop(rows, offset)
  defp page(rows, %{offset: offset, limit: limit}), do: rows |> Enum.drop(offset) |> Enum.take(limit)
end
