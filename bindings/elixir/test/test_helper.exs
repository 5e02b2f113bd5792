# Services' states may be reset between tests.
Application.put_env(:elixir_scope, :test_mode, true)
Code.require_file("support/case.exs", __DIR__)
Code.require_file("support/disk_case.exs", __DIR__)
ExUnit.start()
