defmodule ElixirScope.Foundation.Validation.ConfigValidator do
  @moduledoc """
  Checks a configuration without a store.

  The error is the first violation; its `context.violations` has all of them, each with path, value, what is
  expected and the type of error.

      iex> alias ElixirScope.Foundation.{Types.Config, Validation.ConfigValidator}
      iex> ConfigValidator.validate(Config.new())
      :ok
      iex> bad = Config.new(ai: %{planning: %{sampling_rate: 2}}, dev: %{debug_mode: "yes"})
      iex> {:error, error} = ConfigValidator.validate(bad)
      iex> {error.error_type, Enum.map(error.context.violations, & &1.path)}
      {:range_error, [[:ai, :planning, :sampling_rate], [:dev, :debug_mode]]}
  """

  alias ElixirScope.Foundation.Config.Schema
  alias ElixirScope.Foundation.Error
  alias ElixirScope.Foundation.Types.Config

  @type violation :: %{
          path: [atom()],
          value: term(),
          expected: String.t(),
          message: String.t(),
          error_type: atom()
        }

  @doc "Checks the whole configuration."
  @spec validate(Config.t() | map()) :: :ok | {:error, Error.t()}
  def validate(%{} = config), do: check(config, Config.sections())

  def validate(other) do
    Error.error_result(:type_mismatch, "A configuration is a map or a Types.Config, not #{inspect(other)}")
  end

  for section <- [:ai, :capture, :storage, :interface, :dev] do
    @doc "Checks the section `#{section}` alone; the argument is the section's map."
    @spec unquote(:"validate_#{section}_config")(map()) :: :ok | {:error, Error.t()}
    def unquote(:"validate_#{section}_config")(section),
      do: check(%{unquote(section) => section}, [unquote(section)])
  end

  @doc "Checks one value for one key."
  @spec validate_value([atom()], term()) :: :ok | {:error, Error.t()}
  def validate_value(path, value) do
    case Schema.row(path) do
      {:ok, row} ->
        if Schema.valid?(row.kind, value), do: :ok, else: failure([violation(row, value)])

      :error ->
        Error.error_result(:config_path_not_found, "No configuration key has the path #{inspect(path)}",
          context: %{path: path}
        )
    end
  end

  defp check(config, sections) do
    rows = Enum.filter(Schema.rows(), fn row -> hd(row.path) in sections end)
    {violations, _reported} = Enum.reduce(rows, {[], MapSet.new()}, &check_row(config, &1, &2))
    if violations == [], do: :ok, else: failure(Enum.reverse(violations))
  end

  defp check_row(config, row, {violations, reported}) do
    case lookup(config, row.path, []) do
      {:ok, value} ->
        if skipped?(config, row.path) or Schema.valid?(row.kind, value) do
          {violations, reported}
        else
          {[violation(row, value) | violations], reported}
        end

      {:missing, path} ->
        if skipped?(config, row.path) or optional?(row, path) or MapSet.member?(reported, path) do
          {violations, reported}
        else
          {[missing(row, path) | violations], MapSet.put(reported, path)}
        end

      {:not_a_map, path, value} ->
        if MapSet.member?(reported, path) do
          {violations, reported}
        else
          {[not_a_map(path, value) | violations], MapSet.put(reported, path)}
        end
    end
  end

  # Nothing of the warm tier is checked while it is off.
  defp skipped?(%{storage: %{warm: %{enable: false}}}, [:storage, :warm | _]), do: true
  defp skipped?(_config, _path), do: false

  defp optional?(row, path), do: path == row.path and not row.required

  defp lookup(value, [], _walked), do: {:ok, value}

  defp lookup(%{} = map, [key | rest], walked) do
    case map do
      %{^key => value} -> lookup(value, rest, [key | walked])
      _other -> {:missing, Enum.reverse([key | walked])}
    end
  end

  defp lookup(value, _rest, walked), do: {:not_a_map, Enum.reverse(walked), value}

  defp violation(row, value) do
    expected = Schema.describe(row.kind)

    %{
      path: row.path,
      value: shown(row.path, value),
      expected: expected,
      message: "#{dotted(row.path)} is #{shown_text(row.path, value)}; allowed is #{expected}",
      error_type: row.error_type
    }
  end

  defp missing(row, path) do
    error_type = if path == row.path, do: row.missing, else: :missing_required_field

    %{
      path: path,
      value: nil,
      expected: if(path == row.path, do: Schema.describe(row.kind), else: "a map"),
      message: "#{dotted(path)} is missing",
      error_type: error_type
    }
  end

  defp not_a_map(path, value) do
    %{
      path: path,
      value: shown(path, value),
      expected: "a map",
      message: "#{dotted(path)} is #{shown_text(path, value)}; it must be a map",
      error_type: :invalid_config_structure
    }
  end

  defp failure([first | _] = violations) do
    message =
      case length(violations) - 1 do
        0 -> first.message
        more -> "#{first.message} (and #{more} more)"
      end

    Error.error_result(first.error_type, message,
      context: %{path: first.path, value: first.value, expected: first.expected, violations: violations}
    )
  end

  # Secrets do not go into errors.
  defp shown([:ai, :api_key], _value), do: "[redacted]"
  defp shown(_path, value), do: value

  defp shown_text(path, value), do: path |> shown(value) |> inspect(limit: 5, printable_limit: 80)

  defp dotted(path), do: Enum.map_join(path, ".", &to_string/1)
end
