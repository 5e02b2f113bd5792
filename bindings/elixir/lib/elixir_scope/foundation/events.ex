defmodule ElixirScope.Foundation.Events do
  @moduledoc """
  Events: made, stored at the speed of a memory copy, and found again.

      iex> alias ElixirScope.Foundation.Events
      iex> {:ok, event} = Events.new_event(:order_paid, %{total: 12, by: self()}, correlation_id: "doc-1")
      iex> {:ok, id} = Events.store(event)
      iex> Events.get(id) == {:ok, event}
      true
      iex> {:ok, [found]} = Events.query(correlation_id: "doc-1", data: [{[:total], :>, 10}])
      iex> found.event_id == id
      true

  Data may be any term and comes back exactly. What `store/1` has returned is visible to every query that starts
  after it, on any process.
  """

  alias ElixirScope.Foundation
  alias ElixirScope.Foundation.{Error, Instance, Native}
  alias ElixirScope.Foundation.Events.{Codec, Durability, Query, Subscription, Summary}
  alias ElixirScope.Foundation.Logic.EventLogic
  alias ElixirScope.Foundation.Types.Event
  alias ElixirScope.Foundation.Validation.EventValidator

  @type result(value) :: {:ok, value} | {:error, Error.t()}
  @type subscription :: pos_integer()

  # How long a flush keeps one of the VM's threads for waiting.
  @flush_slice_ms 50

  @async_counts [
    :offered,
    :waiting,
    :waiting_bytes,
    :stored,
    :refused_full,
    :refused_invalid,
    :refused_closed,
    :failed_duplicate,
    :failed_full,
    :failed_other,
    :dropped_newest,
    :dropped_at_close,
    :max_events,
    :max_bytes
  ]

  @doc "Starts the services if they are not running."
  @spec initialize() :: :ok | {:error, Error.t()}
  def initialize, do: Foundation.ensure_running([])

  @doc "How the store is doing."
  @spec status() :: result(map())
  def status, do: status_of(Instance.handle())

  @doc "Whether the store answers."
  @spec available?() :: boolean()
  def available?, do: Instance.open?()

  @doc """
  A validated event. Options: `:event_id`, `:timestamp`, `:wall_time`, `:node`, `:pid`, `:correlation_id`,
  `:parent_id`.
  """
  @spec new_event(term(), term(), keyword()) :: result(Event.t())
  defdelegate new_event(type, data, opts \\ []), to: EventLogic, as: :create_event

  @doc "As `new_event/3`, but the bare event; it raises where that fails. For the shell."
  @spec debug_new_event(atom(), term(), keyword()) :: Event.t()
  def debug_new_event(type, data, opts \\ []) do
    case new_event(type, data, opts) do
      {:ok, event} -> event
      {:error, error} -> raise RuntimeError, "no event could be made: #{Error.to_string(error)}"
    end
  end

  @doc "A function was entered. Options: those of `new_event/3`, `:caller_module`, `:caller_function`, `:caller_line`."
  @spec function_entry(module(), atom(), arity(), term(), keyword()) :: result(Event.t())
  defdelegate function_entry(module, function, arity, args, opts \\ []),
    to: EventLogic,
    as: :create_function_entry

  @doc "A function was left, after `duration_ns`."
  @spec function_exit(module(), atom(), arity(), term(), term(), non_neg_integer(), atom()) ::
          result(Event.t())
  defdelegate function_exit(module, function, arity, call_id, result, duration_ns, exit_reason),
    to: EventLogic,
    as: :create_function_exit

  @doc "A server's state changed (or not). Options: those of `new_event/3`, `:trigger_message`, `:trigger_call_id`."
  @spec state_change(pid(), atom(), term(), term(), keyword()) :: result(Event.t())
  defdelegate state_change(server_pid, callback, old_state, new_state, opts \\ []),
    to: EventLogic,
    as: :create_state_change

  @doc "The event as bytes: Erlang's external term format, compressed."
  @spec serialize(Event.t()) :: result(binary())
  defdelegate serialize(event), to: EventLogic, as: :serialize_event

  @doc "The event that `serialize/1` made the bytes of."
  @spec deserialize(binary()) :: result(Event.t())
  defdelegate deserialize(bytes), to: EventLogic, as: :deserialize_event

  @doc "How many bytes `serialize/1` makes of it."
  @spec serialized_size(Event.t()) :: result(non_neg_integer())
  defdelegate serialized_size(event), to: EventLogic, as: :calculate_serialized_size

  @doc "Stores an event. An id that is stored already is `duplicate_event_id`."
  @spec store(Event.t()) :: result(Event.event_id())
  def store(event), do: store_in(Instance.handle(), event)

  @doc """
  As `store/1`, on a store with files, with options:

    * `:level` - how safe the event is when this returns: `:accepted` (in memory: no wait), `:crash_safe` (it outlives
      the process), `:durable` (it outlives a loss of power). By default what the store's `:durability` says. A store
      without files cannot give more than `:accepted`, and takes the event all the same
    * `:timeout` - the milliseconds to wait for the disk (60,000), or `:infinity`

  The calling process waits in `receive`; no scheduler does. When the disk fails or the time is up, the error's context
  has `stored: true`: the event is in memory, by `context.event_id`, and the store goes on trying. It must not be stored
  again.
  """
  @spec store(Event.t(), level: Durability.level(), timeout: timeout()) :: result(Event.event_id())
  def store(event, opts) do
    with {:ok, wanted} <- Durability.options(opts), do: store_in(Instance.handle(), event, wanted)
  end

  @doc "Stores all events or none; the ids in their order. The error's `context.index` says which was refused."
  @spec store_batch([Event.t()]) :: result([Event.event_id()])
  def store_batch(events), do: store_batch_in(Instance.handle(), events)

  @doc "As `store_batch/1`, with the options of `store/2`; ids that are stored and not as safe are `context.event_ids`."
  @spec store_batch([Event.t()], level: Durability.level(), timeout: timeout()) :: result([Event.event_id()])
  def store_batch(events, opts) do
    with {:ok, wanted} <- Durability.options(opts), do: store_batch_in(Instance.handle(), events, wanted)
  end

  @doc """
  Waits until an event, or `:all` that are stored now, has a level. Options: `:level` (`:durable`) and `:timeout`
  (60,000 ms). It is `timeout` when that takes longer, `operation_forbidden` for a store without files, and the disk's
  error where it would not take them; the store goes on trying.
  """
  @spec wait_durable(Event.event_id() | :all, keyword()) :: :ok | {:error, Error.t()}
  def wait_durable(event_id \\ :all, opts \\ []) do
    handle = Instance.handle()

    with {:ok, {level, timeout}} <- Durability.options(Keyword.put_new(opts, :level, :durable)),
         {:ok, seq} <- position(handle, event_id) do
      Durability.await(handle, seq, level, timeout)
    end
  end

  @doc """
  How far a level has come: every event whose position is below this has it. An event's position is what subscriptions
  tell with it. Without files the watermarks of `:crash_safe` and `:durable` stay at 1.
  """
  @spec watermark(Durability.level()) :: result(pos_integer())
  def watermark(level \\ :durable) do
    with {:ok, {level, _timeout}} <- Durability.options(level: level) do
      Native.event_watermark(Instance.handle(), level)
    end
  end

  @doc """
  Has an event stored a moment later, for callers who prefer not to wait. What is wrong with the event is said now;
  that it could not be stored after all (its id was stored already, the store was full) is counted in `stats/0`, under
  `:async`. When as many events wait as may (`event_store.async_queue_events`, default 10,000, and
  `async_queue_bytes`, default 16 MiB), it is `store_full`. Events of a process are stored in the order of its calls
  as long as it stays with one of the two.

  This is not quicker: `store/1` takes about a microsecond and finds its event at once. It is for stores that block
  when they are full, where `store/1` from a process is `store_full` and this waits for room in a thread of its own.

      iex> alias ElixirScope.Foundation.Events
      iex> {:ok, event} = Events.new_event(:later, %{n: 1})
      iex> {:ok, id} = Events.store_async(event)
      iex> Events.flush_async()
      :ok
      iex> Events.get(id) == {:ok, event}
      true
  """
  @spec store_async(Event.t()) :: result(Event.event_id())
  def store_async(event), do: store_async_in(Instance.handle(), event)

  @doc """
  Waits until every event that `store_async/1` took before, in any process, is stored or counted as not stored;
  `timeout` when that takes longer than so many milliseconds.
  """
  @spec flush_async(non_neg_integer()) :: :ok | {:error, Error.t()}
  def flush_async(timeout_ms \\ 5_000), do: flush_async_in(Instance.handle(), timeout_ms)

  @doc "The event of this id."
  @spec get(Event.event_id()) :: result(Event.t())
  def get(event_id), do: get_from(Instance.handle(), event_id)

  @doc "The events for which all conditions hold: see `ElixirScope.Foundation.Events.Query`."
  @spec query(map() | keyword()) :: result([Event.t()])
  def query(conditions), do: query_in(Instance.handle(), conditions)

  @doc """
  The events for which all conditions hold, as a stream: a batch of them is in memory at a time, however many they
  are. Each enumeration asks anew, sees the store as it is then, and raises where the store refuses or the query's
  `:timeout` is up. An enumeration that ends early lets go of the store's memory at once.

      iex> alias ElixirScope.Foundation.Events
      iex> {:ok, event} = Events.new_event(:streamed, 1, correlation_id: "stream-1")
      iex> {:ok, _id} = Events.store(event)
      iex> {:ok, stream} = Events.stream(correlation_id: "stream-1")
      iex> Enum.map(stream, & &1.data)
      [1]
  """
  @spec stream(map() | keyword()) :: result(Enumerable.t())
  def stream(conditions), do: stream_in(Instance.handle(), conditions)

  @doc """
  The calling process is told of events as they are stored, until it dies or unsubscribes.

  It receives, for each event that matches the conditions, in the order of storing and once,

      {:event_notification, subscription, {:event_stored, seq, %Event{}}}

  and where events are missing, because the store had dropped them before they could be told,

      {:event_notification, subscription, {:events_missed, %{first_seq: _, last_seq: _, count: _, reason: _}}}

  with the reason `:removed`, or `:lagged` where the subscription was further behind than its `:capacity`. Conditions
  are those of `query/1` without `:seq_range`, `:order_by`, `:offset`, `:limit` and `:timeout`.

  **Acknowledge what is dealt with**, by `acknowledge/2`: no more than `:window` messages are sent without that, so
  that no mailbox fills. The store waits for nobody meanwhile, and nothing is missed in silence.

  Options: `:from_seq`, the first position to tell, for going on where an earlier subscription ended (by default what
  is stored from now on); `:capacity`, how many events it may be behind the newest; `:window` (1,000).

      iex> alias ElixirScope.Foundation.Events
      iex> {:ok, subscription} = Events.subscribe(event_type: :order_paid, data: [{[:total], :>, 10}])
      iex> {:ok, event} = Events.new_event(:order_paid, %{total: 12})
      iex> {:ok, _id} = Events.store(event)
      iex> receive do
      ...>   {:event_notification, ^subscription, {:event_stored, _seq, told}} -> told.data
      ...> end
      %{total: 12}
      iex> Events.acknowledge(subscription)
      :ok
      iex> Events.unsubscribe(subscription)
      :ok
  """
  @spec subscribe(map() | keyword(), keyword()) :: result(subscription())
  def subscribe(conditions \\ [], opts \\ []),
    do: Subscription.open(Instance.handle(), self(), conditions, opts)

  @doc "The subscription ends: after this no message of it comes. `:ok` also when it has ended already."
  @spec unsubscribe(subscription()) :: :ok | {:error, Error.t()}
  def unsubscribe(subscription),
    do: Native.event_unsubscribe(Instance.handle(), self(), subscription)

  @doc "All subscriptions of the calling process end: after this no message of them comes."
  @spec unsubscribe() :: :ok | {:error, Error.t()}
  def unsubscribe, do: Native.event_unsubscribe(Instance.handle(), self(), nil)

  @doc "So many messages of the subscription are dealt with, and as many more may be sent."
  @spec acknowledge(subscription(), non_neg_integer()) :: :ok | {:error, Error.t()}
  def acknowledge(subscription, count \\ 1),
    do: Native.event_acknowledge(Instance.handle(), subscription, count)

  @doc "What a subscription has told, passed over and is behind; `position` is the first that it has not looked at."
  @spec subscription_stats(subscription()) :: result(map())
  def subscription_stats(subscription),
    do: Native.event_subscription_stats(Instance.handle(), subscription)

  @doc """
  Events as they are stored, as a stream without an end: of `{:event_stored, seq, event}` and `{:events_missed, gap}`,
  as `subscribe/2` tells them. Acknowledging is done. Each enumeration is a subscription of the enumerating process,
  which ends with it; it also ends when the instance is closed. Options: those of `subscribe/2`, and `:timeout`, the
  milliseconds without an event after which the stream ends.

      iex> alias ElixirScope.Foundation.Events
      iex> {:ok, event} = Events.new_event(:tailed, 7, correlation_id: "tail-1")
      iex> {:ok, _id} = Events.store(event)
      iex> {:ok, stream} = Events.tail([correlation_id: "tail-1"], from_seq: 1)
      iex> [{:event_stored, _seq, told}] = stream |> Stream.filter(&match?({:event_stored, _, _}, &1)) |> Enum.take(1)
      iex> told == event
      true
  """
  @spec tail(map() | keyword(), keyword()) :: result(Enumerable.t())
  def tail(conditions \\ [], opts \\ []), do: Subscription.stream(Instance.handle(), conditions, opts)

  @doc "How many events a query finds."
  @spec count(map() | keyword()) :: result(non_neg_integer())
  def count(conditions), do: Summary.count(Instance.handle(), conditions)

  @doc """
  How a query would be answered: `index` (the one that finds the events; `:none` is looking at all of them), `reason`,
  `events` in the store, `candidates` to be looked at, `segments`, `segments_passed_over` and `estimates`, what each
  index was expected to show.
  """
  @spec explain(map() | keyword()) :: result(map())
  def explain(conditions), do: Summary.explain(Instance.handle(), conditions)

  @doc """
  What a query finds, counted in one pass without being kept: a map of `:count`, `:uncomparable` (how often a
  condition met a value that it could not be compared with), and what these options ask for:

    * `by_type: true` - `:by_type`, a list of `{event_type, count}`, the most frequent first
    * `bucket_ns: span` - `:buckets`, a list of `{first timestamp, count}` for each span of so many nanoseconds that has
      events, at most 100,000
    * `top_correlations: n` - `:top_correlations`, a list of `{correlation_id, count}` of at most `n` (at most 1,000),
      and `:correlations_error`, by how much counts may be too low
    * `field: path` - `:field`, of the numbers at this path of the data their `:count`, `:min`, `:mean`, `:max`, `:p50`,
      `:p90` and `:p99` (`nil` where there is none), and how many events had nothing there (`:missing`) or something
      else (`:uncomparable`)

      iex> alias ElixirScope.Foundation.Events
      iex> events = for n <- 1..4, do: Events.debug_new_event(:timed, %{ms: n}, correlation_id: "agg-1")
      iex> {:ok, _ids} = Events.store_batch(events)
      iex> {:ok, found} = Events.aggregate([correlation_id: "agg-1"], by_type: true, field: [:ms])
      iex> {found.count, found.by_type, found.field.mean, found.field.max}
      {4, [timed: 4], 2.5, 4.0}
  """
  @spec aggregate(map() | keyword(), keyword()) :: result(map())
  def aggregate(conditions, what \\ []), do: Summary.aggregate(Instance.handle(), conditions, what)

  @doc """
  The whole tree of causes that an event belongs to, by `parent_id`, at most `:limit` events of it (1 to 100,000,
  default 1,000): a map of

    * `:events` - a list of `{depth, event}`, from the root, each event before those that it caused
    * `:missing_parent` - the parent that the root names and that is not in the store, or `nil`
    * `:cycles` - ids of events at which the way would go round in a circle
    * `:truncated` - whether there are more events

      iex> alias ElixirScope.Foundation.Events
      iex> {:ok, cause} = Events.store(Events.debug_new_event(:cause, nil))
      iex> {:ok, effect} = Events.store(Events.debug_new_event(:effect, nil, parent_id: cause))
      iex> {:ok, trace} = Events.trace(effect)
      iex> for {depth, event} <- trace.events, do: {depth, event.event_type}
      [{0, :cause}, {1, :effect}]
  """
  @spec trace(Event.event_id(), limit: pos_integer()) :: result(map())
  def trace(event_id, opts \\ []), do: Summary.trace(Instance.handle(), event_id, opts)

  @doc "The events of a correlation, by time."
  @spec get_by_correlation(String.t()) :: result([Event.t()])
  def get_by_correlation(correlation_id), do: query(correlation_id: correlation_id)

  @doc "As `get_by_correlation/1`."
  @spec get_correlation_chain(String.t()) :: result([Event.t()])
  def get_correlation_chain(correlation_id), do: get_by_correlation(correlation_id)

  @doc "The events from `first` to `last`, both included, by time."
  @spec get_time_range(integer(), integer()) :: result([Event.t()])
  def get_time_range(first, last), do: query(time_range: {first, last})

  @doc "The newest events by timestamp, newest first."
  @spec get_recent(non_neg_integer()) :: result([Event.t()])
  def get_recent(count \\ 100), do: query(order_by: {:timestamp, :desc}, limit: count)

  @doc "Removes the events with a timestamp below this one; how many they were."
  @spec prune_before(integer()) :: result(non_neg_integer())
  def prune_before(timestamp), do: Native.event_prune(Instance.handle(), timestamp)

  @doc """
  The counts of the store; `events_stored` is how many there ever were. The books balance:
  `events_offered = events_stored + events_refused + events_dropped_newest + events_repeated`, and
  `events_stored = current_event_count + events_dropped + events_pruned + events_expired + events_evicted +
  events_lost`, the last of which a crash or a damaged file took.
  `:async` is what has become of the events of `store_async/1`: in it, `offered` is the sum of `waiting`, `stored` and
  whatever was `refused_…`, `failed_…` or `dropped_…`; those that were tried to be stored are in the other counts, too.

  `disk` is how the files are, `nil` without any: `durability`, `data_dir`, the watermarks `crash_safe_seq` and
  `durable_seq`, counts of segments, logs, syncs and failures, `last_failure`, `gaps` (events that are known to be
  missing, by positions and reason) and `recovery`, what opening found.
  """
  @spec stats() :: result(map())
  def stats, do: stats_of(Instance.handle())

  @doc "The version of the configuration that was in force when the event was stored."
  @spec config_version(Event.event_id()) :: result(pos_integer())
  def config_version(event_id) do
    with {:ok, row} <- row(Instance.handle(), event_id), do: {:ok, elem(row, 11)}
  end

  @doc """
  Writes the events that a query finds as JSON Lines, whatever they were stored as; how many they were. The file
  appears whole or not at all.
  """
  @spec export_jsonl(Path.t(), map() | keyword()) :: result(non_neg_integer())
  def export_jsonl(path, conditions \\ []) do
    with {:ok, query} <- Query.new(conditions) do
      path = path |> Path.expand() |> to_string()
      Query.named(Native.event_export(Instance.handle(), Query.native(query), path))
    end
  end

  @doc """
  Stores the events of a file that `export_jsonl/2` or another language's export wrote, or of any other file of such
  lines; how many they were. Events keep their ids and times. Data is read as JSON: what terms became when they were
  exported, they stay (docs/data-conversion.md). Lines are stored some hundred KiB at a time, each part whole or not at
  all; the error's context has the `line` and how many events were `imported` before.
  """
  @spec import_jsonl(Path.t()) :: result(non_neg_integer())
  def import_jsonl(path) do
    Native.event_import(Instance.handle(), path |> Path.expand() |> to_string())
  end

  @doc false
  def store_in(handle, event, wanted \\ Durability.usual()) do
    case append(handle, event) do
      {:ok, _id} = stored when elem(wanted, 0) != :durable -> stored
      {:error, _error} = failure -> explain(event, failure)
      # What the disk has yet to do, the process waits for.
      other -> Durability.settle(other, handle, wanted, fn -> append(handle, event) end)
    end
  end

  @doc false
  def store_async_in(handle, event) do
    case Native.event_append_async(handle, event) do
      {:ok, _id} = taken -> taken
      :encode -> store_encoded(handle, event, &Native.event_append_async_encoded/2)
      failure -> explain(event, failure)
    end
  end

  @doc false
  def flush_async_in(handle, timeout_ms) when is_integer(timeout_ms) and timeout_ms > @flush_slice_ms do
    # A slice at a time, so that those who wait long leave the VM's threads to others in between.
    case Native.event_flush_async(handle, @flush_slice_ms) do
      {:error, %Error{error_type: :timeout}} -> flush_async_in(handle, timeout_ms - @flush_slice_ms)
      answer -> answer
    end
  end

  def flush_async_in(handle, timeout_ms), do: Native.event_flush_async(handle, timeout_ms)

  @doc false
  def store_batch_in(handle, events, wanted \\ Durability.usual())

  def store_batch_in(handle, events, wanted) when is_list(events) do
    stored =
      handle
      |> append_batch(events)
      |> Durability.settle(handle, wanted, fn -> append_batch(handle, events) end)

    with {:error, %Error{}} <- stored, do: explain_batch(events, 0, stored)
  end

  def store_batch_in(_handle, other, _wanted) do
    Error.error_result(:type_mismatch, "A batch is a list of events, not #{inspect(other, limit: 5)}")
  end

  defp append_batch(handle, events) do
    with :encode <- collect(handle, Native.event_append_batch(handle, events)),
         {:ok, encoded} <- encode(events, []) do
      Native.event_append_batch_encoded(handle, encoded)
    end
  end

  defp append(handle, event) do
    with :encode <- Native.event_append(handle, event) do
      store_encoded(handle, event, &Native.event_append_encoded/2)
    end
  end

  defp position(_handle, :all), do: {:ok, nil}
  defp position(handle, event_id), do: with({:ok, row} <- row(handle, event_id), do: {:ok, elem(row, 10)})

  defp row(handle, event_id) do
    with :dirty <- Native.event_get(handle, event_id), do: Native.event_get_dirty(handle, event_id)
  end

  @doc false
  def get_from(handle, event_id) do
    with {:ok, row} <- row(handle, event_id), do: {:ok, Codec.event(row)}
  end

  @doc false
  def query_in(handle, conditions) do
    with {:ok, query} <- Query.new(conditions), do: Query.run(query, handle)
  end

  @doc false
  def stream_in(handle, conditions) do
    with {:ok, query} <- Query.new(conditions),
         {:ok, _plan} <- Query.named(Native.event_explain(handle, Query.native(query))) do
      {:ok, Query.stream(query, handle)}
    end
  end

  @doc false
  def status_of(handle) do
    with {:ok, stats} <- Native.event_stats(handle) do
      {:ok, %{status: :running, event_count: stats.events, next_id: stats.next_seq + 1}}
    end
  end

  @doc false
  def stats_of(handle) do
    with {:ok, %{events: stats} = status} <- Durability.status(handle) do
      {:ok,
       %{
         current_event_count: stats.events,
         events_stored: stats.stored,
         events_pruned: stats.pruned,
         events_dropped: stats.dropped_oldest,
         events_offered: stats.offered,
         events_refused: stats.refused,
         events_repeated: stats.repeated,
         events_dropped_newest: stats.dropped_newest,
         events_expired: stats.expired,
         events_evicted: stats.evicted,
         events_lost: stats.lost,
         async: Map.take(stats.later, @async_counts),
         disk: Durability.state(status),
         start_time: Native.timestamp(handle) - status.uptime_ms * 1_000_000,
         uptime_ms: status.uptime_ms,
         subscribers_count: stats.tails.tails,
         events_notified: stats.tails.delivered,
         notifications_missed: stats.tails.missed_removed + stats.tails.missed_lagged,
         memory_usage_estimate: stats.memory_bytes + stats.index_bytes
       }}
    end
  end

  # Data that is not small: encoded by the runtime, which lets others run meanwhile. And wall times of other calendars.
  defp store_encoded(handle, event, append) do
    # The checks first: what is refused is not encoded.
    with :ok <- EventValidator.validate(event), do: append.(handle, encoded(event))
  end

  defp encoded(%Event{data: data, wall_time: wall} = event) do
    %{event | data: :erlang.term_to_binary(data), wall_time: Codec.wall_ns(wall)}
  end

  # The store says what it refused; the validator says it in the words of the fields. Without a store, too: what waits
  # for one must be fit for it.
  defp explain(event, {:error, %Error{category: category, error_type: type}} = failure)
       when category == :data or type == :service_unavailable do
    with :ok <- EventValidator.validate(event), do: failure
  end

  defp explain(_event, failure), do: failure

  defp explain_batch([event | rest], index, {:error, %Error{category: :data}} = failure) do
    case EventValidator.validate(event) do
      :ok -> explain_batch(rest, index + 1, failure)
      {:error, error} -> {:error, %{error | context: Map.put(error.context, :index, index)}}
    end
  end

  defp explain_batch(improper, _index, {:error, %Error{category: :data}}) when improper != [] do
    Error.error_result(:type_mismatch, "A batch is a list of events, not one ending in #{inspect(improper)}")
  end

  defp explain_batch(_events, _index, failure), do: failure

  # A batch that is not small is read some events at a time, so that others run in between, and then stored at once.
  defp collect(handle, {:more, batch, rest}) do
    collect(handle, Native.event_batch_read(handle, batch, rest))
  end

  defp collect(handle, {:read, batch}) do
    with :dirty <- Native.event_batch_append(handle, batch),
         do: Native.event_batch_append_dirty(handle, batch)
  end

  defp collect(_handle, answer), do: answer

  # What is refused for its size is found again, with its index, by the validator.
  defp encode([%Event{} = event | rest], encoded) do
    with :ok <- EventValidator.validate_data_size(event), do: encode(rest, [encoded(event) | encoded])
  end

  defp encode([], encoded), do: {:ok, Enum.reverse(encoded)}
  # What is no event stays in the batch, which the store refuses for it.
  defp encode([no_event | rest], encoded), do: encode(rest, [no_event | encoded])
  defp encode(improper, encoded), do: {:ok, Enum.reverse([improper | encoded])}
end
