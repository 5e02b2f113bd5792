defmodule ElixirScope.DiskCase do
  @moduledoc """
  A test whose production instance has files, in a directory of its own. Other tests find an instance without.
  """

  use ExUnit.CaseTemplate

  alias ElixirScope.Foundation

  using do
    quote do
      alias ElixirScope.Foundation
      alias ElixirScope.Foundation.{Config, Error, Events, Instance, Native, Supervisor}

      import ElixirScope.Case, only: [event: 1, event: 2, event: 3, eventually: 1]
      import ElixirScope.DiskCase
    end
  end

  setup do
    directory = Path.join(System.tmp_dir!(), "esf-disk-#{System.unique_integer([:positive])}-#{System.pid()}")

    on_exit(fn ->
      Foundation.shutdown()
      Application.delete_env(:elixir_scope, :event_store)
      :ok = Foundation.initialize()
      File.rm_rf!(directory)
    end)

    {:ok, directory: directory}
  end

  @doc "Starts the production instance anew, on the directory, with more options of the event store."
  def open(directory, options \\ []) do
    Foundation.shutdown()
    Application.put_env(:elixir_scope, :event_store, [data_dir: directory] ++ options)
    :ok = Foundation.initialize()
  end

  @doc "What is in the calling process's mailbox."
  def mailbox, do: self() |> Process.info(:messages) |> elem(1)
end
