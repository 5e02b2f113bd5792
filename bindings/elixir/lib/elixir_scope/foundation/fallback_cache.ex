defmodule ElixirScope.Foundation.FallbackCache do
  @moduledoc false
  # Owns the table behind `ElixirScope.Foundation.Config.GracefulDegradation`: the table outlives whoever uses it,
  # and once a minute what is too old leaves it and pending updates are tried again.

  use GenServer

  alias ElixirScope.Foundation.Config.GracefulDegradation

  @table :config_fallback_cache
  @interval_ms 60_000

  @spec start_link(term()) :: GenServer.on_start()
  def start_link(_opts), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "The table's name."
  def table, do: @table

  @doc "Makes the table if it is not there."
  @spec create() :: :ok
  def create, do: call(:create)

  @doc "Deletes the table."
  @spec delete() :: :ok
  def delete, do: call(:delete)

  # Without the application there is no table, and that is what the callers then find.
  defp call(message) do
    GenServer.call(__MODULE__, message)
  catch
    :exit, _not_running -> :ok
  end

  @impl GenServer
  def init(nil) do
    create_table()
    Process.send_after(self(), :tick, @interval_ms)
    {:ok, nil}
  end

  @impl GenServer
  def handle_call(:create, _from, state) do
    create_table()
    {:reply, :ok, state}
  end

  def handle_call(:delete, _from, state) do
    if :ets.whereis(@table) != :undefined, do: :ets.delete(@table)
    {:reply, :ok, state}
  end

  @impl GenServer
  def handle_info(:tick, state) do
    GracefulDegradation.cleanup_expired_cache()
    GracefulDegradation.retry_pending_updates()
    Process.send_after(self(), :tick, @interval_ms)
    {:noreply, state}
  end

  defp create_table do
    if :ets.whereis(@table) == :undefined do
      :ets.new(@table, [:set, :public, :named_table, read_concurrency: true])
    end
  end
end
