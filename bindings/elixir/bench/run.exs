# The Elixir rows of the benchmarks: ours beside its floor and its peers, in one run.
#
#     MIX_ENV=prod mix run bench/run.exs [--rounds N] [--json FILE]
#
# All subjects of a row do the same work and take turns (A B C, A B C, …) in one VM, since the machine's speed
# shifts while we measure; the figure is the median of the rounds. Peers that come from hex.pm are not here.

alias ElixirScope.Foundation
alias ElixirScope.Foundation.{Config, Events, Telemetry}

defmodule Bench.Server do
  use GenServer

  def start, do: GenServer.start(__MODULE__, nil, name: __MODULE__)
  def init(_), do: {:ok, %{ai: %{planning: %{sampling_rate: 1.0}}}}
  def handle_call({:get, path}, _from, config), do: {:reply, get_in(config, path), config}
end

defmodule Bench do
  @path [:ai, :planning, :sampling_rate]

  def run(argv) do
    {opts, _} = OptionParser.parse!(argv, strict: [rounds: :integer, json: :string])
    rounds = Keyword.get(opts, :rounds, 7)
    start()
    prepare()

    rows =
      Enum.flat_map(
        [config(1), config(2), counter(1), counter(2), labelled(), store(), batch(), correlation(), scrape()],
        & &1
      )

    total = length(rows)

    results =
      for {{work, calls, target, subjects}, index} <- Enum.with_index(rows, 1) do
        IO.puts(:stderr, "  #{index} of #{total}: #{work}")
        measure(work, calls, target, subjects, rounds)
      end
      |> Enum.concat()

    print(results)
    if file = opts[:json], do: write_json(file, results, rounds)
  end

  # `mix run` has started the application with its defaults, which keep 100,000 events and 2,000 series a metric.
  defp start do
    Logger.configure(level: :warning)
    :ok = Application.stop(:elixir_scope)
    Application.put_env(:elixir_scope, :event_store, %{max_events: 1_000_000})
    Application.put_env(:elixir_scope, :telemetry, %{max_series: 60_000, max_series_per_metric: 20_000})
    :ok = Foundation.initialize()
  end

  # What the peers need.
  defp prepare do
    tree = %{ai: %{planning: %{sampling_rate: 1.0}}}
    :persistent_term.put(:bench_config, tree)
    :ets.new(:bench_config, [:named_table, :public, read_concurrency: true])
    :ets.insert(:bench_config, {@path, 1.0})
    Application.put_env(:elixir_scope, :bench_rate, 1.0)
    {:ok, _pid} = Bench.Server.start()

    for table <- [:bench_events, :bench_by_type, :bench_by_time, :bench_by_correlation] do
      kind = if table == :bench_events, do: :set, else: :ordered_set
      :ets.new(table, [:named_table, :public, kind, write_concurrency: true])
    end

    :ets.new(:bench_labelled, [:named_table, :public, :set, write_concurrency: true])
  end

  defp config(processes) do
    path = @path

    [
      {"Config.get of a scalar, #{processes} process(es)", 200_000, "≤ 2 × floor, flat in processes",
       [
         {:floor, "persistent_term + get_in",
          loop(processes, fn -> get_in(:persistent_term.get(:bench_config), path) end)},
         {:ours, "Config.get/1", loop(processes, fn -> Config.get(path) end)},
         {:peer, "ETS lookup_element",
          loop(processes, fn -> :ets.lookup_element(:bench_config, path, 2) end)},
         {:peer, "Application.get_env",
          loop(processes, fn -> Application.get_env(:elixir_scope, :bench_rate) end)},
         {:peer, "GenServer.call", loop(processes, fn -> GenServer.call(Bench.Server, {:get, path}) end, 20)}
       ]}
    ]
  end

  defp counter(processes) do
    {:ok, ours} = Telemetry.counter("bench.hits")
    counters = :counters.new(1, [:write_concurrency])

    [
      {"counter through a handle, #{processes} process(es)", 200_000, "≤ 130 ns",
       [
         {:floor, ":counters.add", loop(processes, fn -> :counters.add(counters, 1, 1) end)},
         {:ours, "Telemetry.add/2", loop(processes, fn -> Telemetry.add(ours, 1) end)},
         {:peer, "ETS update_counter",
          loop(processes, fn -> :ets.update_counter(:bench_labelled, :hits, 1, {:hits, 0}) end)}
       ]}
    ]
  end

  defp labelled do
    metadata = %{method: :get, status: 200, route: "/orders"}
    measurements = %{counter: 1}

    [
      {"a counter by name with 3 tags", 100_000, "≥ 2 × faster than peep striped (from hex.pm: not here)",
       [
         {:peer, "ETS update_counter keyed by name and tags",
          loop(1, fn ->
            :ets.update_counter(
              :bench_labelled,
              {[:http, :requests], metadata},
              1,
              {{[:http, :requests], metadata}, 0}
            )
          end)},
         {:ours, "Telemetry.execute/3",
          loop(1, fn -> Telemetry.execute([:http, :requests], measurements, metadata) end)}
       ]}
    ]
  end

  # Events whose data is a term of about 200 bytes; ten of them share a correlation id.
  defp event(index) do
    Events.debug_new_event(:order_paid, data(), correlation_id: "order-#{div(index, 10)}")
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
    [
      {"store one event, one process", 20_000, "≥ 0.7 M/s (≤ 1,430 ns), ≥ 5 × ETS",
       [
         {:ours, "Events.store/1", each(20_000, &event/1, fn event -> {:ok, _} = Events.store(event) end)},
         {:peer, "ETS with 3 index tables", each(20_000, &event/1, &ets_store/1)}
       ]}
    ]
  end

  defp batch do
    [
      {"store a batch of 1,000, an event", 20_000, "≥ 1.2 M/s (≤ 830 ns)",
       [
         {:ours, "Events.store_batch/1", batches(20, fn events -> {:ok, _} = Events.store_batch(events) end)},
         {:peer, "ETS with 3 index tables", batches(20, fn events -> Enum.each(events, &ets_store/1) end)}
       ]}
    ]
  end

  defp ets_store(event) do
    :ets.insert(:bench_events, {event.event_id, event})
    :ets.insert(:bench_by_type, {{event.event_type, event.timestamp, event.event_id}})
    :ets.insert(:bench_by_time, {{event.timestamp, event.event_id}})
    :ets.insert(:bench_by_correlation, {{event.correlation_id, event.timestamp, event.event_id}})
  end

  defp correlation do
    # Both hold the same events: 100,000 in 10,000 correlations.
    events = for index <- 1..100_000, do: %{event(index) | correlation_id: "chain-#{rem(index, 10_000)}"}
    Enum.each(Enum.chunk_every(events, 1_000), fn chunk -> {:ok, _} = Events.store_batch(chunk) end)
    Enum.each(events, &ets_store/1)
    {:ok, ours} = Events.get_by_correlation("chain-77")
    theirs = ets_by_correlation("chain-77")
    unless Enum.map(ours, & &1.event_id) == Enum.map(theirs, & &1.event_id), do: raise("the answers differ")

    [
      {"by correlation, 10 events", 2_000, "≤ 15 µs",
       [
         {:ours, "Events.get_by_correlation/1",
          loop(1, fn -> Events.get_by_correlation("chain-77") end, 100)},
         {:peer, "ETS ordered_set + lookups", loop(1, fn -> ets_by_correlation("chain-77") end, 100)}
       ]}
    ]
  end

  defp ets_by_correlation(id) do
    keys = :ets.select(:bench_by_correlation, [{{{id, :_, :"$1"}}, [], [:"$1"]}])
    Enum.map(keys, &:ets.lookup_element(:bench_events, &1, 2))
  end

  defp scrape do
    for index <- 1..10_000 do
      {:ok, counter} = Telemetry.counter("bench.series", %{index: "#{index}"})
      :ok = Telemetry.add(counter, index)
    end

    [
      {"scrape of 10,000 counters", 1, "≤ 5 ms",
       [{:ours, "Telemetry.prometheus/0", fn _calls -> time(fn -> {:ok, _} = Telemetry.prometheus() end) end}]}
    ]
  end

  # A subject is a function of the number of calls that answers the nanoseconds it took.
  defp loop(processes, call, slower \\ 1)

  defp loop(1, call, slower) do
    fn calls ->
      calls = div(calls, slower)
      time(fn -> repeat(call, calls) end) * slower
    end
  end

  defp loop(processes, call, slower) do
    fn calls ->
      calls = div(calls, slower)

      time(fn ->
        1..processes
        |> Enum.map(fn _ -> Task.async(fn -> repeat(call, calls) end) end)
        |> Enum.each(&Task.await(&1, :infinity))
      end) * slower
    end
  end

  # Inputs are made outside the measured time, and new ones each time: an id is stored once.
  defp each(count, make, call) do
    fn _calls ->
      inputs = Enum.map(1..count, make)
      time(fn -> Enum.each(inputs, call) end)
    end
  end

  defp batches(count, call) do
    fn _calls ->
      inputs = for batch <- 1..count, do: Enum.map(1..1_000, &event(batch * 1_000 + &1))
      time(fn -> Enum.each(inputs, call) end)
    end
  end

  defp repeat(_call, 0), do: :ok

  defp repeat(call, n) do
    call.()
    repeat(call, n - 1)
  end

  defp time(fun) do
    :erlang.garbage_collect()
    from = System.monotonic_time(:nanosecond)
    fun.()
    System.monotonic_time(:nanosecond) - from
  end

  # A row for each subject; a ratio is the median of the rounds' ratios to the floor, where there is one.
  defp measure(work, calls, target, subjects, rounds) do
    # One round to warm up, then the subjects take turns.
    for {_role, _name, subject} <- subjects, do: subject.(calls)

    taken =
      for _round <- 1..rounds,
          do: Enum.map(subjects, fn {_role, _name, subject} -> subject.(calls) / calls end)

    floors = if match?([{:floor, _, _} | _], subjects), do: Enum.map(taken, &hd/1)

    for {{role, name, _subject}, index} <- Enum.with_index(subjects) do
      times = Enum.map(taken, &Enum.at(&1, index))
      ratio = if floors, do: median(Enum.zip_with(times, floors, &(&1 / &2)))
      target = if role == :ours, do: target, else: ""
      least = Enum.min(times)

      %{
        work: work,
        role: role,
        subject: name,
        median: median(times),
        least: least,
        most: Enum.max(times),
        ratio: ratio,
        target: target
      }
    end
  end

  defp median(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))

  defp print(results) do
    for [%{work: work} | _] = rows <- Enum.chunk_by(results, & &1.work) do
      IO.puts("\n#{work}")

      for row <- rows do
        ratio = if row.ratio, do: :io_lib.format("~8.2f x", [row.ratio]), else: "          "

        IO.puts(
          "  #{String.pad_leading(shown(row.median), 12)} #{ratio}  #{row.role}: #{row.subject}  #{row.target}"
        )
      end
    end
  end

  defp shown(ns) when ns >= 1.0e6, do: "#{Float.round(ns / 1.0e6, 2)} ms"
  defp shown(ns) when ns >= 1.0e4, do: "#{Float.round(ns / 1.0e3, 1)} us"
  defp shown(ns), do: "#{Float.round(ns / 1, 1)} ns"

  # In the form of `make bench`, whose report makes the page of all of them.
  defp write_json(file, results, rounds) do
    rows =
      for row <- results do
        %{work: work, role: role, subject: subject, target: target} = row

        figures =
          Enum.map_join([:median, :least, :most], ", ", &~s("#{&1}_ns": #{Float.round(row[&1] / 1, 2)}))

        ratio = if row.ratio, do: Float.round(row.ratio, 3), else: "null"

        ~s({"work": "#{work}", "subject": "#{subject}", "role": "#{role}", #{figures}, "ratio": #{ratio}, "target": "#{target}"})
      end

    title = "From Elixir #{System.version()} on OTP #{System.otp_release()}"

    head =
      ~s({"title": "#{title}", "date": "#{Date.utc_today()}", "machine": #{machine()}, "rounds": #{rounds}, "rows": [\n)

    File.mkdir_p!(Path.dirname(file))
    File.write!(file, head <> Enum.join(rows, ",\n") <> "\n]}\n")
  end

  # Its kind, never its name.
  defp machine do
    [_, cpu] = Regex.run(~r/^model name\s*: (.*)$/m, File.read!("/proc/cpuinfo"))
    [_, kib] = Regex.run(~r/^MemTotal:\s*(\d+)/m, File.read!("/proc/meminfo"))
    [_, kernel] = Regex.run(~r/^(\d+\.\d+)/, File.read!("/proc/sys/kernel/osrelease"))
    [arch | _] = :erlang.system_info(:system_architecture) |> to_string() |> String.split("-")
    cpus = System.schedulers_online()
    memory = ceil(String.to_integer(kib) / 1_048_576)
    ~s({"cpu": "#{cpu}", "cpus": #{cpus}, "memory_gib": #{memory}, "kernel": "#{kernel}", "arch": "#{arch}"})
  end
end

Bench.run(System.argv())
