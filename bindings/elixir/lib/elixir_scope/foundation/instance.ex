defmodule ElixirScope.Foundation.Instance do
  @moduledoc """
  The native instance of a namespace: opened here, closed here, found by everyone through a small integer.

  The integer lies in `:persistent_term`, so that reads, appends and counts touch no process. The instance itself
  belongs to an owner that the supervisor's child specification holds: when this process crashes, it comes back
  to the same instance with all its state. It is closed when the process is shut down.

  A namespace other than `:production` may also be opened by its services one by one
  (`ElixirScope.Foundation.Services.ConfigServer.start_link(namespace: {:test, ref})` and so on): the instance is
  then shared by them and closed when the last of them is gone.
  """

  use GenServer

  alias ElixirScope.Foundation.{Error, Native, ProcessRegistry}
  alias ElixirScope.Foundation.Logic.ConfigLogic

  @type namespace :: :production | {:test, reference()}
  @type option ::
          {:namespace, namespace()}
          | {:config, keyword() | map()}
          | {:event_store, map()}
          | {:telemetry, map()}

  @key ElixirScope.Foundation
  @close_deadline_ms 20_000

  # Looked up by every call: not worth another call.
  @compile {:inline, handle: 0}

  @doc "The handle of the production instance, or 0."
  @spec handle() :: non_neg_integer()
  def handle, do: :persistent_term.get(@key, 0)

  @doc "The handle of a namespace's instance, or 0: every call with that answers `service_unavailable`."
  @spec handle(namespace()) :: non_neg_integer()
  def handle(:production), do: :persistent_term.get(@key, 0)
  def handle(namespace), do: :persistent_term.get({@key, namespace}, 0)

  @doc "Whether the namespace's instance answers."
  @spec open?(namespace()) :: boolean()
  def open?(namespace \\ :production), do: match?({:ok, _version}, Native.config_version(handle(namespace)))

  @doc false
  @spec child_spec(keyword()) :: Supervisor.child_spec()
  def child_spec(opts) do
    %{
      id: __MODULE__,
      start: {__MODULE__, :start_link, [opts]},
      type: :worker,
      restart: Keyword.get(opts, :restart, :permanent),
      shutdown: @close_deadline_ms + 1_000
    }
  end

  @doc false
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(opts) do
    namespace = Keyword.fetch!(opts, :namespace)
    GenServer.start_link(__MODULE__, opts, name: ProcessRegistry.via_tuple(namespace, :instance))
  end

  @doc false
  # Called by a service that starts: there is an instance afterwards, and it knows of one more user.
  @spec ensure(namespace(), keyword()) :: :ok | {:error, term()}
  def ensure(namespace, opts) do
    if open?(namespace) do
      hold(namespace)
    else
      with {:ok, owner} <- new_owner(),
           {:ok, _pid} <- start_shared(namespace, [owner: owner, shared: true, restart: :transient] ++ opts) do
        hold(namespace)
      end
    end
  end

  @doc false
  @spec new_owner() :: {:ok, reference()} | {:error, Error.t()}
  def new_owner do
    case Native.owner_new() do
      {:error, _error} = failure -> failure
      owner -> {:ok, owner}
    end
  end

  @impl GenServer
  def init(opts) do
    Process.flag(:trap_exit, true)
    Process.put(:started_at_ms, System.monotonic_time(:millisecond))
    namespace = Keyword.fetch!(opts, :namespace)
    owner = Keyword.fetch!(opts, :owner)

    with {:ok, options} <- options(namespace, opts),
         handle when is_integer(handle) <- Native.owner_open(owner, options) do
      :persistent_term.put(key(namespace), handle)
      state = %{namespace: namespace, owner: owner, shared: Keyword.get(opts, :shared, false), users: %{}}
      {:ok, watch_registered(state)}
    else
      {:error, %Error{category: :config} = error} -> {:stop, {:config_validation_failed, error}}
      {:error, error} -> {:stop, error}
    end
  end

  @impl GenServer
  def handle_call(:hold, {pid, _tag}, state), do: {:reply, :ok, watch(pid, state)}

  @impl GenServer
  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state) do
    users = Map.delete(state.users, monitor)
    state = %{state | users: users}
    if state.shared and users == %{}, do: {:stop, :normal, state}, else: {:noreply, state}
  end

  def handle_info(_message, state), do: {:noreply, state}

  @impl GenServer
  def terminate(reason, state) do
    if closing?(reason) do
      # First nobody finds it any more, then it closes.
      :persistent_term.erase(key(state.namespace))
      report(Native.owner_close(state.owner, @close_deadline_ms), state.namespace)
    end

    :ok
  end

  defp report({:ok, [_ | _] = unfinished}, namespace) do
    :logger.warning(
      "ElixirScope.Foundation: #{namespace_text(namespace)} is closed, but not finished were: " <>
        Enum.join(unfinished, ", ")
    )
  end

  defp report(_answer, _namespace), do: :ok

  defp hold(namespace) do
    case GenServer.whereis(ProcessRegistry.via_tuple(namespace, :instance)) do
      nil -> :ok
      pid when pid == self() -> :ok
      pid -> GenServer.call(pid, :hold)
    end
  end

  defp start_shared(namespace, opts) do
    spec = child_spec([namespace: namespace] ++ opts)

    case DynamicSupervisor.start_child(ElixirScope.Foundation.InstanceSupervisor, spec) do
      {:ok, pid} -> {:ok, pid}
      {:error, {:already_started, pid}} -> {:ok, pid}
      {:error, reason} -> {:error, reason}
    end
  end

  # After a crash the services that are still there are users again.
  defp watch_registered(%{shared: false} = state), do: state

  defp watch_registered(state) do
    state.namespace
    |> ProcessRegistry.get_all_services()
    |> Map.delete(:instance)
    |> Map.values()
    |> Enum.reduce(state, &watch/2)
  end

  defp watch(pid, state) do
    if pid in Map.values(state.users) do
      state
    else
      %{state | users: Map.put(state.users, Process.monitor(pid), pid)}
    end
  end

  defp closing?(:normal), do: true
  defp closing?(:shutdown), do: true
  defp closing?({:shutdown, _reason}), do: true
  defp closing?(_crash), do: false

  defp key(:production), do: @key
  defp key(namespace), do: {@key, namespace}

  defp options(namespace, opts) do
    with {:ok, config} <- ConfigLogic.build_config(Keyword.get(opts, :config, [])) do
      {:ok,
       %{
         namespace: namespace_text(namespace),
         config: Map.from_struct(config),
         event_store: section(opts, :event_store),
         telemetry: section(opts, :telemetry)
       }}
    end
  end

  defp section(opts, name) do
    Map.new(Keyword.get(opts, name) || Application.get_env(:elixir_scope, name) || %{})
  end

  defp namespace_text(:production), do: "production"
  defp namespace_text(namespace), do: inspect(namespace)
end
