defmodule ElixirScope.Foundation.Config.GracefulDegradation do
  @moduledoc """
  Configuration for the moments without an instance: values that were read lately are answered from a cache, and
  updates that could not be made are made later.

  Only `service_unavailable` counts as such a moment. A path that does not exist, a value that is refused or an
  update that is forbidden is the caller's to hear of at once, and is never cached or kept.
  """

  alias ElixirScope.Foundation.{Config, Error, FallbackCache}

  @max_age_s 300
  @max_pending 1_000

  @doc "Makes the cache; it is there from the start of the application, so this matters after a cleanup."
  @spec initialize_fallback_system() :: :ok
  def initialize_fallback_system, do: FallbackCache.create()

  @doc "Throws the cache and the pending updates away."
  @spec cleanup_fallback_system() :: :ok
  def cleanup_fallback_system, do: FallbackCache.delete()

  @doc "The value at a path: the one in force, else the one of at most 300 s ago, else `config_unavailable`."
  @spec get_with_fallback(Config.path()) :: {:ok, term()} | {:error, Error.t()}
  def get_with_fallback(path) do
    case Config.get(path) do
      {:ok, value} ->
        insert({{:config_cache, path}, value, now()})
        {:ok, value}

      {:error, %Error{error_type: :service_unavailable}} ->
        cached(path)

      failure ->
        failure
    end
  end

  @doc "Updates, or keeps the update for later while there is no instance; the error is returned all the same."
  @spec update_with_fallback(Config.path(), term()) :: :ok | {:error, Error.t()}
  def update_with_fallback(path, value) do
    case Config.update(path, value) do
      :ok ->
        delete({:pending_update, path})
        :ok

      {:error, %Error{error_type: :service_unavailable}} = failure ->
        if pending_count() < @max_pending, do: insert({{:pending_update, path}, value, now()})
        failure

      failure ->
        failure
    end
  end

  @doc "Forgets cached values of more than 300 s ago; pending updates stay."
  @spec cleanup_expired_cache() :: :ok
  def cleanup_expired_cache do
    with_table(:ok, fn table ->
      oldest = now() - @max_age_s
      :ets.select_delete(table, [{{{:config_cache, :_}, :_, :"$1"}, [{:<, :"$1", oldest}], [true]}])
      :ok
    end)
  end

  @doc "Tries the pending updates; what succeeds, or is refused for good, is pending no more."
  @spec retry_pending_updates() :: :ok
  def retry_pending_updates do
    with_table(:ok, fn table ->
      table
      |> :ets.match({{:pending_update, :"$1"}, :"$2", :_})
      |> Enum.each(fn [path, value] -> retry(path, value) end)
    end)
  end

  @doc "How much is cached and pending."
  @spec get_cache_stats() :: map()
  def get_cache_stats do
    with_table(%{error: :table_not_found}, fn table ->
      %{
        total_entries: :ets.info(table, :size),
        memory_words: :ets.info(table, :memory),
        config_cache_entries: count(table, :config_cache),
        pending_update_entries: count(table, :pending_update)
      }
    end)
  end

  defp cached(path) do
    case lookup({:config_cache, path}) do
      [{_key, value, stored}] ->
        if now() - stored <= @max_age_s,
          do: {:ok, value},
          else: unavailable("Configuration cache expired", path)

      [] ->
        unavailable("Configuration not available", path)
    end
  end

  defp unavailable(message, path) do
    {:error, error} = Error.error_result(:service_unavailable, message, context: %{path: path})

    {:error,
     %{error | error_type: :config_unavailable, category: :config, subcategory: :access, severity: :medium}}
  end

  defp retry(path, value) do
    case Config.update(path, value) do
      {:error, %Error{error_type: :service_unavailable}} -> :ok
      _done_or_refused -> delete({:pending_update, path})
    end
  end

  defp pending_count, do: with_table(0, &count(&1, :pending_update))

  defp count(table, kind), do: :ets.select_count(table, [{{{kind, :_}, :_, :_}, [], [true]}])

  defp insert(row), do: with_table(true, &:ets.insert(&1, row))
  defp delete(key), do: with_table(true, &:ets.delete(&1, key))
  defp lookup(key), do: with_table([], &:ets.lookup(&1, key))

  # The table may be deleted between any two steps.
  defp with_table(default, fun) do
    fun.(FallbackCache.table())
  rescue
    ArgumentError -> default
  end

  defp now, do: System.system_time(:second)
end
