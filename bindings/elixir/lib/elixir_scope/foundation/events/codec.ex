defmodule ElixirScope.Foundation.Events.Codec do
  @moduledoc false
  # Between the event struct and what the native store takes and gives. Data goes in as the external term format
  # and comes back as the very term; JSON that another language (or the core) stored comes back as a term with text
  # as keys, other bytes as they are.

  alias ElixirScope.Foundation.Native
  alias ElixirScope.Foundation.Types.Event

  @json 1
  @etf 2
  # Above this, decoding JSON takes longer than a scheduler should give.
  @dirty_json_bytes 16 * 1024
  # Days from 0000-03-01 to 1970-01-01.
  @epoch_days 719_468

  @own_keys Map.new(
              [:path, :new_value, :previous_value, :timestamp, :version, :reset_from_updates_count],
              &{Atom.to_string(&1), &1}
            )

  @type row :: tuple()

  @doc "The event that a row of the store describes."
  @spec event(row()) :: Event.t()
  def event({type, id, timestamp, wall, node, pid, correlation, parent, encoding, data, _seq, _version}) do
    {year, month, day, hour, minute, second, microsecond} = wall

    %Event{
      event_type: type,
      event_id: id,
      timestamp: timestamp,
      wall_time: %DateTime{
        calendar: Calendar.ISO,
        year: year,
        month: month,
        day: day,
        hour: hour,
        minute: minute,
        second: second,
        microsecond: {microsecond, 6},
        std_offset: 0,
        utc_offset: 0,
        time_zone: "Etc/UTC",
        zone_abbr: "UTC"
      },
      node: node,
      pid: pid,
      correlation_id: correlation,
      parent_id: parent,
      data: data(encoding, data, type)
    }
  end

  @doc "Nanoseconds since 1970 of a wall time; what is none passes, for the store to refuse."
  @spec wall_ns(DateTime.t() | nil | term()) :: integer() | nil | term()
  def wall_ns(nil), do: nil

  def wall_ns(%DateTime{calendar: Calendar.ISO, microsecond: {microsecond, _precision}, year: year} = time)
      when is_integer(microsecond) and is_integer(year) and is_integer(time.month) and is_integer(time.day) and
             is_integer(time.hour) and is_integer(time.minute) and is_integer(time.second) and
             is_integer(time.utc_offset) and is_integer(time.std_offset) do
    %{month: month, day: day, hour: hour, minute: minute, second: second} = time
    # A year that begins in March has its leap day last.
    march_year = if month <= 2, do: year - 1, else: year
    era = Integer.floor_div(march_year, 400)
    year_of_era = march_year - era * 400
    march_month = if month > 2, do: month - 3, else: month + 9
    day_of_year = div(153 * march_month + 2, 5) + day - 1
    day_of_era = year_of_era * 365 + div(year_of_era, 4) - div(year_of_era, 100) + day_of_year
    days = era * 146_097 + day_of_era - @epoch_days
    seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - time.utc_offset - time.std_offset
    (seconds * 1_000_000 + microsecond) * 1_000
  end

  def wall_ns(%DateTime{} = time) do
    DateTime.to_unix(time, :nanosecond)
  rescue
    # A struct put together by hand from what is no time.
    _exception -> :no_time
  end

  def wall_ns(other), do: other

  defp data(@etf, bytes, _type) do
    :erlang.binary_to_term(bytes, [:safe])
  rescue
    # Another host's bytes that are no term of this VM: better seen as they are than lost.
    ArgumentError -> bytes
  end

  defp data(@json, bytes, type) do
    case decode_json(bytes) do
      {:ok, data} -> own_event_data(type, data)
      {:error, _error} -> bytes
    end
  end

  defp data(_raw, bytes, _type), do: bytes

  defp decode_json(bytes) when byte_size(bytes) > @dirty_json_bytes, do: Native.json_decode_dirty(bytes)

  defp decode_json(bytes) do
    case Native.json_decode(bytes) do
      :dirty -> Native.json_decode_dirty(bytes)
      decoded -> decoded
    end
  end

  # The core's own events, in the shape that Elixir's had.
  defp own_event_data(type, %{} = data) when type in [:config_updated, :config_reset] do
    Map.new(data, fn
      {"path", path} when is_binary(path) -> {:path, path_atoms(path)}
      {key, value} -> {Map.get(@own_keys, key, key), value}
    end)
  end

  defp own_event_data(_type, data), do: data

  defp path_atoms(path), do: path |> String.split(".", trim: true) |> Enum.map(&existing_atom/1)

  defp existing_atom(text) do
    String.to_existing_atom(text)
  rescue
    ArgumentError -> text
  end
end
