defmodule ElixirScope.Foundation.Logic.ConfigLogic do
  @moduledoc """
  What can be said about configurations without a store: build, look up, change, compare.
  """

  alias ElixirScope.Foundation.Config.Schema
  alias ElixirScope.Foundation.{Error, Utils}
  alias ElixirScope.Foundation.Types.Config
  alias ElixirScope.Foundation.Validation.ConfigValidator

  @type path :: [atom()]

  @doc "The paths that may change at run time."
  @spec updatable_paths() :: [path(), ...]
  defdelegate updatable_paths, to: Schema

  @doc "Whether this path may change at run time."
  @spec updatable_path?(term()) :: boolean()
  def updatable_path?(path), do: path in Schema.updatable_paths()

  @doc """
  The configuration with one value changed, if the path may change and the value is allowed.

      iex> alias ElixirScope.Foundation.{Logic.ConfigLogic, Types.Config}
      iex> {:ok, config} = ConfigLogic.update_config(Config.new(), [:dev, :debug_mode], true)
      iex> config.dev.debug_mode
      true
      iex> {:error, error} = ConfigLogic.update_config(config, [:ai, :provider], :openai)
      iex> error.error_type
      :config_update_forbidden
  """
  @spec update_config(Config.t(), path(), term()) :: {:ok, Config.t()} | {:error, Error.t()}
  def update_config(%Config{} = config, path, value) do
    with :ok <- check_update(path, value), do: {:ok, Utils.put_nested(config, path, value)}
  end

  @doc "Whether this path may get this value at run time."
  @spec check_update(path(), term()) :: :ok | {:error, Error.t()}
  def check_update(path, value) do
    with :ok <- allowed(path), do: ConfigValidator.validate_value(path, value)
  end

  @doc """
  The value at a path; `[]` gives the whole configuration, and a value of nil is found.

      iex> alias ElixirScope.Foundation.{Logic.ConfigLogic, Types.Config}
      iex> ConfigLogic.get_config_value(Config.new(), [:ai, :api_key])
      {:ok, nil}
      iex> {:error, error} = ConfigLogic.get_config_value(Config.new(), [:ai, :nothing])
      iex> error.error_type
      :config_path_not_found
  """
  @spec get_config_value(Config.t(), path()) :: {:ok, term()} | {:error, Error.t()}
  def get_config_value(%Config{} = config, path) when is_list(path) do
    case walk(config, path) do
      {:ok, value} ->
        {:ok, value}

      :error ->
        Error.error_result(:config_path_not_found, "No configuration value has the path #{inspect(path)}",
          context: %{path: path}
        )
    end
  end

  def get_config_value(%Config{}, path) do
    Error.error_result(:invalid_path, "A path is a list of atoms, not #{Utils.safe_inspect(path)}",
      context: %{path: path}
    )
  end

  @doc """
  The configuration with an application environment merged over it at every depth; keys that are not sections
  are left out. `{:system, variable}` and `{:system, variable, default}` are read from the environment.
  """
  @spec merge_env_config(Config.t(), keyword() | map()) :: Config.t()
  def merge_env_config(%Config{} = config, environment), do: merge(config, environment)

  @doc "The configuration with options merged over it; options that are not sections are left out."
  @spec merge_opts_config(Config.t(), keyword() | map()) :: Config.t()
  def merge_opts_config(%Config{} = config, opts), do: merge(config, opts)

  @doc "Defaults, then the environment of `:elixir_scope`, then the options; validated."
  @spec build_config(keyword()) :: {:ok, Config.t()} | {:error, Error.t()}
  def build_config(opts \\ []) do
    config =
      Config.new()
      |> merge_env_config(Application.get_all_env(:elixir_scope))
      |> merge_opts_config(opts)

    with :ok <- ConfigValidator.validate(config), do: {:ok, config}
  end

  @doc "The defaults."
  @spec reset_config() :: Config.t()
  def reset_config, do: Config.new()

  @doc """
  What differs: a nested map in which every changed leaf is `%{old: _, new: _, path: _}`.

      iex> alias ElixirScope.Foundation.{Logic.ConfigLogic, Types.Config}
      iex> ConfigLogic.diff_configs(Config.new(), Config.new(dev: %{debug_mode: true}))
      %{dev: %{debug_mode: %{old: false, new: true, path: [:dev, :debug_mode]}}}
  """
  @spec diff_configs(Config.t(), Config.t()) :: map()
  def diff_configs(%Config{} = old, %Config{} = new) do
    diff(Map.from_struct(old), Map.from_struct(new), [])
  end

  defp allowed(path) do
    if updatable_path?(path) do
      :ok
    else
      Error.error_result(
        :config_update_forbidden,
        "#{Utils.safe_inspect(path)} cannot change while the instance runs; the paths that can are in context.allowed_paths",
        context: %{path: path, allowed_paths: updatable_paths()}
      )
    end
  end

  defp walk(value, []), do: {:ok, value}

  defp walk(map, [key | rest]) when is_map(map) do
    case map do
      %{^key => value} -> walk(value, rest)
      _other -> :error
    end
  end

  defp walk(_value, _path), do: :error

  defp merge(config, overrides) do
    Enum.reduce(Config.sections(), config, fn section, config ->
      case fetch(overrides, section) do
        {:ok, value} -> merge_section(config, section, normalise(value, [section]))
        :error -> config
      end
    end)
  end

  defp fetch(overrides, key) when is_list(overrides), do: Keyword.fetch(overrides, key)
  defp fetch(overrides, key), do: Map.fetch(overrides, key)

  defp merge_section(config, section, %{} = value) do
    Map.update!(config, section, &Utils.deep_merge(&1, value))
  end

  defp merge_section(config, section, value), do: Map.put(config, section, value)

  defp normalise(%{} = map, path) do
    Map.new(map, fn {key, value} -> {key, normalise(value, path ++ [key])} end)
  end

  defp normalise([{key, _value} | _] = keyword, path) when is_atom(key) do
    keyword |> Map.new() |> normalise(path)
  end

  defp normalise([], _path), do: %{}
  defp normalise({:system, variable}, path), do: normalise({:system, variable, nil}, path)

  defp normalise({:system, variable, default}, path) when is_binary(variable) do
    case System.get_env(variable) do
      nil -> default || default_of(path)
      text -> parse(text, path)
    end
  end

  defp normalise(value, _path), do: value

  defp default_of(path) do
    case Schema.row(path) do
      {:ok, row} -> row.default
      :error -> nil
    end
  end

  # Text from the environment becomes the kind of the key; what cannot is left for validation to refuse.
  defp parse(text, path) do
    case Schema.row(path) do
      {:ok, %{kind: {:one_of, allowed}}} -> Enum.find(allowed, text, &(Atom.to_string(&1) == text))
      {:ok, %{kind: :boolean}} -> Map.get(%{"true" => true, "false" => false}, text, text)
      {:ok, %{kind: :positive_integer}} -> parse_number(Integer.parse(text), text)
      {:ok, %{kind: {:number, _min, _max}}} -> parse_number(Float.parse(text), text)
      _other -> text
    end
  end

  defp parse_number({number, ""}, _text), do: number
  defp parse_number(_other, text), do: text

  defp diff(old, new, path) do
    keys = Enum.uniq(Map.keys(old) ++ Map.keys(new))

    Enum.reduce(keys, %{}, fn key, differences ->
      case diff_value(Map.get(old, key), Map.get(new, key), path ++ [key]) do
        :same -> differences
        difference -> Map.put(differences, key, difference)
      end
    end)
  end

  defp diff_value(value, value, _path), do: :same
  defp diff_value(%{} = old, %{} = new, path), do: diff(old, new, path)
  defp diff_value(old, new, path), do: %{old: old, new: new, path: path}
end
