defmodule ElixirScope.Foundation.SubscriptionsTest do
  use ElixirScope.Case

  import Bitwise

  alias ElixirScope.Foundation.Services.EventStore

  defp store(type, data \\ %{}, opts \\ []) do
    event = event(type, data, opts)
    {:ok, _id} = Events.store(event)
    event
  end

  defp next_seq do
    {:ok, %{next_id: next}} = Events.status()
    next - 1
  end

  # The notifications of a subscription, as many as wanted, each acknowledged.
  defp take(_subscription, 0), do: []

  defp take(subscription, count) do
    assert_receive {:event_notification, ^subscription, notification}, 5_000
    :ok = Events.acknowledge(subscription)
    [notification | take(subscription, count - 1)]
  end

  test "events are told as they are stored, as get/1 answers them" do
    {:ok, subscription} = Events.subscribe()
    data = %{by: self(), ref: make_ref(), list: [1 | :improper], big: 1 <<< 200, text: "t"}
    told = store(:any_term, data, correlation_id: "c", parent_id: 5)
    seq = next_seq() - 1
    assert [{:event_stored, ^seq, event}] = take(subscription, 1)
    assert event == told
    assert {:ok, ^event} = Events.get(told.event_id)
    assert Map.keys(event) == Map.keys(told)
  end

  test "the core's own events come in Elixir's shape" do
    {:ok, subscription} = Events.subscribe(event_type: [:config_updated, :config_reset])
    :ok = Config.update([:interface, :max_results], 7)
    :ok = Config.reset()
    assert [{:event_stored, _, updated}, {:event_stored, _, reset}] = take(subscription, 2)
    assert updated.data.path == [:interface, :max_results] and updated.data.new_value == 7
    for event <- [updated, reset], do: assert({:ok, ^event} = Events.get(event.event_id))
  end

  test "the conditions are those of a query" do
    {:ok, all} = Events.subscribe()
    {:ok, some} = Events.subscribe(event_type: :paid, data: [{[:total], :>, 10}], correlation_id: "c")
    store(:paid, %{total: 12})
    store(:paid, %{total: 2}, correlation_id: "c")
    store(:lost, %{total: 99}, correlation_id: "c")
    told = store(:paid, %{total: 13}, correlation_id: "c")
    assert length(take(all, 4)) == 4
    assert [{:event_stored, _, ^told}] = take(some, 1)
    refute_received {:event_notification, ^some, _}
    assert {:ok, %{filtered: 3, delivered: 1, unacknowledged: 0}} = Events.subscription_stats(some)
  end

  test "it catches up from a position and goes on live, and what is gone is missed by name" do
    first = next_seq()
    events = for n <- 1..2_500, do: event(:n, n)
    {:ok, _ids} = Events.store_batch(events)
    {:ok, subscription} = Events.subscribe([event_type: :n], from_seq: first)
    store(:n, 2_501)
    told = for {:event_stored, _seq, event} <- take(subscription, 2_501), do: event.data
    assert told == Enum.to_list(1..2_501)

    {:ok, _pruned} = Events.prune_before(0x7FFF_FFFF_FFFF_FFFF)
    {:ok, again} = Events.subscribe([], from_seq: first)
    last = first + 2_500

    assert [{:events_missed, %{first_seq: ^first, last_seq: ^last, count: 2_501, reason: :removed}}] =
             take(again, 1)
  end

  test "a subscription that lags beyond its capacity passes over the oldest" do
    {:ok, subscription} = Events.subscribe([], window: 1, capacity: 10)
    {:ok, _ids} = Events.store_batch(for n <- 1..3, do: event(:n, n))
    # What was read ahead is told; the window holds up the rest.
    assert_receive {:event_notification, ^subscription, {:event_stored, _, %{data: 1}}}, 5_000
    {:ok, _ids} = Events.store_batch(for n <- 4..100, do: event(:n, n))
    :ok = Events.acknowledge(subscription)
    notes = take(subscription, 13)
    assert [%{reason: :lagged, count: 87}] = for({:events_missed, gap} <- notes, do: gap)
    assert Enum.to_list([2, 3 | Enum.to_list(91..100)]) == for({:event_stored, _, e} <- notes, do: e.data)
  end

  test "no more than the window is sent without an acknowledgement" do
    {:ok, subscription} = Events.subscribe([], window: 3)
    {:ok, other} = Events.subscribe()
    {:ok, _ids} = Events.store_batch(for n <- 1..20, do: event(:n, n))
    take(other, 20)
    store(:n, 21)
    take(other, 1)
    for n <- 1..3, do: assert_received({:event_notification, ^subscription, {:event_stored, _, %{data: ^n}}})
    refute_received {:event_notification, ^subscription, _}
    :ok = Events.acknowledge(subscription, 2)

    for n <- 4..5,
        do: assert_receive({:event_notification, ^subscription, {:event_stored, _, %{data: ^n}}}, 5_000)

    {:ok, %{unacknowledged: 3}} = Events.subscription_stats(subscription)
  end

  test "unsubscribing ends one or all, and a process that dies is dropped" do
    {:ok, one} = Events.subscribe()
    {:ok, two} = Events.subscribe()
    :ok = Events.unsubscribe(one)
    :ok = Events.unsubscribe(one)
    store(:n, 1)
    take(two, 1)
    refute_received {:event_notification, ^one, _}
    assert {:error, %Error{error_type: :stale_handle}} = Events.acknowledge(one)
    pid = spawn(fn -> receive do: (:never -> :ok) end)
    {:ok, _theirs} = EventStore.subscribe(pid)
    assert {:ok, %{subscribers_count: 2}} = Events.stats()
    Process.exit(pid, :kill)
    assert eventually(fn -> match?({:ok, %{subscribers_count: 1}}, Events.stats()) end)
    :ok = Events.unsubscribe()
    assert {:ok, %{subscribers_count: 0, events_notified: notified}} = Events.stats()
    assert notified > 0
  end

  test "the service answers the messages" do
    {:ok, store} = ElixirScope.Foundation.ServiceRegistry.lookup(:production, :event_store)
    {:ok, one} = GenServer.call(store, {:subscribe, self()})
    {:ok, two} = GenServer.call(store, {:subscribe, self(), [event_type: :b], [window: 5]})
    store(:a)
    store(:b)
    assert length(take(one, 2)) == 2
    assert [{:event_stored, _, %{event_type: :b}}] = take(two, 1)
    assert GenServer.call(store, {:unsubscribe, self(), one}) == :ok
    assert {:ok, %{subscribers_count: 1}} = GenServer.call(store, :get_stats)
    assert GenServer.call(store, {:unsubscribe, self()}) == :ok
    assert {:ok, %{subscribers_count: 0}} = GenServer.call(store, :get_stats)
  end

  test "a stream of what is stored" do
    first = next_seq()
    {:ok, stream} = Events.tail([event_type: :s], from_seq: first, timeout: 200)
    writer = Task.async(fn -> for n <- 1..3_000, do: store(:s, n) end)
    told = stream |> Stream.map(fn {:event_stored, _, event} -> event.data end) |> Enum.take(2_000)
    assert told == Enum.to_list(1..2_000)
    Task.await(writer, 60_000)
    assert {:ok, %{subscribers_count: 0}} = Events.stats()
    refute_received {:event_notification, _, _}
    assert Enum.count(stream) == 3_000
  end

  test "what cannot be is refused by name" do
    for {conditions, opts, key} <- [
          {[colour: :red], [], :colour},
          {[], [colour: :red], :colour},
          {[], [window: 0], :window},
          {[], [window: :infinity], :window},
          {[], [capacity: 0], :capacity},
          {[], [from_seq: -1], :from_seq},
          {[], :all, :options}
        ] do
      assert {:error, %Error{error_type: :invalid_input, context: %{key: ^key}}} =
               Events.subscribe(conditions, opts)
    end

    for conditions <- [[limit: 5], [order_by: :seq], [seq_range: {1, 2}], [timeout: 5]] do
      assert {:error, %Error{error_type: :invalid_input}} = Events.subscribe(conditions)
    end

    assert {:error, %Error{error_type: :invalid_input}} = Events.subscribe([], from_seq: next_seq() + 1)
    assert {:error, %Error{}} = Events.tail(limit: 5)
    assert {:error, %Error{context: %{key: :timeout}}} = Events.tail([], timeout: 0)
    assert {:error, %Error{}} = EventStore.subscribe(:nobody)
    assert {:error, %Error{}} = Events.acknowledge(:none)
    assert {:error, %Error{}} = Events.unsubscribe("none")
    assert {:ok, %{subscribers_count: 0}} = Events.stats()
  end
end
