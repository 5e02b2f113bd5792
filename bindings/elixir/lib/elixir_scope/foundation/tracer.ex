defmodule ElixirScope.Foundation.Tracer do
  @moduledoc """
  Traces running code into the event store, with back-pressure.

  `:erlang.trace/3` can hand its messages to a process, whose mailbox grows without bound when it cannot keep
  up, or to a module, which runs inside the process that is traced. This is the latter: the traced process goes
  as fast as the store takes its events, and nothing queues up.

  | the runtime's message | event | data |
  |---|---|---|
  | `call` | `:function_entry` | `call_id`, `module`, `function`, `arity` |
  | `return_from`, `exception_from` | `:function_exit` | the same, `duration_ns`, `exit_reason` (`:normal` or `:exception`) |
  | `spawn` | `:spawn` | `spawned`, `function` |
  | `exit` | `:exit` | `reason` |

  An entry's `parent_id` is the entry of its caller, an exit's that of its entry; `call_id` is the entry's event
  id. A process that calls the *marker* function takes that call's first argument (a binary) for its correlation
  id, and so do the processes that it spawns from then on.

  `ai.planning.sampling_rate` decides which correlations are stored, whole or not at all, at the moment when a
  process gets its correlation id. Sampled or not, every call's duration goes into the histogram
  `function.duration.seconds`, and what is left of it without the traced calls that it made into
  `function.own.seconds` (label `function`).

  There is one tracer in a VM, and the runtime lets only one tracer look at a process. Bounds: 65,536 processes,
  4,096 open calls in each, 16,384 functions with a histogram; what is beyond is counted in `untracked`.
  """

  alias ElixirScope.Foundation.{Error, Instance, Native}

  @typedoc "`traced` = `stored` + `sampled_out` + `refused`."
  @type stats :: %{
          traced: non_neg_integer(),
          stored: non_neg_integer(),
          sampled_out: non_neg_integer(),
          refused: non_neg_integer(),
          unmatched: non_neg_integer(),
          untracked: non_neg_integer(),
          functions: non_neg_integer(),
          processes: non_neg_integer()
        }

  @doc """
  Traces new processes: their spawns and exits, and calls of the functions that `patterns` name.

  A pattern is what `:erlang.trace_pattern/3` takes: `{module, function, arity}` with `:_` for any. Modules
  must be loaded. `marker` is the function whose first argument is the correlation id; it is traced too.

  Options: `:processes`, what `:erlang.trace/3` takes (default `:new_processes`), `:local` (default true:
  private functions too).
  """
  @spec start({module(), atom(), arity()}, [{module() | :_, atom(), arity() | :_}], keyword()) ::
          {:ok, %{functions: non_neg_integer()}} | {:error, Error.t()}
  def start({module, function, arity}, patterns, opts \\ []) do
    with :ok <- Native.tracer_start(Instance.handle(), module, function, arity) do
      scope = if Keyword.get(opts, :local, true), do: [:local], else: [:global]
      # `exception_trace` reports how a call ends either way.
      match = [{:_, [], [{:exception_trace}]}]

      functions =
        Enum.reduce([{module, function, arity} | patterns], 0, fn pattern, count ->
          count + :erlang.trace_pattern(pattern, match, scope)
        end)

      flags = [:call, :procs, :set_on_spawn, {:tracer, Native, []}]
      :erlang.trace(Keyword.get(opts, :processes, :new_processes), true, flags)
      {:ok, %{functions: functions}}
    end
  end

  @doc "Stops tracing. What was stored stays; the answer is what the tracer did, `nil` if none ran."
  @spec stop() :: {:ok, stats() | nil} | {:error, Error.t()}
  def stop do
    :erlang.trace(:all, false, [:call, :procs, :set_on_spawn])
    :erlang.trace_pattern({:_, :_, :_}, false, [:local])
    :erlang.trace_pattern({:_, :_, :_}, false, [:global])
    stats_of(Native.tracer_stop())
  end

  @doc "What the running tracer has done so far, `nil` if none runs."
  @spec stats() :: {:ok, stats() | nil} | {:error, Error.t()}
  def stats, do: stats_of(Native.tracer_stats())

  defp stats_of(:ok), do: {:ok, nil}
  defp stats_of({:ok, stats}), do: {:ok, stats}
  defp stats_of({:error, _error} = failure), do: failure
end
