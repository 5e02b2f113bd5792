defmodule ElixirScope.Foundation.TelemetryTest do
  use ElixirScope.Case

  import ExUnit.CaptureLog

  alias ElixirScope.Foundation.Services.TelemetryService

  defp entry(name) do
    {:ok, metrics} = Telemetry.get_metrics()
    get_in(metrics, name)
  end

  test "counters sum, gauges keep the last, other numbers their mean" do
    for n <- [10, 20, 30] do
      assert Telemetry.execute([:t, :all], %{counter: n, gauge: n, duration: n, label: "n#{n}"}, %{first: n}) ==
               :ok
    end

    entry = entry([:t, :all])
    assert entry.measurements == %{counter: 60, gauge: 30, duration: 20, label: "n30"}
    assert entry.metadata == %{first: 10}
    assert entry.count == 3
    assert entry.timestamp <= ElixirScope.Foundation.Utils.monotonic_timestamp()

    Telemetry.emit_gauge([:t, :float], 1.5, %{})
    assert entry([:t, :float]).measurements == %{gauge: 1.5}
    TelemetryService.emit_counter([:t, :batch], %{}, 10)
    assert entry([:t, :batch]).measurements == %{counter: 10}
  end

  test "a name may be the beginning of another" do
    Telemetry.emit_counter([:t, :a], %{})
    Telemetry.emit_counter([:t, :a, :b], %{})
    Telemetry.emit_counter([:foundation, :config_updates, :x], %{})
    assert %{measurements: %{counter: 1}, b: %{measurements: %{counter: 1}}} = entry([:t, :a])
    assert %{x: %{count: 1}} = entry([:foundation, :config_updates])
  end

  test "four names are plain numbers" do
    {:ok, %{foundation: before}} = Telemetry.get_metrics()
    {:ok, _} = Events.store(event())
    Config.update([:dev, :debug_mode], true)
    Telemetry.emit_counter([:foundation, :config_operations], %{})
    {:ok, %{foundation: later}} = Telemetry.get_metrics()
    assert later.events_stored == before.events_stored + 2
    assert later.config_updates == before.config_updates + 1
    assert later.config_resets == before.config_resets
    assert later.config_operations == 1
  end

  test "metrics under a prefix" do
    Telemetry.emit_counter([:t, :one, :x], %{})
    Telemetry.emit_counter([:t, :two], %{})
    assert {:ok, %{t: under} = metrics} = Telemetry.get_metrics_for([:t, :one])
    assert Map.keys(under) == [:one]
    assert Map.keys(metrics) |> Enum.sort() == [:retrieved_at, :t]
    assert {:ok, %{foundation: foundation}} = Telemetry.get_metrics_for([:foundation, :config_updates])
    assert Map.keys(foundation) == [:config_updates]
    assert {:error, %Error{error_type: :invalid_input}} = Telemetry.get_metrics_for(:t)
  end

  test "measuring a function, however it ends" do
    assert Telemetry.measure([:t, :work], %{kind: :test}, fn -> :result end) == :result
    assert_raise RuntimeError, fn -> Telemetry.measure([:t, :work], %{}, fn -> raise "no" end) end
    assert catch_throw(Telemetry.measure([:t, :work], %{}, fn -> throw(:ball) end)) == :ball
    assert catch_exit(Telemetry.measure([:t, :work], %{}, fn -> exit(:gone) end)) == :gone

    assert %{
             stop: %{count: 1, metadata: %{kind: :test}},
             exception: %{count: 3, metadata: %{error: %RuntimeError{}}}
           } = entry([:t, :work])

    assert Telemetry.time_function(Mod, :fun, fn -> 1 end) == 1
    assert entry([:elixir_scope, :function, :execution, :stop]).metadata == %{module: Mod, function: :fun}
    assert Telemetry.emit_performance(:speed, 9) == :ok
    assert Telemetry.emit_system_event(:start) == :ok
    assert entry([:elixir_scope, :performance, :speed]).measurements == %{gauge: 9}
  end

  test "wrong names and values are errors; a service that is away is none" do
    for wrong <- [:name, [], ["a"], [:a | :b], nil, 1, List.duplicate(:a, 17)] do
      assert {:error, %Error{}} = Telemetry.emit_counter(wrong, %{}), inspect(wrong)
      assert {:error, %Error{}} = Telemetry.execute(wrong, %{x: 1}, %{}), inspect(wrong)
    end

    assert {:error, %Error{}} = Telemetry.emit_gauge([:t, :g], "high", %{})
    assert {:error, %Error{}} = TelemetryService.emit_counter([:t, :c], %{}, -1)
    assert {:error, %Error{}} = Telemetry.execute([:t, :m], [x: 1], %{})

    Foundation.shutdown()
    assert Telemetry.emit_counter([:t, :c], %{}) == :ok
    assert Telemetry.execute([:t, :c], %{x: 1}, %{}) == :ok
    assert Telemetry.measure([:t, :c], %{}, fn -> 1 end) == 1
    assert {:error, %Error{error_type: :service_unavailable}} = Telemetry.get_metrics()
    assert {:error, %Error{error_type: :service_unavailable}} = Telemetry.attach_handlers([[:t, :c]])
    assert Telemetry.detach_handlers([[:t, :c]]) == :ok
    refute Telemetry.available?()
  end

  test "handlers write to the log until detached, also for names that come later" do
    assert Telemetry.attach_handlers([[:t, :logged], [:t, :later]]) == :ok
    assert {:ok, %{handlers_count: 2}} = Telemetry.status()

    assert capture_log(fn -> Telemetry.emit_counter([:t, :logged], %{who: :me}) end) =~
             "[:t, :logged] %{counter: 1} %{who: :me}"

    assert capture_log(fn -> Telemetry.emit_gauge([:t, :later], 5, %{}) end) =~ "%{gauge: 5}"
    assert capture_log(fn -> Telemetry.emit_gauge([:t, :other], 5, %{}) end) == ""
    assert Telemetry.detach_handlers([[:t, :logged], [:t, :later]]) == :ok
    assert capture_log(fn -> Telemetry.emit_counter([:t, :logged], %{}) end) == ""
  end

  test "instruments with labels through handles" do
    {:ok, hits} = Telemetry.counter("t.hits", %{"method" => "GET", code: 200 |> Integer.to_string()})
    assert {:ok, other} = Telemetry.counter("t.hits", %{code: "200", method: "GET"})
    assert Telemetry.add(hits, 2) == :ok
    assert Telemetry.add(other) == :ok
    {:ok, depth} = Telemetry.gauge("t.depth")
    assert Telemetry.set(depth, 5) == :ok
    assert Telemetry.adjust(depth, -1.5) == :ok
    {:ok, seconds} = Telemetry.histogram("t.seconds", %{})
    for n <- 1..100, do: :ok = Telemetry.record(seconds, n / 100)
    assert Telemetry.describe("t.hits", "Hits of the test.") == :ok

    {:ok, text} = Telemetry.prometheus()
    assert text =~ ~s(t_hits_total{code="200",method="GET"} 3)
    assert text =~ "# HELP t_hits_total Hits of the test."
    assert text =~ "t_depth 3.5"
    assert text =~ "t_seconds_count 100"
    {:ok, instruments} = Telemetry.instruments()
    assert %{"t.seconds" => %{"series" => [%{"p50" => p50}]}} = instruments
    assert_in_delta p50, 0.5, 0.02

    assert {:error, %Error{error_type: :type_mismatch}} = Telemetry.gauge("t.hits")
    assert {:error, %Error{error_type: :stale_handle}} = Telemetry.add(depth, 1)
    assert {:error, %Error{error_type: :stale_handle}} = Telemetry.set(12_345, 1)
    assert {:error, %Error{error_type: :type_mismatch}} = Telemetry.add(hits, -1)
    assert {:error, %Error{}} = Telemetry.record(seconds, -1)
    assert {:error, %Error{}} = Telemetry.counter("bad name", %{})
    assert {:error, %Error{}} = Telemetry.counter("t.l", [:no_map])

    Foundation.shutdown()
    assert {:error, %Error{error_type: :stale_handle}} = Telemetry.add(hits, 1)
  end

  test "what is recorded by name is in Prometheus' text" do
    Telemetry.emit_counter([:t, :"odd-name?"], %{})
    Telemetry.execute([:t, :request], %{duration: 7}, %{})
    {:ok, text} = Telemetry.prometheus()
    assert text =~ "t_odd_name__total"
    assert text =~ "t_request_duration_count"
  end

  test "many processes count and nothing is lost" do
    {:ok, hits} = Telemetry.counter("t.concurrent")

    1..8
    |> Enum.map(fn _ ->
      Task.async(fn ->
        for _ <- 1..1_000 do
          Telemetry.emit_counter([:t, :concurrent, :by_name], %{})
          Telemetry.add(hits)
        end
      end)
    end)
    |> Enum.each(&Task.await/1)

    assert %{count: 8_000, measurements: %{counter: 8_000}} = entry([:t, :concurrent, :by_name])
    {:ok, text} = Telemetry.prometheus()
    assert text =~ "t_concurrent_total 8000"
  end

  test "the VM is measured, and old metrics are forgotten" do
    Telemetry.emit_counter([:t, :old], %{})
    {:ok, pid} = ElixirScope.Foundation.ProcessRegistry.lookup(:production, :telemetry_service)
    send(pid, :tick)
    {:ok, metrics} = GenServer.call(pid, :get_metrics)
    assert metrics.vm.memory.measurements.gauge > 1_000_000
    assert metrics.t.old

    now = ElixirScope.Foundation.Utils.monotonic_timestamp()
    assert {:ok, forgotten} = Native.metrics_expire(Instance.handle(), now + 1)
    assert forgotten >= 1
    assert {:ok, metrics} = Telemetry.get_metrics()
    refute Map.has_key?(metrics, :t)
    Telemetry.emit_counter([:t, :old], %{})
    assert entry([:t, :old]).measurements == %{counter: 1}
  end
end
