defmodule ElixirScope.Foundation.Services.TestMode do
  @moduledoc false
  # What only tests may do: allowed where the application's environment has `test_mode: true`.

  alias ElixirScope.Foundation.Error

  @spec guard((() -> result)) :: result | {:error, Error.t()} when result: term()
  def guard(fun) do
    if Application.get_env(:elixir_scope, :test_mode, false) == true do
      fun.()
    else
      Error.error_result(
        :operation_forbidden,
        "Resetting a service's state is for tests: set `config :elixir_scope, test_mode: true`"
      )
    end
  end
end
