# The Elixir rows of the benchmarks: ours beside its floor and its peers, in one run.
#
#     MIX_ENV=prod mix run bench/run.exs [--quick] [--rounds N] [--json FILE]
#
# Peers are what OTP has; those of hex.pm are not here. `--quick` shows that everything runs.

Code.require_file("harness.exs", __DIR__)
Code.require_file("peers.exs", __DIR__)

defmodule Bench do
  alias Bench.{Ets, Mnesia}
  alias Bench.Harness.Row
  alias ElixirScope.Foundation
  alias ElixirScope.Foundation.{Config, Events, Telemetry, Utils}

  import Bench.Harness, only: [loop: 2, loop: 3, each: 2, batches: 2, time: 1]

  @path [:ai, :planning, :sampling_rate]
  @types [:order_placed, :order_paid, :order_packed, :order_shipped, :order_closed, :user_login, :user_logout]

  def run(argv) do
    {opts, _} = OptionParser.parse!(argv, strict: [quick: :boolean, rounds: :integer, json: :string])
    quick = Keyword.get(opts, :quick, false)
    rounds = Keyword.get(opts, :rounds, if(quick, do: 1, else: 7))
    machine = Bench.Harness.machine()
    folder = Path.join(System.tmp_dir!(), "elixir-scope-bench-#{System.pid()}")
    File.mkdir_p!(folder)

    try do
      Logger.configure(level: :error)
      :ok = start(%{max_events: 1_000_000})
      prepare(folder)

      rows = [
        config(1),
        config(2),
        counter(1),
        counter(2),
        labelled(),
        store(),
        store_random(),
        batch(),
        correlation(quick),
        scrape()
      ]

      in_memory = measure(rows, rounds, quick)
      {on_disk, notes} = crash_safe(folder, rounds, quick)

      notes = [
        "ETS is four tables that are written one after the other: a reader can see an event in one of them only. " <>
          "A dirty write of Mnesia is no more than that either; its transaction is all or nothing."
        | notes
      ]

      Bench.Harness.print(in_memory ++ on_disk)
      if file = opts[:json], do: Bench.Harness.write_json(file, in_memory ++ on_disk, rounds, notes, machine)
    after
      :mnesia.stop()
      File.rm_rf!(folder)
    end
  end

  defp measure(rows, rounds, quick) do
    for {row, index} <- Enum.with_index(rows, 1) do
      IO.puts(:stderr, "  #{index} of #{length(rows)}: #{row.work}")
      calls = if quick and row.calls > 1, do: max(div(row.calls, 20), 1_000), else: row.calls
      Bench.Harness.measure(%{row | calls: calls}, rounds)
    end
    |> Enum.concat()
  end

  # `mix run` has started the application with its defaults, which keep 100,000 events and 2,000 series a metric.
  defp start(event_store) do
    :ok = Application.stop(:elixir_scope)
    Application.put_env(:elixir_scope, :event_store, event_store)
    Application.put_env(:elixir_scope, :telemetry, %{max_series: 60_000, max_series_per_metric: 20_000})
    Foundation.initialize()
  end

  # What the peers need.
  defp prepare(folder) do
    tree = %{ai: %{planning: %{sampling_rate: 1.0}}}
    :persistent_term.put(:bench_config, tree)
    :ets.new(:bench_config, [:named_table, :public, read_concurrency: true])
    :ets.insert(:bench_config, {@path, 1.0})
    Application.put_env(:elixir_scope, :bench_rate, 1.0)
    {:ok, _pid} = Bench.Server.start()
    :ets.new(:bench_labelled, [:named_table, :public, :set, write_concurrency: true])
    Ets.start()
    Mnesia.start(Path.join(folder, "mnesia"))
  end

  defp config(processes) do
    path = @path

    %Row{
      work: "Config.get of a scalar, #{processes} process(es)",
      calls: 200_000,
      target: "≤ 2 × floor, flat in processes",
      floors: 2,
      subjects: [
        {:floor, "persistent_term + get_in",
         loop(processes, fn -> get_in(:persistent_term.get(:bench_config), path) end)},
        {:ours, "Config.get/1", loop(processes, fn -> Config.get(path) end)},
        {:peer, "ETS lookup_element", loop(processes, fn -> :ets.lookup_element(:bench_config, path, 2) end)},
        {:peer, "Application.get_env",
         loop(processes, fn -> Application.get_env(:elixir_scope, :bench_rate) end)},
        {:peer, "GenServer.call", loop(processes, fn -> GenServer.call(Bench.Server, {:get, path}) end, 20)}
      ]
    }
  end

  defp counter(processes) do
    {:ok, ours} = Telemetry.counter("bench.hits")
    counters = :counters.new(1, [:write_concurrency])

    %Row{
      work: "counter through a handle, #{processes} process(es)",
      calls: 200_000,
      target: "≤ 130 ns",
      limit: 130,
      subjects: [
        {:floor, ":counters.add", loop(processes, fn -> :counters.add(counters, 1, 1) end)},
        {:ours, "Telemetry.add/2", loop(processes, fn -> Telemetry.add(ours, 1) end)},
        {:peer, "ETS update_counter",
         loop(processes, fn -> :ets.update_counter(:bench_labelled, :hits, 1, {:hits, 0}) end)}
      ]
    }
  end

  defp labelled do
    metadata = %{method: :get, status: 200, route: "/orders"}
    key = {[:http, :requests], metadata}

    %Row{
      work: "a counter by name with 3 tags",
      calls: 100_000,
      target: "≥ 2 × faster than peep striped (from hex.pm: not here)",
      subjects: [
        {:peer, "ETS update_counter keyed by name and tags",
         loop(1, fn -> :ets.update_counter(:bench_labelled, key, 1, {key, 0}) end)},
        {:ours, "Telemetry.execute/3",
         loop(1, fn -> Telemetry.execute([:http, :requests], %{counter: 1}, metadata) end)}
      ]
    }
  end

  # Events whose data is a term of about 200 bytes; ten of them share a correlation id.
  defp event(index) do
    type = Enum.at(@types, rem(index, length(@types)))
    Events.debug_new_event(type, data(), correlation_id: "order-#{div(index, 10)}")
  end

  defp data,
    do: %{
      order: 4711,
      total: 12.5,
      currency: "EUR",
      lines: Enum.to_list(1..20),
      note: String.duplicate("x", 100)
    }

  defp store do
    %Row{
      work: "store one event, one process",
      calls: 20_000,
      target: "≥ 0.7 M/s (≤ 1,430 ns), ≥ 5 × ETS",
      limit: 1_430,
      times: [{"ETS", 5}],
      subjects: [
        {:ours, "Events.store/1", each(&event/1, fn event -> {:ok, _} = Events.store(event) end)},
        {:peer, "ETS with 3 index tables", each(&event/1, &Ets.store/1)},
        {:peer, "Mnesia, dirty", each(&event/1, &Mnesia.dirty(:bench_ram, &1))},
        {:peer, "Mnesia, transaction", each(&event/1, &Mnesia.transaction(:bench_ram, [&1]))}
      ]
    }
  end

  # Ordered tables pay for keys that come in no order, as the library's own correlation ids do.
  defp store_random do
    event = fn index -> %{event(index) | correlation_id: Utils.generate_correlation_id()} end

    %Row{
      work: "store one event, random correlation ids",
      calls: 20_000,
      target: "≥ 5 × ETS",
      times: [{"ETS", 5}],
      subjects: [
        {:ours, "Events.store/1", each(event, fn event -> {:ok, _} = Events.store(event) end)},
        {:peer, "ETS with 3 index tables", each(event, &Ets.store/1)},
        {:peer, "Mnesia, dirty", each(event, &Mnesia.dirty(:bench_ram, &1))}
      ]
    }
  end

  defp batch do
    %Row{
      work: "store a batch of 1,000 (one event)",
      calls: 20_000,
      target: "≥ 1.2 M/s (≤ 830 ns)",
      limit: 830,
      subjects: [
        {:ours, "Events.store_batch/1",
         batches(&event/1, fn events -> {:ok, _} = Events.store_batch(events) end)},
        {:peer, "ETS with 3 index tables",
         batches(&event/1, &Enum.each(&1, fn event -> Ets.store(event) end))},
        {:peer, "Mnesia, dirty",
         batches(&event/1, &Enum.each(&1, fn event -> Mnesia.dirty(:bench_ram, event) end))},
        {:peer, "Mnesia, transaction", batches(&event/1, &Mnesia.transaction(:bench_ram, &1))}
      ]
    }
  end

  defp correlation(quick) do
    # All hold the same events, ten of each correlation, spread over the whole run.
    chains = if quick, do: 500, else: 10_000

    events =
      for index <- 1..(chains * 10), do: %{event(index) | correlation_id: "chain-#{rem(index, chains)}"}

    Enum.each(Enum.chunk_every(events, 1_000), fn chunk -> {:ok, _} = Events.store_batch(chunk) end)
    Enum.each(events, &Ets.store/1)
    Enum.each(events, &Mnesia.dirty(:bench_ram, &1))

    for number <- 0..(chains - 1)//37 do
      id = "chain-#{number}"
      {:ok, ours} = Events.get_by_correlation(id)
      answers = [ours, Ets.by_correlation(id), Mnesia.by_correlation(id)]

      unless length(ours) == 10 and Enum.all?(answers, &(facts(&1) == facts(ours))),
        do: raise("the answers to #{id} differ")
    end

    next = fn -> "chain-#{:rand.uniform(chains) - 1}" end

    %Row{
      work: "by correlation, 10 events",
      calls: 2_000,
      target: "≤ 15 µs",
      limit: 15_000,
      subjects: [
        {:ours, "Events.get_by_correlation/1",
         loop(1, fn -> {:ok, [_ | _]} = Events.get_by_correlation(next.()) end)},
        {:peer, "ETS ordered_set + lookups", loop(1, fn -> [_ | _] = Ets.by_correlation(next.()) end)},
        {:peer, "Mnesia, dirty_index_read", loop(1, fn -> [_ | _] = Mnesia.by_correlation(next.()) end)}
      ]
    }
  end

  defp facts(events), do: Enum.map(events, &{&1.event_id, &1.event_type, &1.timestamp, &1.data})

  defp scrape do
    for index <- 1..10_000 do
      {:ok, counter} = Telemetry.counter("bench.series", %{index: "#{index}"})
      :ok = Telemetry.add(counter, index)
    end

    %Row{
      work: "scrape of 10,000 counters",
      calls: 1,
      target: "≤ 5 ms",
      limit: 5_000_000,
      subjects: [
        {:ours, "Telemetry.prometheus/0", fn _calls -> time(fn -> {:ok, _} = Telemetry.prometheus() end) end}
      ]
    }
  end

  # Events that survive SIGKILL of the VM, beside Mnesia's tables on disk, whose log is not synced either.
  defp crash_safe(folder, rounds, quick) do
    store = %{max_events: 10_000_000, data_dir: Path.join(folder, "events"), durability: "crash_safe"}

    case start(store) do
      :ok ->
        row = %Row{
          work: "crash_safe: store one event, one process",
          calls: 20_000,
          target: "≥ 0.5 M/s (≤ 2,000 ns)",
          limit: 2_000,
          subjects: [
            {:ours, "Events.store/1", each(&event/1, fn event -> {:ok, _} = Events.store(event) end)},
            {:peer, "Mnesia disc_copies, dirty", each(&event/1, &Mnesia.dirty(:bench_disc, &1))},
            {:peer, "Mnesia disc_copies, transaction", each(&event/1, &Mnesia.transaction(:bench_disc, [&1]))}
          ]
        }

        {measure([row], rounds, quick), []}

      {:error, error} ->
        {[], ["crash_safe is not measured: #{error.message}"]}
    end
  end
end

Bench.run(System.argv())
