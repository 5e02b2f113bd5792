defmodule ElixirScope.Foundation.ServicesTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.ProcessRegistry
  alias ElixirScope.Foundation.Services.{ConfigServer, EventStore, TelemetryService}
  alias ElixirScope.Foundation.Supervisor, as: Services
  alias ElixirScope.Foundation.Types

  defp service(name, namespace \\ :production) do
    {:ok, pid} = ProcessRegistry.lookup(namespace, name)
    pid
  end

  test "the configuration server answers the seeds' messages" do
    pid = service(:config_server)
    assert {:ok, %Types.Config{}} = GenServer.call(pid, :get_config)
    assert GenServer.call(pid, {:get_config_path, [:dev, :debug_mode]}) == {:ok, false}
    assert GenServer.call(pid, {:subscribe, self()}) == :ok
    assert GenServer.call(pid, {:update_config, [:dev, :debug_mode], true}) == :ok
    assert_receive {:config_notification, {:config_updated, [:dev, :debug_mode], true}}
    assert GenServer.call(pid, {:unsubscribe, self()}) == :ok
    assert {:ok, %{status: :running}} = GenServer.call(pid, :get_status)
    assert GenServer.call(pid, :reset_config) == :ok
    assert GenServer.call(pid, :reset_state) == :ok
    assert {:error, %Error{error_type: :invalid_input}} = GenServer.call(pid, :what)
    send(pid, :noise)
    GenServer.cast(pid, :noise)
    {:ok, status} = ConfigServer.status()
    {:ok, same} = Config.status()
    # Time goes on between the two.
    assert Map.delete(status, :uptime_ms) == Map.delete(same, :uptime_ms)
  end

  test "the event store answers the seeds' messages" do
    pid = service(:event_store)
    [a, b] = [event(:test, 1, correlation_id: "s"), event(:test, 2)]
    assert GenServer.call(pid, {:store_event, a}) == {:ok, a.event_id}
    assert GenServer.call(pid, {:store_batch, [b]}) == {:ok, [b.event_id]}
    assert GenServer.call(pid, {:get_event, a.event_id}) == {:ok, a}
    assert GenServer.call(pid, {:get_by_correlation, "s"}) == {:ok, [a]}
    assert GenServer.call(pid, {:query_events, %{event_type: :test}}) == {:ok, [a, b]}
    assert {:error, %Error{}} = GenServer.call(pid, {:query_events, %{limit: :infinity}})
    assert {:ok, %{current_event_count: 2}} = GenServer.call(pid, :get_stats)
    assert {:ok, %{event_count: 2, next_id: _}} = GenServer.call(pid, :get_status)
    assert {:ok, 2} = GenServer.call(pid, {:prune_before, b.timestamp + 1})
    assert {:error, %Error{}} = GenServer.call(pid, :what)
  end

  test "the telemetry service answers the seeds' messages" do
    pid = service(:telemetry_service)
    GenServer.cast(pid, {:execute_event, [:s, :cast], %{counter: 2}, %{}})
    GenServer.cast(pid, {:gauge, [:s, :gauge], 7, %{}})
    assert GenServer.call(pid, {:attach_handlers, [[:s, :x]]}) == :ok
    GenServer.cast(pid, {:detach_handlers, [[:s, :x]]})
    assert {:ok, %{s: %{cast: %{measurements: %{counter: 2}}, gauge: _}}} = GenServer.call(pid, :get_metrics)

    assert {:ok, %{handlers_count: 0, config: %{metric_retention_ms: 300_000}}} =
             GenServer.call(pid, :get_status)

    assert GenServer.call(pid, :clear_metrics) == :ok
    assert {:ok, metrics} = TelemetryService.get_metrics()
    refute Map.has_key?(metrics, :s)
  end

  test "killing every child loses no event, no configuration and no subscriber" do
    stored = event(:kept, self())
    {:ok, _} = Events.store(stored)
    Config.update([:interface, :max_results], 4_711)
    Config.subscribe()
    Telemetry.emit_counter([:s, :kept], %{})
    handle = Instance.handle()

    # Three restarts in 60 s are allowed, so each of the four children gets a supervisor of its own.
    for name <- [:config_server, :event_store, :telemetry_service] do
      kill_and_wait(name)
    end

    assert Instance.handle() == handle
    assert Events.get(stored.event_id) == {:ok, stored}
    assert Config.get([:interface, :max_results]) == {:ok, 4_711}
    assert {:ok, %{s: %{kept: %{count: 1}}}} = Telemetry.get_metrics()
    Config.update([:dev, :debug_mode], true)
    assert_receive {:config_notification, {:config_updated, [:dev, :debug_mode], true}}
    Foundation.shutdown()
  end

  test "killing the process of the instance itself loses nothing either" do
    stored = event(:kept, 1)
    {:ok, _} = Events.store(stored)
    handle = Instance.handle()
    kill_and_wait(:instance)
    assert Instance.handle() == handle
    assert Events.get(stored.event_id) == {:ok, stored}
    assert Config.available?()
    Foundation.shutdown()
  end

  test "shutdown closes, initialize opens anew, both as often as one likes" do
    {:ok, _} = Events.store(event())
    assert Foundation.shutdown() == :ok
    assert Foundation.shutdown() == :ok
    refute Foundation.available?()

    for call <- [
          fn -> Config.get([:ai]) end,
          fn -> Config.update([:dev, :debug_mode], true) end,
          fn -> Config.subscribe() end,
          fn -> Config.reset() end,
          fn -> Config.status() end,
          fn -> Events.store(event()) end,
          fn -> Events.store_batch([event()]) end,
          fn -> Events.get(1) end,
          fn -> Events.query([]) end,
          fn -> Events.prune_before(0) end,
          fn -> Events.stats() end,
          fn -> Telemetry.get_metrics() end,
          fn -> Telemetry.counter("x") end,
          fn -> Telemetry.prometheus() end,
          fn -> Foundation.status() end,
          fn -> Foundation.health() end
        ] do
      assert {:error, %Error{error_type: :service_unavailable}} = call.()
    end

    assert Foundation.initialize() == :ok
    assert Foundation.initialize() == :ok
    assert {:ok, %{event_count: 0}} = Events.status()
    assert {:ok, %{status: :healthy, foundation_available: true}} = Foundation.health()
    assert Foundation.version() == "0.1.0"
  end

  test "initialize with options, and with wrong ones" do
    Foundation.shutdown()
    assert Foundation.initialize(config: [dev: %{debug_mode: true}, interface: [max_results: 5]]) == :ok

    assert {:ok, %{dev: %{debug_mode: true}, interface: %{max_results: 5, query_timeout: 10_000}}} =
             Config.get()

    # A running service is left alone.
    assert Foundation.initialize(config: [dev: %{debug_mode: false}]) == :ok
    assert Config.get([:dev, :debug_mode]) == {:ok, true}

    Foundation.shutdown()

    ExUnit.CaptureLog.capture_log(fn ->
      assert {:error, %Error{error_type: :invalid_config_value}} =
               Foundation.initialize(config: [ai: %{provider: :skynet}])
    end)

    assert Foundation.initialize() == :ok
    assert Config.get([:dev, :debug_mode]) == {:ok, false}
    pid = self()
    assert {:ok, ^pid} = ElixirScope.start_link()
  end

  test "namespaces are isolated instances" do
    namespace = {:test, make_ref()}
    {:ok, supervisor} = Services.start_link(namespace: namespace, config: [dev: %{debug_mode: true}])
    config = service(:config_server, namespace)
    store = service(:event_store, namespace)

    assert GenServer.call(config, {:get_config_path, [:dev, :debug_mode]}) == {:ok, true}
    assert Config.get([:dev, :debug_mode]) == {:ok, false}
    stored = event(:isolated, 1)
    assert {:ok, _} = GenServer.call(store, {:store_event, stored})
    assert {:error, %Error{error_type: :data_not_found}} = Events.get(stored.event_id)
    assert {:ok, %{event_count: 0}} = Events.status()
    assert Instance.open?(namespace)

    Supervisor.stop(supervisor)
    refute Instance.open?(namespace)
    assert Instance.open?()
  end

  test "services started one by one share an instance, which is closed with the last of them" do
    namespace = {:test, make_ref()}
    {:ok, store} = start_supervised({EventStore, namespace: namespace})
    {:ok, config} = start_supervised({ConfigServer, namespace: namespace})
    {:ok, telemetry} = start_supervised({TelemetryService, namespace: namespace})
    assert {:ok, %{}} = GenServer.call(telemetry, :get_metrics)
    assert GenServer.call(config, {:update_config, [:dev, :debug_mode], true}) == :ok
    assert {:ok, [%{event_type: :config_updated}]} = GenServer.call(store, {:query_events, []})

    stop_supervised(ConfigServer)
    stop_supervised(TelemetryService)
    assert Instance.open?(namespace)
    stop_supervised(EventStore)
    assert eventually(fn -> not Instance.open?(namespace) end)
  end

  test "an owner that is forgotten has its instance closed" do
    # The process that holds the owner answers only while it lives, so that the owner is not forgotten sooner.
    holder = spawn(&hold_owner/0)
    send(holder, {:open, self()})
    assert_receive {:opened, handle}, 5_000
    assert {:ok, _} = Native.config_version(handle)
    send(holder, :forget)
    assert eventually(fn -> match?({:error, _}, Native.config_version(handle)) end)
  end

  defp hold_owner do
    {:ok, owner} = Instance.new_owner()

    receive do
      {:open, from} ->
        handle = Native.owner_open(owner, %{})
        send(from, {:opened, handle})
        receive do: (:forget -> ^handle = Native.owner_open(owner, %{}))
    end
  end

  defp kill_and_wait(name) do
    pid = service(name)
    monitor = Process.monitor(pid)
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, _, :killed}

    assert eventually(fn ->
             case ProcessRegistry.lookup(:production, name) do
               {:ok, other} -> other != pid
               :error -> false
             end
           end)
  end
end
