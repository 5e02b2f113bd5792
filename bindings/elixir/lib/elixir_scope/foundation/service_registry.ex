defmodule ElixirScope.Foundation.ServiceRegistry do
  @moduledoc """
  Services by namespace, on top of `ElixirScope.Foundation.ProcessRegistry`: found, awaited, checked.
  """

  alias ElixirScope.Foundation.{Error, ProcessRegistry}

  @type namespace :: ProcessRegistry.namespace()
  @type name :: ProcessRegistry.name()

  @wait_ms 5_000
  @poll_ms 10

  defdelegate register(namespace, name, pid), to: ProcessRegistry
  defdelegate unregister(namespace, name), to: ProcessRegistry
  defdelegate list_services(namespace), to: ProcessRegistry
  defdelegate via_tuple(namespace, name), to: ProcessRegistry
  defdelegate cleanup_test_namespace(reference), to: ProcessRegistry

  @doc "The process of a service."
  @spec lookup(namespace(), name()) :: {:ok, pid()} | {:error, Error.t()}
  def lookup(namespace, name) do
    case ProcessRegistry.lookup(namespace, name) do
      {:ok, pid} ->
        {:ok, pid}

      :error ->
        Error.error_result(
          :service_not_found,
          "Service #{inspect(name)} not found in namespace #{inspect(namespace)}",
          context: %{namespace: namespace, service: name}
        )
    end
  end

  @doc "Waits until a service is registered."
  @spec wait_for_service(namespace(), name(), non_neg_integer()) :: {:ok, pid()} | {:error, :timeout}
  def wait_for_service(namespace, name, timeout \\ @wait_ms) do
    wait(namespace, name, System.monotonic_time(:millisecond) + timeout)
  end

  @doc "What is registered in a namespace."
  @spec get_service_info(namespace()) :: map()
  def get_service_info(namespace) do
    services =
      for {name, pid} <- ProcessRegistry.get_all_services(namespace), into: %{} do
        {name, %{pid: pid, alive: Process.alive?(pid), uptime_ms: uptime_ms(pid)}}
      end

    %{
      namespace: namespace,
      services: services,
      total_services: map_size(services),
      healthy_services: Enum.count(services, fn {_name, service} -> service.alive end)
    }
  end

  @doc """
  Whether a service is well: `:health_check` is a function of its pid that answers `:ok`, `{:ok, _}` or `true`,
  within `:timeout` (5,000 ms). The check runs in a process of its own, which ends with the call.
  """
  @spec health_check(namespace(), name(), keyword()) :: {:ok, pid()} | {:error, term()}
  def health_check(namespace, name, opts \\ []) do
    with {:ok, pid} <- lookup(namespace, name) do
      if Process.alive?(pid), do: check(pid, opts), else: {:error, :process_dead}
    end
  end

  defp check(pid, opts) do
    case Keyword.get(opts, :health_check) do
      nil ->
        {:ok, pid}

      fun when is_function(fun, 1) ->
        run_check(pid, fun, Keyword.get(opts, :timeout, @wait_ms))

      other ->
        Error.error_result(
          :invalid_input,
          "A health check is a function of one argument, not #{inspect(other)}"
        )
    end
  end

  # The answer comes as the exit reason of a monitored process: nothing is linked, nothing outlives the call.
  defp run_check(pid, fun, timeout) do
    {checker, monitor} = spawn_monitor(fn -> exit({:checked, safely(fun, pid)}) end)

    receive do
      {:DOWN, ^monitor, :process, _pid, {:checked, answer}} -> judge(answer, pid)
      {:DOWN, ^monitor, :process, _pid, reason} -> {:error, {:health_check_crashed, reason}}
    after
      timeout ->
        Process.demonitor(monitor, [:flush])
        Process.exit(checker, :kill)
        {:error, :health_check_timeout}
    end
  end

  defp safely(fun, pid) do
    {:answer, fun.(pid)}
  rescue
    exception in RuntimeError -> {:raised, exception}
    exception -> {:crashed, exception}
  catch
    :exit, reason -> {:crashed, reason}
    :throw, value -> {:crashed, {:nocatch, value}}
  end

  defp judge({:answer, answer}, pid) when answer in [:ok, true], do: {:ok, pid}
  defp judge({:answer, {:ok, _details}}, pid), do: {:ok, pid}
  defp judge({:answer, other}, _pid), do: {:error, {:health_check_failed, other}}
  defp judge({:raised, exception}, _pid), do: {:error, {:health_check_error, exception}}
  defp judge({:crashed, reason}, _pid), do: {:error, {:health_check_crashed, reason}}

  defp wait(namespace, name, deadline) do
    case ProcessRegistry.lookup(namespace, name) do
      {:ok, pid} ->
        {:ok, pid}

      :error ->
        left = deadline - System.monotonic_time(:millisecond)

        if left <= 0 do
          {:error, :timeout}
        else
          # The registry tells nobody of a new name, so it is asked again.
          Process.sleep(min(@poll_ms, left))
          wait(namespace, name, deadline)
        end
    end
  end

  # The VM does not say when a process began; the services of this library note it themselves.
  defp uptime_ms(pid) do
    with {:dictionary, dictionary} <- Process.info(pid, :dictionary),
         started when is_integer(started) <- Keyword.get(dictionary, :started_at_ms) do
      System.monotonic_time(:millisecond) - started
    else
      _unknown -> nil
    end
  end
end
