defmodule ElixirScope.Foundation.Services.EventStore do
  @moduledoc """
  The process that stands for the event store of a namespace: it answers the seeds' messages and has the functions
  of `ElixirScope.Foundation.Events`. The events themselves are in the native core; storing and finding them does
  not pass through this process.

  Messages: `{:store_event, event}`, `{:store_batch, events}`, `{:get_event, id}`, `{:query_events, query}`,
  `{:get_by_correlation, id}`, `{:prune_before, timestamp}`, `{:subscribe, pid}`,
  `{:subscribe, pid, conditions, opts}`, `{:unsubscribe, pid}`, `{:unsubscribe, pid, subscription}`, `:get_stats`, `:get_status`, `:reset_state` (in test
  mode).
  """

  use GenServer, shutdown: 10_000

  alias ElixirScope.Foundation.{Error, Events, Instance, Native, ProcessRegistry, Utils}
  alias ElixirScope.Foundation.Events.Subscription
  alias ElixirScope.Foundation.Services.TestMode

  @end_of_time 0x7FFF_FFFF_FFFF_FFFF

  defdelegate store(event), to: Events
  defdelegate store_async(event), to: Events
  defdelegate flush_async(timeout_ms \\ 5_000), to: Events
  defdelegate store_batch(events), to: Events
  defdelegate get(event_id), to: Events
  defdelegate query(conditions), to: Events
  defdelegate stream(conditions), to: Events
  defdelegate count(conditions), to: Events
  defdelegate explain(conditions), to: Events
  defdelegate aggregate(conditions, what \\ []), to: Events
  defdelegate trace(event_id, opts \\ []), to: Events
  defdelegate get_by_correlation(correlation_id), to: Events
  defdelegate get_correlation_chain(correlation_id), to: Events
  defdelegate get_time_range(first, last), to: Events
  defdelegate get_recent(count \\ 100), to: Events
  defdelegate tail(conditions \\ [], opts \\ []), to: Events
  defdelegate acknowledge(subscription, count \\ 1), to: Events
  defdelegate subscription_stats(subscription), to: Events
  defdelegate prune_before(timestamp), to: Events
  defdelegate stats, to: Events
  defdelegate status, to: Events
  defdelegate available?, to: Events

  @doc "A process is told of events as they are stored: see `ElixirScope.Foundation.Events.subscribe/2`."
  @spec subscribe(pid(), map() | keyword(), keyword()) :: Events.result(Events.subscription())
  def subscribe(pid \\ self(), conditions \\ [], opts \\ []),
    do: Subscription.open(Instance.handle(), pid, conditions, opts)

  @doc "All subscriptions of a process end, or this one."
  @spec unsubscribe(pid(), Events.subscription() | nil) :: :ok | {:error, Error.t()}
  def unsubscribe(pid \\ self(), subscription \\ nil),
    do: Native.event_unsubscribe(Instance.handle(), pid, subscription)

  @doc "Starts the services if they are not running; the options are the running ones'."
  @spec initialize(keyword()) :: :ok | {:error, Error.t()}
  def initialize(_opts \\ []), do: Events.initialize()

  @doc "In test mode: a store without events and subscribers."
  @spec reset_state() :: :ok | {:error, Error.t()}
  def reset_state, do: TestMode.guard(fn -> reset_state_of(:production) end)

  @doc "Starts the process of a namespace (`:namespace`, default `:production`) and its instance where there is none."
  @spec start_link(keyword()) :: GenServer.on_start()
  def start_link(opts \\ []) do
    namespace = Keyword.get(opts, :namespace, :production)
    GenServer.start_link(__MODULE__, opts, name: ProcessRegistry.via_tuple(namespace, :event_store))
  end

  @doc "Stops the process; a supervisor of it starts it again."
  @spec stop() :: :ok
  def stop, do: ProcessRegistry.stop(:production, :event_store)

  @impl GenServer
  def init(opts) do
    Process.put(:started_at_ms, System.monotonic_time(:millisecond))
    namespace = Keyword.get(opts, :namespace, :production)
    {:ok, %{namespace: namespace, opts: Keyword.delete(opts, :namespace)}, {:continue, :open}}
  end

  # Does not hold up who starts it; calls wait until it is done.
  @impl GenServer
  def handle_continue(:open, state) do
    bounds = if state.opts == [], do: [], else: [event_store: Map.new(state.opts)]

    case Instance.ensure(state.namespace, bounds) do
      :ok -> {:noreply, state}
      {:error, reason} -> {:stop, reason, state}
    end
  end

  @impl GenServer
  def handle_call(message, _from, state), do: {:reply, answer(message, state.namespace), state}

  @impl GenServer
  def handle_cast(_message, state), do: {:noreply, state}

  @impl GenServer
  def handle_info(_message, state), do: {:noreply, state}

  defp answer({:store_event, event}, namespace), do: Events.store_in(Instance.handle(namespace), event)

  defp answer({:store_batch, events}, namespace),
    do: Events.store_batch_in(Instance.handle(namespace), events)

  defp answer({:get_event, id}, namespace), do: Events.get_from(Instance.handle(namespace), id)
  defp answer({:query_events, query}, namespace), do: Events.query_in(Instance.handle(namespace), query)

  defp answer({:get_by_correlation, id}, namespace) do
    Events.query_in(Instance.handle(namespace), correlation_id: id)
  end

  defp answer({:prune_before, timestamp}, namespace) do
    Native.event_prune(Instance.handle(namespace), timestamp)
  end

  defp answer({:subscribe, pid}, namespace), do: Subscription.open(Instance.handle(namespace), pid, [], [])

  defp answer({:subscribe, pid, conditions, opts}, namespace) do
    Subscription.open(Instance.handle(namespace), pid, conditions, opts)
  end

  defp answer({:unsubscribe, pid}, namespace) do
    Native.event_unsubscribe(Instance.handle(namespace), pid, nil)
  end

  defp answer({:unsubscribe, pid, subscription}, namespace) do
    Native.event_unsubscribe(Instance.handle(namespace), pid, subscription)
  end

  defp answer(:get_stats, namespace), do: Events.stats_of(Instance.handle(namespace))
  defp answer(:get_status, namespace), do: Events.status_of(Instance.handle(namespace))
  defp answer(:reset_state, namespace), do: TestMode.guard(fn -> reset_state_of(namespace) end)

  defp answer(other, _namespace) do
    Error.error_result(:invalid_input, "The event store knows no message #{Utils.safe_inspect(other)}")
  end

  defp reset_state_of(namespace) do
    with :ok <- Native.event_unsubscribe_all(Instance.handle(namespace)),
         {:ok, _pruned} <- Native.event_prune(Instance.handle(namespace), @end_of_time),
         do: :ok
  end
end
