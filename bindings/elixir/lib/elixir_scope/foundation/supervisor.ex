defmodule ElixirScope.Foundation.Supervisor do
  @moduledoc """
  The services of one namespace: one_for_one, at most 3 restarts in 60 s.

  Its children are the instance, the three services with the seeds' shutdown times, and a `Task.Supervisor`. The
  state of the services lives in the native core, which the instance's owner in the child specification keeps
  open; a child's crash loses no event, no configuration and no subscriber.

  The application starts it for `:production`. A test starts one of its own:

      {:ok, _pid} = ElixirScope.Foundation.Supervisor.start_link(namespace: {:test, make_ref()})
  """

  use Supervisor

  alias ElixirScope.Foundation.{Instance, ProcessRegistry}
  alias ElixirScope.Foundation.Services.{ConfigServer, EventStore, TelemetryService}

  @doc """
  Starts the services. Options: `:namespace` (`:production`), `:config` (overrides by section), `:event_store`
  (`max_events`, `shards`, `max_data_bytes`, `overflow_strategy`, `on_duplicate`, `max_memory_mb`,
  `max_age_seconds`, `prune_interval_ms`, `cleanup_strategy`, and for files `data_dir`, `durability`, `sync_interval_ms`,
  `sync_kb`, `max_disk_mb`, `compression`, `read_only`; docs/durability.md), `:telemetry` (`max_series`, `max_series_per_metric`).
  """
  @spec start_link([Instance.option()]) :: Supervisor.on_start()
  def start_link(opts \\ []) do
    case Keyword.get(opts, :namespace, :production) do
      :production -> Supervisor.start_link(__MODULE__, opts, name: __MODULE__)
      _other -> Supervisor.start_link(__MODULE__, opts)
    end
  end

  @impl Supervisor
  def init(opts) do
    namespace = Keyword.get(opts, :namespace, :production)

    case Instance.new_owner() do
      {:ok, owner} ->
        children = [
          {Instance, [namespace: namespace, owner: owner] ++ Keyword.delete(opts, :namespace)},
          {ConfigServer, namespace: namespace},
          {EventStore, namespace: namespace},
          {TelemetryService, namespace: namespace},
          {Task.Supervisor, name: task_supervisor(namespace)}
        ]

        Supervisor.init(children, strategy: :one_for_one, max_restarts: 3, max_seconds: 60)

      {:error, error} ->
        # `init/1` of a supervisor can only give a specification or refuse without a word, so it says why.
        exit(error)
    end
  end

  defp task_supervisor(:production), do: ElixirScope.Foundation.TaskSupervisor
  defp task_supervisor(namespace), do: ProcessRegistry.via_tuple(namespace, :task_supervisor)
end
