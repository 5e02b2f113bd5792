defmodule ElixirScope.Foundation.Types.Event do
  @moduledoc """
  One event: what happened, when, in which process, as part of which chain of work, and any term about it.

  `timestamp` is in nanoseconds on the instance's clock (see `ElixirScope.Foundation.Utils.monotonic_timestamp/0`)
  and `wall_time` is UTC, kept to the microsecond.
  """

  alias ElixirScope.Foundation.Utils

  @type event_id :: pos_integer()

  @type t :: %__MODULE__{
          event_type: atom() | nil,
          event_id: event_id() | nil,
          timestamp: integer() | nil,
          wall_time: DateTime.t() | nil,
          node: node() | nil,
          pid: pid() | nil,
          correlation_id: String.t() | nil,
          parent_id: event_id() | nil,
          data: term()
        }

  @enforce_keys [:event_type, :event_id, :timestamp]
  defstruct [
    :event_type,
    :event_id,
    :timestamp,
    :wall_time,
    :node,
    :pid,
    :correlation_id,
    :parent_id,
    :data
  ]

  @doc "An event of type `:default` with a fresh id and the time of now."
  @spec new() :: t()
  def new, do: new(:default)

  @doc "An event of this type, or with these fields over the defaults."
  @spec new(atom() | keyword()) :: t()
  def new(type) when is_atom(type) do
    %__MODULE__{event_type: type, event_id: Utils.generate_id(), timestamp: Utils.monotonic_timestamp()}
  end

  def new(fields) when is_list(fields), do: struct(new(), fields)

  @doc "An event whose fields are all nil: it is not valid until they are filled in."
  @spec empty() :: t()
  def empty, do: %__MODULE__{event_type: nil, event_id: nil, timestamp: nil}
end
