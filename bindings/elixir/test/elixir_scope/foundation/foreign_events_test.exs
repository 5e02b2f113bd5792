defmodule ElixirScope.Foundation.ForeignEventsTest do
  use ElixirScope.Case

  setup do
    file = Path.join(System.tmp_dir!(), "foreign-#{System.pid()}-#{System.unique_integer([:positive])}.jsonl")
    on_exit(fn -> File.rm(file) end)
    {:ok, path: file}
  end

  # As esf_events_export_jsonl of a C program writes them.
  @from_c ~S"""
  {"seq":1,"event_id":71,"event_type":"type_that_no_beam_has_seen","timestamp":5,"wall_time":1700000000123456789,"node":"box-7.example","pid":"worker-7","correlation_id":{"$bytes":"/g=="},"parent_id":70,"config_version":1,"encoding":"json","truncated":false,"data":{"n":7,"f":1.5,"u":18446744073709551615,"none":null,"yes":true,"list":[1,{"ü":"\u00e9\n"}]}}
  {"seq":2,"event_id":72,"event_type":"test","timestamp":6,"wall_time":0,"node":null,"pid":null,"correlation_id":"c","parent_id":null,"config_version":1,"encoding":"raw","truncated":false,"data":{"$bytes":"AP8K"}}
  {"seq":3,"event_id":73,"event_type":"test","timestamp":7,"wall_time":0,"node":null,"pid":null,"correlation_id":null,"parent_id":null,"config_version":1,"encoding":"json","truncated":false,"data":null}
  """

  test "events of another language are read as terms, with text where this VM has no atom", %{path: file} do
    File.write!(file, @from_c)
    assert Events.import_jsonl(file) == {:ok, 3}
    assert {:ok, [first, second, third]} = Events.query([])

    assert %Event{
             event_id: 71,
             event_type: "type_that_no_beam_has_seen",
             timestamp: 5,
             wall_time: ~U[2023-11-14 22:13:20.123456Z],
             node: "box-7.example",
             pid: "worker-7",
             correlation_id: <<0xFE>>,
             parent_id: 70
           } = first

    assert first.data == %{
             "n" => 7,
             "f" => 1.5,
             "u" => 18_446_744_073_709_551_615,
             "none" => nil,
             "yes" => true,
             "list" => [1, %{"ü" => "é\n"}]
           }

    assert %Event{event_type: :test, data: <<0, 255, 10>>, node: nil, pid: nil, correlation_id: "c"} = second
    assert %Event{data: nil} = third

    for conditions <- [
          [pid: "worker-7"],
          [correlation_id: <<0xFE>>],
          [parent_id: 70],
          [data: [{[:n], :==, 7.0}, {["list", 1, :ü], :prefix, "é"}]],
          [data: %{u: 18_446_744_073_709_551_615, yes: true}]
        ] do
      assert Events.query(conditions) == {:ok, [first]}, inspect(conditions)
    end

    assert {:error, %Error{error_type: :duplicate_event_id, context: %{line: 1, imported: 0}}} =
             Events.import_jsonl(file)

    File.write!(file, "{\"event_type\":\"ok\"}\n{\"event_type\":1}\n")
    assert {:error, %Error{error_type: :format_error, context: %{line: 2}}} = Events.import_jsonl(file)
    assert {:error, %Error{error_type: :data_not_found}} = Events.import_jsonl(file <> ".none")
  end

  test "terms are read by other languages as JSON, and meet the same conditions there", %{path: file} do
    big = 123_456_789_012_345_678_901_234_567_890

    data = %{
      atom: :größe,
      none: nil,
      tuple: {1, 2.5},
      improper: [1 | 2],
      bytes: <<255>>,
      bits: <<1::3>>,
      big: big,
      pid: self(),
      ref: make_ref()
    }

    data = Map.put(data, "text", "é")

    {:ok, id} = Events.store(event(:for_c, data, correlation_id: "c"))
    assert Events.export_jsonl(file) == {:ok, 1}
    assert [line] = file |> File.read!() |> String.split("\n", trim: true)
    assert {:ok, %{"event_id" => ^id, "encoding" => "etf", "data" => json}} = Native.json_decode(line)

    assert %{
             "atom" => "größe",
             "none" => nil,
             "tuple" => [1, 2.5],
             "improper" => %{"$improper" => %{"items" => [1], "tail" => 2}},
             "bytes" => %{"$bytes" => "/w=="},
             "bits" => %{"$bits" => %{"bytes" => "IA==", "last" => 3}},
             "big" => %{"$integer" => "123456789012345678901234567890"},
             "pid" => %{"$pid" => _},
             "ref" => %{"$ref" => _},
             "text" => "é"
           } = json

    conditions = [
      [data: [{[:atom], :==, "größe"}]],
      [data: [{[:tuple, 1], :>, 2}]],
      [data: [{[:none], :==, nil}]],
      [data: [{["text"], :in, ["é", 1]}]],
      [data: [{[:nothing], :exists, false}]],
      [correlation_id: "c"]
    ]

    for condition <- conditions, do: assert({:ok, [%{data: ^data}]} = Events.query(condition))
    {:ok, 1} = Events.prune_before(Bitwise.bsl(1, 62))
    assert Events.import_jsonl(file) == {:ok, 1}
    for condition <- conditions, do: assert({:ok, [%{data: ^json}]} = Events.query(condition))
  end

  test "JSON of another language has integers of any size" do
    # 2^64 - 1, 2^64, and powers on both sides of the external term format's two forms of big integers.
    integers =
      for(n <- [63, 64, 65, 200, 2_039, 2_040, 2_048, 13_000], sign <- [1, -1], delta <- [-1, 0, 1]) do
        sign * (Bitwise.bsl(1, n) + delta)
      end ++ [0, -1, 999_999_999, 1_000_000_000, 10_000_000_000_000_000_000_000]

    for n <- integers do
      assert Native.json_decode_dirty("#{n}") == {:ok, n}

      assert Native.json_decode_dirty(~s({"a":[#{n},{"b":#{n}}],"c":1.5})) ==
               {:ok, %{"a" => [n, %{"b" => n}], "c" => 1.5}}
    end

    digits = String.duplicate("7", 30)
    assert Native.json_decode(~s({"a":1,"a":#{digits}})) == {:ok, %{"a" => String.to_integer(digits)}}
    assert Native.json_decode(~s("#{digits}")) == {:ok, digits}

    assert Native.json_decode(" [#{digits} ,\n null, true, \"é\\n\"] ") ==
             {:ok, [String.to_integer(digits), nil, true, "é\n"]}

    assert Native.json_decode("#{digits}.5") == {:ok, String.to_float("#{digits}.5")}
    assert Native.json_decode("1e#{30}") == {:ok, 1.0e30}

    long = "[#{Enum.map_join(1..500, ",", fn _ -> digits end)}]"
    assert Native.json_decode(long) == :dirty
    assert Native.json_decode_dirty(long) == {:ok, List.duplicate(String.to_integer(digits), 500)}

    for bad <- ["#{digits}x", "[#{digits}", "0#{digits}", "-", "#{digits} 1", String.duplicate("7", 5_000)] do
      assert {:error, %Error{error_type: :deserialization_failed}} = Native.json_decode_dirty(bad), bad
    end

    deep = String.duplicate("[", 200) <> digits <> String.duplicate("]", 200)
    assert {:error, %Error{error_type: :deserialization_failed}} = Native.json_decode(deep)
  end

  test "a condition compares integers of any size exactly" do
    big = Bitwise.bsl(1, 200)
    {:ok, _} = Events.store(event(:big, %{n: big}))
    count = fn operator, value -> elem(Events.count(data: [{[:n], operator, value}]), 1) end

    for {operator, value, found} <- [
          {:==, big, 1},
          {:==, big + 1, 0},
          {:<, big + 1, 1},
          {:>, big - 1, 1},
          {:==, 1.6069380442589903e60, 1},
          {:<, 1.7e60, 1},
          {:>, -big, 1},
          {:in, [big - 1, big], 1}
        ] do
      assert count.(operator, value) == found, inspect({operator, value})
    end
  end
end
