defmodule ElixirScope.Foundation.Validation.EventValidator do
  @moduledoc """
  Checks events before they are stored.

      iex> alias ElixirScope.Foundation.{Types.Event, Validation.EventValidator}
      iex> {:error, error} = EventValidator.validate(Event.empty())
      iex> {error.error_type, error.message}
      {:validation_failed, "Event ID cannot be nil"}
  """

  alias ElixirScope.Foundation.{Error, Utils}
  alias ElixirScope.Foundation.Types.Event

  @max_data_bytes 1_000_000
  @max_text_bytes 255

  @event_types [
    :function_entry,
    :function_exit,
    :state_change,
    :message_send,
    :message_receive,
    :spawn,
    :exit,
    :link,
    :unlink,
    :monitor,
    :demonitor,
    :system_event,
    :custom_event,
    :config_updated,
    :config_reset,
    :test,
    :test1,
    :test2,
    :test3,
    :default,
    :type_a,
    :type_b
  ]

  @doc "Required fields, then types of fields, then the size of the data."
  @spec validate(term()) :: :ok | {:error, Error.t()}
  def validate(event) do
    with :ok <- validate_required_fields(event),
         :ok <- validate_field_types(event) do
      validate_data_size(event)
    end
  end

  @doc "Id, type and timestamp are there."
  @spec validate_required_fields(term()) :: :ok | {:error, Error.t()}
  def validate_required_fields(%Event{event_id: nil}), do: missing(:event_id, "Event ID cannot be nil")
  def validate_required_fields(%Event{event_type: nil}), do: missing(:event_type, "Event type cannot be nil")
  def validate_required_fields(%Event{timestamp: nil}), do: missing(:timestamp, "Timestamp cannot be nil")
  def validate_required_fields(%Event{}), do: :ok
  def validate_required_fields(other), do: not_an_event(other)

  @doc "Every field is of its type."
  @spec validate_field_types(term()) :: :ok | {:error, Error.t()}
  def validate_field_types(%Event{} = event) do
    with :ok <- typed(:event_id, event.event_id, &id?/1, "an integer above 0 and below 2^59"),
         :ok <- typed(:event_type, event.event_type, &type?/1, "an atom"),
         :ok <- typed(:timestamp, event.timestamp, &timestamp?/1, "an integer of 64 bits"),
         :ok <- typed(:wall_time, event.wall_time, &wall_time?/1, "a DateTime or nil"),
         :ok <- typed(:node, event.node, &is_atom/1, "an atom or nil"),
         :ok <- typed(:pid, event.pid, &(&1 == nil or is_pid(&1)), "a pid or nil"),
         :ok <- typed(:correlation_id, event.correlation_id, &text?/1, "a binary of at most 255 bytes or nil") do
      typed(:parent_id, event.parent_id, &(&1 == nil or id?(&1)), "an integer above 0 and below 2^59, or nil")
    end
  end

  def validate_field_types(other), do: not_an_event(other)

  @doc "The data is at most 1,000,000 bytes in the external term format."
  @spec validate_data_size(term()) :: :ok | {:error, Error.t()}
  def validate_data_size(%Event{data: data}) do
    size = Utils.deep_size(data)

    if size <= @max_data_bytes do
      :ok
    else
      Error.error_result(:data_too_large, "The data is #{size} bytes; at most #{@max_data_bytes} are allowed",
        context: %{size: size, max_size: @max_data_bytes}
      )
    end
  end

  def validate_data_size(other), do: not_an_event(other)

  @doc "The type is one of the seeds' list. Storing does not ask for this: hosts have types of their own."
  @spec validate_event_type(term()) :: :ok | {:error, Error.t()}
  def validate_event_type(type) when type in @event_types, do: :ok

  def validate_event_type(type) when is_atom(type) do
    Error.error_result(:invalid_event_type, "#{inspect(type)} is not among the known event types",
      context: %{event_type: type, allowed: @event_types}
    )
  end

  def validate_event_type(type), do: mismatch(:event_type, type, "an atom")

  defp typed(field, value, check, expected) do
    if check.(value), do: :ok, else: mismatch(field, value, expected)
  end

  defp id?(id), do: is_integer(id) and id > 0 and id < 0x800_0000_0000_0000
  defp type?(type), do: is_atom(type) and byte_size(Atom.to_string(type)) in 1..@max_text_bytes

  defp timestamp?(timestamp) do
    is_integer(timestamp) and timestamp >= -0x8000_0000_0000_0000 and timestamp <= 0x7FFF_FFFF_FFFF_FFFF
  end

  defp wall_time?(nil), do: true
  defp wall_time?(%DateTime{}), do: true
  defp wall_time?(_other), do: false

  defp text?(text), do: text == nil or (is_binary(text) and byte_size(text) <= @max_text_bytes)

  defp missing(field, message), do: Error.error_result(:validation_failed, message, context: %{field: field})

  defp mismatch(field, value, expected) do
    Error.error_result(:type_mismatch, "#{field} is #{Utils.safe_inspect(value)}; it must be #{expected}",
      context: %{field: field, expected: expected}
    )
  end

  defp not_an_event(other) do
    Error.error_result(:type_mismatch, "An event is a Types.Event, not #{Utils.safe_inspect(other)}")
  end
end
