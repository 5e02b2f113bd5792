defmodule ElixirScope.Foundation.Types.Error do
  @moduledoc """
  The seeds' constructor of errors. There is one error struct, `ElixirScope.Foundation.Error`; this module
  makes it from a keyword.
  """

  alias ElixirScope.Foundation.Error

  @type t :: Error.t()

  @doc """
  An error with these fields; what is left out comes from the row of its `:error_type` in the table, so that
  no error is without a code.

      iex> error = ElixirScope.Foundation.Types.Error.new(error_type: :data_not_found, message: "No event 7")
      iex> {error.code, error.severity, error.context, error.recovery_actions}
      {3401, :low, %{}, []}
  """
  @spec new(keyword()) :: t()
  def new(fields \\ []) when is_list(fields) do
    base = %Error{code: nil, error_type: :external_error, message: nil, severity: nil}
    base |> struct(fields) |> Error.complete()
  end
end
