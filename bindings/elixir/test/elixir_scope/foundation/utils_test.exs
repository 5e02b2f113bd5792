defmodule ElixirScope.Foundation.UtilsTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Utils

  test "ids are distinct, positive and small integers, also from many processes" do
    ids = 1..8 |> Enum.map(fn _ -> Task.async(fn -> for _ <- 1..500, do: Utils.generate_id() end) end)
    ids = Enum.flat_map(ids, &Task.await/1)
    assert length(Enum.uniq(ids)) == 4_000
    assert Enum.all?(ids, &(&1 > 0 and &1 < Bitwise.bsl(1, 59)))
  end

  test "without an instance there are still ids and times" do
    Foundation.shutdown()
    assert Utils.generate_id() != Utils.generate_id()
    assert_in_delta Utils.monotonic_timestamp(), System.os_time(:nanosecond), 1_000_000_000
  end

  test "the clock is the one of events, in nanoseconds" do
    before = Utils.monotonic_timestamp()
    made = event()
    assert made.timestamp >= before
    assert made.timestamp <= Utils.monotonic_timestamp()
  end

  test "large terms are summarised, of every kind" do
    for term <- [
          String.duplicate("ä", 20_000),
          Enum.to_list(1..5_000),
          Map.new(1..5_000, &{&1, &1}),
          [1 | :improper]
        ] do
      assert %{truncated: true, original_size: size, preview: preview} = Utils.truncate_if_large(term, 3)
      assert size > 3 and is_binary(preview)
    end

    assert %{preview: preview} = Utils.truncate_if_large(String.duplicate("a", 20_000))
    assert preview == String.duplicate("a", 100) <> "..."
  end

  test "maps" do
    assert Utils.get_nested(%{a: %{b: nil}}, [:a, :b], :default) == :default
    assert Utils.get_nested(%{a: 1}, [:a, :b]) == nil
    assert Utils.put_nested(%{a: 1}, [:a, :b], 2) == %{a: %{b: 2}}

    assert Utils.atomize_keys(%{"error" => 1, "no_such_atom_here_4711" => 2}) == %{
             :error => 1,
             "no_such_atom_here_4711" => 2
           }

    assert Utils.stringify_keys(%{:a => 1, 2 => 3}) == %{"a" => 1, 2 => 3}
  end

  test "retry answers what the function answers in the end" do
    counter = :counters.new(1, [])

    flaky = fn ->
      :counters.add(counter, 1, 1)
      if :counters.get(counter, 1) < 3, do: {:error, :again}, else: :ok
    end

    assert Utils.retry(flaky, base_delay: 1) == {:ok, :ok}
    assert :counters.get(counter, 1) == 3
  end

  test "blank and present" do
    for blank <- [nil, "", " \n", [], %{}], do: assert(Utils.blank?(blank))
    for present <- [0, false, "a", [nil], %{a: 1}, <<255>>], do: assert(Utils.present?(present))
  end

  test "figures for people and for programs" do
    assert {:done, micros} = Utils.measure(fn -> :done end)
    assert micros >= 0
    assert {:done, {before, later, difference}} = Utils.measure_memory(fn -> :done end)
    assert later - before == difference

    assert %{memory: _, message_queue_len: _, reductions: _, garbage_collection: _, status: :running} =
             Utils.process_stats()

    assert %{process_count: _, atom_count: _, memory: _, scheduler_count: _, scheduler_online: _} =
             Utils.system_stats()

    assert Utils.valid_positive_integer?(1) and not Utils.valid_positive_integer?(1.0)
  end
end
