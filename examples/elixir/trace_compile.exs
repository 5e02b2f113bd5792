# Traces a real program, the Elixir compiler at work on a real project (this binding's own sources, and Elixir's
# standard library where its sources are installed), into the event store, changes the sampling rate half-way, and
# reports what was found.
#
#     cd bindings/elixir && mix run ../../examples/elixir/trace_compile.exs [EVENTS.jsonl] [--rounds N] [--stdlib DIR]
#
# DIR is lib/elixir/lib of Elixir's sources; without it they are looked for where Elixir is installed.
#
# The tracer runs inside the traced processes, so the compiler goes as fast as the store takes its events: no
# mailbox grows. Every call, return, spawn and exit becomes an event, correlated by the file being compiled.
#
# The sources are copied under another namespace, so that compiling them does not replace the modules that run.

alias ElixirScope.Foundation
alias ElixirScope.Foundation.{Config, Events, Telemetry, Tracer}

defmodule TraceCompile do
  @whole "function.duration.seconds"
  @own "function.own.seconds"
  @rate [:ai, :planning, :sampling_rate]
  @lowered 0.25

  # The compiler's own modules, and the parts of the standard library that macros spend their time in.
  @modules [
    :elixir_aliases,
    :elixir_bitstring,
    :elixir_clauses,
    :elixir_code_server,
    :elixir_compiler,
    :elixir_def,
    :elixir_dispatch,
    :elixir_env,
    :elixir_erl,
    :elixir_erl_clauses,
    :elixir_erl_compiler,
    :elixir_erl_for,
    :elixir_erl_pass,
    :elixir_erl_try,
    :elixir_erl_var,
    :elixir_expand,
    :elixir_fn,
    :elixir_import,
    :elixir_lexical,
    :elixir_locals,
    :elixir_map,
    :elixir_module,
    :elixir_overridable,
    :elixir_quote,
    :elixir_rewrite,
    :compile,
    Code,
    Kernel.Typespec,
    Kernel.Utils,
    Macro,
    Macro.Env,
    Module,
    Module.ParallelChecker,
    Module.Types,
    Protocol
  ]

  def run(argv) do
    {opts, arguments} = OptionParser.parse!(argv, strict: [rounds: :integer, stdlib: :string, help: :boolean])
    if opts[:help], do: usage()
    output = List.first(arguments) || "trace_compile.jsonl"
    rounds = max(Keyword.get(opts, :rounds, 4), 2)

    start()
    {sources, directory} = copy_sources(opts[:stdlib] || Path.join(:code.lib_dir(:elixir), "lib"))
    Enum.each(@modules, &Code.ensure_loaded!/1)
    Code.compiler_options(ignore_module_conflict: true, no_warn_undefined: :all)

    untraced = seconds(fn -> compile(sources) end)
    # Calls from module to module: with the private functions it would be ten times as many.
    {:ok, %{functions: functions}} =
      Tracer.start({:elixir_compiler, :file, 2}, Enum.map(@modules, &{&1, :_, :_}), local: false)

    title("Tracing the compiler: #{length(sources)} files, #{rounds} times, #{functions} functions watched")
    {first, second} = Enum.split(1..rounds, div(rounds, 2))
    phase_1 = phase(first, rounds, sources)
    ok!(Config.update(@rate, @lowered), "lower the sampling rate")
    phase_2 = phase(second, rounds, sources)
    {:ok, totals} = Tracer.stop()
    File.rm_rf!(directory)

    balance(totals)
    configuration([{1.0, phase_1}, {@lowered, phase_2}], untraced)
    slowest()
    tree(Enum.find(sources, List.first(sources), &String.ends_with?(&1, "/types/event.ex")))
    metrics()
    memory(totals)
    written = ok!(Events.export_jsonl(output), "write #{output}")
    title("Written")
    IO.puts("  #{number(written)} events as JSON Lines: #{output} (#{bytes(File.stat!(output).size)})")
  end

  # `mix run` has started the application with its defaults, which keep 100,000 events.
  defp start do
    Logger.configure(level: :warning)
    :ok = Application.stop(:elixir_scope)
    Application.put_env(:elixir_scope, :event_store, %{max_events: 8_000_000})
    Application.put_env(:elixir_scope, :telemetry, %{max_series: 40_000, max_series_per_metric: 16_384})
    ok!(Foundation.initialize(), "start")
  end

  # One phase: rounds of compilation under one configuration, and what the tracer did meanwhile.
  defp phase(rounds, all, sources) do
    {:ok, before} = Tracer.stats()

    seconds =
      seconds(fn ->
        for round <- rounds do
          if IO.ANSI.enabled?(), do: progress(round - 1, all)
          compile(sources)
          progress(round, all)
        end
      end)

    settle()
    {:ok, now} = Tracer.stats()
    difference = Map.new([:traced, :stored, :sampled_out, :refused], &{&1, now[&1] - before[&1]})

    Map.merge(difference, %{
      seconds: seconds,
      rounds: length(rounds),
      version: ok!(Config.version(), "version")
    })
  end

  defp compile(sources) do
    case Kernel.ParallelCompiler.compile(sources) do
      {:ok, _modules, _warnings} -> :ok
      failure -> raise("the sources do not compile: #{inspect(failure)}")
    end
  end

  defp seconds(fun) do
    started = System.monotonic_time()
    fun.()
    System.convert_time_unit(System.monotonic_time() - started, :native, :microsecond) / 1.0e6
  end

  # Processes that were traced may still be exiting: wait until two readings agree.
  defp settle(last \\ nil) do
    {:ok, %{traced: traced}} = Tracer.stats()

    if traced != last do
      # Lets every other runnable process go first.
      for _turn <- 1..200, do: :erlang.yield()
      settle(traced)
    end
  end

  defp balance(totals) do
    %{traced: traced, stored: stored, sampled_out: sampled_out, refused: refused} = totals
    title("Every message is accounted for")
    IO.puts("  traced       #{pad(traced)}")
    IO.puts("  = stored     #{pad(stored)}")
    IO.puts("  + sampled out#{pad(sampled_out)}")
    if refused > 0, do: IO.puts("  + refused    #{pad(refused)}")

    # The other events are the store's own: the change of the sampling rate.
    types = [:function_entry, :function_exit, :spawn, :exit]
    {:ok, stats} = Events.stats()
    {:ok, changes} = Events.query(event_type: [:config_updated, :config_reset])
    in_store = stats.current_event_count - length(changes)

    unless traced == stored + sampled_out + refused and (stats.events_dropped > 0 or in_store == stored) do
      IO.puts(
        :stderr,
        "trace_compile: the numbers do not agree: #{inspect(totals)}, in the store #{in_store}"
      )

      System.halt(1)
    end

    IO.puts("  they agree; in the store, by types #{Enum.join(types, ", ")}: #{number(in_store)}")
  end

  defp configuration(phases, untraced) do
    title("What configuration was in force when")

    IO.puts(
      "  version  sampling rate    seconds       traced       stored  sampled out     traced/s     stored/s"
    )

    for {rate, phase} <- phases do
      IO.puts(
        "  #{pad(phase.version, 7)}  #{pad(rate, 13)}  #{pad(round1(phase.seconds), 9)}#{pad(phase.traced, 13)}" <>
          "#{pad(phase.stored, 13)}#{pad(phase.sampled_out, 13)}#{pad(round(phase.traced / phase.seconds), 13)}" <>
          "#{pad(round(phase.stored / phase.seconds), 13)}"
      )
    end

    traced =
      Enum.map_join(phases, " and ", fn {_rate, phase} -> "#{round1(phase.seconds / phase.rounds)} s" end)

    IO.puts("  one round takes #{round1(untraced)} s when nothing is traced, #{traced} when traced")
    {:ok, changes} = Events.query(event_type: :config_updated)

    for change <- changes do
      %{path: path, previous_value: old, new_value: new} = change.data

      IO.puts(
        "  #{DateTime.to_iso8601(change.wall_time)} #{Enum.join(path, ".")}: #{inspect(old)} -> #{inspect(new)}"
      )
    end
  end

  defp slowest do
    {:ok, %{@whole => %{"series" => whole}, @own => %{"series" => own}}} = Telemetry.instruments()
    whole = Map.new(whole, &{&1["labels"]["function"], &1})
    title("The ten slowest functions, by the time spent (or waited) in them and not in what they called")
    IO.puts("        calls       own     p50 of     p99 of        max  function")
    IO.puts("                    time    a call     a call")

    own
    |> Enum.reject(&(&1["count"] == 0))
    |> Enum.sort_by(& &1["sum"], :desc)
    |> Enum.take(10)
    |> Enum.each(fn %{"labels" => %{"function" => function}} = one ->
      call = whole[function]
      times = [one["sum"], call["p50"], call["p99"], call["max"]]
      times = Enum.map_join(times, " ", &String.pad_leading(duration(&1 * 1.0e9), 10))
      IO.puts("  #{pad(one["count"], 11)}#{times}  #{function}")
    end)
  end

  # The compilation of one file as a tree: an entry's parent is its caller, an exit's its entry.
  defp tree(file) do
    correlation = String.slice(file, -255, 255) || file
    {:ok, events} = Events.get_by_correlation(correlation)

    durations =
      for %{event_type: :function_exit, data: %{call_id: id, duration_ns: ns}} <- events,
          into: %{},
          do: {id, ns}

    entries = Enum.filter(events, &(&1.event_type == :function_entry))

    roots =
      entries
      |> Enum.reject(&Map.has_key?(durations, &1.parent_id))
      |> Enum.filter(&Map.has_key?(durations, &1.event_id))

    children = Enum.group_by(entries, & &1.parent_id)
    total = roots |> Enum.map(&durations[&1.event_id]) |> Enum.max(fn -> 0 end)

    title("One file as a tree: #{Path.basename(file)}, #{number(length(events))} events")
    IO.puts("  calls of at least 2 % of the longest; the same function's calls on one level are added up")
    level(roots, children, durations, total / 50, "  ", 8)
  end

  defp level(_entries, _children, _durations, _least, _indent, 0), do: :ok

  defp level(entries, children, durations, least, indent, depth) do
    entries
    |> Enum.group_by(&{&1.data.module, &1.data.function, &1.data.arity})
    |> Enum.map(fn {function, calls} ->
      {function, calls, Enum.sum(Enum.map(calls, &Map.get(durations, &1.event_id, 0)))}
    end)
    |> Enum.filter(fn {_function, _calls, time} -> time >= least and time > 0 end)
    |> Enum.sort_by(fn {_function, _calls, time} -> -time end)
    |> Enum.each(fn {{module, function, arity}, calls, time} ->
      times = if length(calls) > 1, do: " x#{length(calls)}", else: ""

      IO.puts(
        "#{String.pad_leading(duration(time), 10)}#{indent}#{inspect(module)}.#{function}/#{arity}#{times}"
      )

      level(
        Enum.flat_map(calls, &Map.get(children, &1.event_id, [])),
        children,
        durations,
        least,
        indent <> "  ",
        depth - 1
      )
    end)
  end

  defp metrics do
    title("Metrics, as Prometheus would scrape them (of all lines, the instance's own)")
    {:ok, text} = Telemetry.prometheus()
    lines = String.split(text, "\n", trim: true)
    for "esf_" <> _rest = line <- lines, do: IO.puts("  " <> line)
    IO.puts("  … and #{number(length(lines))} lines in all")
  end

  defp memory(totals) do
    {:ok, stats} = Events.stats()
    title("Memory")

    IO.puts(
      "  events           #{bytes(stats.memory_usage_estimate)} for #{number(stats.current_event_count)} events"
    )

    IO.puts("  the VM           #{bytes(:erlang.memory(:total))}")
    IO.puts("  followed         #{number(totals.processes)} processes, #{number(totals.functions)} functions")
    IO.puts("  tracer mailbox   none: the tracer is no process")
  end

  # Modules that the compiler itself is made of: a second copy of them under another name means nothing.
  @bootstrap ~w(code collectable enumerable exception inspect kernel macro module protocol system)

  # The sources under another namespace.
  defp copy_sources(stdlib) do
    directory = Path.join(System.tmp_dir!(), "trace_compile_#{System.pid()}")
    root = Path.expand("../../bindings/elixir/lib", __DIR__)

    own =
      for file <- Path.wildcard(Path.join(root, "**/*.ex")), Path.basename(file) != "native.ex" do
        # The NIF's module stays away: it would load the library a second time.
        copy(
          file,
          Path.join(directory, Path.relative_to(file, root)),
          &String.replace(&1, "ElixirScope", "TracedScope")
        )
      end

    library =
      for file <- Path.wildcard(Path.join(stdlib, "*.ex")), Path.basename(file, ".ex") not in @bootstrap do
        rename = &String.replace(&1, ~r/^defmodule (?=[A-Z])/m, "defmodule TracedScope.Elixir.")
        copy(file, Path.join([directory, "stdlib", Path.basename(file)]), rename)
      end

    found = if library == [], do: "not installed (see --stdlib)", else: "#{length(library)} files"
    IO.puts("Sources: #{length(own)} files of this binding; Elixir's standard library: #{found}")
    {own ++ library, directory}
  end

  defp copy(file, copy, rename) do
    File.mkdir_p!(Path.dirname(copy))
    # Protocols are consolidated in this VM: their implementations would only be warned about.
    File.write!(copy, file |> File.read!() |> rename.() |> String.replace(~r/^defimpl .*?^end$/ms, ""))
    copy
  end

  defp progress(done, all) do
    width = 40
    filled = div(width * done, all)
    bar = String.duplicate("#", filled) <> String.duplicate("-", width - filled)
    {:ok, stats} = Tracer.stats()
    line = "  [#{bar}] round #{done} of #{all}, #{number(stats.traced)} messages traced"

    if IO.ANSI.enabled?(),
      do: IO.write("\r" <> line <> if(done == all, do: "\n", else: "")),
      else: IO.puts(line)
  end

  defp usage do
    IO.puts("usage: mix run trace_compile.exs [EVENTS.jsonl] [--rounds N] [--stdlib DIR]")
    System.halt(0)
  end

  defp ok!(:ok, _what), do: :ok
  defp ok!({:ok, value}, _what), do: value

  defp ok!({:error, error}, what) do
    IO.puts(:stderr, "trace_compile: cannot #{what}: #{Foundation.Error.to_string(error)}")
    System.halt(1)
  end

  defp title(text), do: IO.puts("\n#{IO.ANSI.format([:bright, text])}")

  defp pad(value, width \\ 14)
  defp pad(value, width) when is_integer(value), do: value |> number() |> String.pad_leading(width)
  defp pad(value, width), do: value |> to_string() |> String.pad_leading(width)

  defp number(value), do: value |> Integer.to_string() |> String.replace(~r/(?<=\d)(?=(\d{3})+$)/, ",")
  defp round1(value), do: Float.round(value, 1)
  defp duration(ns), do: Foundation.Utils.format_duration(round(ns))
  defp bytes(count), do: Foundation.Utils.format_bytes(count)
end

TraceCompile.run(System.argv())
