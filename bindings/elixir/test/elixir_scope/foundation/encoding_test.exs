defmodule ElixirScope.Foundation.EncodingTest do
  # The native encoder against the runtime's: every term gives the same bytes, or is left to the runtime.
  use ElixirScope.Case

  alias ElixirScope.Foundation.Logic.EventLogic
  alias ElixirScope.Foundation.Utils

  @moduletag timeout: 120_000
  @runs 3_000
  @atoms [
    :a,
    :"",
    nil,
    true,
    :größe,
    :日本,
    :ok,
    String,
    :"with space",
    String.to_atom(String.duplicate("x", 255))
  ]

  test "small terms of every kind, at the edges of their encodings" do
    powers = for k <- 0..64, sign <- [1, -1], d <- [-1, 0, 1], do: sign * (Bitwise.bsl(1, k) + d)

    # What 64 bits do not hold is the runtime's.
    {far, near} = Enum.split_with(powers, &(&1 < -0x8000_0000_0000_0000 or &1 > 0xFFFF_FFFF_FFFF_FFFF))

    for term <- far, do: assert(native(term) == :encode)

    terms =
      near ++
        @atoms ++
        [0.0, -0.0, 1.5, 1.0e308, 5.0e-324, "", <<0, 255>>, String.duplicate("é", 5_000)] ++
        [[], [0], [255], [256], [-1], [0 | 1], [1, 2 | nil], [[]], ["a" | "b"], 'text', 'größe'] ++
        [List.duplicate(7, 3_000), List.duplicate(7, 3_000) ++ [256]] ++
        [{}, {1}, List.to_tuple(List.duplicate(nil, 255)), List.to_tuple(List.duplicate(nil, 256))] ++
        [%{}, %{1 => 2}, Map.new(1..32, &{&1, &1}), Map.new(1..32, &{to_string(&1), {&1}})] ++
        [self(), make_ref(), hd(Port.list()), remote_pid(), remote_ref(), DateTime.utc_now(), event()] ++
        [Enum.reduce(1..60, :deep, fn _, inner -> [inner] end)]

    for term <- terms, do: assert_same(term)
    # Remembered atoms, and more of them than are remembered.
    atoms = for n <- 1..1_000, do: String.to_atom("encoding_test_#{n}")
    for _round <- 1..2, atom <- atoms, do: assert_same([atom, {atom, 1}])
  end

  test "the longest list that is encoded natively, and the lists around the longest string" do
    assert_same(List.duplicate(7, 15_990))
    assert native(List.duplicate(7, 16_000)) == :encode

    for count <- [65_535, 65_536] do
      stored = event(:test, List.duplicate(1, count))
      assert Events.store(stored) == {:ok, stored.event_id}
      assert bytes(stored.event_id) == :erlang.term_to_binary(stored.data)
    end
  end

  test "a batch is read some events at a time, and stored as one" do
    handle = Instance.handle()

    for {count, data} <- [{250, nil}, {251, nil}, {1_500, nil}, {1_501, nil}, {600, Enum.to_list(1..100)}] do
      {:ok, %{next_id: before}} = Events.status()
      events = for n <- 1..count//1, do: event(:test, {n, data}, correlation_id: "batch-#{n}", parent_id: n)
      assert Events.store_batch(events) == {:ok, Enum.map(events, & &1.event_id)}
      assert {:ok, %{next_id: later}} = Events.status()
      assert later == before + count
      for event <- Enum.take_every(events, 97), do: assert(Events.get(event.event_id) == {:ok, event})
    end

    {:more, batch, rest} = Native.event_append_batch(handle, for(n <- 1..2_000, do: event(:test, n)))
    assert length(rest) == 1_750
    assert {:more, ^batch, _rest} = Native.event_batch_read(handle, batch, rest)
    assert {:error, %Error{context: %{index: 500}}} = Native.event_batch_read(handle, batch, [:no_event])
    # What was read stays as it was, and is stored once.
    assert {:read, ^batch} = Native.event_batch_read(handle, batch, [event(:test, "last")])
    assert {:ok, ids} = Native.event_batch_append(handle, batch)
    assert length(ids) == 501
    assert Native.event_batch_append(handle, batch) == {:ok, []}
    assert {:ok, %Event{data: "last"}} = Events.get(List.last(ids))
  end

  test "what is large, or only the runtime can encode, is left to it and stored all the same" do
    local = self()

    terms = [
      Enum.reduce(1..70, :deep, fn _, inner -> [inner] end),
      Enum.to_list(1..20_000),
      :binary.copy("x", 200_000),
      Map.new(1..33, &{&1, &1}),
      <<1::3>>,
      [<<1::9>>],
      fn -> local end,
      &String.length/1,
      Bitwise.bsl(1, 70)
    ]

    for term <- terms do
      assert native(term) == :encode
      stored = event(:test, term)
      assert Events.store(stored) == {:ok, stored.event_id}
      [first, second, third] = batch = for _ <- 1..3, do: event(:test, term)
      assert Events.store_batch(batch) == {:ok, [first.event_id, second.event_id, third.event_id]}

      for %{event_id: id} <- [stored | batch] do
        assert bytes(id) == :erlang.term_to_binary(term)
        assert {:ok, %Event{data: ^term}} = Events.get(id)
      end
    end
  end

  test "a batch is stored whole or not at all, whoever encodes it" do
    {:ok, %{current_event_count: before}} = Events.stats()
    function = event(:test, fn -> :left_to_the_runtime end)
    large = Map.put(event(), :data, :binary.copy(<<0>>, 1_000_001))
    days = Map.put(event(), :wall_time, %{DateTime.utc_now() | day: :first})

    for {wrong, type} <- [
          {:no_event, :type_mismatch},
          {%{event() | event_id: nil}, :validation_failed},
          {%{event() | parent_id: -1}, :type_mismatch},
          {large, :data_too_large},
          {days, :type_mismatch},
          {function, :duplicate_event_id}
        ],
        batch <- [[function, event(), wrong], [event(), function, wrong]] do
      assert {:error, %Error{error_type: ^type, context: %{index: 2}}} = Events.store_batch(batch),
             inspect(wrong)
    end

    assert {:error, %Error{error_type: :type_mismatch}} = Events.store_batch([function | :improper])
    many = for _ <- 1..600, do: event()

    for wrong <- [:no_event, large, days],
        do: assert({:error, %Error{context: %{index: 600}}} = Events.store_batch(many ++ [wrong]))

    assert {:error, %Error{context: %{index: 600}}} = Events.store_batch(many ++ [hd(many)])
    assert {:error, %Error{error_type: :type_mismatch}} = Events.store_batch(many ++ :improper)
    assert {:ok, %{current_event_count: ^before}} = Events.stats()
  end

  test "random terms give the bytes of term_to_binary, alone and in batches, and come back" do
    :rand.seed(:exsss, {1, 2, 3})
    terms = for _ <- 1..@runs, do: random_term(:rand.uniform(40))
    native = Enum.count(terms, &assert_same/1)
    assert native > @runs * 0.9, "only #{native} of them were encoded natively"

    for terms <- Enum.chunk_every(terms, 300) do
      events = Enum.map(terms, &event(:test, &1))
      assert Events.store_batch(events) == {:ok, Enum.map(events, & &1.event_id)}

      for %{event_id: id, data: term} = stored <- events do
        assert bytes(id) == :erlang.term_to_binary(term), inspect(term)
        assert {:ok, found} = Events.get(id)
        assert found === stored
      end
    end
  end

  test "a VM that makes words in another way is asked about every term" do
    assert Native.test_words(false) == :ok
    on_exit(fn -> :ok = Native.test_words(true) end)
    :rand.seed(:exsss, {4, 5, 6})
    for _ <- 1..300, do: assert_same(random_term(:rand.uniform(40)))
    for term <- [1, -1, [1, 2], [], [1 | 2], 'abc', %{a: [1, [2]]}], do: assert(assert_same(term))
    for stored <- wherever(event(:test, %{a: 1})), do: assert_stored(stored)
  end

  test "maps of every size, whose keys are anything, and lists that stop being bytes at any place" do
    for size <- 0..40 do
      taken =
        for key <- [& &1, &"key #{&1}", &{&1, [&1]}, &(&1 / 2)], do: Map.new(1..size//1, &{key.(&1), &1})

      for map <- taken, do: assert(assert_same(map) == size <= 32)
      # Keys that are shared by maps of other values, and keys of a map's own.
      map = hd(taken)
      for other <- [Map.new(map, fn {key, _} -> {key, map} end), sent(map)], do: assert_same(other)
    end

    for place <- 0..20, odd <- [256, -1, 1.5, :atom, "text", [1], nil, 0x7FFF_FFFF_FFFF_FFFF] do
      list = List.duplicate(7, 20)
      assert assert_same(List.replace_at(list, place, odd))
      assert assert_same(Enum.take(list, place) ++ odd)
    end
  end

  test "an event is read wherever its map lies, and whatever else is in it" do
    for stored <- wherever(event(:test, %{a: 1}, correlation_id: "c", parent_id: 5)),
        do: assert_stored(stored)

    other = Map.put(event(:test, 1), :another_key, 2)
    assert Events.store(other) == {:ok, other.event_id}
    assert Events.get(other.event_id) == {:ok, Map.delete(other, :another_key)}

    for lacking <- [
          Map.delete(event(:test, 1), :__struct__),
          %{event(:test, 1) | __struct__: URI},
          %{},
          [],
          {}
        ] do
      assert {:error, %Error{error_type: :type_mismatch}} = Events.store(lacking)
      assert {:error, %Error{error_type: :type_mismatch}} = Events.store_async(lacking)
      assert {:error, %Error{error_type: :type_mismatch}} = Events.store_batch([lacking])
    end
  end

  test "wall times of one calendar and of another, before 1970 and with offsets" do
    {:ok, past, 0} = DateTime.from_iso8601("1901-02-28T23:59:59.999999Z")
    ahead = %{DateTime.utc_now() | utc_offset: 3_600, std_offset: 3_600, time_zone: "A/B", zone_abbr: "AB"}

    for time <- [past, ahead, nil, DateTime.utc_now()] do
      stored = %{event(:test, 1) | wall_time: time}
      assert Events.store(stored) == {:ok, stored.event_id}
      batched = %{event(:test, 1) | wall_time: time}
      assert Events.store_batch([batched]) == {:ok, [batched.event_id]}

      for id <- [stored.event_id, batched.event_id] do
        assert {:ok, found} = Events.get(id)
        assert time == nil or DateTime.compare(found.wall_time, time) == :eq
      end
    end
  end

  test "serialised events come back exactly, compressed or not, and have the size that is said" do
    :rand.seed(:exsss, {7, 8, 9})

    for _ <- 1..500 do
      original = event(:test, random_term(:rand.uniform(60)), correlation_id: "c", parent_id: 9)
      {:ok, bytes} = Events.serialize(original)
      assert Events.serialized_size(original) == {:ok, byte_size(bytes)}
      assert {:ok, read} = Events.deserialize(bytes)
      assert read === original
      assert {:ok, plain} = EventLogic.serialize_event(original, compression: false)
      assert {:ok, ^read} = Events.deserialize(plain)
    end

    repeated = event(:test, List.duplicate("again and again", 1_000))
    {:ok, small} = Events.serialize(repeated)
    assert byte_size(small) < 2_000
    assert Events.deserialize(small) == {:ok, repeated}

    for {invalid, type} <- [
          {%{repeated | event_id: nil}, :validation_failed},
          {%{repeated | timestamp: :now}, :type_mismatch},
          {%{repeated | data: :binary.copy("x", 1_000_001)}, :data_too_large}
        ] do
      {:ok, bytes} = Events.serialize(invalid)
      assert {:error, %Error{error_type: ^type}} = Events.deserialize(bytes)
    end

    assert {:error, %Error{error_type: :deserialization_failed, context: context}} =
             Events.deserialize("junk")

    assert %{binary_size: 4, original_error: %ArgumentError{}} = context
  end

  test "what the convenience events hold is truncated where it is large, and says so" do
    large = Enum.to_list(1..5_000)
    small = Enum.to_list(1..10)

    {:ok, entry} =
      Events.function_entry(Mod, :fun, 1, large, correlation_id: "c", parent_id: 3, caller_line: 1)

    assert %{truncated: true, original_size: size, preview: "[1, 2, 3" <> _} = entry.data.args
    assert size == :erlang.external_size(large)
    assert {entry.correlation_id, entry.parent_id, entry.data.caller_line} == {"c", 3, 1}
    {:ok, exit} = Events.function_exit(Mod, :fun, 1, entry.data.call_id, large, 5, :normal)
    assert %{truncated: true} = exit.data.result
    {:ok, change} = Events.state_change(self(), :handle_cast, small, large, trigger_call_id: 7, pid: nil)
    assert %{old_state: ^small, new_state: %{truncated: true}, trigger_call_id: 7} = change.data
    assert change.pid == nil and change.data.state_diff == :changed

    for event <- [entry, exit, change] do
      assert {:ok, id} = Events.store(event)
      assert Events.get(id) == {:ok, event}
    end

    # Events that the host makes are stored as they are.
    {:ok, whole} = Events.new_event(:test, large)
    assert whole.data == large
  end

  # An event whose map was made in several ways: with the keys of its module, sent, or with keys of its own.
  defp wherever(event) do
    [
      &%{event | event_id: &1},
      &sent(%{event | event_id: &1}),
      &(event |> Map.to_list() |> Map.new() |> Map.put(:event_id, &1)),
      &:erlang.binary_to_term(:erlang.term_to_binary(%{event | event_id: &1}))
    ]
    |> Enum.map(& &1.(Utils.generate_id()))
  end

  defp sent(term) do
    send(self(), {:sent, term})

    receive do
      {:sent, term} -> term
    end
  end

  defp assert_stored(event) do
    assert Events.store(event) == {:ok, event.event_id}
    assert Events.get(event.event_id) == {:ok, event}
    again = %{event | event_id: Utils.generate_id()}
    assert Events.store_batch([again]) == {:ok, [again.event_id]}
    assert Events.get(again.event_id) == {:ok, again}
  end

  # Whether the native encoder took the term; then its bytes are those of the runtime.
  defp assert_same(term) do
    case native(term) do
      {:ok, id} ->
        assert bytes(id) == :erlang.term_to_binary(term), inspect(term)
        assert :erlang.binary_to_term(bytes(id)) === term
        true

      :encode ->
        false
    end
  end

  defp native(term), do: Native.event_append(Instance.handle(), event(:test, term))

  defp bytes(id) do
    {:ok, row} = Native.event_get(Instance.handle(), id)
    elem(row, 9)
  end

  defp random_term(size) when size <= 1 do
    case :rand.uniform(14) do
      1 -> :rand.uniform(256) - 1
      2 -> :rand.uniform(100_000) - 50_000
      3 -> Bitwise.bsl(:rand.uniform(1_000) - 500, :rand.uniform(52))
      4 -> (:rand.uniform() - 0.5) * :math.pow(10, :rand.uniform(40) - 20)
      5 -> Enum.random(@atoms)
      6 -> :rand.bytes(:rand.uniform(80) - 1)
      7 -> Enum.random([self(), remote_pid(), make_ref(), remote_ref()])
      8 -> for _ <- 1..:rand.uniform(8), do: :rand.uniform(256) - 1
      9 -> Enum.random([[], {}, %{}, "", -0.0])
      10 -> "text #{:rand.uniform(1_000)}"
      11 -> Bitwise.bsl(1, :rand.uniform(61)) - :rand.uniform(2)
      12 -> :rand.uniform(2) == 1
      13 -> -Bitwise.bsl(1, :rand.uniform(62)) + :rand.uniform(2) - 1
      14 -> DateTime.utc_now()
    end
  end

  defp random_term(size) do
    case :rand.uniform(6) do
      1 -> parts(size)
      2 -> List.to_tuple(parts(size))
      3 -> size |> parts() |> Enum.chunk_every(2, 2, [nil]) |> Map.new(&List.to_tuple/1)
      4 -> [random_term(div(size, 2)) | random_term(div(size, 2))]
      5 -> size |> parts() |> Map.new(&{Enum.random(@atoms), &1})
      6 -> {random_term(size - 1)}
    end
  end

  defp parts(size) do
    count = :rand.uniform(min(size, 8))
    for _ <- 1..count, do: random_term(div(size, count))
  end

  defp remote_pid, do: :erlang.binary_to_term(<<131, 88, 119, 9, "other@far", 5::32, 6::32, 7::32>>)

  defp remote_ref,
    do: :erlang.binary_to_term(<<131, 90, 3::16, 119, 9, "other@far", 7::32, 1::32, 2::32, 3::32>>)
end
