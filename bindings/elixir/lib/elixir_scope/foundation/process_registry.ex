defmodule ElixirScope.Foundation.ProcessRegistry do
  @moduledoc """
  Names of processes by namespace: `:production`, or `{:test, reference}`.

  There is one source of truth, a `Registry`. A process that registers another one is represented in it by a
  stand-in, which passes messages on and ends with the process; so `via_tuple/2`, `lookup/2` and the listings
  always agree, and a dead process is never found.
  """

  alias ElixirScope.Foundation.{ProcessRegistry, Telemetry}

  @type namespace :: :production | {:test, reference()}
  @type name :: atom()

  @doc false
  @spec child_spec(term()) :: Supervisor.child_spec()
  def child_spec(_opts) do
    %{
      id: Registry,
      start:
        {Registry, :start_link,
         [[keys: :unique, name: ProcessRegistry, partitions: System.schedulers_online()]]},
      type: :supervisor,
      restart: :permanent,
      shutdown: :infinity
    }
  end

  @doc "Names a process. The same process again is fine; a name that a live process holds is not given away."
  @spec register(namespace(), name(), pid()) :: :ok | {:error, {:already_registered, pid()}}
  def register(namespace, name, pid) when is_atom(name) and is_pid(pid) do
    result = do_register({namespace, name}, pid)
    emit(:register, %{count: 1}, namespace, name, result)
    result
  end

  @doc "The live process of this name."
  @spec lookup(namespace(), name()) :: {:ok, pid()} | :error
  def lookup(namespace, name) do
    started = System.monotonic_time()
    result = do_lookup({namespace, name})
    emit(:lookup, %{duration: System.monotonic_time() - started}, namespace, name, result)
    result
  end

  @doc "Takes the name away from the process that has it, if one has and it was given with `register/3`."
  @spec unregister(namespace(), name()) :: :ok
  def unregister(namespace, name) do
    key = {namespace, name}

    case entries(key) do
      [{pid, _value}] when pid == self() -> Registry.unregister(ProcessRegistry, key)
      [{stand_in, {:for, _pid}}] -> stop_stand_in(stand_in)
      _own_name_of_another -> :ok
    end
  end

  @doc "The names of a namespace's live processes."
  @spec list_services(namespace()) :: [name()]
  def list_services(namespace), do: namespace |> get_all_services() |> Map.keys()

  @doc "The live processes of a namespace by name."
  @spec get_all_services(namespace()) :: %{name() => pid()}
  def get_all_services(namespace) do
    for {name, pid, value} <- select(namespace), process = resolve(pid, value), into: %{}, do: {name, process}
  end

  @doc "Whether a live process has this name."
  @spec registered?(namespace(), name()) :: boolean()
  def registered?(namespace, name), do: do_lookup({namespace, name}) != :error

  @doc "How many live processes a namespace has."
  @spec count_services(namespace()) :: non_neg_integer()
  def count_services(namespace), do: namespace |> get_all_services() |> map_size()

  @doc """
  The name for `GenServer.start_link/3` and calls.

      iex> ElixirScope.Foundation.ProcessRegistry.via_tuple(:production, :config_server)
      {:via, Registry, {ElixirScope.Foundation.ProcessRegistry, {:production, :config_server}}}
  """
  @spec via_tuple(namespace(), name()) :: {:via, Registry, {module(), {namespace(), name()}}}
  def via_tuple(namespace, name), do: {:via, Registry, {ProcessRegistry, {namespace, name}}}

  @doc "Stops every process of a test's namespace, and waits until they are gone."
  @spec cleanup_test_namespace(reference()) :: :ok
  def cleanup_test_namespace(reference) when is_reference(reference) do
    {:test, reference}
    |> get_all_services()
    |> Enum.sort_by(fn {name, _pid} -> name == :instance end)
    |> Enum.each(fn {_name, pid} -> shut_down(pid) end)
  end

  @doc "How many services there are, and what the registry takes."
  @spec stats() :: map()
  def stats do
    namespaces = Registry.select(ProcessRegistry, [{{{:"$1", :_}, :_, :_}, [], [:"$1"]}])
    tests = namespaces |> Enum.reject(&(&1 == :production)) |> Enum.uniq()
    partitions = System.schedulers_online()

    %{
      total_services: length(namespaces),
      production_services: Enum.count(namespaces, &(&1 == :production)),
      test_namespaces: length(tests),
      partitions: partitions,
      partition_count: partitions,
      memory_usage_bytes: memory_bytes(),
      ets_table_info: %{name: ProcessRegistry, size: Registry.count(ProcessRegistry)}
    }
  end

  @doc false
  @spec stop(namespace(), name()) :: :ok
  def stop(namespace, name) do
    case do_lookup({namespace, name}) do
      {:ok, pid} -> shut_down(pid)
      :error -> :ok
    end
  end

  defp do_register(key, pid) when pid == self() do
    case Registry.register(ProcessRegistry, key, nil) do
      {:ok, _owner} -> :ok
      {:error, {:already_registered, holder}} -> taken(key, holder, pid)
    end
  end

  defp do_register(key, pid) do
    case do_lookup(key) do
      {:ok, ^pid} -> :ok
      {:ok, other} -> {:error, {:already_registered, other}}
      :error -> start_stand_in(key, pid)
    end
  end

  defp taken(key, holder, pid) do
    case do_lookup(key) do
      {:ok, ^pid} -> :ok
      {:ok, other} -> {:error, {:already_registered, other}}
      :error -> wait_for_end(key, holder, pid)
    end
  end

  # The holder is dead and the registry has yet to hear of it.
  defp wait_for_end(key, holder, pid) do
    monitor = Process.monitor(holder)

    receive do
      {:DOWN, ^monitor, :process, _pid, _reason} -> do_register(key, pid)
    end
  end

  defp do_lookup(key) do
    with [{pid, value}] <- entries(key),
         process when is_pid(process) <- resolve(pid, value) do
      {:ok, process}
    else
      _nobody -> :error
    end
  end

  defp entries(key) do
    Registry.lookup(ProcessRegistry, key)
  rescue
    # The registry is not running.
    ArgumentError -> []
  end

  defp select(namespace) do
    Registry.select(ProcessRegistry, [
      {{{namespace_pattern(namespace), :"$1"}, :"$2", :"$3"}, [], [{{:"$1", :"$2", :"$3"}}]}
    ])
  rescue
    ArgumentError -> []
  end

  # Inside a match pattern a tuple stands for itself.
  defp namespace_pattern(namespace), do: namespace

  defp resolve(_stand_in, {:for, pid}), do: alive(pid)
  defp resolve(pid, _value), do: alive(pid)

  defp alive(pid) when node(pid) == node(), do: if(Process.alive?(pid), do: pid)
  defp alive(pid), do: pid

  defp start_stand_in(key, pid) do
    parent = self()
    stand_in = spawn(fn -> stand_in(key, pid, parent) end)
    monitor = Process.monitor(stand_in)

    receive do
      {^stand_in, result} ->
        Process.demonitor(monitor, [:flush])
        result

      {:DOWN, ^monitor, :process, _pid, _reason} ->
        :ok
    end
  end

  defp stand_in(key, pid, parent) do
    monitor = Process.monitor(pid)

    case Registry.register(ProcessRegistry, key, {:for, pid}) do
      {:ok, _owner} ->
        send(parent, {self(), :ok})
        pass_on(key, pid, monitor)

      {:error, {:already_registered, holder}} ->
        send(parent, {self(), {:error, {:already_registered, holder}}})
    end
  end

  # It gives the name back itself: the registry hears of a death only after a while.
  defp pass_on(key, pid, monitor) do
    receive do
      {:DOWN, ^monitor, :process, ^pid, reason} ->
        Registry.unregister(ProcessRegistry, key)
        exit(reason)

      {:"$stand_in_stop", from, reference} ->
        Registry.unregister(ProcessRegistry, key)
        send(from, reference)

      message ->
        send(pid, message)
        pass_on(key, pid, monitor)
    end
  end

  defp stop_stand_in(stand_in) do
    monitor = Process.monitor(stand_in)
    send(stand_in, {:"$stand_in_stop", self(), monitor})

    receive do
      ^monitor -> Process.demonitor(monitor, [:flush])
      {:DOWN, ^monitor, :process, _pid, _reason} -> :ok
    end

    :ok
  end

  defp shut_down(pid) do
    monitor = Process.monitor(pid)
    stop_process(pid)

    receive do
      {:DOWN, ^monitor, :process, _pid, _reason} -> :ok
    after
      5_000 ->
        Process.exit(pid, :kill)

        receive do
          {:DOWN, ^monitor, :process, _pid, _reason} -> :ok
        end
    end
  end

  # A GenServer is asked to stop, so that its supervisor and its `terminate` see an orderly end; whatever else it
  # is gets an exit signal.
  defp stop_process(pid) do
    case Process.info(pid, :dictionary) do
      {:dictionary, dictionary} ->
        if Keyword.has_key?(dictionary, :"$initial_call"),
          do: spawn(fn -> GenServer.stop(pid, :shutdown) end),
          else: Process.exit(pid, :shutdown)

      nil ->
        :gone
    end
  end

  defp memory_bytes do
    ProcessRegistry
    |> Supervisor.which_children()
    |> Enum.map(fn {_id, pid, _type, _modules} ->
      case Process.info(pid, :memory) do
        {:memory, bytes} -> bytes
        nil -> 0
      end
    end)
    |> Enum.sum()
  end

  # `:telemetry`'s own events, as the reference emitted them, where the host has that application.
  defp emit(what, measurements, namespace, name, result) do
    Telemetry.forward_registry(what, measurements, %{
      namespace: namespace,
      service: name,
      result: if(result == :ok or match?({:ok, _}, result), do: :ok, else: :error)
    })
  end
end
