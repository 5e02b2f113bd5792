Code.require_file("mix/compile_cargo.exs", __DIR__)

defmodule ElixirScope.MixProject do
  use Mix.Project

  def project do
    [
      app: :elixir_scope,
      version: "0.1.0",
      elixir: "~> 1.14",
      description: "Configuration, an event store and telemetry in the BEAM, behind ElixirScope.Foundation",
      compilers: [:cargo | Mix.compilers()],
      cargo: [manifest: "../../native/foundation_nif/Cargo.toml", lib: "foundation_nif"],
      start_permanent: Mix.env() == :prod,
      test_coverage: [summary: [threshold: 80], ignore_modules: [ElixirScope.Foundation.Native]],
      deps: []
    ]
  end

  def application do
    [extra_applications: [:logger, :crypto], mod: {ElixirScope.Foundation.Application, []}]
  end
end
