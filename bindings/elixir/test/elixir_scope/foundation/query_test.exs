defmodule ElixirScope.Foundation.QueryTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Events.{Query, Summary}
  alias ElixirScope.Foundation.Services.EventStore

  test "queries honour every key" do
    pid = spawn(fn -> :ok end)

    events =
      for n <- 1..10 do
        event(if(rem(n, 2) == 0, do: :type_a, else: :type_b), %{n: n, name: "event #{n}", list: [n, {n}]},
          timestamp: n * 10,
          correlation_id: if(n <= 3, do: "chain"),
          parent_id: if(n == 2, do: 99),
          node: if(n == 3, do: :other@host, else: node()),
          pid: if(n == 4, do: pid, else: self())
        )
      end

    {:ok, ids} = Events.store_batch(Enum.shuffle(events))

    numbers = fn conditions ->
      with {:ok, found} <- Events.query(conditions), do: Enum.map(found, & &1.data.n)
    end

    assert numbers.([]) == Enum.to_list(1..10)
    assert numbers.(%{}) == Enum.to_list(1..10)
    assert numbers.(event_type: :type_a) == [2, 4, 6, 8, 10]
    assert numbers.(event_type: [:type_a, :type_b], limit: 3) == [1, 2, 3]
    assert numbers.(event_type: :unheard_of) == []
    assert numbers.(correlation_id: "chain") == [1, 2, 3]
    assert numbers.(correlation_id: "none") == []
    assert numbers.(time_range: {30, 50}) == [3, 4, 5]
    assert numbers.(time_range: {50, 30}) == []
    assert numbers.(time_range: {-Bitwise.bsl(1, 80), Bitwise.bsl(1, 80)}) == Enum.to_list(1..10)
    assert numbers.(parent_id: 99) == [2]
    assert numbers.(node: :other@host) == [3]
    assert numbers.(pid: pid) == [4]
    assert numbers.(data: %{n: 7}) == [7]
    assert numbers.(data: [{["n"], :>, 7}, {[:list, 1, 0], :<=, 9}]) == [8, 9]
    assert numbers.(data: [{[:name], :<, "event 2"}]) == [1, 10]
    assert numbers.(data: [{[:n], :>, "text"}]) == []
    assert numbers.(data: [{[:missing], :!=, 1}]) == []
    assert numbers.(order_by: {:timestamp, :desc}, limit: 2) == [10, 9]
    assert numbers.(offset: 8) == [9, 10]
    assert numbers.(offset: 2, limit: 2, data: [{[:n], :>, 4}]) == [7, 8]
    assert numbers.(limit: 0) == []
    assert numbers.(id_range: {Enum.min(ids), Enum.max(ids)}) == Enum.to_list(1..10)

    assert {:ok, by_id} = Events.query(order_by: :event_id)
    assert Enum.map(by_id, & &1.event_id) == Enum.sort(ids)
    assert {:ok, [last | _]} = Events.query(order_by: {:event_id, :desc})
    assert last.event_id == Enum.max(ids)

    assert {:ok, recent} = Events.get_recent(2)
    assert Enum.map(recent, & &1.data.n) == [10, 9]
    assert {:ok, [_, _]} = Events.get_time_range(10, 20)
    assert Events.get_correlation_chain("chain") == Events.get_by_correlation("chain")
  end

  test "nothing that a caller passes to a query takes anything down" do
    for wrong <- [
          [limit: :infinity],
          [limit: -1],
          [offset: "1"],
          [time_range: :today],
          [time_range: {1, :x}],
          [event_type: "text"],
          [event_type: [1]],
          [correlation_id: :atom],
          [order_by: :name],
          [order_by: {:timestamp, :up}],
          [data: [{:n, :>, 1}]],
          [data: [{[], :==, 1}]],
          [data: [{[:n | :m], :==, 1}]],
          [data: [{[:n], :==, 1} | :improper]],
          [data: [{List.duplicate(:n, 33), :==, 1}]],
          [data: [{[-1], :==, 1}]],
          [data: [{[1.5], :==, 1}]],
          [data: [{[<<255>>], :==, 1}]],
          [data: [{[:n], :like, 1}]],
          [data: [{[:n], :==, [1]}]],
          [data: [{[:n], :==, %{}}]],
          [data: [{[:n], :==, self()}]],
          [data: [{[:n], :in, 1}]],
          [data: [{[:n], :in, [1, {}]}]],
          [data: [{[:n], :in, [1 | 2]}]],
          [data: [{[:n], :in, Enum.to_list(1..1_025)}]],
          [data: [{[:n], :prefix, 1}]],
          [data: [{[:n], :exists, nil}]],
          [data: List.duplicate({[:n], :==, 1}, 65)],
          [data: %{1.5 => 1}],
          [data: 1],
          [data: ~U[2026-01-01 00:00:00Z]],
          [pid: :pid],
          [pid: <<255>>],
          [node: "node"],
          [parent_id: "1"],
          [id_range: 1],
          [seq_range: {1}],
          [timeout: -1],
          [timeout: :infinity],
          [unknown: 1],
          %{"limit" => 1},
          :what,
          [1, 2]
        ] do
      assert {:error, %Error{error_type: :invalid_input} = error} = Events.query(wrong), inspect(wrong)
      if match?([{_key, _value}], wrong), do: assert(error.context.key == wrong |> hd() |> elem(0))

      for ask <- [&Events.count/1, &Events.stream/1, &Events.explain/1, &Events.aggregate/1] do
        assert {:error, %Error{error_type: :invalid_input}} = ask.(wrong)
      end
    end

    assert {:error, %Error{context: %{key: :colour}}} = Events.query(colour: :red)
    assert {:error, %Error{}} = Events.get(:id)
    assert {:error, %Error{}} = Events.get(0)
    assert {:error, %Error{}} = Events.prune_before("now")
    assert {:error, %Error{}} = Events.get_by_correlation(1)
  end

  test "a result of many batches is complete" do
    events = for n <- 1..7_000, do: event(:many, n, correlation_id: "all")
    {:ok, _} = Events.store_batch(events)
    {:ok, by_correlation} = Events.get_by_correlation("all")
    assert Enum.map(by_correlation, & &1.data) == Enum.to_list(1..7_000)
    {:ok, query} = Query.new(correlation_id: "all")
    assert Native.event_query(Instance.handle(), Query.native(query), 100) == :dirty
    assert {:ok, filtered} = Events.query(data: [])
    assert length(filtered) == 7_000
  end

  defp numbers(conditions) do
    {:ok, found} = Events.query(conditions)
    Enum.map(found, & &1.data.n)
  end

  test "nil asks for events without a parent, node or pid, and ids and positions have ranges" do
    events = [
      event(:test, %{n: 1}, timestamp: 1, parent_id: 5),
      event(:test, %{n: 2}, timestamp: 2, node: nil),
      event(:test, %{n: 3}, timestamp: 3, pid: nil)
    ]

    {:ok, [first, second, third]} = Events.store_batch(events)
    assert numbers(parent_id: nil) == [2, 3]
    assert numbers(parent_id: 5) == [1]
    assert numbers(parent_id: -1) == []
    assert numbers(parent_id: Bitwise.bsl(1, 80)) == []
    assert numbers(node: nil) == [2]
    assert numbers(node: :unheard@of) == []
    assert numbers(pid: nil) == [3]
    assert numbers(pid: self()) == [1, 2]
    assert numbers(pid: "a thread of another language") == []
    assert numbers(id_range: {second, second}) == [2]
    assert numbers(id_range: {-10, first}) == [1]
    assert numbers(id_range: {third, Bitwise.bsl(1, 80)}) == [3]
    assert numbers(id_range: {-10, -1}) == []
    {:ok, %{next_id: next}} = Events.status()
    # Positions are dense: the last three are these.
    assert numbers(seq_range: {next - 3, next - 2}) == [2, 3]
    assert numbers(seq_range: {-5, -1}) == []
  end

  test "the time of a query may be up, which is an error and never a part of the answer" do
    {:ok, _} = Events.store_batch(for n <- 1..1_000, do: event(:test, n, correlation_id: "late"))

    for conditions <- [[], [correlation_id: "late"], [data: [{[:n], :>, 1}]]] do
      conditions = [timeout: 0] ++ conditions
      assert {:error, %Error{error_type: :timeout}} = Events.query(conditions)
      assert {:error, %Error{error_type: :timeout}} = Events.count(conditions)
      assert {:error, %Error{error_type: :timeout}} = Events.aggregate(conditions)
      assert {:ok, stream} = Events.stream(conditions)
      assert_raise RuntimeError, ~r/timeout/, fn -> Enum.to_list(stream) end
    end

    assert {:ok, found} = Events.query(correlation_id: "late", timeout: 600_000)
    assert length(found) == 1_000
  end

  test "a stream holds a batch at a time, may end early, and asks anew each time" do
    {:ok, _} = Events.store_batch(for n <- 1..7_000, do: event(:many, n, timestamp: n))
    {:ok, stream} = Events.stream(event_type: :many, offset: 10)
    assert Enum.map(stream, & &1.data) == Enum.to_list(11..7_000)
    assert stream |> Stream.map(& &1.data) |> Enum.take(3) == [11, 12, 13]
    assert stream |> Stream.drop(3_000) |> Stream.map(& &1.data) |> Enum.take(2) == [3_011, 3_012]
    {:ok, _} = Events.store(event(:many, 7_001, timestamp: 7_001))
    assert Enum.count(stream) == 6_991
    {:ok, none} = Events.stream(event_type: :unheard_of)
    assert Enum.to_list(none) == []
  end

  test "a cursor that is closed lets go of what it held and has no more events" do
    # Enough for a segment that is not written to any more, which pruning removes as a whole.
    for _ <- 1..10, do: {:ok, _} = Events.store_batch(for(n <- 1..5_000, do: event(:many, n)))
    {:ok, query} = Query.new([])
    {:more, cursor, [_]} = Native.event_query_dirty(Instance.handle(), Query.native(query), 1)
    {:ok, _} = Events.prune_before(Bitwise.bsl(1, 62))
    pinned = fn -> Native.event_stats(Instance.handle()) |> elem(1) |> Map.fetch!(:pinned_bytes) end
    assert pinned.() > 0
    assert Native.cursor_close(cursor) == :ok
    # What else looks at segments, a sealing one, is through in a moment.
    assert eventually(fn -> pinned.() == 0 end)
    assert Native.cursor_next(cursor, 1) == {:done, []}
    assert Native.cursor_close(cursor) == :ok
    assert {:error, %Error{error_type: :type_mismatch}} = Native.cursor_close(:cursor)
  end

  test "a plan names the index and why" do
    events =
      for n <- 1..1_000, do: event(:test, n, correlation_id: "c#{rem(n, 100)}", parent_id: rem(n, 50) + 1)

    {:ok, ids} = Events.store_batch(events)
    id = hd(ids)
    time = hd(events).timestamp

    for {index, conditions} <- [
          none: [],
          correlation: [correlation_id: "c7"],
          parent: [parent_id: 3],
          id: [id_range: {id, id}],
          time: [time_range: {time, time}],
          seq: [seq_range: {0, 1}]
        ] do
      assert {:ok, %{index: ^index, reason: reason, events: 1_000} = plan} = Events.explain(conditions)
      assert is_binary(reason) and is_integer(plan.candidates) and is_list(plan.estimates)
    end

    assert {:ok, %{estimates: [%{index: :correlation, events: 10}]}} = Events.explain(correlation_id: "c7")
  end

  test "what a query finds is counted without being shown" do
    events =
      for n <- 1..100 do
        event(if(rem(n, 4) == 0, do: :rare, else: :common), %{n: n},
          timestamp: n * 10,
          correlation_id: "c#{rem(n, 7)}"
        )
      end

    {:ok, _} = Events.store_batch(events)
    assert Events.count([]) == {:ok, 100}
    assert Events.count(event_type: :rare, data: [{[:n], :>, 50}]) == {:ok, 13}
    assert Events.count(limit: 7, offset: 95) == {:ok, 5}

    options = [by_type: true, bucket_ns: 500, top_correlations: 2, field: ["n"]]
    assert {:ok, found} = Events.aggregate([], options)

    assert found == %{
             count: 100,
             uncomparable: 0,
             by_type: [common: 75, rare: 25],
             buckets: [{0, 49}, {500, 50}, {1_000, 1}],
             top_correlations: [{"c1", 15}, {"c2", 15}],
             correlations_error: 0,
             field: %{
               count: 100,
               missing: 0,
               uncomparable: 0,
               min: 1.0,
               mean: 50.5,
               max: 100.0,
               p50: 50.0,
               p90: 90.0,
               p99: 99.0
             }
           }

    assert {:ok, %{count: 25, uncomparable: 0} = plain} = Events.aggregate(event_type: :rare)
    assert map_size(plain) == 2
    assert {:ok, %{count: 0, uncomparable: 100}} = Events.aggregate(data: [{[:n], :==, "text"}])
    assert {:ok, %{field: %{count: 0, missing: 100, min: nil}}} = Events.aggregate([], field: [:m])

    for wrong <- [
          [by_type: 1],
          [bucket_ns: 0],
          [top_correlations: 1_001],
          [field: :n],
          [field: []],
          [other: 1],
          :all
        ] do
      assert {:error, %Error{error_type: :invalid_input} = error} = Events.aggregate([], wrong)
      if is_list(wrong), do: assert(error.context.key == wrong |> hd() |> elem(0))
    end
  end

  test "a trace is the tree of causes from its root on" do
    store = fn name, parent ->
      {:ok, id} = Events.store(event(:step, name, parent_id: parent))
      id
    end

    root = store.("root", nil)
    left = store.("left", root)
    right = store.("right", root)
    leaf = store.("leaf", left)

    for id <- [root, left, right, leaf] do
      assert {:ok, trace} = Events.trace(id)

      assert for({depth, event} <- trace.events, do: {depth, event.data}) == [
               {0, "root"},
               {1, "left"},
               {2, "leaf"},
               {1, "right"}
             ]

      assert %{missing_parent: nil, cycles: [], truncated: false} = trace
    end

    assert {:ok, %{events: [{0, _}], truncated: true}} = Events.trace(leaf, limit: 1)
    orphan = store.("orphan", 77)
    assert {:ok, %{missing_parent: 77, events: [{0, %{data: "orphan"}}]}} = Events.trace(orphan)
    {:ok, self} = Events.store(%{event(:step, "self") | event_id: 4_242, parent_id: 4_242})
    assert {:ok, %{cycles: [^self]}} = Events.trace(self)
    assert {:error, %Error{error_type: :data_not_found}} = Events.trace(123_456_789)
    assert {:error, %Error{error_type: :type_mismatch}} = Events.trace(:id)
    assert {:error, %Error{error_type: :invalid_input}} = Events.trace(root, limit: 0)
    assert {:error, %Error{error_type: :invalid_input}} = Events.trace(root, depth: 1)
  end

  test "the service has the same functions" do
    {:ok, id} = Events.store(event(:test, %{n: 1}, correlation_id: "c", timestamp: 5))
    assert EventStore.count([]) == {:ok, 1}
    assert {:ok, %{count: 1}} = EventStore.aggregate([])
    assert {:ok, %{index: :none}} = EventStore.explain([])
    assert {:ok, %{events: [{0, _}]}} = EventStore.trace(id)
    assert {:ok, [_]} = EventStore.get_recent()
    assert {:ok, [_]} = EventStore.get_time_range(5, 5)
    assert {:ok, [_]} = EventStore.get_correlation_chain("c")
    assert {:ok, stream} = EventStore.stream([])
    assert Enum.count(stream) == 1
  end

  test "without an instance everything is service_unavailable" do
    for answer <- [
          Events.query_in(0, []),
          Events.query_in(0, correlation_id: "c"),
          Events.stream_in(0, []),
          Summary.count(0, []),
          Summary.explain(0, []),
          Summary.aggregate(0, [], []),
          Summary.trace(0, 1, [])
        ] do
      assert {:error, %Error{error_type: :service_unavailable}} = answer
    end
  end
end
