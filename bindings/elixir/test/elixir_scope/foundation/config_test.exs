defmodule ElixirScope.Foundation.ConfigTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Services.ConfigServer
  alias ElixirScope.Foundation.Types

  @rate [:ai, :planning, :sampling_rate]

  test "every path of the defaults is found, and the whole tree is the struct" do
    {:ok, config} = Config.get()
    assert config == Types.Config.new()

    for row <- Config.Schema.rows() do
      assert Config.get(row.path) == {:ok, row.default}
    end

    assert Config.get([:ai, :planning]) == {:ok, config.ai.planning}
    assert Config.get([]) == {:ok, config}
  end

  test "what is not there is not found, and no path is a crash" do
    for path <- [
          [:ai, :nothing],
          [:ai, :provider, :deeper],
          [:nowhere],
          [:ai, "planning"],
          [1],
          [nil],
          [self()]
        ] do
      assert {:error, %Error{error_type: :config_path_not_found, severity: :medium}} = Config.get(path)
    end

    assert {:error, %Error{context: %{path: [:ai, :nothing]}}} = Config.get([:ai, :nothing])

    for path <- [:ai, "ai.planning", nil, %{}, {1}, [:ai | :planning]] do
      assert {:error, %Error{}} = Config.get(path)
    end

    assert Config.get_with_default([:ai, :nothing], 7) == 7
    assert Config.get_with_default([:ai, :api_key], 7) == nil
  end

  test "an update is seen at once, with its event and its counts" do
    assert Config.update(@rate, 0.5) == :ok
    assert Config.get(@rate) == {:ok, 0.5}
    assert {:ok, [event]} = Events.query(event_type: :config_updated)
    assert %{path: @rate, new_value: 0.5, previous_value: 1.0, timestamp: _} = event.data
    assert {:ok, %{foundation: %{config_updates: updates}}} = Telemetry.get_metrics()
    assert updates >= 1
    assert {:ok, %{updates_count: ^updates}} = Config.status()
  end

  test "an integer is a number too" do
    assert Config.update(@rate, 1) == :ok
    assert Config.get(@rate) == {:ok, 1.0}
    assert {:ok, %{sampling_rate: rate}} = Config.get([:ai, :planning])
    assert rate === 1.0
  end

  test "a failed update changes nothing and tells nobody" do
    Config.subscribe()
    {:ok, version} = Config.version()

    assert {:error, %Error{error_type: :range_error}} = Config.update(@rate, 1.5)

    assert {:error, %Error{error_type: :config_update_forbidden} = error} =
             Config.update([:ai, :provider], :openai)

    assert error.context.path == [:ai, :provider]
    assert length(error.context.allowed_paths) == 9
    assert {:error, %Error{error_type: :invalid_path}} = Config.safe_update(:not_a_list, 1)
    assert {:error, %Error{error_type: :invalid_path}} = Config.update("a.b", 1)
    assert {:error, %Error{code: 1401}} = Config.safe_update([:ai, :api_key], "x")
    assert Config.safe_update([:dev, :debug_mode], true) == :ok

    assert_receive {:config_notification, {:config_updated, [:dev, :debug_mode], true}}
    refute_received {:config_notification, _}
    assert {:ok, ^version} = {:ok, version}
    assert Config.version() == {:ok, version + 1}
  end

  test "subscribers hear of updates and resets until they unsubscribe" do
    assert Config.subscribe() == :ok
    assert Config.subscribe() == :ok
    Config.update(@rate, 0.25)
    assert_receive {:config_notification, {:config_updated, @rate, 0.25}}
    refute_receive {:config_notification, _}, 20

    Config.reset()
    assert_receive {:config_notification, {:config_reset, %Types.Config{} = config}}
    assert config == Types.Config.new()
    assert Config.get(@rate) == {:ok, 1.0}

    assert Config.unsubscribe() == :ok
    assert Config.unsubscribe() == :ok
    Config.update(@rate, 0.75)
    refute_receive {:config_notification, _}, 20
  end

  test "the seeds' format of the message on request" do
    Config.subscribe(format: :seed)
    Config.update([:dev, :debug_mode], true)
    assert_receive {:config_notification, {:updated, [:dev, :debug_mode], true}}
    assert {:error, %Error{error_type: :invalid_input}} = Config.subscribe(format: :other)
  end

  test "a dead subscriber is dropped, another process may be subscribed" do
    task = Task.async(fn -> receive do: (:stop -> :ok) end)
    assert ConfigServer.subscribe(task.pid) == :ok
    assert {:ok, %{subscribers_count: 1}} = Config.status()
    send(task.pid, :stop)
    Task.await(task)
    assert eventually(fn -> match?({:ok, %{subscribers_count: 0}}, Config.status()) end)
    assert ConfigServer.subscribe(task.pid) == :ok
    assert {:ok, %{subscribers_count: 0}} = Config.status()
  end

  test "a reset of the state is for tests" do
    Application.put_env(:elixir_scope, :test_mode, false)
    assert {:error, %Error{error_type: :operation_forbidden}} = ConfigServer.reset_state()
  after
    Application.put_env(:elixir_scope, :test_mode, true)
  end

  test "reading while another process writes never shows anything but written values" do
    writer =
      Task.async(fn ->
        for n <- 1..2_000, do: :ok = Config.update([:interface, :max_results], 1_000 + n)
      end)

    values = read_until_done(writer, [])
    assert values == Enum.sort(values)
    assert Config.get([:interface, :max_results]) == {:ok, 3_000}
  end

  defp read_until_done(task, values) do
    {:ok, value} = Config.get([:interface, :max_results])
    values = [value | values]
    if Task.yield(task, 0), do: Enum.reverse(values), else: read_until_done(task, values)
  end
end
