defmodule ElixirScope.Foundation.ConfigLogicTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Config.Schema
  alias ElixirScope.Foundation.Logic.ConfigLogic
  alias ElixirScope.Foundation.Types.Config, as: Tree
  alias ElixirScope.Foundation.Validation.ConfigValidator

  @wrong [:bogus, "bogus", -1, 0, 1.5, 2, nil, true, [], %{}, {1, 2}]

  test "the schema is the core's, key by key" do
    core = Map.new(Native.config_schema(), &{&1.path, &1})
    assert Enum.sort(Map.keys(core)) == Enum.sort(Enum.map(Schema.rows(), & &1.path))

    for row <- Schema.rows() do
      assert core[row.path].default == row.default, inspect(row.path)
      assert core[row.path].updatable == row.updatable, inspect(row.path)
      assert core[row.path].error_type == Atom.to_string(row.error_type), inspect(row.path)
    end
  end

  test "what the core allows for an updatable key, Elixir allows, and the other way round" do
    for path <- ConfigLogic.updatable_paths(), value <- @wrong ++ [1, 100, 0.25, 1.0, false] do
      here = ConfigLogic.check_update(path, value)
      there = Native.config_update(Instance.handle(), path, value)

      case {here, there} do
        {:ok, :ok} ->
          :ok

        {{:error, a}, {:error, b}} ->
          assert a.error_type == b.error_type or b.code in 3201..3204, inspect({path, value, a, b})
      end
    end
  end

  test "every key refuses what it may not hold, with its own error" do
    for row <- Schema.rows(),
        row.path not in [
          [:storage, :warm, :path],
          [:storage, :warm, :max_size_mb],
          [:storage, :warm, :compression]
        ] do
      wrong = Enum.reject(@wrong, &Schema.valid?(row.kind, &1))
      assert wrong != []

      for value <- wrong do
        config = put_in(Tree.new(), row.path, value)
        assert {:error, error} = ConfigValidator.validate(config)
        assert error.error_type == row.error_type, inspect({row.path, value, error})
        assert [%{path: path, expected: _, message: _}] = error.context.violations
        assert path == row.path
      end
    end
  end

  test "the warm tier is checked only when it is on" do
    assert ConfigValidator.validate(put_in(Tree.new(), [:storage, :warm, :compression], :rar)) == :ok

    on = Tree.new(storage: %{warm: %{enable: true, compression: :rar}})
    assert {:error, %Error{error_type: :invalid_config_value}} = ConfigValidator.validate(on)
  end

  test "holes in the structure are errors, not crashes" do
    assert {:error, %Error{error_type: :missing_required_field}} =
             ConfigValidator.validate(%{Tree.new() | ai: %{provider: :mock}})

    assert {:error, %Error{error_type: :invalid_config_structure}} =
             ConfigValidator.validate(%{Tree.new() | storage: :everything})

    assert {:error, %Error{error_type: :validation_failed}} = ConfigValidator.validate_dev_config(%{})
    assert {:error, %Error{}} = ConfigValidator.validate_ai_config(nil)
    assert :ok = ConfigValidator.validate_interface_config(Tree.new().interface)
    assert {:error, %Error{error_type: :type_mismatch}} = ConfigValidator.validate(:nothing)
  end

  test "what is missing is named once, its optional keys are not missed" do
    {:error, error} = ConfigValidator.validate(%{Tree.new() | ai: %{}})

    assert Enum.map(error.context.violations, & &1.path) == [
             [:ai, :provider],
             [:ai, :analysis],
             [:ai, :planning]
           ]

    assert Enum.all?(error.context.violations, &(&1.error_type == :missing_required_field))
    without_key = %{Tree.new() | ai: Map.drop(Tree.new().ai, [:api_key, :model])}
    assert ConfigValidator.validate(without_key) == :ok
  end

  test "secrets do not stand in errors" do
    bad = Tree.new(ai: %{api_key: :"sk-secret"})
    assert {:error, error} = ConfigValidator.validate(bad)
    refute inspect(error) =~ "sk-secret"
  end

  test "overrides are merged at every depth; what is no section is left out" do
    merged = ConfigLogic.merge_opts_config(Tree.new(), ai: [planning: [sampling_rate: 0.5]], namespace: :x)
    assert merged.ai.planning == %{Tree.new().ai.planning | sampling_rate: 0.5}
    assert Map.keys(merged) == Map.keys(Tree.new())
  end

  test "values may come from the environment, as the kind of their key" do
    System.put_env(%{"ESF_T_PROVIDER" => "openai", "ESF_T_RATE" => "0.25", "ESF_T_DEBUG" => "true"})

    config =
      ConfigLogic.merge_env_config(Tree.new(),
        ai: %{provider: {:system, "ESF_T_PROVIDER"}, planning: %{sampling_rate: {:system, "ESF_T_RATE"}}},
        dev: %{debug_mode: {:system, "ESF_T_DEBUG"}},
        interface: %{max_results: {:system, "ESF_T_MISSING", 77}, query_timeout: {:system, "ESF_T_MISSING"}}
      )

    assert {config.ai.provider, config.ai.planning.sampling_rate} == {:openai, 0.25}

    assert {config.dev.debug_mode, config.interface.max_results, config.interface.query_timeout} ==
             {true, 77, 10_000}

    assert ConfigValidator.validate(config) == :ok
  end

  test "differences, and none" do
    assert ConfigLogic.diff_configs(Tree.new(), Tree.new()) == %{}
    changed = Tree.new(ai: %{planning: %{sampling_rate: 0.5}}, dev: %{debug_mode: true})

    assert ConfigLogic.diff_configs(Tree.new(), changed) == %{
             ai: %{planning: %{sampling_rate: %{old: 1.0, new: 0.5, path: [:ai, :planning, :sampling_rate]}}},
             dev: %{debug_mode: %{old: false, new: true, path: [:dev, :debug_mode]}}
           }
  end

  test "the struct is accessed like a map" do
    config = Tree.new()
    assert config[:dev][:debug_mode] == false
    assert put_in(config, [:dev, :debug_mode], true).dev.debug_mode
    assert {%{}, _rest} = Tree.pop(config, :dev)
    assert ConfigLogic.reset_config() == config
  end
end
