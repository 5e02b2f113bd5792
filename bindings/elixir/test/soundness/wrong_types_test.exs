defmodule ElixirScope.Soundness.WrongTypesTest do
  use ElixirScope.Case

  @stand_ins [
    nil,
    :atom,
    :日本,
    0,
    -1,
    1,
    1.5,
    123_456_789_012_345_678_901_234_567_890,
    "",
    "text",
    <<255, 0>>,
    <<1::3>>,
    [],
    [1 | 2],
    [:a | :b],
    [[], [[]]],
    'list',
    {},
    {1, 2},
    {[], nil, nil, nil, nil, nil, nil, nil, [], :timestamp, :asc, 0, nil, nil},
    {:is, nil},
    {false, nil, 0, nil},
    [{[:n], :==, 1}],
    %{},
    %{1 => 2},
    %{"config" => []},
    %{config: %{nonsense: 1}},
    &String.length/1
  ]

  # What ends the instance or blocks is tested by itself.
  @apart [:stop_notifying, :test_panic, :test_words, :load, :loaded, :module_info, :__info__]

  defp nifs, do: for({name, arity} <- Native.__info__(:functions), name not in @apart, do: {name, arity})

  test "every NIF given every wrong type answers, and never raises" do
    handle = Instance.handle()
    {:ok, owner} = Instance.new_owner()
    values = @stand_ins ++ [self(), make_ref(), hd(Port.list()), owner]
    calls = :counters.new(2, [])

    for {name, arity} <- nifs() do
      # One argument at a time is wrong, the others are plausible; then all are the same wrong thing.
      for position <- 0..(arity - 1)//1, value <- values, base <- bases(name, arity, handle) do
        try_call(name, List.replace_at(base, position, value), calls)
      end

      for value <- values, do: try_call(name, List.duplicate(value, arity), calls)
    end

    assert :counters.get(calls, 1) > 2_000
    assert :counters.get(calls, 2) > 1_000
    assert Instance.open?()
    assert Instance.handle() == handle
    assert {:ok, _} = Config.get([:ai])
  end

  test "an event with any field wrong is answered alone, in a batch and in the rest of one" do
    handle = Instance.handle()
    calls = :counters.new(2, [])
    batch = collected()

    for {key, value} <- wrong_fields() do
      wrong = Map.put(event(), key, value)
      for name <- [:event_append, :event_append_async], do: try_call(name, [handle, wrong], calls)

      for name <- [:event_append_encoded, :event_append_async_encoded],
          do: try_call(name, [handle, %{wrong | data: "\x83j"}], calls)

      try_call(:event_append_batch, [handle, [wrong]], calls)
      try_call(:event_append_batch_encoded, [handle, [%{wrong | data: "\x83j"}]], calls)
      try_call(:event_batch_read, [handle, batch, [wrong]], calls)
      assert_answer(:store, [wrong], Events.store(wrong))
      assert_answer(:store_async, [wrong], Events.store_async(wrong))
      assert_answer(:store_batch, [wrong], Events.store_batch([event(), wrong]))
    end

    assert :counters.get(calls, 2) > 500
  end

  test "every NIF answers for a handle that is stale, foreign or none" do
    {:ok, counter} = Telemetry.counter("w.counter")

    for handle <- [0, 1, counter, Bitwise.bsl(1, 58), Instance.handle() + 1],
        {name, arity} <- nifs(),
        arity > 0 do
      for [_first | rest] <- bases(name, arity, handle), name not in [:owner_open, :owner_close] do
        assert_answer(name, [handle | rest], apply(Native, name, [handle | rest]))
      end
    end
  end

  defp bases(name, 2, handle) when name in [:event_append, :event_append_async], do: [[handle, event()]]

  defp bases(name, 2, handle) when name in [:event_append_encoded, :event_append_async_encoded],
    do: [[handle, %{event() | data: "\x83j"}]]

  defp bases(:event_append_batch, 2, handle), do: [[handle, [event()]]]
  defp bases(:event_append_batch_encoded, 2, handle), do: [[handle, [%{event() | data: "\x83j"}]]]
  defp bases(:event_batch_read, 3, handle), do: [[handle, collected(), [event()]]]

  defp bases(name, 2, handle) when name in [:event_batch_append, :event_batch_append_dirty],
    do: [[handle, collected()]]

  defp bases(name, 3, handle) when name in [:event_query, :event_query_dirty],
    do: for(query <- wrong_queries(), do: [handle, query, 10])

  defp bases(name, 2, handle) when name in [:event_count, :event_explain],
    do: for(query <- wrong_queries(), do: [handle, query])

  defp bases(:event_aggregate, 3, handle) do
    query = hd(wrong_queries())
    whole = {true, 10, 1, [:n]}
    for position <- 0..3, value <- @stand_ins, do: [handle, query, put_elem(whole, position, value)]
  end

  defp bases(:event_trace, 3, handle), do: [[handle, 1, 10]]

  defp bases(:event_subscribe, 6, handle), do: [[handle, self(), hd(wrong_queries()), 1, 5, 1]]
  defp bases(:event_unsubscribe, 3, handle), do: [[handle, self(), nil]]
  defp bases(:event_acknowledge, 3, handle), do: [[handle, 1, 1]]
  defp bases(:event_subscription_stats, 2, handle), do: [[handle, 1]]
  defp bases(:event_await, 4, handle), do: [[handle, nil, nil, make_ref()]]
  defp bases(:event_await_room, 2, handle), do: [[handle, make_ref()]]
  defp bases(_name, 0, _handle), do: []

  defp bases(_name, arity, handle),
    do: [[handle | List.duplicate(:x, arity - 1)], [handle | List.duplicate(%{}, arity - 1)]]

  # A query as it should be, each part of it with each value that it should not have, and wrong conditions on data.
  defp wrong_queries do
    good = {[], nil, nil, nil, nil, nil, nil, nil, [], :timestamp, :asc, 0, nil, nil}
    parts = for position <- 0..13, value <- @stand_ins, do: put_elem(good, position, value)
    asked = for position <- 5..7, value <- @stand_ins, do: put_elem(good, position, {:is, value})

    conditions =
      for value <- @stand_ins,
          condition <- [value, {value, :==, 1}, {[value], :==, 1}, {[:n], value, 1}, {[:n], :in, value}] do
        put_elem(good, 8, [condition])
      end

    [good | parts ++ asked ++ conditions]
  end

  # A batch that waits for the rest of it.
  defp collected do
    event = event()
    {:more, batch, _rest} = Native.event_append_batch(Instance.handle(), List.duplicate(event, 251))
    batch
  end

  # Each field of an event with each value that it should not have, and times that are put together by hand.
  defp wrong_fields do
    times = for {key, _value} <- Map.from_struct(DateTime.utc_now()), value <- @stand_ins, do: {key, value}

    for({key, _value} <- Map.from_struct(event()), value <- @stand_ins, do: {key, value}) ++
      for {key, value} <- times, do: {:wall_time, Map.put(DateTime.utc_now(), key, value)}
  end

  defp try_call(name, args, calls) do
    answer = apply(Native, name, args)
    :counters.add(calls, 1, 1)
    if match?({:error, %Error{}}, answer), do: :counters.add(calls, 2, 1)
    assert_answer(name, args, answer)
  end

  defp assert_answer(name, args, answer) do
    case answer do
      {:error, %Error{code: code, message: message}} when is_integer(code) and is_binary(message) -> :ok
      {:error, _other} -> flunk("#{name}(#{inspect(args)}) answered #{inspect(answer)}")
      _success -> :ok
    end
  end
end
