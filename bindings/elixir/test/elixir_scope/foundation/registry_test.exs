defmodule ElixirScope.Foundation.RegistryTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.{ProcessRegistry, ServiceRegistry}

  setup do
    {:ok, namespace: {:test, make_ref()}}
  end

  defp idle, do: spawn(fn -> receive do: (:stop -> :ok) end)

  test "a process is named by itself and by others", %{namespace: namespace} do
    assert ProcessRegistry.register(namespace, :me, self()) == :ok
    assert ProcessRegistry.register(namespace, :me, self()) == :ok
    assert ProcessRegistry.lookup(namespace, :me) == {:ok, self()}

    other = idle()
    assert ProcessRegistry.register(namespace, :other, other) == :ok
    assert ProcessRegistry.register(namespace, :other, other) == :ok
    assert ProcessRegistry.lookup(namespace, :other) == {:ok, other}
    assert ProcessRegistry.register(namespace, :other, self()) == {:error, {:already_registered, other}}
    assert ProcessRegistry.register(namespace, :me, other) == {:error, {:already_registered, self()}}

    assert Enum.sort(ProcessRegistry.list_services(namespace)) == [:me, :other]
    assert ProcessRegistry.get_all_services(namespace) == %{me: self(), other: other}
    assert ProcessRegistry.count_services(namespace) == 2
    assert ProcessRegistry.registered?(namespace, :me)
    assert ProcessRegistry.lookup(:production, :me) == :error

    assert ProcessRegistry.unregister(namespace, :me) == :ok
    assert ProcessRegistry.unregister(namespace, :other) == :ok
    assert ProcessRegistry.unregister(namespace, :nobody) == :ok
    assert ProcessRegistry.get_all_services(namespace) == %{}
    assert Process.alive?(other)
  end

  test "a name given by another leads messages to the process, and ends with it", %{namespace: namespace} do
    {:ok, agent} = Agent.start(fn -> 7 end)
    ProcessRegistry.register(namespace, :agent, agent)
    via = ProcessRegistry.via_tuple(namespace, :agent)
    assert Agent.get(via, & &1) == 7
    monitor = Process.monitor(GenServer.whereis(via))
    Agent.stop(agent)
    assert_receive {:DOWN, ^monitor, :process, _, _}
    assert ProcessRegistry.lookup(namespace, :agent) == :error
    assert ProcessRegistry.register(namespace, :agent, self()) == :ok
  end

  test "a test's namespace is cleaned up", %{namespace: {:test, reference} = namespace} do
    {:ok, agent} = Agent.start(fn -> 0 end, name: ProcessRegistry.via_tuple(namespace, :agent))
    plain = idle()
    ProcessRegistry.register(namespace, :plain, plain)
    assert ProcessRegistry.cleanup_test_namespace(reference) == :ok
    refute Process.alive?(agent)
    refute Process.alive?(plain)
    assert ProcessRegistry.count_services(namespace) == 0
    assert %{production_services: production, test_namespaces: _, partitions: _} = ProcessRegistry.stats()
    assert production >= 4
  end

  test "services are looked up, awaited and described", %{namespace: namespace} do
    assert {:error, %Error{error_type: :service_not_found} = error} = ServiceRegistry.lookup(namespace, :x)
    assert error.message == "Service :x not found in namespace #{inspect(namespace)}"
    assert ServiceRegistry.wait_for_service(namespace, :x, 20) == {:error, :timeout}

    pid = idle()
    task = Task.async(fn -> ServiceRegistry.wait_for_service(namespace, :x) end)
    ServiceRegistry.register(namespace, :x, pid)
    assert Task.await(task) == {:ok, pid}

    assert %{total_services: 1, healthy_services: 1, services: %{x: %{pid: ^pid, alive: true}}} =
             ServiceRegistry.get_service_info(namespace)

    assert %{services: %{config_server: %{uptime_ms: uptime}}} = ServiceRegistry.get_service_info(:production)
    assert uptime >= 0
  end

  test "health checks, whatever the check does", %{namespace: namespace} do
    ProcessRegistry.register(namespace, :x, self())
    check = fn fun, opts -> ServiceRegistry.health_check(namespace, :x, [health_check: fun] ++ opts) end
    me = self()

    assert ServiceRegistry.health_check(namespace, :x) == {:ok, me}
    assert check.(fn ^me -> :ok end, []) == {:ok, me}
    assert check.(fn _ -> true end, []) == {:ok, me}
    assert check.(fn _ -> {:ok, :fine} end, []) == {:ok, me}
    assert check.(fn _ -> :ill end, []) == {:error, {:health_check_failed, :ill}}
    assert check.(fn _ -> raise "no" end, []) == {:error, {:health_check_error, %RuntimeError{message: "no"}}}
    assert {:error, {:health_check_crashed, %ArithmeticError{}}} = check.(fn _ -> 1 / zero() end, [])
    assert check.(fn _ -> exit(:gone) end, []) == {:error, {:health_check_crashed, :gone}}
    assert check.(fn _ -> receive do: (:never -> :ok) end, timeout: 10) == {:error, :health_check_timeout}
    assert {:error, %Error{}} = check.(fn -> :ok end, [])
    assert {:error, %Error{}} = ServiceRegistry.health_check(namespace, :y)
    assert Process.info(self(), :trap_exit) == {:trap_exit, false}
  end

  defp zero, do: String.length("")
end
