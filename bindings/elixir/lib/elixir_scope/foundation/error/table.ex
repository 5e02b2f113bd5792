defmodule ElixirScope.Foundation.Error.Table do
  @moduledoc false
  # Generated from src/error/table.rs by `make header`; do not edit.

  @rows [
    %{
      code: 1101,
      error_type: :invalid_config_structure,
      category: :config,
      subcategory: :structure,
      severity: :high,
      retry_strategy: :immediate,
      hierarchical: "C101",
      message: "Configuration structure is invalid",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 1102,
      error_type: :missing_required_field,
      category: :config,
      subcategory: :structure,
      severity: :high,
      retry_strategy: :immediate,
      hierarchical: "C102",
      message: "Required configuration field missing",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 1201,
      error_type: :invalid_config_value,
      category: :config,
      subcategory: :validation,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "C201",
      message: "Configuration value failed validation",
      recovery_actions: [
        "Check configuration format",
        "Validate against schema",
        "Review documentation"
      ],
      since: "0.1.0"
    },
    %{
      code: 1202,
      error_type: :constraint_violation,
      category: :config,
      subcategory: :validation,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "C202",
      message: "Configuration constraint violated",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 1203,
      error_type: :range_error,
      category: :config,
      subcategory: :validation,
      severity: :low,
      retry_strategy: :fixed_delay,
      hierarchical: "C203",
      message: "Value outside acceptable range",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 1301,
      error_type: :config_not_found,
      category: :config,
      subcategory: :access,
      severity: :high,
      retry_strategy: :immediate,
      hierarchical: "C301",
      message: "Configuration not found",
      recovery_actions: [
        "Check configuration file",
        "Verify configuration path"
      ],
      since: "reserved"
    },
    %{
      code: 1302,
      error_type: :config_path_not_found,
      category: :config,
      subcategory: :access,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "C302",
      message: "No configuration value has this path",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 1303,
      error_type: :invalid_path,
      category: :config,
      subcategory: :access,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "C303",
      message: "The configuration path is malformed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 1401,
      error_type: :config_update_forbidden,
      category: :config,
      subcategory: :runtime,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "C401",
      message: "Configuration update not allowed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 1402,
      error_type: :version_conflict,
      category: :config,
      subcategory: :runtime,
      severity: :medium,
      retry_strategy: :immediate,
      hierarchical: "C402",
      message: "The configuration has another version than expected",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 1501,
      error_type: :unknown_config_key,
      category: :config,
      subcategory: :schema,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "C501",
      message: "The schema has no such key",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2101,
      error_type: :initialization_failed,
      category: :system,
      subcategory: :initialization,
      severity: :critical,
      retry_strategy: :no_retry,
      hierarchical: "S101",
      message: "System initialization failed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2102,
      error_type: :service_unavailable,
      category: :system,
      subcategory: :initialization,
      severity: :high,
      retry_strategy: :immediate,
      hierarchical: "S102",
      message: "Required service unavailable",
      recovery_actions: [
        "Check service health",
        "Verify network connectivity",
        "Review service logs"
      ],
      since: "0.1.0"
    },
    %{
      code: 2103,
      error_type: :already_open,
      category: :system,
      subcategory: :initialization,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "S103",
      message: "An instance of this name is open already",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 2201,
      error_type: :resource_exhausted,
      category: :system,
      subcategory: :resources,
      severity: :high,
      retry_strategy: :immediate,
      hierarchical: "S201",
      message: "System resources exhausted",
      recovery_actions: [
        "Check memory usage",
        "Review resource limits",
        "Scale resources if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2202,
      error_type: :no_space,
      category: :system,
      subcategory: :resources,
      severity: :high,
      retry_strategy: :fixed_delay,
      hierarchical: "S202",
      message: "The disk is full",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2203,
      error_type: :store_full,
      category: :system,
      subcategory: :resources,
      severity: :high,
      retry_strategy: :fixed_delay,
      hierarchical: "S203",
      message: "The event store is full",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 2204,
      error_type: :no_memory,
      category: :system,
      subcategory: :resources,
      severity: :critical,
      retry_strategy: :fixed_delay,
      hierarchical: "S204",
      message: "Memory could not be allocated",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2205,
      error_type: :too_many_series,
      category: :system,
      subcategory: :resources,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "S205",
      message: "The instance holds as many telemetry series as it may",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2206,
      error_type: :cursor_expired,
      category: :system,
      subcategory: :resources,
      severity: :low,
      retry_strategy: :no_retry,
      hierarchical: "S206",
      message: "The cursor lost the segments that it read from",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 2301,
      error_type: :dependency_failed,
      category: :system,
      subcategory: :dependencies,
      severity: :high,
      retry_strategy: :immediate,
      hierarchical: "S301",
      message: "Required dependency failed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 2401,
      error_type: :internal_error,
      category: :system,
      subcategory: :runtime,
      severity: :critical,
      retry_strategy: :no_retry,
      hierarchical: "S401",
      message: "Internal system error",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2402,
      error_type: :stale_handle,
      category: :system,
      subcategory: :runtime,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "S402",
      message: "The handle is closed, of another kind or not of this library",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2403,
      error_type: :forked,
      category: :system,
      subcategory: :runtime,
      severity: :high,
      retry_strategy: :no_retry,
      hierarchical: "S403",
      message: "The process was forked: this copy may not use the instance",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2404,
      error_type: :reentrant,
      category: :system,
      subcategory: :runtime,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "S404",
      message: "This call is not allowed from inside a callback",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2405,
      error_type: :closing,
      category: :system,
      subcategory: :runtime,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "S405",
      message: "The instance is being closed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2406,
      error_type: :locked,
      category: :system,
      subcategory: :runtime,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "S406",
      message: "Another process holds the lock",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2407,
      error_type: :operation_forbidden,
      category: :system,
      subcategory: :runtime,
      severity: :high,
      retry_strategy: :no_retry,
      hierarchical: "S407",
      message: "The operation is not allowed here",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 2408,
      error_type: :service_not_found,
      category: :system,
      subcategory: :runtime,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "S408",
      message: "No service is registered under this name",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3101,
      error_type: :serialization_failed,
      category: :data,
      subcategory: :serialization,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "D101",
      message: "Data serialization failed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3102,
      error_type: :deserialization_failed,
      category: :data,
      subcategory: :serialization,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "D102",
      message: "Data deserialization failed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3201,
      error_type: :type_mismatch,
      category: :data,
      subcategory: :validation,
      severity: :low,
      retry_strategy: :fixed_delay,
      hierarchical: "D201",
      message: "Data type mismatch",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3202,
      error_type: :format_error,
      category: :data,
      subcategory: :validation,
      severity: :low,
      retry_strategy: :fixed_delay,
      hierarchical: "D202",
      message: "Data format error",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3203,
      error_type: :validation_failed,
      category: :data,
      subcategory: :validation,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "D203",
      message: "Data validation failed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3204,
      error_type: :invalid_input,
      category: :data,
      subcategory: :validation,
      severity: :low,
      retry_strategy: :fixed_delay,
      hierarchical: "D204",
      message: "Invalid input provided",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3205,
      error_type: :data_too_large,
      category: :data,
      subcategory: :validation,
      severity: :high,
      retry_strategy: :no_retry,
      hierarchical: "D205",
      message: "Data is larger than allowed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3206,
      error_type: :invalid_utf8,
      category: :data,
      subcategory: :validation,
      severity: :low,
      retry_strategy: :no_retry,
      hierarchical: "D206",
      message: "Text is not valid UTF-8",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3207,
      error_type: :too_deep,
      category: :data,
      subcategory: :validation,
      severity: :low,
      retry_strategy: :no_retry,
      hierarchical: "D207",
      message: "Data is nested more deeply than allowed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3208,
      error_type: :null_argument,
      category: :data,
      subcategory: :validation,
      severity: :low,
      retry_strategy: :no_retry,
      hierarchical: "D208",
      message: "An argument that must point to something is NULL",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3209,
      error_type: :invalid_event_type,
      category: :data,
      subcategory: :validation,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "D209",
      message: "The event type is empty, too long or not allowed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3301,
      error_type: :data_corruption,
      category: :data,
      subcategory: :corruption,
      severity: :critical,
      retry_strategy: :no_retry,
      hierarchical: "D301",
      message: "Data corruption detected",
      recovery_actions: [
        "Restore from backup",
        "Contact system administrator"
      ],
      since: "reserved"
    },
    %{
      code: 3401,
      error_type: :data_not_found,
      category: :data,
      subcategory: :not_found,
      severity: :low,
      retry_strategy: :fixed_delay,
      hierarchical: "D401",
      message: "Requested data not found",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3402,
      error_type: :duplicate_event_id,
      category: :data,
      subcategory: :conflict,
      severity: :medium,
      retry_strategy: :no_retry,
      hierarchical: "D402",
      message: "An event with this id is stored already",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3501,
      error_type: :io_error,
      category: :data,
      subcategory: :storage,
      severity: :high,
      retry_strategy: :fixed_delay,
      hierarchical: "D501",
      message: "Reading or writing a file failed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    },
    %{
      code: 3502,
      error_type: :incompatible_format,
      category: :data,
      subcategory: :storage,
      severity: :high,
      retry_strategy: :no_retry,
      hierarchical: "D502",
      message: "The file is of a format this version cannot read",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 4101,
      error_type: :network_error,
      category: :external,
      subcategory: :network,
      severity: :medium,
      retry_strategy: :exponential_backoff,
      hierarchical: "E101",
      message: "Network communication error",
      recovery_actions: [
        "Check network connectivity",
        "Retry with exponential backoff"
      ],
      since: "reserved"
    },
    %{
      code: 4201,
      error_type: :external_service_error,
      category: :external,
      subcategory: :service,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "E201",
      message: "External service error",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 4301,
      error_type: :timeout,
      category: :external,
      subcategory: :timeout,
      severity: :medium,
      retry_strategy: :exponential_backoff,
      hierarchical: "E301",
      message: "Operation timeout",
      recovery_actions: [
        "Increase timeout value",
        "Check network latency",
        "Review service performance"
      ],
      since: "0.1.0"
    },
    %{
      code: 4401,
      error_type: :authentication_failed,
      category: :external,
      subcategory: :auth,
      severity: :high,
      retry_strategy: :immediate,
      hierarchical: "E401",
      message: "Authentication failed",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 4402,
      error_type: :unauthorized,
      category: :external,
      subcategory: :auth,
      severity: :high,
      retry_strategy: :no_retry,
      hierarchical: "E402",
      message: "The caller's role does not allow this",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 4403,
      error_type: :insufficient_privileges,
      category: :external,
      subcategory: :auth,
      severity: :high,
      retry_strategy: :no_retry,
      hierarchical: "E403",
      message: "The caller may not read or change this path",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 4501,
      error_type: :circuit_open,
      category: :external,
      subcategory: :protection,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "E501",
      message: "The circuit breaker is open",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 4502,
      error_type: :rate_limited,
      category: :external,
      subcategory: :protection,
      severity: :low,
      retry_strategy: :fixed_delay,
      hierarchical: "E502",
      message: "The rate limit is reached",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "reserved"
    },
    %{
      code: 9999,
      error_type: :external_error,
      category: :unknown,
      subcategory: :unknown,
      severity: :medium,
      retry_strategy: :fixed_delay,
      hierarchical: "9999",
      message: "Unknown error",
      recovery_actions: [
        "Check logs for details",
        "Review error context",
        "Contact support if needed"
      ],
      since: "0.1.0"
    }
  ]

  @type row :: %{
          code: pos_integer(),
          error_type: atom(),
          category: atom(),
          subcategory: atom(),
          severity: atom(),
          retry_strategy: atom(),
          hierarchical: String.t(),
          message: String.t(),
          recovery_actions: [String.t()],
          since: String.t()
        }

  @doc "Every row of the error table, in its order."
  @spec rows() :: [row(), ...]
  def rows, do: @rows
end
