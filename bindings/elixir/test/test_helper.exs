# Services' states may be reset between tests.
Application.put_env(:elixir_scope, :test_mode, true)
ExUnit.start()
