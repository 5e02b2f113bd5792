defmodule ElixirScope.Soundness.VmTest do
  @moduledoc """
  What is only seen from outside: other VMs that halt under load, load the library twice, or cannot load it.
  """

  use ExUnit.Case, async: false

  @moduletag timeout: 300_000
  @halts 100

  setup_all do
    {:ok, ebin: :elixir_scope |> :code.lib_dir(:ebin) |> List.to_string()}
  end

  # A VM with our code: its output and its exit status.
  defp run(ebin, code, opts \\ []) do
    System.cmd("elixir", ["-pa", ebin] ++ Keyword.get(opts, :flags, []) ++ ["-e", code],
      stderr_to_stdout: true,
      env: Keyword.get(opts, :env, []) ++ [{"ERL_CRASH_DUMP_SECONDS", "0"}]
    )
  end

  @load """
  case System.get_env("ESF_TEST_DIR") do
    nil -> :ok
    folder -> Application.put_env(:elixir_scope, :event_store, data_dir: folder, durability: :group)
  end
  {:ok, _} = Application.ensure_all_started(:elixir_scope)
  alias ElixirScope.Foundation.{Config, Events}
  for _ <- 1..200, do: spawn(fn -> Config.subscribe(); Events.subscribe(); receive do: (:never -> :ok) end)
  for k <- 1..3 do
    spawn(fn ->
      Stream.iterate(1, &(&1 + 1)) |> Enum.each(fn n ->
        Config.update([:interface, :max_results], n)
        {:ok, event} = Events.new_event(:load, k)
        Events.store(event)
      end)
    end)
  end
  Config.subscribe()
  {:ok, _} = Events.subscribe(event_type: :load)
  receive do: ({:config_notification, _} -> :ok)
  receive do: ({:event_notification, _, _} -> :ok)
  """

  test "the VM halts #{@halts} times under notification load, in an orderly way and at once", %{ebin: ebin} do
    ways = ["System.halt(0)", "System.stop(0); Process.sleep(:infinity)", ":erlang.halt(0, flush: false)"]

    results = halt_all(fn n -> run(ebin, @load <> Enum.at(ways, rem(n, 3))) end, @halts)
    assert length(results) == @halts
    for {output, status} <- results, do: assert({status, output} == {0, ""})
  end

  # Processes wait for the disk, and are told by our own thread, while the VM goes down.
  test "the VM halts #{div(@halts, 4)} times while processes wait for the disk", %{ebin: ebin} do
    ways = ["System.halt(0)", "System.stop(0); Process.sleep(:infinity)", ":erlang.halt(0, flush: false)"]
    folder = Path.join(System.tmp_dir!(), "esf-halts-#{System.unique_integer([:positive])}-#{System.pid()}")
    on_exit(fn -> File.rm_rf!(folder) end)
    File.mkdir_p!(folder)

    halt = fn n ->
      run(ebin, @load <> Enum.at(ways, rem(n, 3)), env: [{"ESF_TEST_DIR", Path.join(folder, "#{n}")}])
    end

    results = halt_all(halt, div(@halts, 4))
    for {output, status} <- results, do: assert({status, output} == {0, ""})
  end

  defp halt_all(halt, count) do
    1..count
    |> Task.async_stream(halt, max_concurrency: System.schedulers_online(), timeout: 120_000)
    |> Enum.map(fn {:ok, result} -> result end)
  end

  test "a panic inside a NIF is an error, and the VM and the instance go on", %{ebin: ebin} do
    code = """
    {:ok, _} = Application.ensure_all_started(:elixir_scope)
    alias ElixirScope.Foundation.{Error, Events, Native}
    {:ok, event} = Events.new_event(:before, self())
    {:ok, _} = Events.store(event)
    for _ <- 1..20 do
      {:error, %Error{error_type: :internal_error, message: message}} = Native.test_panic()
      true = message =~ "forced by test_panic/0"
    end
    {:ok, ^event} = Events.get(event.event_id)
    IO.puts("alive")
    """

    {output, 0} = run(ebin, code, env: [{"RUST_BACKTRACE", "0"}])
    assert output =~ "alive"
    assert length(String.split(output, "forced by test_panic/0")) == 21
  end

  test "a second load is refused with a clear message, and the first goes on", %{ebin: ebin} do
    code = """
    {:ok, _} = Application.ensure_all_started(:elixir_scope)
    alias ElixirScope.Foundation.{Config, Native}
    :code.purge(Native)
    IO.inspect(:code.load_file(Native))
    Logger.flush()
    IO.inspect(Config.get([:dev, :debug_mode]))
    """

    {output, 0} = run(ebin, code)
    assert output =~ "cannot be replaced in a running VM"
    assert output =~ "Restart the VM to upgrade"
    assert output =~ "{:ok, false}"
  end

  test "a library that is missing or is none says which file, why and what to do", %{ebin: ebin} do
    copy = Path.join(System.tmp_dir!(), "esf-noload-#{System.unique_integer([:positive])}/elixir_scope")
    on_exit(fn -> File.rm_rf!(Path.dirname(copy)) end)
    File.mkdir_p!(copy)
    File.cp_r!(ebin, Path.join(copy, "ebin"))
    file = Path.join(copy, "priv/native/foundation_nif.so")

    code = """
    IO.inspect(ElixirScope.Foundation.Config.get([:dev, :debug_mode]))
    {:error, reason} = Application.ensure_all_started(:elixir_scope)
    IO.puts(inspect(reason, printable_limit: :infinity))
    """

    {output, 0} = run(Path.join(copy, "ebin"), code)
    assert output =~ "{:error"
    assert output =~ file
    assert output =~ "The file is missing: run `mix compile`"

    File.mkdir_p!(Path.dirname(file))
    File.write!(file, "not a library")
    {output, 0} = run(Path.join(copy, "ebin"), code)
    assert output =~ file
    assert output =~ "does not fit this machine"
  end

  test "the library has no name of ours and exports what the VM asks for only" do
    file = :elixir_scope |> :code.priv_dir() |> Path.join("native/foundation_nif.so")

    case System.find_executable("readelf") do
      nil ->
        IO.puts("readelf is not here: the symbols of the library were not looked at")

      readelf ->
        {dynamic, 0} = System.cmd(readelf, ["-d", "-W", file])
        refute dynamic =~ "SONAME"
        assert dynamic =~ "NODELETE"
        {symbols, 0} = System.cmd(readelf, ["--dyn-syms", "-W", file])

        exported =
          for line <- String.split(symbols, "\n"),
              [_, _, _, "FUNC", "GLOBAL", "DEFAULT", section, name | _] <- [String.split(line)],
              section != "UND",
              do: name

        # The second is for a VM that is linked with the library; rustler makes both.
        assert Enum.sort(exported) == ["foundation_nif_nif_init", "nif_init"]
    end
  end
end
