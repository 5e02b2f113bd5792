defmodule ElixirScope.Foundation.Services.ConfigServer do
  @moduledoc """
  The process that stands for the configuration of a namespace: it answers the seeds' messages and has the
  functions of `ElixirScope.Foundation.Config`. The configuration itself is in the native core, so nothing is lost
  when this process is, and reading does not pass through it.

  Messages: `:get_config`, `{:get_config_path, path}`, `{:update_config, path, value}`, `:reset_config`,
  `{:subscribe, pid}`, `{:unsubscribe, pid}`, `:get_status`, `:reset_state` (in test mode).
  """

  use GenServer, shutdown: 5_000

  alias ElixirScope.Foundation.{Config, Error, Instance, Native, ProcessRegistry, Utils}
  alias ElixirScope.Foundation.Logic.ConfigLogic
  alias ElixirScope.Foundation.Services.TestMode

  defdelegate initialize(opts \\ []), to: Config
  defdelegate status, to: Config
  defdelegate get, to: Config
  defdelegate get(path), to: Config
  defdelegate update(path, value), to: Config
  defdelegate validate(config), to: Config
  defdelegate updatable_paths, to: Config
  defdelegate reset, to: Config
  defdelegate available?, to: Config

  @doc "A process hears of every change until it dies or unsubscribes."
  @spec subscribe(pid()) :: :ok | {:error, Error.t()}
  def subscribe(pid \\ self()), do: Config.subscribe_of(Instance.handle(), pid, [])

  @doc "A process hears of no further change."
  @spec unsubscribe(pid()) :: :ok | {:error, Error.t()}
  def unsubscribe(pid \\ self()), do: Native.unsubscribe(Instance.handle(), pid)

  @doc "In test mode: the configuration as the environment has it, without subscribers."
  @spec reset_state() :: :ok | {:error, Error.t()}
  def reset_state, do: TestMode.guard(fn -> reset_state_of(:production) end)

  @doc "Starts the process of a namespace (`:namespace`, default `:production`) and its instance where there is none."
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(opts \\ []) do
    namespace = Keyword.get(opts, :namespace, :production)
    GenServer.start_link(__MODULE__, opts, name: ProcessRegistry.via_tuple(namespace, :config_server))
  end

  @doc "Stops the process; a supervisor of it starts it again."
  @spec stop() :: :ok
  def stop, do: ProcessRegistry.stop(:production, :config_server)

  @impl GenServer
  def init(opts) do
    Process.put(:started_at_ms, System.monotonic_time(:millisecond))
    namespace = Keyword.get(opts, :namespace, :production)

    case Instance.ensure(namespace, config: Keyword.delete(opts, :namespace)) do
      :ok -> {:ok, %{namespace: namespace}}
      {:error, reason} -> {:stop, reason}
    end
  end

  @impl GenServer
  def handle_call(message, _from, state), do: {:reply, answer(message, state.namespace), state}

  @impl GenServer
  def handle_cast(_message, state), do: {:noreply, state}

  @impl GenServer
  def handle_info(_message, state), do: {:noreply, state}

  defp answer(:get_config, namespace), do: Config.get_of(Instance.handle(namespace), [])
  defp answer({:get_config_path, path}, namespace), do: Config.get_of(Instance.handle(namespace), path)

  defp answer({:update_config, path, value}, namespace) do
    Config.update_of(Instance.handle(namespace), path, value)
  end

  defp answer(:reset_config, namespace), do: Config.reset_of(Instance.handle(namespace))
  defp answer({:subscribe, pid}, namespace), do: Config.subscribe_of(Instance.handle(namespace), pid, [])
  defp answer({:unsubscribe, pid}, namespace), do: Native.unsubscribe(Instance.handle(namespace), pid)
  defp answer(:get_status, namespace), do: Config.status_of(Instance.handle(namespace))
  defp answer(:reset_state, namespace), do: TestMode.guard(fn -> reset_state_of(namespace) end)

  defp answer(other, _namespace) do
    Error.error_result(
      :invalid_input,
      "The configuration server knows no message #{Utils.safe_inspect(other)}"
    )
  end

  # Whatever is updatable goes back to what the environment says now; the rest never changed.
  defp reset_state_of(namespace) do
    handle = Instance.handle(namespace)

    with {:ok, config} <- ConfigLogic.build_config(),
         :ok <- Native.unsubscribe_all(handle),
         :ok <- Native.config_reset(handle) do
      Enum.reduce_while(ConfigLogic.updatable_paths(), :ok, fn path, :ok ->
        case put_back(handle, path, get_in(config, path)) do
          :ok -> {:cont, :ok}
          failure -> {:halt, failure}
        end
      end)
    end
  end

  defp put_back(handle, path, value) do
    case Native.config_get(handle, path) do
      {:ok, ^value} -> :ok
      {:ok, _other} -> Native.config_update(handle, path, value)
      failure -> failure
    end
  end
end
