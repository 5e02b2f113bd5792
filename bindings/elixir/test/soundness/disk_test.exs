defmodule ElixirScope.Soundness.DiskTest do
  @moduledoc """
  Many processes that wait for one disk, and VMs that are killed while they write to it.
  """

  use ElixirScope.DiskCase

  @moduletag timeout: 300_000
  @writers 64
  @rounds 100
  @kills 6

  # As in `SchedulersTest`: what a NIF of ours does by itself happens in every round, so that one round without a
  # report shows that none is long.
  test "#{@writers} processes wait for the disk at once, and no scheduler does", %{directory: directory} do
    open(directory, durability: :group)

    {rounds, reports} =
      Enum.reduce_while(1..@rounds, {0, []}, fn round, _ ->
        case long_stays(fn -> durable_round(round) end) do
          [] -> {:halt, {round, []}}
          reports -> {:cont, {round, reports}}
        end
      end)

    assert reports == []
    {:ok, stats} = Events.stats()
    count = rounds * @writers * 10
    assert Events.count(event_type: :tick) == {:ok, count}
    # One sync for many who wait: nothing like one for each.
    assert stats.disk.syncs < div(count, 2)
    assert stats.disk.durable_seq > count
    open(directory)
    assert Events.count(event_type: :tick) == {:ok, count}
  end

  defp durable_round(round) do
    tasks =
      for writer <- 1..@writers do
        Task.async(fn ->
          for n <- 1..10, do: {:ok, _id} = Events.store(event(:tick, {round, writer, n}))
          [] = mailbox()
        end)
      end

    Task.await_many(tasks, 60_000)
  end

  defp long_stays(work) do
    watcher = spawn_link(fn -> collect([]) end)
    :erlang.system_monitor(watcher, [{:long_schedule, 5}])
    work.()
    :erlang.system_monitor(:undefined)
    send(watcher, {:stop, self()})
    assert_receive {:reports, reports}
    for {_pid, info} <- reports, {place, {Native, _name, _arity}} <- info, place in [:in, :out], do: info
  end

  defp collect(reports) do
    receive do
      {:monitor, pid, :long_schedule, info} -> collect([{pid, info} | reports])
      {:stop, from} -> send(from, {:reports, reports})
    end
  end

  @child """
  [directory, mode] = System.argv()
  Application.put_env(:elixir_scope, :event_store, data_dir: directory, durability: String.to_atom(mode), max_events: 100_000_000)
  {:ok, _} = Application.ensure_all_started(:elixir_scope)
  alias ElixirScope.Foundation.{Config, Events}
  parent = self()
  for writer <- 1..4 do
    spawn_link(fn ->
      Stream.iterate(1, &(&1 + 1)) |> Enum.each(fn n ->
        if rem(n, 10) == 0 do
          {:ok, ids} = Events.store_batch(for(m <- 1..5, do: Events.debug_new_event(:tick, {writer, n, m})))
          send(parent, {:stored, ids})
        else
          {:ok, id} = Events.store(Events.debug_new_event(:tick, {writer, n}))
          send(parent, {:stored, [id]})
        end
      end)
    end)
  end
  spawn_link(fn ->
    Stream.iterate(1, &(&1 + 1)) |> Enum.each(fn n ->
      :ok = Config.update([:interface, :max_results], n)
      send(parent, {:changed, n})
    end)
  end)
  Stream.repeatedly(fn ->
    receive do
      {:stored, ids} -> IO.puts("S " <> Enum.join(ids, " "))
      {:changed, n} -> IO.puts("C " <> to_string(n))
    end
  end) |> Stream.run()
  """

  for mode <- [:crash_safe, :interval, :group, :strict] do
    test "#{mode}: what a VM said is stored is there after it was killed", %{directory: directory} do
      ebin = :elixir_scope |> :code.lib_dir(:ebin) |> List.to_string()

      Enum.reduce(1..div(@kills, 2), {[], 0}, fn kill, {before, _value} ->
        lines = run_and_kill(ebin, directory, unquote(mode), 100 * kill)
        ids = for "S " <> ids <- lines, id <- String.split(ids), do: String.to_integer(id)
        value = for("C " <> n <- lines, do: String.to_integer(n)) |> List.last(0)
        assert ids != []

        open(directory, durability: unquote(mode), max_events: 100_000_000)
        stored = MapSet.new(before ++ ids)
        {:ok, found} = Events.query(event_type: :tick)
        missing = MapSet.difference(stored, MapSet.new(found, & &1.event_id))
        assert MapSet.size(missing) == 0, "missing: #{inspect(missing)}"
        # Batches are there whole or not at all.
        batches = for(%{data: {writer, n, _m}} <- found, do: {writer, n}) |> Enum.frequencies()
        assert batches |> Map.values() |> Enum.all?(&(rem(&1, 5) == 0))
        {:ok, kept} = Config.get([:interface, :max_results])
        if value > 0, do: assert(kept >= value)
        assert {:ok, %{disk: %{gaps: gaps, recovery: %{existed: true, clean: false}}}} = Events.stats()

        # Where each shard has a log of its own, an append that was in flight may be missing before one that was done.
        assert gaps == [] or unquote(mode) in [:crash_safe, :interval]
        assert Enum.all?(gaps, &(&1.reason == "crash"))
        Foundation.shutdown()
        {Enum.map(found, & &1.event_id), value}
      end)
    end
  end

  # The lines that the child has written whole before it was killed, of which it writes at least so many.
  defp run_and_kill(ebin, directory, mode, count) do
    port =
      Port.open({:spawn_executable, System.find_executable("elixir")}, [
        :binary,
        :exit_status,
        args: ["-pa", ebin, "-e", @child, directory, to_string(mode)],
        env: [{'ERL_CRASH_DUMP_SECONDS', '0'}]
      ])

    {:os_pid, pid} = Port.info(port, :os_pid)
    output = read(port, "", count)
    {_, 0} = System.cmd("kill", ["-9", to_string(pid)])
    output = read(port, output, :rest)
    # What comes last may be half a line.
    output |> String.split("\n") |> Enum.drop(-1)
  end

  defp read(port, output, count) do
    if is_integer(count) and length(String.split(output, "\n")) > count do
      output
    else
      receive do
        {^port, {:data, data}} -> read(port, output <> data, count)
        {^port, {:exit_status, 137}} when count == :rest -> output
        {^port, {:exit_status, status}} -> flunk("the child ended with #{status}: #{output}")
      after
        120_000 -> flunk("nothing comes: #{output}")
      end
    end
  end
end
