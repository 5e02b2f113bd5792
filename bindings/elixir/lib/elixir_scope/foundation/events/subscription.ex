defmodule ElixirScope.Foundation.Events.Subscription do
  @moduledoc false
  # Subscriptions to events: what `Events.subscribe/2` and `Events.tail/2` do. The native store finds the events and
  # sends them; here are the options and the stream.

  import ElixirScope.Foundation.Events.Options, only: [wrong: 3]

  alias ElixirScope.Foundation.{Error, Native}
  alias ElixirScope.Foundation.Events.Query

  @window 1_000
  @largest_window 0xFFFF_FFFF
  @options [:from_seq, :capacity, :window]
  # How often a stream that hears nothing looks whether its subscription is still there.
  @look 1_000

  @doc "The process is told what the conditions find, as it is stored."
  @spec open(non_neg_integer(), pid(), map() | keyword(), keyword()) ::
          {:ok, pos_integer()} | {:error, Error.t()}
  def open(handle, pid, conditions, opts) do
    with {:ok, query} <- Query.new(conditions),
         {:ok, options} <- options(opts) do
      %{from_seq: from_seq, capacity: capacity, window: window} = options

      Query.named(Native.event_subscribe(handle, pid, Query.native(query), from_seq, capacity, window))
    end
  end

  @doc "A stream of notifications, of its own subscription for each enumeration."
  @spec stream(non_neg_integer(), map() | keyword(), keyword()) :: {:ok, Enumerable.t()} | {:error, Error.t()}
  def stream(handle, conditions, opts) do
    {timeout, opts} = Keyword.pop(opts, :timeout, :infinity)

    # Opened once to see that it can be, so that what is refused is an answer and not a raise in the stream.
    with :ok <- timeout(timeout),
         {:ok, subscription} <- open(handle, self(), conditions, opts) do
      finish({handle, subscription, timeout})

      {:ok,
       Stream.resource(
         fn -> begin(handle, conditions, opts, timeout) end,
         &next/1,
         &finish/1
       )}
    end
  end

  defp begin(handle, conditions, opts, timeout) do
    case open(handle, self(), conditions, opts) do
      {:ok, subscription} -> {handle, subscription, timeout}
      {:error, error} -> raise RuntimeError, "the stream cannot begin: #{Error.to_string(error)}"
    end
  end

  defp next({_handle, _subscription, timeout} = state), do: next(state, timeout)

  defp next({handle, subscription, _timeout} = state, left) do
    wait = if left == :infinity, do: @look, else: min(left, @look)

    receive do
      {:event_notification, ^subscription, notification} ->
        Native.event_acknowledge(handle, subscription, 1)
        {[notification], state}
    after
      wait ->
        left = if left == :infinity, do: left, else: left - wait

        if left != 0 and match?({:ok, _stats}, Native.event_subscription_stats(handle, subscription)),
          do: next(state, left),
          else: {:halt, state}
    end
  end

  defp finish({handle, subscription, _timeout}) do
    Native.event_unsubscribe(handle, self(), subscription)
    flush(subscription)
  end

  defp flush(subscription) do
    receive do
      {:event_notification, ^subscription, _notification} -> flush(subscription)
    after
      0 -> :ok
    end
  end

  defp options(opts) do
    if Keyword.keyword?(opts),
      do: Enum.reduce_while(opts, {:ok, %{from_seq: nil, capacity: nil, window: @window}}, &option/2),
      else: wrong(:options, opts, "a keyword")
  end

  defp option({:window, window}, {:ok, options})
       when is_integer(window) and window >= 1 and window <= @largest_window,
       do: {:cont, {:ok, %{options | window: window}}}

  defp option({key, nil}, {:ok, options}) when key in [:from_seq, :capacity],
    do: {:cont, {:ok, Map.put(options, key, nil)}}

  defp option({key, value}, {:ok, options})
       when key in [:from_seq, :capacity] and is_integer(value) and value >= 1,
       do: {:cont, {:ok, Map.put(options, key, value)}}

  defp option({key, value}, _options) when key in @options,
    do: {:halt, wrong(key, value, "an integer of at least 1")}

  defp option({key, _value}, _options) do
    {:halt,
     Error.error_result(:invalid_input, "a subscription knows no option #{inspect(key)}", context: %{key: key})}
  end

  defp timeout(:infinity), do: :ok
  defp timeout(timeout) when is_integer(timeout) and timeout >= 1, do: :ok

  defp timeout(timeout),
    do: wrong(:timeout, timeout, "a number of milliseconds of at least 1, or :infinity")
end
