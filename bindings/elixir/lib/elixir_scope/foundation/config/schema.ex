defmodule ElixirScope.Foundation.Config.Schema do
  @moduledoc """
  Every configuration key: its path, default, what it may be, and which error a wrong value is.

  It is the table of `src/config/value/defaults.rs` in Elixir's words, for checks that need no store; a test
  compares the two.
  """

  @typedoc "What a value may be."
  @type kind ::
          :boolean
          | :string
          | :string_or_nil
          | :positive_integer
          | :always_false
          | {:number, number(), number() | :infinity}
          | {:one_of, [atom()]}
          | {:one_of_or_positive_integer, [atom()]}

  @type row :: %{
          path: [atom(), ...],
          default: term(),
          kind: kind(),
          error_type: atom(),
          updatable: boolean(),
          required: boolean(),
          missing: atom()
        }

  # {path, default, kind, error type of a wrong value}, in the order in which they are checked.
  @keys [
    {[:ai, :provider], :mock, {:one_of, [:mock, :openai, :anthropic, :gemini]}, :invalid_config_value},
    {[:ai, :api_key], nil, :string_or_nil, :validation_failed},
    {[:ai, :model], "gpt-4", :string, :validation_failed},
    {[:ai, :analysis, :max_file_size], 1_000_000, :positive_integer, :validation_failed},
    {[:ai, :analysis, :timeout], 30_000, :positive_integer, :validation_failed},
    {[:ai, :analysis, :cache_ttl], 3_600, :positive_integer, :validation_failed},
    {[:ai, :planning, :performance_target], 0.01, {:number, 0, :infinity}, :constraint_violation},
    {[:ai, :planning, :sampling_rate], 1.0, {:number, 0, 1}, :range_error},
    {[:ai, :planning, :default_strategy], :balanced, {:one_of, [:fast, :balanced, :thorough]},
     :invalid_config_value},
    {[:capture, :ring_buffer, :size], 1_024, :positive_integer, :validation_failed},
    {[:capture, :ring_buffer, :max_events], 1_000, :positive_integer, :validation_failed},
    {[:capture, :ring_buffer, :overflow_strategy], :drop_oldest,
     {:one_of, [:drop_oldest, :drop_newest, :block]}, :invalid_config_value},
    {[:capture, :ring_buffer, :num_buffers], :schedulers, {:one_of_or_positive_integer, [:schedulers]},
     :validation_failed},
    {[:capture, :processing, :batch_size], 100, :positive_integer, :validation_failed},
    {[:capture, :processing, :flush_interval], 50, :positive_integer, :validation_failed},
    {[:capture, :processing, :max_queue_size], 1_000, :positive_integer, :validation_failed},
    {[:capture, :vm_tracing, :enable_spawn_trace], true, :boolean, :validation_failed},
    {[:capture, :vm_tracing, :enable_exit_trace], true, :boolean, :validation_failed},
    {[:capture, :vm_tracing, :enable_message_trace], false, :boolean, :validation_failed},
    {[:capture, :vm_tracing, :trace_children], true, :boolean, :validation_failed},
    {[:storage, :hot, :max_events], 100_000, :positive_integer, :validation_failed},
    {[:storage, :hot, :max_age_seconds], 3_600, :positive_integer, :validation_failed},
    {[:storage, :hot, :prune_interval], 60_000, :positive_integer, :validation_failed},
    {[:storage, :warm, :enable], false, :boolean, :validation_failed},
    {[:storage, :warm, :path], "./elixir_scope_data", :string, :validation_failed},
    {[:storage, :warm, :max_size_mb], 100, :positive_integer, :validation_failed},
    {[:storage, :warm, :compression], :zstd, {:one_of, [:none, :gzip, :zstd]}, :invalid_config_value},
    {[:storage, :cold, :enable], false, :always_false, :validation_failed},
    {[:interface, :query_timeout], 10_000, :positive_integer, :validation_failed},
    {[:interface, :max_results], 1_000, :positive_integer, :validation_failed},
    {[:interface, :enable_streaming], true, :boolean, :validation_failed},
    {[:dev, :debug_mode], false, :boolean, :validation_failed},
    {[:dev, :verbose_logging], false, :boolean, :validation_failed},
    {[:dev, :performance_monitoring], true, :boolean, :validation_failed}
  ]

  @updatable [
    [:ai, :planning, :sampling_rate],
    [:ai, :planning, :performance_target],
    [:capture, :processing, :batch_size],
    [:capture, :processing, :flush_interval],
    [:interface, :query_timeout],
    [:interface, :max_results],
    [:dev, :debug_mode],
    [:dev, :verbose_logging],
    [:dev, :performance_monitoring]
  ]

  # What a complete tree may do without.
  @optional [[:ai, :api_key], [:ai, :model], [:capture, :ring_buffer, :num_buffers]]

  # A key that is not there is a wrong value of its group; beside sections it is a hole in the structure.
  @rows Enum.map(@keys, fn {path, default, kind, error_type} ->
          group = Enum.drop(path, -1)

          beside_sections =
            Enum.any?(@keys, fn {other, _default, _kind, _error_type} ->
              List.starts_with?(other, group) and length(other) > length(path)
            end)

          %{
            path: path,
            default: default,
            kind: kind,
            error_type: error_type,
            updatable: path in @updatable,
            required: path not in @optional,
            missing: if(beside_sections, do: :missing_required_field, else: :validation_failed)
          }
        end)

  @defaults Enum.reduce(@keys, %{}, fn {path, default, _kind, _error_type}, tree ->
              put_in(tree, Enum.map(path, &Access.key(&1, %{})), default)
            end)

  @doc "Every key, in the order in which they are checked."
  @spec rows() :: [row(), ...]
  def rows, do: @rows

  @doc "The row of a path, if it is a key."
  @spec row([atom()]) :: {:ok, row()} | :error
  for row <- @rows do
    def row(unquote(row.path)), do: {:ok, unquote(Macro.escape(row))}
  end

  def row(_path), do: :error

  @doc "The tree of defaults."
  @spec defaults() :: %{atom() => map()}
  def defaults, do: @defaults

  @doc "The nine paths that may change at run time."
  @spec updatable_paths() :: [[atom(), ...], ...]
  def updatable_paths, do: @updatable

  @doc """
  Whether a value is of this kind.

      iex> alias ElixirScope.Foundation.Config.Schema
      iex> Schema.valid?({:number, 0, 1}, 1) and not Schema.valid?({:number, 0, 1}, 1.5)
      true
  """
  @spec valid?(kind(), term()) :: boolean()
  def valid?(:boolean, value), do: is_boolean(value)
  def valid?(:string, value), do: is_binary(value) and String.valid?(value)
  def valid?(:string_or_nil, value), do: value == nil or valid?(:string, value)
  def valid?(:positive_integer, value), do: is_integer(value) and value > 0
  def valid?(:always_false, value), do: value == false
  def valid?({:number, min, :infinity}, value), do: is_number(value) and value >= min
  def valid?({:number, min, max}, value), do: is_number(value) and value >= min and value <= max
  def valid?({:one_of, allowed}, value), do: value in allowed

  def valid?({:one_of_or_positive_integer, allowed}, value) do
    value in allowed or valid?(:positive_integer, value)
  end

  @doc """
  What is allowed, in words, for messages.

      iex> ElixirScope.Foundation.Config.Schema.describe({:one_of, [:none, :zstd]})
      "one of :none, :zstd"
  """
  @spec describe(kind()) :: String.t()
  def describe(:boolean), do: "true or false"
  def describe(:string), do: "a string"
  def describe(:string_or_nil), do: "a string or nil"
  def describe(:positive_integer), do: "an integer above 0"
  def describe(:always_false), do: "false: this version has no such tier"
  def describe({:number, min, :infinity}), do: "a number of at least #{min}"
  def describe({:number, min, max}), do: "a number from #{min} to #{max}"
  def describe({:one_of, allowed}), do: "one of " <> Enum.map_join(allowed, ", ", &inspect/1)

  def describe({:one_of_or_positive_integer, allowed}) do
    describe({:one_of, allowed}) <> " or an integer above 0"
  end
end
