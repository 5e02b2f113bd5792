defmodule ElixirScope.Foundation do
  @moduledoc """
  Configuration, an event store and telemetry in one process, in native code behind Elixir's manners.

      iex> alias ElixirScope.Foundation.{Config, Events, Telemetry}
      iex> ElixirScope.Foundation.initialize()
      :ok
      iex> Config.get([:ai, :planning, :sampling_rate])
      {:ok, 1.0}
      iex> {:ok, event} = Events.new_event(:order_paid, %{total: 12}, correlation_id: "order-7")
      iex> {:ok, _id} = Events.store(event)
      iex> {:ok, [found]} = Events.get_by_correlation("order-7")
      iex> found.data
      %{total: 12}
      iex> Telemetry.emit_counter([:shop, :orders], %{})
      :ok

  Reads, appends and counts run on the calling process, in nanoseconds, and touch no other process. Nothing here
  raises or exits for a caller's mistake: failures are `{:error, %ElixirScope.Foundation.Error{}}`.
  """

  alias ElixirScope.Foundation.{Config, Error, Events, Telemetry}

  @supervisor ElixirScope.Foundation.Supervisor

  @doc """
  Makes sure that the services run: configuration, events, telemetry, in that order. What runs already is left
  alone and its options are ignored. Option: `:config`, passed to `ElixirScope.Foundation.Config.initialize/1`.
  """
  @spec initialize(keyword()) :: :ok | {:error, Error.t()}
  def initialize(opts \\ []) do
    with :ok <- Config.initialize(Keyword.get(opts, :config, [])),
         :ok <- Events.initialize() do
      Telemetry.initialize()
    end
  end

  @doc "The status of the three services."
  @spec status() :: {:ok, %{config: map(), events: map(), telemetry: map()}} | {:error, Error.t()}
  def status do
    with {:ok, config} <- Config.status(),
         {:ok, events} <- Events.status(),
         {:ok, telemetry} <- Telemetry.status() do
      {:ok, %{config: config, events: events, telemetry: telemetry}}
    end
  end

  @doc "Whether all three services answer."
  @spec available?() :: boolean()
  def available?, do: Config.available?() and Events.available?() and Telemetry.available?()

  @doc "How the foundation is doing: `:healthy` when every service is running, else `:degraded`."
  @spec health() :: {:ok, map()} | {:error, Error.t()}
  def health do
    with {:ok, services} <- status() do
      healthy = Enum.all?(Map.values(services), &(&1.status == :running))

      {:ok,
       %{
         status: if(healthy, do: :healthy, else: :degraded),
         timestamp: System.monotonic_time(:millisecond),
         services: services,
         foundation_available: available?(),
         elixir_version: System.version(),
         otp_release: System.otp_release()
       }}
    end
  end

  @doc "The version of the application, or an empty string when it is not loaded."
  @spec version() :: String.t()
  def version do
    case Application.spec(:elixir_scope, :vsn) do
      nil -> ""
      version -> List.to_string(version)
    end
  end

  @doc "Stops the services; `initialize/1` starts them again, empty."
  @spec shutdown() :: :ok
  def shutdown do
    case Process.whereis(@supervisor) do
      nil -> :ok
      pid -> stop(pid)
    end
  end

  @doc false
  # Starts the production services where they are not running.
  @spec ensure_running(keyword()) :: :ok | {:error, Error.t()}
  def ensure_running(opts) do
    cond do
      ElixirScope.Foundation.Instance.open?() -> :ok
      Process.whereis(ElixirScope.Supervisor) == nil -> start_application(opts)
      true -> start_child(opts)
    end
  end

  # Under the application's supervisor it is taken out, so that it is not restarted; elsewhere it is stopped.
  defp stop(pid) do
    case terminate_child() do
      :ok -> :ok
      _elsewhere -> Supervisor.stop(pid, :shutdown)
    end
  catch
    :exit, _already_gone -> :ok
  end

  defp terminate_child do
    if Process.whereis(ElixirScope.Supervisor) do
      Supervisor.terminate_child(ElixirScope.Supervisor, @supervisor)
    else
      {:error, :not_found}
    end
  end

  defp start_application(opts) do
    with {:ok, _apps} <- Application.ensure_all_started(:elixir_scope) do
      if opts == [], do: :ok, else: restart(opts)
    else
      {:error, reason} -> unavailable(reason)
    end
  end

  defp start_child([]) do
    case Supervisor.restart_child(ElixirScope.Supervisor, @supervisor) do
      {:ok, _pid} -> :ok
      {:error, :running} -> :ok
      {:error, :not_found} -> replace_child([])
      {:error, reason} -> unavailable(reason)
    end
  end

  defp start_child(opts), do: replace_child(opts)

  defp restart(opts) do
    shutdown()
    replace_child(opts)
  end

  # The child's specification carries the options, so that a restart has them too.
  defp replace_child(opts) do
    Supervisor.delete_child(ElixirScope.Supervisor, @supervisor)

    case Supervisor.start_child(ElixirScope.Supervisor, {@supervisor, config: opts}) do
      {:ok, _pid} -> :ok
      {:error, {:already_started, _pid}} -> :ok
      {:error, reason} -> unavailable(reason)
    end
  end

  defp unavailable(reason) do
    case find_error(reason) do
      nil ->
        Error.error_result(:initialization_failed, "The services cannot be started: #{inspect(reason)}",
          context: %{reason: reason}
        )

      error ->
        {:error, error}
    end
  end

  defp find_error(%Error{} = error), do: error
  defp find_error(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> Enum.find_value(&find_error/1)
  defp find_error(_other), do: nil
end
