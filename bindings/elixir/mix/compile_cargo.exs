defmodule Mix.Tasks.Compile.Cargo do
  @moduledoc """
  Builds the native library with cargo and puts it into the application's `priv/native`.

  It lives outside `lib/` because a project cannot use a compiler that it has yet to compile. Two
  environment variables change what it does:

    * `ESF_NIF_PATH` names a library that is already built: it is copied and cargo is not called;
    * `ESF_CARGO_PROFILE` names the cargo profile; otherwise `release` in `:prod` and `dev` elsewhere.

  The library is replaced by writing a temporary file and renaming it, so that a running VM keeps the
  file that it has mapped, and only when its bytes differ.
  """

  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    options = Mix.Project.config()[:cargo]
    target = target(options)

    with {:ok, built} <- build(System.get_env("ESF_NIF_PATH"), options) do
      install(built, target)
    end
  end

  @impl true
  def manifests, do: []

  @impl true
  def clean do
    File.rm(target(Mix.Project.config()[:cargo]))
    :ok
  end

  defp build(nil, options) do
    manifest = Path.expand(options[:manifest], File.cwd!())

    target_dir =
      System.get_env("ESF_CARGO_TARGET_DIR") || Path.join(Path.dirname(Mix.Project.build_path()), "cargo")

    profile = System.get_env("ESF_CARGO_PROFILE") || if(Mix.env() == :prod, do: "release", else: "dev")
    args = ~w(build --quiet --lib --locked --manifest-path #{manifest} --profile #{profile})

    if System.find_executable("cargo") == nil do
      Mix.raise(
        "cargo was not found in PATH. Install Rust 1.95 or newer (https://rustup.rs), or set ESF_NIF_PATH " <>
          "to a library that is built already."
      )
    end

    environment = [{"CARGO_TARGET_DIR", target_dir}]

    case System.cmd("cargo", args, env: environment, into: IO.stream(), stderr_to_stdout: true) do
      {_, 0} ->
        folder = if profile == "dev", do: "debug", else: profile
        {:ok, Path.join([target_dir, folder, "lib#{options[:lib]}.so"])}

      {_, status} ->
        failed("cargo build of #{manifest} failed with status #{status}; its messages are above", manifest)
    end
  end

  defp build(prebuilt, _options) do
    if File.regular?(prebuilt) do
      {:ok, prebuilt}
    else
      failed("ESF_NIF_PATH names #{prebuilt}, which is not a file", prebuilt)
    end
  end

  defp install(built, target) do
    bytes = File.read!(built)

    if File.read(target) == {:ok, bytes} do
      {:noop, []}
    else
      File.mkdir_p!(Path.dirname(target))
      temporary = "#{target}.#{System.pid()}"
      File.write!(temporary, bytes)
      File.rename!(temporary, target)
      {:ok, []}
    end
  end

  defp target(options) do
    Path.join(Mix.Project.app_path(), "priv/native/#{options[:lib]}.so")
  end

  defp failed(message, file) do
    diagnostic = %Mix.Task.Compiler.Diagnostic{
      compiler_name: "cargo",
      file: file,
      message: message,
      position: 0,
      severity: :error
    }

    Mix.shell().error(message)
    {:error, [diagnostic]}
  end
end
