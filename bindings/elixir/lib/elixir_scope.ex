defmodule ElixirScope do
  @moduledoc """
  The seeds' entry point: brings the foundation up. See `ElixirScope.Foundation`.
  """

  alias ElixirScope.Foundation
  alias ElixirScope.Foundation.{Error, ErrorContext}

  @doc """
  Initialises the foundation on behalf of the caller and answers `{:ok, self()}`; it starts no process that the
  caller would have to look after.
  """
  @spec start_link(keyword()) :: {:ok, pid()} | {:error, Error.t()}
  def start_link(opts \\ []) do
    context = ErrorContext.new(__MODULE__, :start_link, metadata: %{opts: opts})

    ErrorContext.with_context(context, fn ->
      with :ok <- Foundation.initialize(opts), do: {:ok, self()}
    end)
  end
end
