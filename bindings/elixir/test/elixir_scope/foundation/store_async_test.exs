defmodule ElixirScope.Foundation.StoreAsyncTest do
  use ExUnit.Case, async: true

  import ElixirScope.Case, only: [own_store: 0, own_store: 1]

  alias ElixirScope.Foundation.{Error, Events}
  alias ElixirScope.Foundation.Types.Event

  defp event(n, data \\ nil), do: %Event{event_type: :tick, event_id: n, timestamp: n, data: data}

  # The counts, which must balance.
  defp counts(handle) do
    {:ok, %{async: counts}} = Events.stats_of(handle)
    fates = Map.drop(counts, [:offered, :waiting_bytes, :max_events, :max_bytes])
    assert counts.offered == fates |> Map.values() |> Enum.sum()
    counts
  end

  test "events are stored as they are, in the order of the calls, also such as the runtime encodes" do
    handle = own_store()

    full = %{
      event(1, %{pid: self(), list: Enum.to_list(1..10)})
      | correlation_id: "c",
        parent_id: 7,
        pid: self()
    }

    stored = [
      full,
      event(2, fn -> handle end),
      event(3, Enum.to_list(1..30_000)) | Enum.map(4..500, &event/1)
    ]

    for event <- stored, do: assert(Events.store_async_in(handle, event) == {:ok, event.event_id})
    assert Events.flush_async_in(handle, 30_000) == :ok
    assert {:ok, found} = Events.query_in(handle, order_by: :seq)
    assert Enum.map(found, &%{&1 | wall_time: nil}) === stored
    assert %{offered: 500, stored: 500, waiting: 0} = counts(handle)
  end

  test "what is wrong is said at once, what turns out later is counted" do
    handle = own_store(max_events: 2, overflow_strategy: :error)

    for {wrong, type} <- [
          {%{event(1) | event_id: nil}, :validation_failed},
          {%{event(1) | parent_id: 0}, :type_mismatch},
          {%{event(1) | event_type: "text"}, :type_mismatch},
          {event(1, :binary.copy("x", 1_000_001)), :data_too_large},
          {:no_event, :type_mismatch}
        ] do
      assert {:error, %Error{error_type: ^type}} = Events.store_async_in(handle, wrong)
    end

    for n <- [1, 1, 2, 3], do: assert(Events.store_async_in(handle, event(n)) == {:ok, n})
    assert Events.flush_async_in(handle, 30_000) == :ok
    assert %{stored: 2, failed_duplicate: 1, failed_full: 1} = counts(handle)
    assert {:error, %Error{error_type: :type_mismatch}} = Events.flush_async_in(handle, :soon)
    assert {:error, %Error{error_type: :service_unavailable}} = Events.store_async_in(0, event(1))
    assert {:error, %Error{error_type: :service_unavailable}} = Events.flush_async_in(0, 1)
  end

  test "what waits is bounded, and is stored when there is room" do
    options = [overflow_strategy: :block, block_timeout_ms: 3_600_000, async_queue_events: 3]
    handle = own_store([max_events: 1] ++ options)
    # The second one waits for room: three are all that may wait.
    answers = Enum.map(1..100, &Events.store_async_in(handle, event(&1)))
    {taken, refused} = Enum.split_with(answers, &match?({:ok, _id}, &1))
    assert length(taken) in 3..4
    for answer <- refused, do: assert({:error, %Error{error_type: :store_full}} = answer)
    assert {:error, %Error{error_type: :timeout}} = Events.flush_async_in(handle, 0)
    assert {:error, %Error{error_type: :timeout}} = Events.flush_async_in(handle, 120)
    assert %{refused_full: full, max_events: 3} = counts(handle)
    assert full == length(refused)

    ElixirScope.Case.eventually(fn ->
      {:ok, _pruned} = ElixirScope.Foundation.Native.event_prune(handle, 1_000)
      counts(handle).waiting == 0
    end)

    assert Events.flush_async_in(handle, 30_000) == :ok
    assert counts(handle).stored == length(taken)
  end

  test "many processes, one store" do
    handle = own_store(max_events: 100_000)

    1..8
    |> Enum.map(fn p ->
      Task.async(fn ->
        for n <- 1..500, do: {:ok, _id} = Events.store_async_in(handle, event(p * 1_000 + n, p))
      end)
    end)
    |> Enum.each(&Task.await(&1, 60_000))

    assert Events.flush_async_in(handle, 30_000) == :ok
    assert %{stored: 4_000, waiting: 0} = counts(handle)
    {:ok, found} = Events.query_in(handle, order_by: :seq)

    for {_process, events} <- Enum.group_by(found, & &1.data) do
      ids = Enum.map(events, & &1.event_id)
      assert ids == Enum.sort(ids)
    end
  end
end
