defmodule ElixirScope.Foundation.Events.Summary do
  @moduledoc false
  # What a query finds counted instead of shown, how it would be found, and the tree of causes of an event:
  # `ElixirScope.Foundation.Events` describes each.

  import ElixirScope.Foundation.Events.Options, only: [wrong: 3]

  alias ElixirScope.Foundation.{Error, Native}
  alias ElixirScope.Foundation.Events.{Codec, Query}

  @type handle :: non_neg_integer()
  @type result :: {:ok, map()} | {:error, Error.t()}

  @spec count(handle(), map() | keyword()) :: {:ok, non_neg_integer()} | {:error, Error.t()}
  def count(handle, conditions) do
    with {:ok, query} <- Query.new(conditions),
         do: Query.named(Native.event_count(handle, Query.native(query)))
  end

  @spec explain(handle(), map() | keyword()) :: result()
  def explain(handle, conditions) do
    with {:ok, query} <- Query.new(conditions),
         {:ok, plan} <- Query.named(Native.event_explain(handle, Query.native(query))) do
      # The words for indexes are the core's own, and few.
      estimates = Enum.map(plan.estimates, &%{&1 | index: String.to_atom(&1.index)})
      {:ok, %{plan | index: String.to_atom(plan.index), estimates: estimates}}
    end
  end

  @spec aggregate(handle(), map() | keyword(), keyword()) :: result()
  def aggregate(handle, conditions, what) do
    with {:ok, query} <- Query.new(conditions),
         {:ok, aggregate} <- aggregate_of(what) do
      Query.named(Native.event_aggregate(handle, Query.native(query), aggregate))
    end
  end

  @spec trace(handle(), term(), keyword()) :: result()
  def trace(handle, event_id, opts) do
    with {:ok, limit} <- trace_limit(opts),
         {:ok, {rows, missing_parent, cycles, truncated}} <- Native.event_trace(handle, event_id, limit) do
      events = for {depth, row} <- rows, do: {depth, Codec.event(row)}
      {:ok, %{events: events, missing_parent: missing_parent, cycles: cycles, truncated: truncated}}
    end
  end

  defp aggregate_of(what) do
    known = [
      by_type: {false, &is_boolean/1, "a boolean"},
      bucket_ns: {nil, &(&1 == nil or (is_integer(&1) and &1 > 0)), "an integer above 0 or nil"},
      top_correlations: {0, &(is_integer(&1) and &1 in 0..1_000), "an integer from 0 to 1,000"},
      field: {nil, &(&1 == nil or Query.path?(&1)), "a path of 1 to 32 atoms, binaries and positions, or nil"}
    ]

    with {:ok, [by_type, bucket_ns, top_correlations, field]} <- options(what, known) do
      {:ok, {by_type, bucket_ns, top_correlations, field}}
    end
  end

  defp trace_limit(opts) do
    known = [limit: {1_000, &(is_integer(&1) and &1 in 1..100_000), "an integer from 1 to 100,000"}]
    with {:ok, [limit]} <- options(opts, known), do: {:ok, limit}
  end

  # The values of the options that are known, in their order, given or by default.
  defp options(given, known) do
    if Keyword.keyword?(given) do
      case Keyword.keys(given) -- Keyword.keys(known) do
        [] ->
          checked(given, known, [])

        [key | _] ->
          Error.error_result(:invalid_input, "there is no option #{inspect(key)}", context: %{key: key})
      end
    else
      Error.error_result(:invalid_input, "options are a keyword, not #{inspect(given, limit: 5)}")
    end
  end

  defp checked(_given, [], values), do: {:ok, Enum.reverse(values)}

  defp checked(given, [{key, {default, valid?, expected}} | rest], values) do
    value = Keyword.get(given, key, default)

    if valid?.(value) do
      checked(given, rest, [value | values])
    else
      wrong(key, value, expected)
    end
  end
end
