defmodule ElixirScope.Foundation.Types.Config do
  @moduledoc """
  The configuration tree as a struct of five sections, each a map.

      iex> alias ElixirScope.Foundation.Types.Config
      iex> config = Config.new(ai: %{planning: %{sampling_rate: 0.5}})
      iex> {config.ai.planning.sampling_rate, config.ai.planning.default_strategy}
      {0.5, :balanced}
      iex> get_in(config, [:interface, :max_results])
      1000
  """

  @behaviour Access

  alias ElixirScope.Foundation.Config.Schema
  alias ElixirScope.Foundation.Utils

  @type t :: %__MODULE__{ai: map(), capture: map(), storage: map(), interface: map(), dev: map()}

  @sections [:ai, :capture, :storage, :interface, :dev]

  defstruct Enum.map(@sections, &{&1, Map.fetch!(Schema.defaults(), &1)})

  @doc "The names of the sections, in the order in which they are checked."
  @spec sections() :: [atom(), ...]
  def sections, do: @sections

  @doc "The defaults."
  @spec new() :: t()
  def new, do: %__MODULE__{}

  @doc """
  The defaults with these sections merged over them at every depth. A value that is not a map replaces the
  section as it is; validation says what is wrong with it.
  """
  @spec new(keyword() | map()) :: t()
  def new(overrides) do
    Enum.reduce(overrides, new(), fn {section, value}, config ->
      Map.update(config, section, value, &merge_section(&1, value))
    end)
  end

  @impl Access
  def fetch(%__MODULE__{} = config, key), do: Map.fetch(config, key)

  @impl Access
  def get_and_update(%__MODULE__{} = config, key, fun), do: Map.get_and_update(config, key, fun)

  @impl Access
  def pop(%__MODULE__{} = config, key), do: Map.pop(config, key)

  defp merge_section(%{} = section, %{} = value), do: Utils.deep_merge(section, value)
  defp merge_section(_section, value), do: value
end
