defmodule ElixirScope.Foundation.Events.Options do
  @moduledoc false
  # What is wrong with a condition or an option, in the same words wherever it is given.

  alias ElixirScope.Foundation.Error

  @doc "The error of a value that is not what its key wants."
  @spec wrong(atom(), term(), String.t()) :: {:error, Error.t()}
  def wrong(key, value, expected) do
    Error.error_result(:invalid_input, "#{key} is #{inspect(value, limit: 5)}; it must be #{expected}",
      context: %{key: key, expected: expected}
    )
  end
end
