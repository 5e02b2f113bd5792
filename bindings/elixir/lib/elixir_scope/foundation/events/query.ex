defmodule ElixirScope.Foundation.Events.Query do
  @moduledoc """
  What `ElixirScope.Foundation.Events.query/1` understands: a map or a keyword of these conditions, which must all
  hold. An unknown key or a value of the wrong type is `invalid_input` that names it in `context.key`.

    * `:event_type` - an atom or a list of atoms, any of which will do
    * `:correlation_id` - a binary
    * `:parent_id` - the id of the event that caused it; `nil` for events that none caused
    * `:node` - an atom; `nil` for events without one
    * `:pid` - a pid, or the text by which another language names its processes or threads; `nil` for events
      without one
    * `:time_range` - `{first, last}` of timestamps, both included
    * `:id_range` - `{first, last}` of event ids, both included
    * `:seq_range` - `{first, last}` of positions in the store, both included
    * `:data` - conditions on the data, below
    * `:order_by` - `:timestamp` (the default), `:event_id` or `:seq` (the order of storing), alone or as
      `{key, :asc | :desc}`
    * `:offset`, `:limit` - integers of at least 0; no limit is `nil`
    * `:timeout` - milliseconds, counted from when the query is asked; when they are up the answer is the error
      `timeout`, never a part of the result

  The native store looks at all of them; `ElixirScope.Foundation.Events.explain/1` tells which index it takes.

  ## Conditions on the data

  `:data` is a list of `{path, operator, value}`, or a map of keys and equal values. A path is a list of 1 to 32
  steps: an atom or a binary is a key and matches the atom or the binary of equal text; an integer is a position in a
  list or tuple, from 0.

    * `:==`, `:!=`, `:<`, `:<=`, `:>`, `:>=` - the value compares so with `value`
    * `:in` - it equals one of a list of at most 1,024
    * `:prefix` - it is a binary (or an atom) that begins with `value`
    * `:exists` - with `true` there is a value, of whatever kind; with `false` there is none

  Compared are `nil`, booleans, numbers (by value, integers of any size exactly) and text, which binaries and all
  other atoms are. Values of different kinds do not compare, not even with `:!=`. docs/queries.md has it all.

      iex> alias ElixirScope.Foundation.Events
      iex> {:ok, event} = Events.new_event(:paid, %{order: %{lines: [%{price: 12.5}], state: :new}}, correlation_id: "q")
      iex> {:ok, id} = Events.store(event)
      iex> data = [{[:order, :lines, 0, :price], :>, 10}, {["order", "state"], :in, ["new", "open"]}]
      iex> {:ok, [found]} = Events.query(correlation_id: "q", data: data)
      iex> found.event_id == id
      true
      iex> {:error, error} = Events.query(colour: :red)
      iex> {error.error_type, error.context.key}
      {:invalid_input, :colour}
  """

  import ElixirScope.Foundation.Events.Options, only: [wrong: 3]

  alias ElixirScope.Foundation.{Error, Native}
  alias ElixirScope.Foundation.Events.Codec
  alias ElixirScope.Foundation.Types.Event

  @type operator :: :== | :!= | :< | :<= | :> | :>= | :in | :prefix | :exists
  @type path :: [atom() | binary() | non_neg_integer(), ...]
  @type condition :: {path(), operator(), term()}
  @type t :: %__MODULE__{
          types: [atom()],
          correlation_id: binary() | nil,
          time_range: {integer(), integer()} | nil,
          id_range: {non_neg_integer(), non_neg_integer()} | nil,
          seq_range: {non_neg_integer(), non_neg_integer()} | nil,
          parent_id: {:is, non_neg_integer() | nil} | nil,
          node: {:is, atom()} | nil,
          pid: {:is, pid() | binary() | nil} | nil,
          data: [condition()],
          order: :timestamp | :event_id | :seq,
          direction: :asc | :desc,
          offset: non_neg_integer(),
          limit: non_neg_integer() | nil,
          timeout: non_neg_integer() | nil
        }

  defstruct types: [],
            correlation_id: nil,
            time_range: nil,
            id_range: nil,
            seq_range: nil,
            parent_id: nil,
            node: nil,
            pid: nil,
            data: [],
            order: :timestamp,
            direction: :asc,
            offset: 0,
            limit: nil,
            timeout: nil

  @operators [:==, :!=, :<, :<=, :>, :>=, :in, :prefix, :exists]
  @orders [:timestamp, :event_id, :seq]
  @directions [:asc, :desc]
  @few_types 16
  @first_batch 100
  @batch 2_000
  @largest 0x7FFF_FFFF_FFFF_FFFF

  @doc "Understands a map or a keyword."
  @spec new(map() | keyword()) :: {:ok, t()} | {:error, Error.t()}
  def new(conditions) when is_map(conditions) and not is_struct(conditions),
    do: build(Map.to_list(conditions), %__MODULE__{})

  def new(conditions) when is_list(conditions) do
    if Keyword.keyword?(conditions),
      do: build(conditions, %__MODULE__{}),
      else: wrong(:query, conditions, "a map or a keyword")
  end

  def new(other), do: wrong(:query, other, "a map or a keyword")

  @doc "All events that the instance of this handle has of the answer."
  @spec run(t(), non_neg_integer()) :: {:ok, [Event.t()]} | {:error, Error.t()}
  def run(%__MODULE__{} = query, handle) do
    case first(query, handle) do
      {:done, rows} -> {:ok, events(rows)}
      {:more, cursor, rows} -> more(cursor, [rows])
      failure -> named(failure)
    end
  end

  @doc """
  The answer as a stream, which asks anew each time that it is enumerated and holds a batch of events at a time. It
  raises where the store refuses or the time is up.
  """
  @spec stream(t(), non_neg_integer()) :: Enumerable.t()
  def stream(%__MODULE__{} = query, handle) do
    Stream.resource(fn -> begin(query, handle) end, &next/1, &finish/1)
  end

  @doc "The conditions as the native store takes them."
  @spec native(t()) :: tuple()
  def native(%__MODULE__{} = query) do
    {query.types, query.correlation_id, query.time_range, query.seq_range, query.id_range, query.parent_id,
     query.node, query.pid, query.data, query.order, query.direction, query.offset, query.limit,
     query.timeout}
  end

  @doc "Whether this is a path into data."
  @spec path?(term()) :: boolean()
  def path?([_ | _] = path), do: all?(path, &step?/1) and length(path) <= 32
  def path?(_other), do: false

  @doc "What the native store refused, in the words of the keys."
  @spec named({:error, Error.t()} | term()) :: {:error, Error.t()} | term()
  def named({:error, %Error{error_type: :invalid_input, context: %{argument: "conditions"}} = error}) do
    {:error, %{error | context: Map.put(error.context, :key, :data)}}
  end

  def named(answer), do: answer

  defp build([], query), do: {:ok, query}

  defp build([{key, value} | rest], query) do
    case put(key, value, query) do
      %__MODULE__{} = query -> build(rest, query)
      :error -> refuse(key, value)
    end
  end

  defp put(:event_type, type, query) when is_atom(type) and type != nil, do: %{query | types: [type]}

  defp put(:event_type, [_ | _] = types, query) do
    if all?(types, &(is_atom(&1) and &1 != nil)), do: %{query | types: types}, else: :error
  end

  defp put(:correlation_id, id, query) when is_binary(id), do: %{query | correlation_id: id}

  defp put(:time_range, {first, last}, query) when is_integer(first) and is_integer(last),
    do: %{query | time_range: {clamp(first, -@largest - 1), clamp(last, -@largest - 1)}}

  defp put(:id_range, {first, last}, query) when is_integer(first) and is_integer(last),
    do: %{query | id_range: positive(first, last)}

  defp put(:seq_range, {first, last}, query) when is_integer(first) and is_integer(last),
    do: %{query | seq_range: positive(first, last)}

  defp put(:parent_id, nil, query), do: %{query | parent_id: {:is, nil}}
  # No event has an id like that, so none has such a parent.
  defp put(:parent_id, id, query) when is_integer(id) and (id <= 0 or id > @largest),
    do: %{query | parent_id: {:is, @largest}}

  defp put(:parent_id, id, query) when is_integer(id), do: %{query | parent_id: {:is, id}}
  defp put(:node, node, query) when is_atom(node), do: %{query | node: {:is, node}}

  defp put(:pid, pid, query) when is_pid(pid) or pid == nil, do: %{query | pid: {:is, pid}}

  defp put(:pid, text, query) when is_binary(text) and text != "" do
    if String.valid?(text), do: %{query | pid: {:is, text}}, else: :error
  end

  defp put(:data, %{} = map, query) when not is_struct(map),
    do: put(:data, Enum.map(map, fn {key, value} -> {[key], :==, value} end), query)

  defp put(:data, conditions, query) when is_list(conditions) do
    if all?(conditions, &condition?/1), do: %{query | data: conditions}, else: :error
  end

  defp put(:order_by, order, query) when order in @orders, do: %{query | order: order}

  defp put(:order_by, {order, direction}, query) when order in @orders and direction in @directions,
    do: %{query | order: order, direction: direction}

  defp put(:offset, offset, query) when is_integer(offset) and offset >= 0,
    do: %{query | offset: min(offset, @largest)}

  defp put(:limit, nil, query), do: %{query | limit: nil}

  defp put(:limit, limit, query) when is_integer(limit) and limit >= 0,
    do: %{query | limit: min(limit, @largest)}

  defp put(:timeout, nil, query), do: %{query | timeout: nil}

  defp put(:timeout, timeout, query) when is_integer(timeout) and timeout >= 0,
    do: %{query | timeout: min(timeout, @largest)}

  defp put(_key, _value, _query), do: :error

  defp condition?({path, operator, value}),
    do: path?(path) and operator in @operators and value?(operator, value)

  defp condition?(_other), do: false

  defp value?(:in, values), do: is_list(values) and all?(values, &scalar?/1)
  defp value?(:exists, wanted), do: is_boolean(wanted)
  defp value?(_comparison, value), do: scalar?(value)

  # Text that is no UTF-8 names no key.
  defp step?(step) when is_binary(step), do: String.valid?(step)
  defp step?(step), do: is_atom(step) or (is_integer(step) and step in 0..0xFFFF_FFFF)
  defp scalar?(value), do: is_atom(value) or is_binary(value) or is_number(value)

  # As Enum.all?/2, of lists that may be improper.
  defp all?([], _fun), do: true
  defp all?([item | rest], fun), do: fun.(item) and all?(rest, fun)
  defp all?(_improper, _fun), do: false

  defp positive(_first, last) when last < 0, do: {1, 0}
  defp positive(first, last), do: {clamp(first, 0), clamp(last, 0)}
  defp clamp(integer, least), do: integer |> max(least) |> min(@largest)

  defp refuse(key, value) do
    case expected(key) do
      nil ->
        Error.error_result(:invalid_input, "a query knows no condition #{inspect(key)}", context: %{key: key})

      expected ->
        wrong(key, value, expected)
    end
  end

  defp expected(:event_type), do: "an atom or a list of atoms"
  defp expected(:correlation_id), do: "a binary"
  defp expected(:time_range), do: "a tuple of two integers"
  defp expected(:id_range), do: "a tuple of two integers"
  defp expected(:seq_range), do: "a tuple of two integers"
  defp expected(:parent_id), do: "an integer or nil"
  defp expected(:node), do: "an atom"
  defp expected(:pid), do: "a pid, text or nil"

  defp expected(:data) do
    "a map, or a list of {path, operator, value} with a path of atoms, binaries and positions, one of the operators " <>
      "#{Enum.map_join(@operators, ", ", &inspect/1)}, and a value that is an atom, a binary or a number"
  end

  defp expected(:order_by), do: ":timestamp, :event_id or :seq, or one of them in {key, :asc | :desc}"
  defp expected(:offset), do: "an integer of at least 0"
  defp expected(:limit), do: "an integer of at least 0, or nil"
  defp expected(:timeout), do: "an integer of at least 0, or nil"
  defp expected(_unknown), do: nil

  # A correlation is found through its index; everything else may have to look at many events first, and conditions
  # and long lists take time to be read.
  defp first(%{correlation_id: id, data: data, types: types} = query, handle)
       when id == nil or data != [] or length(types) > @few_types,
       do: Native.event_query_dirty(handle, native(query), @batch)

  defp first(query, handle) do
    conditions = native(query)

    case Native.event_query(handle, conditions, @first_batch) do
      :dirty -> Native.event_query_dirty(handle, conditions, @batch)
      answer -> answer
    end
  end

  defp more(cursor, batches) do
    case Native.cursor_next(cursor, @batch) do
      {:done, rows} -> {:ok, [rows | batches] |> Enum.reverse() |> Enum.flat_map(&events/1)}
      {:more, rows} -> more(cursor, [rows | batches])
      failure -> failure
    end
  end

  defp events(rows), do: Enum.map(rows, &Codec.event/1)

  # A stream's state: what comes next, and the cursor that has the rest.
  defp begin(query, handle) do
    case Native.event_query_dirty(handle, native(query), @first_batch) do
      {:done, rows} -> {rows, nil}
      {:more, cursor, rows} -> {rows, cursor}
      failure -> failed(failure)
    end
  end

  defp next({[], nil}), do: {:halt, nil}

  defp next({[], cursor}) do
    case Native.cursor_next(cursor, @batch) do
      {:done, rows} -> {events(rows), {[], nil}}
      {:more, rows} -> {events(rows), {[], cursor}}
      failure -> failed(failure)
    end
  end

  defp next({rows, cursor}), do: {events(rows), {[], cursor}}

  defp finish({_rows, cursor}) when cursor != nil, do: Native.cursor_close(cursor)
  defp finish(_ended), do: :ok

  defp failed(failure) do
    {:error, error} = named(failure)
    raise RuntimeError, "the query went wrong: #{Error.to_string(error)}"
  end
end
