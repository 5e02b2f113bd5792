defmodule ElixirScope.Foundation.ErrorContextTest do
  use ElixirScope.Case

  alias ElixirScope.Foundation.ErrorContext

  defp context(opts \\ []), do: ErrorContext.new(__MODULE__, :work, opts)

  test "a returned error is enriched, every other result comes back as it is" do
    context = context(metadata: %{order: 7})

    assert {:error, %Error{} = error} =
             ErrorContext.with_context(context, fn -> Error.error_result(:timeout) end)

    assert error.correlation_id == context.correlation_id
    assert %{metadata: %{order: 7}, breadcrumbs: [_], duration_ns: ns} = error.context.operation_context
    assert ns > 0
    assert ErrorContext.with_context(context, fn -> {:error, :raw} end) == {:error, :raw}
    assert ErrorContext.with_context(context, fn -> :anything end) == :anything
  end

  test "an exception becomes an error; a throw and an exit pass; none leaves a context behind" do
    assert {:error, %Error{error_type: :internal_error, message: "Exception in operation: no"} = error} =
             ErrorContext.with_context(context(), fn -> raise "no" end)

    assert error.context.exception_type == RuntimeError
    assert is_list(error.stacktrace)
    assert catch_throw(ErrorContext.with_context(context(), fn -> throw(:ball) end)) == :ball
    assert catch_exit(ErrorContext.with_context(context(), fn -> exit(:gone) end)) == :gone
    assert ErrorContext.get_current_context() == nil
  end

  test "contexts nest: the inner one ends and the outer one is in force again" do
    outer = context()
    inner = ErrorContext.child_context(outer, __MODULE__, :step, %{n: 1})
    assert inner.correlation_id == outer.correlation_id

    ErrorContext.with_context(outer, fn ->
      ErrorContext.with_context(inner, fn -> assert ErrorContext.get_current_context() == inner end)
      catch_throw(ErrorContext.with_context(inner, fn -> throw(:x) end))
      assert ErrorContext.get_current_context() == outer
    end)

    assert {:error, error} =
             ErrorContext.with_context(outer, fn ->
               ErrorContext.with_context(inner, fn -> Error.error_result(:timeout) end)
             end)

    assert length(error.context.operation_context.breadcrumbs) == 2
  end

  test "errors of others are wrapped only where that is asked for" do
    assert {:error, %Error{code: 9999, context: %{original_reason: :enoent}}} =
             ErrorContext.enhance_error({:error, :enoent}, context())

    assert ErrorContext.add_context({:ok, 1}, %{a: 1}) == {:ok, 1}

    assert {:error, %Error{context: %{a: 1, b: 2}}} =
             ErrorContext.add_context(Error.error_result(:timeout), %{a: 1}, %{b: 2})

    assert {:error, %Error{error_type: :external_error}} = ErrorContext.add_context({:error, :x}, %{}, %{})
  end

  test "breadcrumbs are one line, oldest first" do
    context = context() |> ErrorContext.add_breadcrumb(Other, :next) |> ErrorContext.add_metadata(%{k: :v})

    assert ErrorContext.format_breadcrumbs(context) =~
             ~r/ErrorContextTest\.work \(.+ ago\) -> Elixir\.Other\.next/

    assert ErrorContext.format_breadcrumbs(%{context | breadcrumbs: []}) == ""
    assert context.metadata == %{k: :v}
    assert ErrorContext.get_operation_duration(context) > 0
  end
end
