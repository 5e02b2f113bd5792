# Writes events to files from several processes until it is killed: the last act of the demo kills it with SIGKILL in
# mid-write, and a C program opens the directory and compares.
#
#     cd bindings/elixir && mix run ../../examples/elixir/flight_recorder.exs DATA_DIR ACKS_DIR [MODE] [PRODUCERS]
#
# MODE is crash_safe (the default), interval, group or strict. Each producer stores one event after the other and,
# when one is acknowledged, writes its number over the last one in a file of its own in ACKS_DIR. What stands there
# was acknowledged, whatever happens next.

alias ElixirScope.Foundation
alias ElixirScope.Foundation.Events

[data_dir, acks_dir | rest] = System.argv()
mode = String.to_existing_atom(Enum.at(rest, 0, "crash_safe"))
producers = String.to_integer(Enum.at(rest, 1, "4"))

:ok = Application.stop(:elixir_scope)

for {key, value} <- [data_dir: data_dir, durability: mode, max_events: 100_000_000] do
  bounds = Application.get_env(:elixir_scope, :event_store, [])
  Application.put_env(:elixir_scope, :event_store, Keyword.put(Enum.to_list(bounds), key, value))
end

{:ok, _} = Application.ensure_all_started(:elixir_scope)
:ok = Foundation.initialize()
File.mkdir_p!(acks_dir)

produce = fn producer ->
  {:ok, acks} = :file.open(Path.join(acks_dir, "producer-#{producer}"), [:raw, :binary, :write])

  Enum.each(Stream.iterate(1, &(&1 + 1)), fn number ->
    {:ok, event} =
      Events.new_event(:recorded, %{producer: producer, number: number},
        correlation_id: "producer-#{producer}"
      )

    {:ok, _id} = Events.store(event)
    :ok = :file.pwrite(acks, 0, Integer.to_string(number))
  end)
end

for producer <- 1..producers, do: spawn_link(fn -> produce.(producer) end)
IO.puts("  #{producers} processes store events, #{mode}, in #{data_dir}; kill this with SIGKILL")
Process.sleep(:infinity)
