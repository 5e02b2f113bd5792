defmodule ElixirScope.Soundness.SubscribersTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Services.{ConfigServer, EventStore}

  @moduletag timeout: 120_000

  test "10,000 subscribers are killed while changes are being told, and all are dropped" do
    pids = for _ <- 1..10_000, do: spawn(fn -> receive do: (:never -> :ok) end)
    for pid <- pids, do: :ok = ConfigServer.subscribe(pid)
    assert {:ok, %{subscribers_count: 10_000}} = Config.status()
    Config.subscribe()

    writer = Task.async(fn -> for n <- 1..200, do: :ok = Config.update([:interface, :max_results], n) end)
    for pid <- Enum.shuffle(pids), do: Process.exit(pid, :kill)
    Task.await(writer, 60_000)

    assert eventually(fn -> match?({:ok, %{subscribers_count: 1}}, Config.status()) end)
    assert Config.update([:interface, :max_results], 9_999) == :ok
    assert_receive {:config_notification, {:config_updated, [:interface, :max_results], 9_999}}, 5_000
  end

  test "the last value always arrives, however fast the changes come" do
    Config.subscribe()
    for n <- 1..5_000, do: :ok = Config.update([:interface, :max_results], n)
    assert_receive {:config_notification, {:config_updated, [:interface, :max_results], 5_000}}, 5_000
  end

  test "subscribing and dying at once leaves nothing behind" do
    1..2_000
    |> Task.async_stream(fn _ -> spawn(fn -> Config.subscribe() end) end, max_concurrency: 8)
    |> Stream.run()

    assert eventually(fn -> match?({:ok, %{subscribers_count: 0}}, Config.status()) end)
  end

  test "1,000 subscribers to events are killed while events are being told, and all are dropped" do
    pids = for _ <- 1..1_000, do: spawn(fn -> receive do: (:never -> :ok) end)
    for pid <- pids, do: {:ok, _subscription} = EventStore.subscribe(pid, [event_type: :told], window: 100)
    {:ok, mine} = Events.subscribe(event_type: :last)
    assert {:ok, %{subscribers_count: 1_001}} = Events.stats()

    writer = Task.async(fn -> for n <- 1..500, do: {:ok, _id} = Events.store(event(:told, n)) end)
    for pid <- Enum.shuffle(pids), do: Process.exit(pid, :kill)
    Task.await(writer, 60_000)

    assert eventually(fn -> match?({:ok, %{subscribers_count: 1}}, Events.stats()) end)
    {:ok, _id} = Events.store(event(:last))
    assert_receive {:event_notification, ^mine, {:event_stored, _seq, %{event_type: :last}}}, 5_000
  end

  test "a subscriber that never reads holds nobody up and gets no more than its window" do
    deaf = spawn(fn -> receive do: (:never -> :ok) end)
    {:ok, theirs} = EventStore.subscribe(deaf, [], window: 50)
    {:ok, mine} = Events.subscribe([event_type: :n], window: 10_000)
    for n <- 1..5_000, do: {:ok, _id} = Events.store(event(:n, n))

    for n <- 1..5_000,
        do: assert_receive({:event_notification, ^mine, {:event_stored, _, %{data: ^n}}}, 5_000)

    assert Process.info(deaf, :message_queue_len) == {:message_queue_len, 50}
    assert {:ok, %{unacknowledged: 50}} = Events.subscription_stats(theirs)
    Process.exit(deaf, :kill)
  end

  test "subscribing to events and dying at once leaves nothing behind" do
    1..1_000
    |> Task.async_stream(fn _ -> spawn(fn -> Events.subscribe() end) end, max_concurrency: 8)
    |> Stream.run()

    for n <- 1..10, do: {:ok, _id} = Events.store(event(:n, n))
    assert eventually(fn -> match?({:ok, %{subscribers_count: 0}}, Events.stats()) end)
  end
end
