defmodule ElixirScope.Foundation.EventsTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Logic.EventLogic
  alias ElixirScope.Foundation.Services.EventStore
  alias ElixirScope.Foundation.Validation.EventValidator

  @terms [
    nil,
    :atom,
    :größe,
    :日本,
    "",
    "text",
    <<0, 255, 128>>,
    <<1::3>>,
    0,
    -1,
    1.5,
    -0.0,
    123_456_789_012_345_678_901_234_567_890,
    [],
    [1, 2 | 3],
    {},
    {1, {2, [3]}},
    %{},
    %{1 => %{"a" => {:b, 'c'}}},
    ~U[2026-01-01 00:00:00Z],
    &String.length/1
  ]

  test "any term comes back exactly" do
    terms = @terms ++ [self(), make_ref(), fn x -> x + 1 end, hd(Port.list()), Enum.to_list(1..1_000)]

    for term <- terms do
      stored = event(:custom_event, term)
      assert Events.store(stored) == {:ok, stored.event_id}
      assert {:ok, found} = Events.get(stored.event_id)
      assert found === stored, inspect(term)
    end
  end

  test "every field comes back" do
    other = spawn(fn -> :ok end)

    stored =
      event(:日本, "data",
        node: :"other@host.example",
        pid: other,
        correlation_id: "köln-1",
        parent_id: 77,
        timestamp: -5,
        wall_time: ~U[1969-12-31 23:59:59.999999Z]
      )

    {:ok, id} = Events.store(stored)
    assert Events.get(id) == {:ok, stored}

    for time <- [
          ~U[2000-02-29 00:00:00.000001Z],
          ~U[2100-03-01 12:00:00.123456Z],
          ~U[1904-02-28 23:59:59.000000Z]
        ] do
      {:ok, id} = Events.store(event(:test, nil, wall_time: time))
      assert {:ok, %Event{wall_time: ^time}} = Events.get(id)
    end
  end

  test "a wall time of another zone is the same moment" do
    elsewhere = %{
      ~U[2026-07-01 12:00:00.000000Z]
      | utc_offset: 3_600,
        std_offset: 3_600,
        time_zone: "Europe/Berlin",
        zone_abbr: "CEST"
    }

    {:ok, id} = Events.store(event(:test, nil, wall_time: elsewhere))
    {:ok, found} = Events.get(id)
    assert DateTime.compare(found.wall_time, elsewhere) == :eq
  end

  test "a pid of another node comes back as itself" do
    remote = :erlang.binary_to_term(<<131, 88, 119, 9, "other@far", 5::32, 6::32, 7::32>>)
    {:ok, id} = Events.store(event(:test, nil, pid: remote))
    assert {:ok, %Event{pid: ^remote}} = Events.get(id)
  end

  test "what is not valid is refused, and the error says why" do
    assert {:error, %Error{error_type: :validation_failed, message: "Event ID cannot be nil"}} =
             Events.store(Event.empty())

    assert {:error, %Error{message: "Event type cannot be nil"}} = Events.store(%{event() | event_type: nil})
    assert {:error, %Error{message: "Timestamp cannot be nil"}} = Events.store(%{event() | timestamp: nil})

    for wrong <- [
          %{event() | event_id: -1},
          %{event() | event_id: Bitwise.bsl(1, 60)},
          %{event() | event_type: "text"},
          %{event() | timestamp: 1.5},
          %{event() | timestamp: Bitwise.bsl(1, 70)},
          %{event() | wall_time: "today"},
          %{event() | node: "node"},
          %{event() | pid: :pid},
          %{event() | correlation_id: 7},
          %{event() | correlation_id: String.duplicate("x", 256)},
          %{event() | parent_id: 0},
          :not_an_event,
          nil
        ] do
      assert {:error, %Error{error_type: :type_mismatch}} = Events.store(wrong), inspect(wrong)
      assert {:error, %Error{error_type: :type_mismatch} = error} = Events.store_batch([event(), wrong])
      assert error.context.index == 1
    end

    large = event() |> Map.put(:data, :binary.copy(<<0>>, 1_000_001))

    assert {:error, %Error{error_type: :data_too_large, context: %{max_size: 1_000_000}}} =
             Events.store(large)

    assert {:error, %Error{error_type: :data_too_large}} = Events.new_event(:test, large.data)
    assert {:error, %Error{error_type: :type_mismatch}} = Events.store_batch(:no_list)
    assert {:error, %Error{error_type: :type_mismatch}} = Events.store_batch([event() | :improper])
    assert {:ok, %{current_event_count: 0}} = Events.stats()
  end

  test "an id is stored once" do
    stored = event()
    {:ok, id} = Events.store(stored)
    assert {:error, %Error{error_type: :duplicate_event_id}} = Events.store(stored)
    assert {:error, %Error{error_type: :duplicate_event_id}} = Events.store_batch([event(), stored])
    assert {:ok, %{current_event_count: 1}} = Events.stats()
    assert {:error, %Error{error_type: :data_not_found}} = Events.get(id + 1_000_000)
  end

  test "a batch is stored whole, in order, also a large one" do
    for count <- [0, 1, 100, 5_000] do
      events = for n <- 1..count//1, do: event(:batch, n)
      assert {:ok, ids} = Events.store_batch(events)
      assert ids == Enum.map(events, & &1.event_id)
    end

    assert {:ok, found} = Events.query(event_type: :batch, order_by: :seq)
    assert length(found) == 5_101
    assert found |> Enum.take(-5_000) |> Enum.map(& &1.data) == Enum.to_list(1..5_000)
  end

  test "pruning is exact" do
    {:ok, _} = Events.store_batch(for n <- 1..10, do: event(:test, n, timestamp: n))
    assert Events.prune_before(4) == {:ok, 3}
    assert {:ok, %{current_event_count: 7, events_pruned: pruned, events_stored: stored}} = Events.stats()
    assert pruned >= 3 and stored >= 10
    assert {:ok, [first | _]} = Events.query([])
    assert first.data == 4
  end

  test "the configuration in force is known of every event" do
    {:ok, before} = Events.store(event())
    {:ok, version} = Config.version()
    Config.update([:dev, :debug_mode], true)
    {:ok, later} = Events.store(event())
    assert Events.config_version(before) == {:ok, version}
    assert Events.config_version(later) == {:ok, version + 1}
  end

  test "bytes and back" do
    original =
      event(:test, %{pid: self(), float: 1.5, text: String.duplicate("ab", 500)}, correlation_id: "c")

    {:ok, bytes} = Events.serialize(original)
    assert Events.serialized_size(original) == {:ok, byte_size(bytes)}
    assert Events.deserialize(bytes) == {:ok, original}
    {:ok, plain} = EventLogic.serialize_event(original, compression: false)
    assert byte_size(plain) > byte_size(bytes)
    assert Events.deserialize(plain) == {:ok, original}

    new_atom = <<131, 119, 25, "an_atom_that_is_not_there">>
    bomb = <<131, 80, 0xFFFFFFFF::32, 0>>

    for bad <- ["", "garbage", new_atom, bomb, nil, :erlang.term_to_binary(:not_an_event)] do
      assert {:error, %Error{}} = Events.deserialize(bad), inspect(bad)
    end

    assert {:error, %Error{error_type: :serialization_failed}} = Events.serialize(:no_event)
  end

  test "the seeds' convenience events" do
    {:ok, entry} = Events.function_entry(Mod, :fun, 2, [1, 2], caller_line: 7, correlation_id: "c")
    assert %{module: Mod, function: :fun, arity: 2, args: [1, 2], caller_line: 7, call_id: call} = entry.data
    assert {entry.event_type, entry.correlation_id} == {:function_entry, "c"}

    {:ok, exit} = Events.function_exit(Mod, :fun, 2, call, :ok, 1_000, :normal)
    assert %{call_id: ^call, duration_ns: 1_000, exit_reason: :normal, result: :ok} = exit.data

    {:ok, change} = Events.state_change(self(), :handle_call, %{a: 1}, %{a: 2}, trigger_message: :go)
    assert %{state_diff: :changed, trigger_message: :go} = change.data
    {:ok, same} = Events.state_change(self(), :handle_call, 1, 1)
    assert same.data.state_diff == :no_change
    assert Events.debug_new_event(:test, 1).data == 1
    assert_raise RuntimeError, fn -> Events.debug_new_event("no atom", 1) end
  end

  test "lists of events are sorted and grouped" do
    events = [
      event(:test, 1, timestamp: 3, correlation_id: "a"),
      event(:test, 2, timestamp: 1, correlation_id: "a"),
      event(:test, 3)
    ]

    assert [%{data: 2}, %{data: 1}] = EventLogic.extract_correlation_chain(events, "a")
    assert %{"a" => [%{data: 2}, %{data: 1}]} = groups = EventLogic.group_by_correlation(events)
    assert map_size(groups) == 1
    assert [%{data: 2}] = EventLogic.filter_by_time_range(events, 1, 2)
    assert EventLogic.transform_event_data(hd(events), &(&1 + 1)).data == 2
    assert EventValidator.validate_event_type(:spawn) == :ok
    assert {:error, %Error{error_type: :invalid_event_type}} = EventValidator.validate_event_type(:unheard)
    assert {:error, %Error{error_type: :type_mismatch}} = EventValidator.validate_event_type("spawn")
  end

  test "many processes store at once, nothing is lost and ids are distinct" do
    ids =
      1..8
      |> Enum.map(fn n ->
        Task.async(fn ->
          for m <- 1..500 do
            {:ok, id} = Events.store(event(:concurrent, {n, m}))
            id
          end
        end)
      end)
      |> Enum.flat_map(&Task.await/1)

    assert length(Enum.uniq(ids)) == 4_000
    assert {:ok, found} = EventStore.query(event_type: :concurrent)
    assert Enum.sort(Enum.map(found, & &1.event_id)) == Enum.sort(ids)
  end
end
