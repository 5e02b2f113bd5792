defmodule ElixirScope.Foundation.TracerTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Tracer

  defmodule Work do
    @moduledoc false
    def file(name, callback), do: {name, callback.()}
    def outer(n), do: inner(n) + 1
    def inner(n), do: n * 2
    def fails, do: raise("on purpose")
  end

  @marker {Work, :file, 2}
  @watched [{Work, :outer, 1}, {Work, :inner, 1}, {Work, :fails, 0}]

  setup do
    on_exit(&Tracer.stop/0)
  end

  # Runs the function in a traced process and waits until its exit was traced.
  defp traced(fun) do
    {:ok, %{exits: before}} = exits()
    {pid, monitor} = spawn_monitor(fun)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _reason}, 5_000
    eventually(fn -> match?({:ok, %{exits: now}} when now > before, exits()) end)
    pid
  end

  defp exits do
    {:ok, found} = Events.query(event_type: :exit)
    {:ok, stats} = Tracer.stats()
    {:ok, %{exits: length(found) + stats.sampled_out}}
  end

  defp chain(correlation) do
    {:ok, events} = Events.get_by_correlation(correlation)
    events
  end

  test "calls and returns are paired, and their parents say who called whom" do
    assert {:ok, %{functions: 4}} = Tracer.start(@marker, @watched)
    pid = traced(fn -> Work.file("one.ex", fn -> Work.outer(20) end) end)

    assert [file, outer, inner, inner_exit, outer_exit, file_exit, exit] = chain("one.ex")
    assert Enum.map([file, outer, inner], & &1.event_type) == List.duplicate(:function_entry, 3)
    assert Enum.map([inner_exit, outer_exit, file_exit], & &1.event_type) == List.duplicate(:function_exit, 3)
    assert exit.event_type == :exit and exit.data.reason == "normal"

    assert file.parent_id == nil
    assert outer.parent_id == file.event_id
    assert inner.parent_id == outer.event_id
    assert inner.data == %{call_id: inner.event_id, module: Work, function: :inner, arity: 1}

    assert %{call_id: call_id, exit_reason: :normal, duration_ns: inside} = inner_exit.data
    assert call_id == inner.event_id and inner_exit.parent_id == inner.event_id
    assert %{call_id: call_id, duration_ns: around} = outer_exit.data
    assert call_id == outer.event_id
    assert 0 <= inside and inside <= around
    assert inner_exit.timestamp - inner.timestamp == inside
    assert Enum.all?([file, inner_exit, exit], &(&1.pid == pid))

    assert {:ok, %{traced: 7, stored: 7, sampled_out: 0, refused: 0, unmatched: 0}} = Tracer.stop()
    assert {:ok, nil} = Tracer.stats()
  end

  test "a call that raises ends with an exception" do
    {:ok, _functions} = Tracer.start(@marker, @watched)

    traced(fn ->
      Work.file("bad.ex", fn ->
        try do
          Work.fails()
        rescue
          RuntimeError -> :rescued
        end
      end)
    end)

    assert [:exception, :normal] = for(%{data: %{exit_reason: reason}} <- chain("bad.ex"), do: reason)
  end

  test "what a process spawns works on the same thing" do
    {:ok, _functions} = Tracer.start(@marker, @watched)

    traced(fn ->
      Work.file("parent.ex", fn ->
        {pid, monitor} = spawn_monitor(fn -> Work.outer(1) end)
        receive do: ({:DOWN, ^monitor, :process, ^pid, _reason} -> :ok)
      end)
    end)

    # The parent may be seen ending before its child.
    eventually(fn -> Enum.count(chain("parent.ex"), &(&1.event_type == :exit)) == 2 end)
    events = chain("parent.ex")
    assert [spawn] = Enum.filter(events, &(&1.event_type == :spawn))

    assert [outer] =
             Enum.filter(events, &match?(%{event_type: :function_entry, data: %{function: :outer}}, &1))

    assert spawn.data.spawned == inspect(outer.pid) |> String.replace("#PID", "")
  end

  test "sampling keeps or drops whole correlations, and counts and measures all" do
    {:ok, _functions} = Tracer.start(@marker, @watched)
    :ok = Config.update([:ai, :planning, :sampling_rate], 0.0)
    traced(fn -> Work.file("dropped.ex", fn -> Work.outer(1) end) end)
    :ok = Config.update([:ai, :planning, :sampling_rate], 1.0)
    traced(fn -> Work.file("kept.ex", fn -> Work.outer(1) end) end)

    assert chain("dropped.ex") == []
    assert length(chain("kept.ex")) == 7
    assert {:ok, %{traced: 14, stored: 7, sampled_out: 7, refused: 0}} = Tracer.stop()

    {:ok, %{"function.duration.seconds" => %{"series" => series}}} = Telemetry.instruments()
    name = "ElixirScope.Foundation.TracerTest.Work.outer/1"
    assert %{"count" => count} = Enum.find(series, &(&1["labels"]["function"] == name))
    assert count >= 2
  end

  test "a process that runs already can be traced from now on" do
    parent = self()

    pid =
      spawn(fn ->
        Work.file("late.ex", fn ->
          send(parent, :inside)
          receive do: (:go_on -> Work.inner(1))
        end)
      end)

    assert_receive :inside
    {:ok, _functions} = Tracer.start(@marker, @watched, processes: pid)
    monitor = Process.monitor(pid)
    send(pid, :go_on)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _reason}
    {:ok, exits} = Events.query(event_type: :function_exit)
    assert Enum.map(exits, & &1.data.function) == [:inner]
    assert {:ok, %{unmatched: 0, refused: 0}} = Tracer.stop()
  end

  test "without an instance it says so" do
    on_exit(fn -> :ok = Foundation.initialize() end)
    :ok = Foundation.shutdown()
    assert {:error, %Error{}} = Tracer.start(@marker, @watched)
  end

  test "wrong types are errors" do
    for arguments <- [
          ["handle", Work, :file, 2],
          [Instance.handle(), 1, :file, 2],
          [Instance.handle(), Work, :file, -1]
        ] do
      assert {:error, %Error{}} = apply(Native, :tracer_start, arguments)
    end
  end
end
