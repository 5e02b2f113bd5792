defmodule ElixirScope.Foundation.Events.Durability do
  @moduledoc false
  # Waiting for the disk: in `receive`, for a message of the library's own thread. No scheduler, dirty or not, waits.

  alias ElixirScope.Foundation.{Error, Native}

  @type level :: :accepted | :crash_safe | :durable

  @levels [:accepted, :crash_safe, :durable]

  # How long a call waits that says nothing else, and how long one may: as `receive` has it.
  @timeout_ms 60_000
  @max_timeout_ms 0xFFFF_FFFF

  # The words for how a store may be, as atoms that are there.
  @modes %{"crash_safe" => :crash_safe, "interval" => :interval, "group" => :group, "strict" => :strict}

  # What the disk's numbers, its report of the opening and its gaps are called: atoms that the library finds.
  @keys [:durability, :data_dir, :crash_safe_seq, :durable_seq, :sealed_seq, :memory_from_seq, :segments] ++
          [:sealed_events, :segment_bytes, :cached_bytes, :loads, :logs, :logs_made, :logs_recycled, :syncs] ++
          [:sync_failures, :last_sync_ns, :last_sync_took_ns, :seals, :seal_failures, :unlogged, :log_stalls] ++
          [:last_failure, :gaps, :recovery]
  @recovery_keys [:existed, :clean, :rebuilt, :segments, :logs, :events, :dropped, :torn, :holes, :rot] ++
                   [:missing_files, :removed_files, :gaps, :took_ms]
  @gap_keys [:first_seq, :last_seq, :reason]

  @doc "The whole instance's status. Asked here, so that the atoms of its keys are there."
  @spec status(term()) :: {:ok, map()} | {:error, Error.t()}
  def status(handle), do: Native.instance_status(handle)

  @doc "What the state of the files says, as one map; nil for a store without files."
  @spec state(map()) :: map() | nil
  def state(%{disk: disk}) do
    recovery = disk.recovery |> Map.take(@recovery_keys) |> Map.update!(:gaps, &gaps/1)
    known = %{gaps: gaps(disk.gaps), recovery: recovery, durability: Map.fetch!(@modes, disk.durability)}
    disk |> Map.take(@keys) |> Map.merge(known)
  end

  def state(_without_files), do: nil

  defp gaps(gaps), do: Enum.map(gaps, &Map.take(&1, @gap_keys))

  @doc "The level and the time that a call's options ask for."
  @spec options(keyword()) :: {:ok, {level() | nil, timeout()}} | {:error, Error.t()}
  def options(opts) do
    level = Keyword.get(opts, :level)
    timeout = Keyword.get(opts, :timeout, @timeout_ms)

    cond do
      level not in [nil | @levels] ->
        Error.error_result(:invalid_input, "A level is one of #{inspect(@levels)}, not #{inspect(level)}")

      timeout != :infinity and not (is_integer(timeout) and timeout in 0..@max_timeout_ms) ->
        Error.error_result(
          :invalid_input,
          "A timeout is in milliseconds or :infinity, not #{inspect(timeout)}"
        )

      true ->
        {:ok, {level, timeout}}
    end
  end

  @doc "The level of the store, and the time for calls that say nothing else."
  @spec usual() :: {nil, timeout()}
  def usual, do: {nil, @timeout_ms}

  @doc """
  What an append has answered, once that is as safe as was asked for. `again` appends once more, where memory had no
  room until the disk has caught up.
  """
  def settle(:behind, handle, {level, timeout}, again) do
    until = if is_integer(timeout), do: now() + timeout, else: timeout
    settle(have_room(handle, until, again), handle, {level, timeout}, again)
  end

  def settle(answer, handle, {level, timeout}, _again) do
    case answer do
      {:wait, stored, _seq} when level == :accepted -> {:ok, stored}
      {:wait, stored, seq} -> stored(await(handle, seq, level, timeout), stored, seq)
      {:ok, stored} when level == :durable -> stored(await(handle, nil, level, timeout), stored, nil)
      other -> other
    end
  end

  @doc "Waits until every event up to this position (nil: all that are stored) has a level (nil: the store's own)."
  @spec await(term(), non_neg_integer() | nil, level() | nil, timeout()) :: :ok | {:error, Error.t()}
  def await(handle, seq, level, timeout) do
    message(&Native.event_await(handle, seq, level, &1), timeout, "to be as safe as was asked for")
  end

  # Tries again whenever there may be room. Others may have taken it.
  defp have_room(handle, until, again) do
    left = if is_integer(until), do: max(until - now(), 0), else: until

    with :ok <- message(&Native.event_await_room(handle, &1), left, "to make room, so that nothing is stored") do
      case again.() do
        :behind when left == 0 ->
          Error.error_result(:store_full, "Memory stayed full although the disk caught up")

        :behind ->
          have_room(handle, until, again)

        answer ->
          answer
      end
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  # The reference is made where it is waited for, so that the runtime need not look through older messages.
  defp message(register, timeout, what_for) do
    ref = make_ref()

    case register.(ref) do
      wait when is_reference(wait) ->
        receive do
          {^ref, outcome} -> outcome
        after
          timeout -> given_up(wait, ref, timeout, what_for)
        end

      answer ->
        answer
    end
  end

  # No message stays behind: either none comes any more, or it is there or about to be.
  defp given_up(wait, ref, timeout, what_for) do
    if Native.wait_cancel(wait) do
      Error.error_result(:timeout, "The disk took longer than #{timeout} ms #{what_for}; the store goes on")
    else
      receive do
        {^ref, outcome} -> outcome
      end
    end
  end

  defp stored(:ok, stored, _seq), do: {:ok, stored}

  # A store without files takes what it is given, and makes nothing of it safer.
  defp stored({:error, %Error{error_type: :operation_forbidden}}, stored, nil), do: {:ok, stored}

  # The event is stored all the same, and its caller must not store it again.
  defp stored({:error, error}, stored, seq) do
    key = if is_list(stored), do: :event_ids, else: :event_id
    {:error, %{error | context: Map.merge(error.context, %{key => stored, stored: true, seq: seq})}}
  end
end
