defmodule ElixirScope.Soundness.SchedulersTest do
  use ElixirScope.Case

  @moduletag timeout: 300_000
  @rounds 300

  # `long_schedule` goes by the clock on the wall, so a scheduler thread that the kernel preempts is reported as well,
  # wherever it happens to be. What a NIF of ours does by itself happens in every round; so one round without a
  # report shows that none is long. Rounds are short, so that a busy machine leaves one alone.
  test "no NIF keeps a normal scheduler for a millisecond under load" do
    {:ok, _} =
      Events.store_batch(for n <- 1..20_000, do: event(:background, n, correlation_id: "c#{rem(n, 2_000)}"))

    reports = Stream.repeatedly(&round/0) |> Stream.take(@rounds) |> Enum.take_while(&(&1 != []))
    if length(reports) == @rounds, do: flunk("reported in every round: #{inspect(hd(reports))}")
  end

  test "a long stay in our code would be seen" do
    assert in_nif?({:out, {Native, :event_append, 2}})
    refute in_nif?({:timeout, 2})
    watcher = watch()

    # The longest thing that an Elixir process does in one go: a binary that is large, searched for what it has not.
    text = :binary.copy("a", 200_000_000)
    :binary.match(text, "b")
    :erlang.system_monitor(:undefined)
    assert stop(watcher, fn _info -> true end) != []
  end

  defp round do
    watcher = watch()
    1..2 |> Enum.map(fn n -> Task.async(fn -> work(n) end) end) |> Enum.each(&Task.await(&1, 100_000))
    :erlang.system_monitor(:undefined)
    stop(watcher, &Enum.any?(&1, fn place -> in_nif?(place) end))
  end

  defp work(n) do
    for m <- 1..5 do
      {:ok, _} = Config.get([:ai, :planning, :sampling_rate])
      {:ok, _} = Config.get()
      {:ok, _} = Events.store(event(:load, {n, m}, correlation_id: "load-#{n}"))
      {:ok, _} = Events.get_by_correlation("c#{m}")
      :ok = Telemetry.emit_counter([:load, :count], %{})
      :ok = Config.update([:interface, :max_results], m)
    end

    {:ok, _} = Events.query(event_type: :load, limit: 500)
    {:ok, _} = Events.store_batch(for k <- 1..500, do: event(:batch, k))
    # The most that is encoded without leaving the scheduler, and a little more.
    {:ok, _} = Events.store_batch(for k <- 1..250, do: event(:batch, Enum.to_list(k..(k + 55))))
    for size <- [15_900, 16_100], do: {:ok, _} = Events.store(event(:large, Enum.to_list(1..size)))
    {:ok, _} = Events.store(event(:large, :binary.copy("x", 130_000)))
    {:ok, _} = Events.store_async(event(:later, n))
    {:ok, _} = Telemetry.get_metrics()
    {:ok, _} = Telemetry.prometheus()
    {:ok, _} = Foundation.health()
  end

  defp watch do
    watcher = spawn_link(fn -> collect([]) end)
    :erlang.system_monitor(watcher, [{:long_schedule, 1}])
    watcher
  end

  defp stop(watcher, wanted) do
    send(watcher, {:stop, self()})
    assert_receive {:reports, reports}
    Enum.filter(reports, wanted)
  end

  defp collect(reports) do
    receive do
      {:monitor, _pid, :long_schedule, info} -> collect([info | reports])
      {:stop, from} -> send(from, {:reports, reports})
    end
  end

  defp in_nif?({_in_or_out, {ElixirScope.Foundation.Native, _function, _arity}}), do: true
  defp in_nif?(_other), do: false
end
