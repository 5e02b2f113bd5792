defmodule ElixirScope.Foundation.Config do
  @moduledoc """
  The configuration in force: read in nanoseconds, changed atomically, with its history in the event store.

      iex> alias ElixirScope.Foundation.Config
      iex> Config.update([:interface, :max_results], 500)
      :ok
      iex> Config.get([:interface, :max_results])
      {:ok, 500}
      iex> {:error, error} = Config.update([:ai, :provider], :openai)
      iex> error.error_type
      :config_update_forbidden
      iex> Config.reset()
      :ok

  A subscriber receives `{:config_notification, {:config_updated, path, value}}` and
  `{:config_notification, {:config_reset, config}}`. Delivery never holds up an update: changes of one path that
  come faster than they can be delivered are merged into the newest.
  """

  alias ElixirScope.Foundation
  alias ElixirScope.Foundation.{Error, Instance, Native, Telemetry, Utils}
  alias ElixirScope.Foundation.Events.Durability
  alias ElixirScope.Foundation.Logic.ConfigLogic
  alias ElixirScope.Foundation.Types.Config
  alias ElixirScope.Foundation.Validation.ConfigValidator

  @type path :: [atom()]

  # How long a change waits for the disk.
  @durable_ms 60_000

  # Never updated, whatever may become updatable.
  @forbidden [[:ai, :api_key], [:storage, :encryption_key], [:security], [:system, :node_name]]

  @doc "Starts the services if they are not running; a running configuration is left alone."
  @spec initialize(keyword()) :: :ok | {:error, Error.t()}
  def initialize(opts \\ []), do: Foundation.ensure_running(opts)

  @doc "How the service is doing; times in milliseconds."
  @spec status() :: {:ok, map()} | {:error, Error.t()}
  def status, do: status_of(Instance.handle())

  @doc "Whether the service answers."
  @spec available?() :: boolean()
  def available?, do: Instance.open?()

  @doc "The whole configuration."
  @spec get() :: {:ok, Config.t()} | {:error, Error.t()}
  def get, do: get_of(Instance.handle(), [])

  @doc "The value at a path; `[]` is the whole configuration, and nil is a value."
  @spec get(path()) :: {:ok, term()} | {:error, Error.t()}
  def get([_ | _] = path), do: Native.config_get(Instance.handle(), path)
  def get(path), do: get_of(Instance.handle(), path)

  @doc "The value at a path, or the default on any failure."
  @spec get_with_default(path(), term()) :: term()
  def get_with_default(path, default) do
    case get(path) do
      {:ok, value} -> value
      {:error, _error} -> default
    end
  end

  @doc """
  Changes one of the paths of `updatable_paths/0`. When it returns `:ok`, every reader sees the value and the
  `config_updated` event is stored; on an error nothing has changed. A store with files keeps both: it returns when
  they are durable, whatever its mode, and the value is there again after a restart. An error whose context has
  `applied: true` says that the change is in force and the disk has not taken it yet.
  """
  @spec update(path(), term()) :: :ok | {:error, Error.t()}
  def update(path, value), do: update_of(Instance.handle(), path, value)

  @doc "As `update/2`; what is never to be changed is refused by name, and a path that is no list is `invalid_path`."
  @spec safe_update(path(), term()) :: :ok | {:error, Error.t()}
  def safe_update(path, value) when is_list(path) do
    if path in @forbidden do
      Error.error_result(:config_update_forbidden, "#{inspect(path)} is never changed at run time",
        context: %{path: path, allowed_paths: updatable_paths()}
      )
    else
      update(path, value)
    end
  end

  def safe_update(path, _value), do: invalid_path(path)

  @doc "Checks a configuration; needs no service."
  @spec validate(Config.t()) :: :ok | {:error, Error.t()}
  defdelegate validate(config), to: ConfigValidator

  @doc "The nine paths that may change at run time."
  @spec updatable_paths() :: [path(), ...]
  defdelegate updatable_paths, to: ConfigLogic

  @doc "Every value back to what it was when the instance was opened."
  @spec reset() :: :ok | {:error, Error.t()}
  def reset, do: reset_of(Instance.handle())

  @doc """
  The calling process hears of every change until it dies or unsubscribes.

  Option: `format: :seed` for the seeds' `{:updated, path, value}` in place of `{:config_updated, path, value}`.
  """
  @spec subscribe(keyword()) :: :ok | {:error, Error.t()}
  def subscribe(opts \\ []), do: subscribe_of(Instance.handle(), self(), opts)

  @doc "The calling process hears of no further change; a message may be on its way."
  @spec unsubscribe() :: :ok | {:error, Error.t()}
  def unsubscribe, do: Native.unsubscribe(Instance.handle(), self())

  @doc "The version of the configuration in force: 1 when the instance opens, one more with every change."
  @spec version() :: {:ok, pos_integer()} | {:error, Error.t()}
  def version, do: Native.config_version(Instance.handle())

  @doc false
  def get_of(handle, [_ | _] = path), do: Native.config_get(handle, path)

  def get_of(handle, []) do
    case Native.config_get(handle, []) do
      {:ok, tree} -> {:ok, struct(Config, tree)}
      failure -> failure
    end
  end

  def get_of(_handle, path), do: invalid_path(path)

  @doc false
  def update_of(handle, path, value) when is_list(path) do
    # Checked here first: Elixir knows an atom from a string, and says so in its own words.
    with :ok <- ConfigLogic.check_update(path, value),
         :ok <- durable(Native.config_update(handle, path, value), handle) do
      Telemetry.count_of(handle, [:foundation, :config_updates], 1, %{path: path})
      :ok
    end
  end

  def update_of(_handle, path, _value), do: invalid_path(path)

  @doc false
  def reset_of(handle) do
    with {:ok, stats} <- Native.config_stats(handle),
         :ok <- durable(Native.config_reset(handle), handle) do
      metadata = %{reset_from_updates_count: stats.updates_count}
      Telemetry.count_of(handle, [:foundation, :config_resets], 1, metadata)
      :ok
    end
  end

  # A change and its event are one record; with files its caller waits for it, and no scheduler does.
  defp durable({:wait, seq, version}, handle) do
    case Durability.await(handle, seq, :durable, @durable_ms) do
      :ok ->
        :ok

      {:error, error} ->
        {:error, %{error | context: Map.merge(error.context, %{applied: true, version: version})}}
    end
  end

  defp durable(answer, _handle), do: answer

  @doc false
  def subscribe_of(handle, pid, opts) do
    case Keyword.get(opts, :format, :standard) do
      format when format in [:standard, :seed] ->
        Native.subscribe(handle, pid, format)

      other ->
        Error.error_result(:invalid_input, "The format is #{inspect(other)}; it may be :standard or :seed")
    end
  end

  @doc false
  def status_of(handle) do
    with {:ok, stats} <- Native.config_stats(handle),
         {:ok, subscribers} <- Native.subscribers_count(handle) do
      {:ok,
       %{
         status: :running,
         uptime_ms: stats.uptime_ms,
         updates_count: stats.updates_count,
         resets_count: stats.resets_count,
         last_update: stats.last_update_ns && div(stats.last_update_ns, 1_000_000),
         subscribers_count: subscribers,
         version: stats.version
       }}
    end
  end

  defp invalid_path(path) do
    Error.error_result(:invalid_path, "A path is a list of atoms, not #{Utils.safe_inspect(path)}",
      context: %{path: path}
    )
  end
end
