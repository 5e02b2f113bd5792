defmodule ElixirScope.Soundness.SubscribersTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Services.ConfigServer

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
end
