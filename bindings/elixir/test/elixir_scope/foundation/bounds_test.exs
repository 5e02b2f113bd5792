defmodule ElixirScope.Foundation.BoundsTest do
  use ExUnit.Case, async: true

  import ElixirScope.Case, only: [own_store: 0, own_store: 1]

  alias ElixirScope.Foundation.{Error, Events, Native}
  alias ElixirScope.Foundation.Services.EventStore
  alias ElixirScope.Foundation.Types.Event

  defp full(options) do
    handle = own_store([max_events: 3] ++ options)
    for n <- 1..3, do: assert(Events.store_in(handle, event(n)) == {:ok, n})
    handle
  end

  defp event(n, data \\ nil), do: %Event{event_type: :tick, event_id: n, timestamp: n, data: data}

  defp ids(handle) do
    {:ok, events} = Events.query_in(handle, [])
    Enum.map(events, & &1.event_id)
  end

  # The counts, which must balance.
  defp stats(handle) do
    {:ok, stats} = Events.stats_of(handle)
    %{events_stored: stored, current_event_count: current} = stats

    assert stats.events_offered ==
             stored + stats.events_refused + stats.events_dropped_newest + stats.events_repeated

    assert stored ==
             current + stats.events_dropped + stats.events_pruned + stats.events_expired +
               stats.events_evicted

    stats
  end

  test "the oldest events make room" do
    handle = full(overflow_strategy: :drop_oldest)
    assert Events.store_in(handle, event(4)) == {:ok, 4}
    assert Events.store_batch_in(handle, [event(5), event(6)]) == {:ok, [5, 6]}
    assert ids(handle) == [4, 5, 6]
    assert %{events_dropped: 3, events_refused: 0} = stats(handle)
  end

  test "the newest events are dropped, which the counts say" do
    handle = full(overflow_strategy: :drop_newest)
    Events.store_in(handle, event(4))
    Events.store_batch_in(handle, [event(5), event(6)])
    assert ids(handle) == [1, 2, 3]
    assert {:error, %Error{error_type: :data_not_found}} = Events.get_from(handle, 4)
    assert %{events_dropped_newest: 3, events_offered: 6} = stats(handle)
  end

  test "a full store refuses, and says how full it is" do
    handle = full(overflow_strategy: :error)
    assert {:error, %Error{error_type: :store_full, context: %{limit: 3}}} = Events.store_in(handle, event(4))
    assert {:error, %Error{error_type: :store_full}} = Events.store_batch_in(handle, [event(4), event(5)])
    assert Native.event_prune(handle, 3) == {:ok, 2}
    assert Events.store_batch_in(handle, [event(4), event(5)]) == {:ok, [4, 5]}
    assert ids(handle) == [3, 4, 5]
    assert %{events_refused: 3, events_pruned: 2} = stats(handle)
  end

  test "no scheduler waits for room: where the strategy is to block, a full store refuses at once" do
    handle = full(overflow_strategy: :block, block_timeout_ms: 300_000)
    assert {:error, %Error{error_type: :store_full}} = Events.store_in(handle, event(4))
    assert {:error, %Error{error_type: :store_full}} = Events.store_batch_in(handle, [event(4)])
    assert %{events_refused: 2} = stats(handle)
  end

  test "an event that is sent again is an error, or answered as the first time" do
    handle = own_store()
    assert Events.store_in(handle, event(1, %{a: self()})) == {:ok, 1}

    assert {:error, %Error{error_type: :duplicate_event_id}} = Events.store_in(handle, event(1, %{a: self()}))

    handle = own_store(on_duplicate: :return, max_events: 2, overflow_strategy: :error)
    assert Events.store_in(handle, event(1, %{a: self()})) == {:ok, 1}
    assert Events.store_in(handle, event(1, %{a: self()})) == {:ok, 1}

    assert {:error, %Error{error_type: :duplicate_event_id, context: %{field: "data"}}} =
             Events.store_in(handle, event(1, %{a: nil}))

    assert Events.store_batch_in(handle, [event(1, %{a: self()}), event(2)]) == {:ok, [1, 2]}
    # What is there already needs no room.
    assert Events.store_batch_in(handle, [event(2), event(1, %{a: self()})]) == {:ok, [2, 1]}
    assert %{current_event_count: 2, events_repeated: 4} = stats(handle)
  end

  test "memory is bounded" do
    handle =
      own_store(
        max_memory_mb: 1,
        prune_interval_ms: 86_400_000,
        max_data_bytes: 4_096,
        shards: 1,
        max_events: 100_000
      )

    data = :binary.copy(" ", 1_000)
    for n <- 1..3_000, do: {:ok, ^n} = Events.store_in(handle, event(n, data))
    assert %{events_evicted: evicted, current_event_count: current} = stats(handle)
    assert evicted > 1_000 and current > 100
    {:ok, native} = Native.event_stats(handle)
    used = native.memory_bytes + native.index_bytes + native.pooled_bytes + native.pinned_bytes
    assert used <= 1_048_576 and native.max_memory_bytes == 1_048_576
    assert ids(handle) == Enum.to_list((3_001 - current)..3_000)
  end

  test "events expire by themselves" do
    handle = own_store(max_age_seconds: 1, prune_interval_ms: 1)
    {:ok, _} = Events.store_batch_in(handle, for(n <- 1..4, do: event(n)))
    future = %{event(5) | timestamp: 0x7FFF_FFFF_FFFF_FFFF}
    {:ok, _} = Events.store_in(handle, future)
    assert ElixirScope.Case.eventually(fn -> stats(handle).events_expired == 4 end)
    assert ids(handle) == [5]
  end

  test "an option that does not exist, or a value that it cannot have, starts nothing" do
    Process.flag(:trap_exit, true)

    for options <- [[overflow_strategy: :drop], [max_events: 0], [max_event: 1], [on_duplicate: :ignore]] do
      ExUnit.CaptureLog.capture_log(fn ->
        {:ok, pid} = EventStore.start_link([namespace: {:test, make_ref()}] ++ options)
        assert_receive {:EXIT, ^pid, _reason}, 5_000
      end)
    end
  end
end
