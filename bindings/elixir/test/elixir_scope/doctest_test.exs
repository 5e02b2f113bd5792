defmodule ElixirScope.DoctestTest do
  use ElixirScope.Case

  doctest ElixirScope.Foundation
  doctest ElixirScope.Foundation.Config
  doctest ElixirScope.Foundation.Config.Schema
  doctest ElixirScope.Foundation.Error
  doctest ElixirScope.Foundation.ErrorContext
  doctest ElixirScope.Foundation.Events
  doctest ElixirScope.Foundation.Events.Query
  doctest ElixirScope.Foundation.Logic.ConfigLogic
  doctest ElixirScope.Foundation.ProcessRegistry
  doctest ElixirScope.Foundation.Telemetry
  doctest ElixirScope.Foundation.Types.Config
  doctest ElixirScope.Foundation.Types.Error
  doctest ElixirScope.Foundation.Utils
  doctest ElixirScope.Foundation.Validation.ConfigValidator
  doctest ElixirScope.Foundation.Validation.EventValidator
end
