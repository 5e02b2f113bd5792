# What the Elixir rows stand beside, made of what OTP has.

defmodule Bench.Server do
  @moduledoc "A process that holds a configuration."
  use GenServer

  def start, do: GenServer.start(__MODULE__, nil, name: __MODULE__)
  def init(_), do: {:ok, %{ai: %{planning: %{sampling_rate: 1.0}}}}
  def handle_call({:get, path}, _from, config), do: {:reply, get_in(config, path), config}
end

defmodule Bench.Ets do
  @moduledoc "Events in ETS: a table by id and three ordered ones by type, time and correlation. Four writes, not one."

  def start do
    for table <- [:bench_events, :bench_by_type, :bench_by_time, :bench_by_correlation] do
      kind = if table == :bench_events, do: :set, else: :ordered_set
      :ets.new(table, [:named_table, :public, kind, write_concurrency: true])
    end
  end

  def store(event) do
    :ets.insert(:bench_events, {event.event_id, event})
    :ets.insert(:bench_by_type, {{event.event_type, event.timestamp, event.event_id}})
    :ets.insert(:bench_by_time, {{event.timestamp, event.event_id}})
    :ets.insert(:bench_by_correlation, {{event.correlation_id, event.timestamp, event.event_id}})
  end

  def by_correlation(id) do
    keys = :ets.select(:bench_by_correlation, [{{{id, :_, :"$1"}}, [], [:"$1"]}])
    Enum.map(keys, &:ets.lookup_element(:bench_events, &1, 2))
  end
end

defmodule Bench.Mnesia do
  @moduledoc "Events in Mnesia: a table by id with ordered indexes over type, time and correlation."

  @doc "In memory, and on disk in the directory."
  def start(directory) do
    Application.put_env(:mnesia, :dir, String.to_charlist(directory))
    # The log of the benchmark is dumped while it is written; Mnesia would say so each time.
    Application.put_env(:mnesia, :dump_log_write_threshold, 100_000)
    :ok = :mnesia.create_schema([node()])
    :ok = :mnesia.start()

    for {table, copies} <- [{:bench_ram, :ram_copies}, {:bench_disc, :disc_copies}] do
      {:atomic, :ok} =
        :mnesia.create_table(table, [
          {:attributes, [:id, :type, :timestamp, :correlation, :event]},
          {:index, [type: :ordered, timestamp: :ordered, correlation: :ordered]},
          {copies, [node()]}
        ])
    end
  end

  def dirty(table, event), do: :mnesia.dirty_write(record(table, event))

  def transaction(table, events) do
    {:atomic, :ok} = :mnesia.transaction(fn -> Enum.each(events, &:mnesia.write(record(table, &1))) end)
  end

  def by_correlation(id) do
    :bench_ram
    |> :mnesia.dirty_index_read(id, :correlation)
    |> Enum.sort_by(&{elem(&1, 3), elem(&1, 1)})
    |> Enum.map(&elem(&1, 5))
  end

  defp record(table, event),
    do: {table, event.event_id, event.event_type, event.timestamp, event.correlation_id, event}
end
