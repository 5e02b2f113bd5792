# How the Elixir rows are measured and written.

defmodule Bench.Harness do
  @moduledoc """
  The subjects of a row do the same work and take turns in one VM, since the machine's speed shifts while we measure;
  the figure is the median of the rounds. A subject is a function of the number of calls that answers the nanoseconds
  that they took.
  """

  defmodule Row do
    @moduledoc """
    One work. `limit` is the most nanoseconds that ours should take, `floors` how many times the floor, and `times` how
    many times ours the subjects whose names begin like this should take at least.
    """
    defstruct [:work, :calls, :subjects, target: "", limit: nil, floors: nil, times: []]
  end

  def loop(processes, call, slower \\ 1)

  def loop(1, call, slower) do
    fn calls ->
      calls = max(div(calls, slower), 1)
      time(fn -> repeat(call, calls) end) * slower
    end
  end

  def loop(processes, call, slower) do
    fn calls ->
      calls = max(div(calls, slower), 1)

      time(fn ->
        1..processes
        |> Enum.map(fn _ -> Task.async(fn -> repeat(call, calls) end) end)
        |> Enum.each(&Task.await(&1, :infinity))
      end) * slower
    end
  end

  @doc "Inputs are made outside the measured time, and new ones each time: an id is stored once."
  def each(make, call) do
    fn calls ->
      inputs = Enum.map(1..calls, make)
      time(fn -> Enum.each(inputs, call) end)
    end
  end

  @doc "As `each/2`, a thousand inputs a call."
  def batches(make, call) do
    fn calls ->
      inputs = for batch <- 1..div(calls, 1_000), do: Enum.map(1..1_000, &make.(batch * 1_000 + &1))
      time(fn -> Enum.each(inputs, call) end)
    end
  end

  def time(fun) do
    :erlang.garbage_collect()
    from = System.monotonic_time(:nanosecond)
    fun.()
    System.monotonic_time(:nanosecond) - from
  end

  defp repeat(_call, 0), do: :ok

  defp repeat(call, n) do
    call.()
    repeat(call, n - 1)
  end

  @doc "Measures a row: a map for each subject. Ratios are the medians of the rounds' ratios."
  def measure(%Row{subjects: subjects} = row, rounds) do
    # One round to warm up, then the subjects take turns.
    for {_role, _name, subject} <- subjects, do: subject.(row.calls)

    taken =
      for _round <- 1..rounds,
          do: Enum.map(subjects, fn {_role, _name, subject} -> subject.(row.calls) / row.calls end)

    base = fn role ->
      case Enum.find_index(subjects, &(elem(&1, 0) == role)) do
        nil -> nil
        index -> Enum.map(taken, &Enum.at(&1, index))
      end
    end

    {floors, ours} = {base.(:floor), base.(:ours)}

    results =
      for {{role, name, _subject}, index} <- Enum.with_index(subjects) do
        times = Enum.map(taken, &Enum.at(&1, index))

        %{
          work: row.work,
          role: role,
          subject: name,
          median: median(times),
          least: Enum.min(times),
          most: Enum.max(times),
          ratio: floors && median(Enum.zip_with(times, floors, &(&1 / &2))),
          times_ours: ours && median(Enum.zip_with(times, ours, &(&1 / &2))),
          target: if(role == :ours, do: row.target, else: ""),
          verdict: nil
        }
      end

    for result <- results,
        do: if(result.role == :ours, do: %{result | verdict: verdict(row, result, results)}, else: result)
  end

  defp median(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))

  defp verdict(%Row{limit: nil, floors: nil, times: []}, _ours, _results), do: nil

  defp verdict(row, ours, results) do
    limit =
      if row.limit && ours.median > row.limit, do: ["#{ratio(ours.median / row.limit)} × the limit"], else: []

    floor = if row.floors && ours.ratio > row.floors, do: ["#{ratio(ours.ratio)} × the floor"], else: []

    others =
      for {name, factor} <- row.times,
          other <- results,
          String.starts_with?(other.subject, name) and other.times_ours < factor,
          do: "#{other.subject} only #{ratio(other.times_ours)} ×"

    case limit ++ floor ++ others do
      [] -> "met"
      missed -> "missed: " <> Enum.join(missed, ", ")
    end
  end

  defp ratio(value), do: :erlang.float_to_binary(value / 1, decimals: 2)

  def print(results) do
    for [%{work: work} | _] = rows <- Enum.chunk_by(results, & &1.work) do
      IO.puts("\n#{work}")

      for row <- rows do
        columns =
          Enum.map([row.ratio, row.times_ours], &String.pad_leading(if(&1, do: ratio(&1), else: "–"), 8))

        verdict = if row.verdict, do: " → #{row.verdict}", else: ""
        figure = String.pad_leading(shown(row.median), 12)
        IO.puts("  #{figure} #{columns}  #{row.role}: #{row.subject}  #{row.target}#{verdict}")
      end
    end
  end

  defp shown(ns) when ns >= 1.0e6, do: "#{Float.round(ns / 1.0e6, 2)} ms"
  defp shown(ns) when ns >= 1.0e4, do: "#{Float.round(ns / 1.0e3, 1)} µs"
  defp shown(ns), do: "#{Float.round(ns / 1, 1)} ns"

  @doc "Writes the results in the form of `make bench`, whose report makes the page of all of them."
  def write_json(file, results, rounds, notes, machine) do
    rows =
      for row <- results do
        texts = for key <- [:work, :subject, :role, :target], do: ~s("#{key}": #{quoted(row[key])})
        figures = for key <- [:median, :least, :most], do: ~s("#{key}": #{Float.round(row[key] / 1, 2)})
        ratios = for key <- [:ratio, :times_ours], do: ~s("#{key}": #{number(row[key])})
        verdict = ~s("verdict": #{if row.verdict, do: quoted(row.verdict), else: "null"})
        "{" <> Enum.join(texts ++ [~s("unit": "ns")] ++ figures ++ ratios ++ [verdict], ", ") <> "}"
      end

    title = "From Elixir #{System.version()} on OTP #{System.otp_release()}"

    head = [
      ~s("title": #{quoted(title)}),
      ~s("date": "#{Date.utc_today()}"),
      ~s("machine": #{machine}),
      ~s("rounds": #{rounds}),
      ~s("notes": [#{Enum.map_join(notes, ", ", &quoted/1)}])
    ]

    File.mkdir_p!(Path.dirname(file))
    File.write!(file, "{#{Enum.join(head, ", ")}, \"rows\": [\n#{Enum.join(rows, ",\n")}\n]}\n")
  end

  defp number(nil), do: "null"
  defp number(value), do: Float.to_string(Float.round(value / 1, 3))

  defp quoted(text) do
    escaped = text |> to_string() |> String.replace("\\", "\\\\") |> String.replace("\"", "\\\"")
    ~s("#{String.replace(escaped, "\n", " ")}")
  end

  @doc "What the figures are measured on, and how busy it is: its kind, never its name."
  def machine do
    [_, cpu] = Regex.run(~r/^model name\s*: (.*)$/m, File.read!("/proc/cpuinfo"))
    [_, kib] = Regex.run(~r/^MemTotal:\s*(\d+)/m, File.read!("/proc/meminfo"))
    [_, kernel] = Regex.run(~r/^(\d+\.\d+)/, File.read!("/proc/sys/kernel/osrelease"))
    [arch | _] = :erlang.system_info(:system_architecture) |> to_string() |> String.split("-")
    cpus = System.schedulers_online()
    memory = ceil(String.to_integer(kib) / 1_048_576)
    [load | _] = String.split(File.read!("/proc/loadavg"))

    ~s({"load": #{load}, "cpu": "#{cpu}", "cpus": #{cpus}, "memory_gib": #{memory}, "kernel": "#{kernel}", "arch": "#{arch}"})
  end
end
