defmodule ElixirScope.Foundation.Native do
  @moduledoc false
  # The NIFs, with the names and arguments of native/foundation_nif. Nothing here decides anything; hosts use the
  # modules above it.
  #
  # When the library cannot be loaded, the module is there all the same and every call answers
  # `{:error, %Error{error_type: :initialization_failed}}` that says which file, why and what to do: an
  # application that cannot count must not crash in a place that only wanted to count.

  @on_load :load

  alias ElixirScope.Foundation.Error

  @failure {__MODULE__, :failure}

  @doc false
  def load do
    path = :filename.join([priv_dir(), ~c"native", ~c"foundation_nif"])

    case :erlang.load_nif(path, 0) do
      :ok ->
        :ok

      {:error, {reason, text}} when reason in [:upgrade, :reload] ->
        # The code that is loaded goes on to work; this refuses the new version. The VM keeps the reason to itself,
        # so it is logged.
        :logger.error(
          "ElixirScope.Foundation: the native library is loaded already and cannot be replaced in a running VM " <>
            "(#{text}). Restart the VM to upgrade."
        )

        {:error, reason}

      {:error, {reason, text}} ->
        :persistent_term.put(@failure, {:error, load_error(path, reason, List.to_string(text))})
        :ok
    end
  end

  @doc "`:ok`, or why the library is not there."
  @spec loaded() :: :ok | {:error, Error.t()}
  def loaded do
    :persistent_term.get(@failure, :ok)
  end

  def owner_new, do: missing()
  def owner_open(_owner, _options), do: missing()
  def owner_close(_owner, _deadline_ms), do: missing()
  def stop_notifying, do: missing()
  def instance_status(_handle), do: missing()
  def generate_id(_handle), do: missing()
  def timestamp(_handle), do: missing()
  def test_panic, do: missing()
  def test_words(_known), do: missing()

  def config_get(_handle, _path), do: missing()
  def config_update(_handle, _path, _value), do: missing()
  def config_reset(_handle), do: missing()
  def config_version(_handle), do: missing()
  def config_stats(_handle), do: missing()
  def config_schema, do: missing()
  def subscribe(_handle, _pid, _format), do: missing()
  def unsubscribe(_handle, _pid), do: missing()
  def unsubscribe_all(_handle), do: missing()
  def subscribers_count(_handle), do: missing()

  def event_append(_handle, _event), do: missing()
  def event_append_encoded(_handle, _event), do: missing()
  def event_append_async(_handle, _event), do: missing()
  def event_append_async_encoded(_handle, _event), do: missing()
  def event_flush_async(_handle, _timeout_ms), do: missing()
  def event_append_batch(_handle, _events), do: missing()
  def event_batch_read(_handle, _batch, _rest), do: missing()
  def event_batch_append(_handle, _batch), do: missing()
  def event_batch_append_dirty(_handle, _batch), do: missing()
  def event_append_batch_encoded(_handle, _events), do: missing()
  def event_get(_handle, _id), do: missing()
  def event_get_dirty(_handle, _id), do: missing()
  def event_await(_handle, _seq, _level, _ref), do: missing()
  def event_await_room(_handle, _ref), do: missing()
  def event_watermark(_handle, _level), do: missing()
  def wait_cancel(_wait), do: missing()
  def event_query(_handle, _query, _batch), do: missing()
  def event_query_dirty(_handle, _query, _batch), do: missing()
  def cursor_next(_cursor, _batch), do: missing()
  def cursor_close(_cursor), do: missing()
  def event_count(_handle, _query), do: missing()
  def event_explain(_handle, _query), do: missing()
  def event_aggregate(_handle, _query, _aggregate), do: missing()
  def event_trace(_handle, _id, _limit), do: missing()
  def event_subscribe(_handle, _pid, _query, _from_seq, _capacity, _window), do: missing()
  def event_unsubscribe(_handle, _pid, _subscription), do: missing()
  def event_unsubscribe_all(_handle), do: missing()
  def event_acknowledge(_handle, _subscription, _count), do: missing()
  def event_subscription_stats(_handle, _subscription), do: missing()
  def event_prune(_handle, _timestamp), do: missing()
  def event_stats(_handle), do: missing()
  def event_export(_handle, _query, _path), do: missing()
  def event_import(_handle, _path), do: missing()
  def json_decode(_data), do: missing()
  def json_decode_dirty(_data), do: missing()

  def metric_count(_handle, _name, _value, _metadata), do: missing()
  def metric_gauge(_handle, _name, _value, _metadata), do: missing()
  def metric_execute(_handle, _name, _measurements, _metadata), do: missing()
  def metric_attach(_handle, _name, _attached), do: missing()
  def metrics(_handle), do: missing()
  def metrics_clear(_handle), do: missing()
  def metrics_expire(_handle, _older_than), do: missing()
  def metrics_count(_handle), do: missing()
  def counter_new(_handle, _name, _labels), do: missing()
  def gauge_new(_handle, _name, _labels), do: missing()
  def histogram_new(_handle, _name, _labels), do: missing()
  def counter_add(_counter, _n), do: missing()
  def gauge_set(_gauge, _value), do: missing()
  def gauge_add(_gauge, _value), do: missing()
  def histogram_record(_histogram, _value), do: missing()
  def describe(_handle, _name, _help), do: missing()
  def prometheus(_handle), do: missing()
  def instruments(_handle), do: missing()

  def tracer_start(_handle, _module, _function, _arity), do: missing()
  def tracer_stop, do: missing()
  def tracer_stats, do: missing()

  # The runtime's `erl_tracer` behaviour: it calls the tracer *module*, which is the one that the library is in.
  def enabled(_tag, _state, _tracee), do: missing()
  def trace(_tag, _state, _tracee, _term, _options), do: missing()

  # A term that the compiler knows nothing about: what a NIF answers is not what its stub does.
  defp missing, do: :persistent_term.get(@failure, {:error, :nif_not_loaded})

  defp priv_dir do
    case :code.priv_dir(:elixir_scope) do
      {:error, :bad_name} ->
        # Not in a code path that knows applications (an escript, a script with -pa): priv lies beside ebin.
        __MODULE__ |> :code.which() |> :filename.dirname() |> :filename.join(~c"../priv")

      dir ->
        dir
    end
  end

  defp load_error(path, reason, text) do
    file = List.to_string(path) <> ".so"

    Error.new(
      :initialization_failed,
      "The native library #{file} cannot be loaded (#{reason}: #{text}). #{advice(file)}",
      context: %{file: file, reason: reason, details: text}
    )
  end

  defp advice(file) do
    if File.exists?(file) do
      "The file is there but does not fit this machine or this OTP release (it needs OTP 25 or newer and the C " <>
        "library that it was built with): run `mix compile --force` here, or set ESF_NIF_PATH to a library built for it."
    else
      "The file is missing: run `mix compile`, which builds it with cargo, or set ESF_NIF_PATH to a built library."
    end
  end
end
