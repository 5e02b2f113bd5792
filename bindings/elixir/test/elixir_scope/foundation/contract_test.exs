defmodule ElixirScope.Foundation.ContractTest do
  use ExUnit.Case, async: true

  # The scenarios that the Rust and the C driver ask, too: tests/contract/queries.rs says what their lines mean.

  import ElixirScope.Case, only: [own_store: 0]

  alias ElixirScope.Foundation.{Error, Events, Native}
  alias ElixirScope.Foundation.Events.{Subscription, Summary}
  alias ElixirScope.Foundation.Types.Event

  @scenarios Path.expand("../../../../../tests/contract/queries.jsonl", __DIR__)
  @operators %{
    "==" => :==,
    "!=" => :!=,
    "<" => :<,
    "<=" => :<=,
    ">" => :>,
    ">=" => :>=,
    "in" => :in,
    "prefix" => :prefix,
    "exists" => :exists
  }

  test "the Elixir binding answers as written" do
    file = Path.join(System.tmp_dir!(), "contract-#{System.pid()}.jsonl")
    on_exit(fn -> File.rm(file) end)

    asked =
      @scenarios
      |> File.stream!()
      |> Stream.with_index(1)
      |> Enum.reduce({nil, 0}, fn {text, number}, {handle, asked} ->
        {:ok, line} = Native.json_decode(text)

        cond do
          line["store"] ->
            {own_store(), asked}

          line["append"] ->
            append(handle, line["append"], text, file)
            {handle, asked}

          true ->
            for {key, value} <- answer(handle, line) do
              assert {number, key, value} == {number, key, line[key]}, text
            end

            {handle, asked + 1}
        end
      end)
      |> elem(1)

    assert asked > 100
  end

  # A term is stored as Elixir stores terms; JSON comes in as another language's export does.
  defp append(handle, %{"etf" => hex} = line, _text, _file) do
    event = %Event{
      event_type: String.to_atom(line["event_type"]),
      event_id: line["event_id"],
      timestamp: line["timestamp"],
      data: hex |> Base.decode16!(case: :lower) |> :erlang.binary_to_term()
    }

    assert {:ok, _id} = Events.store_in(handle, event)
    assert {:ok, stored} = Events.get_from(handle, event.event_id)
    assert stored.data === event.data
  end

  defp append(handle, %{"event_id" => id}, text, file) do
    [_all, event] = Regex.run(~r/^\{"append": (.*)\}$/s, String.trim_trailing(text, "\n"))
    File.write!(file, event)
    assert {:ok, 1} = Native.event_import(handle, file)
    assert {:ok, %Event{event_id: ^id}} = Events.get_from(handle, id)
  end

  defp answer(handle, %{"query" => query, "aggregate" => what} = line) do
    options = Enum.map(what, fn {key, value} -> {String.to_existing_atom(key), value} end)

    case Summary.aggregate(handle, conditions(query), options) do
      {:ok, summary} -> %{"result" => summary |> written() |> Map.take(Map.keys(line["result"]))}
      failure -> failed(failure)
    end
  end

  defp answer(handle, %{"query" => query}) do
    with {:ok, events} <- Events.query_in(handle, conditions(query)),
         {:ok, stream} <- Events.stream_in(handle, conditions(query)) do
      assert Enum.to_list(stream) == events
      if told?(query), do: assert(told(handle, query, length(events)) == Enum.sort_by(events, & &1.event_id))
      %{"ids" => Enum.map(events, & &1.event_id)}
    else
      failure -> failed(failure)
    end
  end

  defp answer(handle, %{"count" => query}) do
    {:ok, count} = Summary.count(handle, conditions(query))
    %{"result" => count}
  end

  defp answer(handle, %{"trace" => id, "limit" => limit}) do
    case Summary.trace(handle, id, limit: limit) do
      {:ok, trace} ->
        %{
          "events" => for({depth, event} <- trace.events, do: [event.event_id, depth]),
          "missing_parent" => trace.missing_parent,
          "cycles" => trace.cycles,
          "truncated" => trace.truncated
        }

      failure ->
        failed(failure)
    end
  end

  # What a tail can ask as well: it tells all, by position.
  defp told?(query) do
    Enum.all?(["seq_range", "order", "descending", "offset", "limit"], &(not is_map_key(query, &1)))
  end

  defp told(handle, query, count) do
    conditions = Enum.flat_map(query, &condition/1)
    {:ok, subscription} = Subscription.open(handle, self(), conditions, from_seq: 1)

    told =
      for _ <- 1..count//1 do
        assert_receive {:event_notification, ^subscription, {:event_stored, _seq, event}}, 5_000
        event
      end

    {:ok, %{behind: 0, delivered: ^count}} = looked_through(handle, subscription)
    :ok = Native.event_unsubscribe(handle, self(), subscription)
    Enum.sort_by(told, & &1.event_id)
  end

  defp looked_through(handle, subscription) do
    ElixirScope.Case.eventually(fn ->
      match?({:ok, %{behind: 0, unread: 0}}, Native.event_subscription_stats(handle, subscription))
    end)

    Native.event_subscription_stats(handle, subscription)
  end

  defp failed({:error, %Error{error_type: type}}), do: %{"error" => Atom.to_string(type)}

  defp conditions(query), do: Enum.flat_map(query, &condition/1) ++ order(query)

  defp condition({"types", types}), do: [event_type: Enum.map(types, &String.to_atom/1)]
  defp condition({"node", node}), do: [node: node && String.to_atom(node)]
  defp condition({key, [first, last]}) when key != "data", do: [{String.to_existing_atom(key), {first, last}}]

  defp condition({"data", conditions}) do
    data =
      for condition <- conditions do
        value =
          if condition["op"] == "exists",
            do: Map.get(condition, "value", true),
            else: value(condition["value"])

        {List.wrap(condition["path"]), Map.get(@operators, condition["op"], :unknown), value}
      end

    [data: data]
  end

  defp condition({key, _value}) when key in ["order", "descending"], do: []

  defp condition({key, value}) when key in ["correlation_id", "parent_id", "pid", "offset", "limit"],
    do: [{String.to_existing_atom(key), value}]

  defp order(query) do
    key = %{"timestamp" => :timestamp, "seq" => :seq, "id" => :event_id}[query["order"] || "timestamp"]
    [order_by: {key, if(query["descending"], do: :desc, else: :asc)}]
  end

  defp value(%{"big" => text}), do: String.to_integer(text)
  defp value(values) when is_list(values), do: Enum.map(values, &value/1)
  defp value(value), do: value

  # A summary as the JSON of the others.
  defp written(summary) do
    summary
    |> Map.put_new(:correlations_error, 0)
    |> Map.new(fn
      {:by_type, types} ->
        {"by_type", for({type, n} <- types, do: %{"event_type" => "#{type}", "count" => n})}

      {:buckets, buckets} ->
        {"buckets", for({from, n} <- buckets, do: %{"from" => from, "count" => n})}

      {:top_correlations, top} ->
        {"top_correlations", for({id, n} <- top, do: %{"correlation_id" => id, "count" => n})}

      {:field, field} ->
        {"field", Map.new(field, fn {key, value} -> {"#{key}", value} end)}

      {key, value} ->
        {"#{key}", value}
    end)
  end
end
