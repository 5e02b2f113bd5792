defmodule ElixirScope.Foundation.DiskTest do
  use ElixirScope.DiskCase

  @rate [:ai, :planning, :sampling_rate]

  for mode <- [:crash_safe, :interval, :group, :strict] do
    test "#{mode}: what was stored and changed is there after a restart of the application", %{
      directory: directory
    } do
      open(directory, durability: unquote(mode))
      {:ok, id} = Events.store(event(:tick, %{by: self()}))
      {:ok, ids} = Events.store_batch(for n <- 1..300, do: event(:tick, n))

      for level <- [:accepted, :crash_safe, :durable] do
        assert {:ok, _id} = Events.store(event(:tick), level: level)
        assert {:ok, [_, _]} = Events.store_batch([event(:tick), event(:tick)], level: level)
      end

      # Larger than what a normal scheduler encodes or takes.
      {:ok, large} = Events.store(event(:tick, List.duplicate(:large, 100_000)), level: :durable)
      assert Config.update(@rate, 0.25) == :ok
      {:ok, stored} = Events.get(id)
      assert mailbox() == []

      :ok = Application.stop(:elixir_scope)
      {:ok, _apps} = Application.ensure_all_started(:elixir_scope)

      assert Events.get(id) == {:ok, stored}
      assert stored.data == %{by: self()}
      {:ok, %{data: data}} = Events.get(large)
      assert length(data) == 100_000
      assert Events.count(event_type: :tick) == {:ok, 311}
      {:ok, found} = Events.query(event_type: :tick, order_by: {:event_id, :asc}, limit: 1_000)
      assert Enum.all?(ids, fn id -> Enum.any?(found, &(&1.event_id == id)) end)
      assert Config.get(@rate) == {:ok, 0.25}
      assert {:ok, %{disk: %{recovery: %{existed: true, clean: true}, gaps: []}}} = Events.stats()
      assert Config.reset() == :ok

      open(directory, durability: unquote(mode))
      assert Config.get(@rate) == {:ok, 1.0}
      assert Events.count(event_type: :config_updated) == {:ok, 1}
      assert Events.count(event_type: :store_recovered) == {:ok, 0}
    end
  end

  test "levels and watermarks", %{directory: directory} do
    open(directory, durability: :crash_safe)
    {:ok, id} = Events.store(event(:tick))
    {:ok, durable} = Events.watermark(:durable)
    {:ok, safe} = Events.watermark(:crash_safe)
    assert safe > durable
    assert Events.wait_durable(id, level: :crash_safe, timeout: 0) == :ok
    assert Events.wait_durable(id) == :ok
    {:ok, durable} = Events.watermark()
    assert durable >= safe
    assert Events.wait_durable() == :ok
    assert {:error, %Error{error_type: :data_not_found}} = Events.wait_durable(123_456_789)

    assert {:error, %Error{error_type: :invalid_input}} = Events.store(event(:tick), level: :safest)
    assert {:error, %Error{error_type: :invalid_input}} = Events.store(event(:tick), timeout: -1)
    assert {:error, %Error{error_type: :invalid_input}} = Events.wait_durable(id, level: 3)
    assert {:error, %Error{error_type: :invalid_input}} = Events.watermark(:safest)
    assert Events.count(event_type: :tick) == {:ok, 1}
    # What is refused is refused as without files.
    {:ok, kept} = Events.get(id)
    assert {:error, %Error{error_type: :duplicate_event_id}} = Events.store(kept, level: :durable)
    assert {:error, %Error{context: %{index: 1}}} = Events.store_batch([event(:tick), kept], level: :durable)

    open(directory, durability: :volatile)
    assert {:ok, _id} = Events.store(event(:tick), level: :durable)
    assert Events.watermark(:durable) == {:ok, 1}
    assert {:error, %Error{error_type: :operation_forbidden}} = Events.wait_durable()
    assert {:ok, %{disk: nil}} = Events.stats()
  end

  test "a wait that is given up leaves no message, and its event stays", %{directory: directory} do
    open(directory, durability: :group)

    for _ <- 1..200 do
      new = event(:tick)

      case Events.store(new, timeout: 0) do
        {:ok, id} ->
          assert id == new.event_id

        {:error, error} ->
          assert %{error_type: :timeout, context: %{stored: true, event_id: _, seq: _}} = error
      end

      assert {:ok, ^new} = Events.get(new.event_id)
    end

    assert Events.wait_durable() == :ok
    assert mailbox() == []
    assert Events.count(event_type: :tick) == {:ok, 200}
  end

  test "one writes, others are told who, and read", %{directory: directory} do
    open(directory)
    {:ok, id} = Events.store(event(:tick))
    Process.flag(:trap_exit, true)
    other = [namespace: {:test, make_ref()}, event_store: [data_dir: directory]]
    assert {:error, reason} = Supervisor.start_link(other)
    assert %Error{error_type: :locked, context: %{holder: holder}} = find_error(reason)
    assert holder =~ "production, process #{System.pid()}"

    namespace = {:test, make_ref()}
    options = [data_dir: directory, read_only: true]
    {:ok, reader} = Supervisor.start_link(namespace: namespace, event_store: options)
    handle = Instance.handle(namespace)
    assert {:ok, %{event_id: ^id}} = Events.get_from(handle, id)
    assert {:error, %Error{error_type: :operation_forbidden}} = Events.store_in(handle, event(:tick))
    assert {:error, %Error{}} = Config.update_of(handle, @rate, 0.5)
    assert {:ok, _id} = Events.store(event(:tick))
    :ok = Elixir.Supervisor.stop(reader)
  end

  test "who waits while the instance is closed is told", %{directory: directory} do
    open(directory, durability: :crash_safe)
    handle = Instance.handle()
    ref = make_ref()
    wait = Native.event_await(handle, 1_000_000, :durable, ref)
    assert is_reference(wait)
    Foundation.shutdown()
    assert_receive {^ref, {:error, %Error{error_type: :closing}}}
    assert Native.wait_cancel(wait) == false
    refute_received {^ref, _again}
    assert {:error, %Error{error_type: :service_unavailable}} = Events.store(event_of_nobody())
  end

  test "memory that is full of what the disk has yet to take loses nothing", %{directory: directory} do
    open(directory, durability: :crash_safe, max_memory_mb: 40, max_data_bytes: 8_192)
    text = String.duplicate("x", 4_000)

    tasks =
      for n <- 1..4, do: Task.async(fn -> for m <- 1..4_000, do: stored!(event(:tick, {n, m, text})) end)

    ids = tasks |> Task.await_many(300_000) |> List.flatten()
    {:ok, batched} = Events.store_batch(for n <- 1..1_000, do: event(:tick, {n, text}))
    assert mailbox() == []
    {:ok, stats} = Events.stats()
    assert {stats.events_refused, stats.events_dropped, stats.events_dropped_newest} == {0, 0, 0}
    assert stats.memory_usage_estimate <= 40 * 1_048_576
    assert stats.disk.seals > 0
    assert Events.count(event_type: :tick, order_by: :seq) == {:ok, 17_000}
    for id <- Enum.take_every(ids ++ batched, 997), do: assert({:ok, %{event_id: ^id}} = Events.get(id))
    open(directory, max_memory_mb: 40, max_data_bytes: 8_192)
    assert Events.count(event_type: :tick, order_by: :seq) == {:ok, 17_000}
  end

  test "the configuration's warm tier means files", %{directory: directory} do
    namespace = {:test, make_ref()}
    config = [storage: %{warm: %{enable: true, path: directory}}]
    {:ok, supervisor} = Supervisor.start_link(namespace: namespace, config: config)

    assert {:ok, %{disk: %{data_dir: ^directory, durability: :group}}} =
             Events.stats_of(Instance.handle(namespace))

    :ok = Elixir.Supervisor.stop(supervisor)
  end

  defp stored!(event) do
    {:ok, id} = Events.store(event)
    id
  end

  # Made without an instance, which would draw its id.
  defp event_of_nobody do
    %ElixirScope.Foundation.Types.Event{event_type: :tick, event_id: 1, timestamp: 1, data: nil}
  end

  defp find_error(%Error{} = error), do: error
  defp find_error(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> Enum.find_value(&find_error/1)
  defp find_error(_other), do: nil
end
