defmodule ElixirScope.Foundation.ErrorTest do
  use ExUnit.Case, async: true

  alias ElixirScope.Foundation.Error
  alias ElixirScope.Foundation.Error.Table
  alias ElixirScope.Foundation.Types

  test "every row of the table makes an error of its code, and no two share one" do
    codes =
      for row <- Table.rows() do
        error = Error.new(row.error_type)
        assert error.code == row.code
        assert error.severity == row.severity
        assert error.retry_strategy == row.retry_strategy
        assert error.message == row.message
        assert Error.hierarchical_code(error) == row.hierarchical
        error.code
      end

    assert codes == Enum.uniq(codes)
    assert length(codes) >= 40
  end

  test "a type of others keeps its name and gets their code" do
    assert %Error{code: 9999, error_type: :weird, category: :unknown} = Error.new(:weird)
  end

  test "recovery actions name the operation of the context" do
    error = Error.new(:timeout, nil, context: %{operation: :import})
    assert "Review import implementation" in error.recovery_actions
    assert Error.new(:timeout).recovery_actions |> hd() == "Increase timeout value"
  end

  test "the seeds' constructor gives no error without a code" do
    assert %Error{code: 9999, severity: :medium, context: %{}} = Types.Error.new([])

    assert %Error{code: 7, error_type: :timeout, category: :external} =
             Types.Error.new(code: 7, error_type: :timeout)
  end

  test "wrapping keeps the inner error and says what was being done" do
    inner = Error.error_result(:io_error, "disk", context: %{file: "a"})

    assert {:error, %Error{error_type: :io_error, context: context}} =
             Error.wrap_error(inner, :initialization_failed, "start", context: %{step: 1})

    assert %{
             file: "a",
             wrapped_by: :initialization_failed,
             wrapper_message: "start",
             wrapper_context: %{step: 1}
           } = context

    assert Error.wrap_error(:ok, :timeout) == :ok
  end

  test "text, also without a context" do
    assert Error.to_string(%{Error.new(:timeout, "late") | context: nil}) ==
             "[4301:timeout] late | Severity: medium"

    assert Error.to_string(Error.new(:timeout, "late", context: %{ms: 5})) =~ "| Context: %{ms: 5} |"
  end

  test "retry advice follows the strategy" do
    assert Error.retry_delay(Error.new(:network_error), 10) == 30_000
    assert Error.retry_delay(Error.new(:service_unavailable), 3) == 0
    assert Error.retry_delay(Error.new(:internal_error), 0) == :infinity
    refute Error.is_retryable?(Error.new(:internal_error))
    assert Error.should_escalate?(Error.new(:internal_error))
    refute Error.should_escalate?(Error.new(:timeout))
  end

  test "stack traces become data, at most ten entries" do
    trace = for n <- 1..20, do: {Mod, :fun, n, [file: ~c"lib/mod.ex", line: n]}
    formatted = Error.new(:internal_error, nil, stacktrace: trace).stacktrace
    assert length(formatted) == 10
    assert hd(formatted) == %{module: Mod, function: :fun, arity: 1, file: "lib/mod.ex", line: 1}
    assert Error.format_stacktrace([:odd]) == [":odd"]
  end
end
