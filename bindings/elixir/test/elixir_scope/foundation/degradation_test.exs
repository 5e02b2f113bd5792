defmodule ElixirScope.Foundation.DegradationTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.Config.GracefulDegradation, as: ConfigDegradation
  alias ElixirScope.Foundation.Events.GracefulDegradation, as: EventsDegradation

  setup do
    ConfigDegradation.cleanup_fallback_system()
    ConfigDegradation.initialize_fallback_system()
  end

  test "configuration that was read lately is answered while there is no instance" do
    assert ConfigDegradation.initialize_fallback_system() == :ok
    assert ConfigDegradation.get_with_fallback([:dev, :debug_mode]) == {:ok, false}
    Foundation.shutdown()
    assert ConfigDegradation.get_with_fallback([:dev, :debug_mode]) == {:ok, false}

    assert {:error, %Error{error_type: :config_unavailable, message: "Configuration not available"}} =
             ConfigDegradation.get_with_fallback([:dev, :verbose_logging])

    :ets.insert(
      :config_fallback_cache,
      {{:config_cache, [:dev, :debug_mode]}, false, System.system_time(:second) - 301}
    )

    assert {:error, %Error{message: "Configuration cache expired", severity: :medium, category: :config}} =
             ConfigDegradation.get_with_fallback([:dev, :debug_mode])

    assert ConfigDegradation.cleanup_expired_cache() == :ok
    assert %{config_cache_entries: 0} = ConfigDegradation.get_cache_stats()
  end

  test "updates wait for the instance; what is refused does not wait" do
    Foundation.shutdown()

    assert {:error, %Error{error_type: :service_unavailable}} =
             ConfigDegradation.update_with_fallback([:dev, :debug_mode], true)

    assert {:error, %Error{error_type: :config_update_forbidden}} =
             ConfigDegradation.update_with_fallback([:ai, :provider], :openai)

    assert %{pending_update_entries: 1, total_entries: 1} = ConfigDegradation.get_cache_stats()
    assert ConfigDegradation.retry_pending_updates() == :ok
    assert %{pending_update_entries: 1} = ConfigDegradation.get_cache_stats()

    Foundation.initialize()
    assert ConfigDegradation.retry_pending_updates() == :ok
    assert Config.get([:dev, :debug_mode]) == {:ok, true}
    assert %{pending_update_entries: 0} = ConfigDegradation.get_cache_stats()
  end

  test "a path that does not exist is never cached, and without a table nothing raises" do
    assert {:error, %Error{error_type: :config_path_not_found}} =
             ConfigDegradation.get_with_fallback([:nothing])

    assert ConfigDegradation.cleanup_fallback_system() == :ok
    assert ConfigDegradation.get_cache_stats() == %{error: :table_not_found}
    assert ConfigDegradation.get_with_fallback([:dev, :debug_mode]) == {:ok, false}
    assert ConfigDegradation.cleanup_expired_cache() == :ok
    assert ConfigDegradation.retry_pending_updates() == :ok
  end

  test "an event is made and has bytes in any case" do
    assert %Event{data: 1} = EventsDegradation.new_event_safe(:test, 1)
    huge = List.duplicate(self(), 100_000)

    assert %Event{data: %{fallback_info: %{original_data_type: :list}}} =
             EventsDegradation.new_event_safe(:test, huge)

    assert %Event{event_type: :default} = EventsDegradation.new_event_safe("text", 1)

    original = event(:test, {self(), 1.5})

    assert original |> EventsDegradation.serialize_safe() |> EventsDegradation.deserialize_safe() ==
             {:ok, original}

    assert {:ok, %{fallback_data: ":no_event", warning: _}} =
             :no_event |> EventsDegradation.serialize_safe() |> EventsDegradation.deserialize_safe()

    assert {:error, %Error{}} = EventsDegradation.deserialize_safe("garbage")
    assert {:error, %Error{}} = EventsDegradation.deserialize_safe(1)
  end

  test "events wait for the store, the newest hundred" do
    waiting = for n <- 1..120, do: event(:waiting, n)
    Foundation.shutdown()
    for event <- waiting, do: assert(EventsDegradation.store_safe(event) == :ok)
    assert {:ok, [], %{warning: _}} = EventsDegradation.query_safe([])
    assert {:error, %Error{error_type: :validation_failed}} = EventsDegradation.store_safe(Event.empty())

    Foundation.initialize()
    last = event(:last, 0, event_id: 9_999_999)
    assert EventsDegradation.store_safe(last) == {:ok, 9_999_999}
    assert {:ok, found} = EventsDegradation.query_safe(event_type: :waiting)
    assert Enum.map(found, & &1.data) |> Enum.sort() == Enum.to_list(21..120)
  end

  test "what waits goes on waiting while the store is full" do
    Foundation.shutdown()

    for n <- 1..2,
        do: assert(EventsDegradation.store_safe(event(:waiting, n, event_id: 1_000_000 + n)) == :ok)

    Application.put_env(:elixir_scope, :event_store, %{max_events: 2, overflow_strategy: :error})

    on_exit(fn ->
      Application.delete_env(:elixir_scope, :event_store)
      Foundation.shutdown()
    end)

    Foundation.initialize()
    assert {:ok, _id} = EventsDegradation.store_safe(event(:last, 0))
    waiting = fn -> elem(EventsDegradation.query_safe(event_type: :waiting), 1) |> Enum.map(& &1.data) end
    assert waiting.() == [1]
    assert {:ok, 2} = Events.prune_before(Bitwise.bsl(1, 62))
    assert {:ok, _id} = EventsDegradation.store_safe(event(:last, 1))
    assert waiting.() == [2]
  end
end
