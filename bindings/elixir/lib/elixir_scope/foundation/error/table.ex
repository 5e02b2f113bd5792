defmodule ElixirScope.Foundation.Error.Table do
  @moduledoc false
  # Generated from src/error/table.rs by `make header`; do not edit.

  # code, hierarchical code, type, category, subcategory, severity, retry strategy, since; and the message
  @table [
    {
      "1101 C101 invalid_config_structure config structure high immediate 0.1.0",
      "Configuration structure is invalid"
    },
    {
      "1102 C102 missing_required_field config structure high immediate 0.1.0",
      "Required configuration field missing"
    },
    {
      "1201 C201 invalid_config_value config validation medium no_retry 0.1.0",
      "Configuration value failed validation"
    },
    {
      "1202 C202 constraint_violation config validation medium fixed_delay 0.1.0",
      "Configuration constraint violated"
    },
    {
      "1203 C203 range_error config validation low fixed_delay 0.1.0",
      "Value outside acceptable range"
    },
    {
      "1301 C301 config_not_found config access high immediate reserved",
      "Configuration not found"
    },
    {
      "1302 C302 config_path_not_found config access medium no_retry 0.1.0",
      "No configuration value has this path"
    },
    {
      "1303 C303 invalid_path config access medium no_retry 0.1.0",
      "The configuration path is malformed"
    },
    {
      "1401 C401 config_update_forbidden config runtime medium fixed_delay 0.1.0",
      "Configuration update not allowed"
    },
    {
      "1402 C402 version_conflict config runtime medium immediate reserved",
      "The configuration has another version than expected"
    },
    {
      "1501 C501 unknown_config_key config schema medium no_retry 0.1.0",
      "The schema has no such key"
    },
    {
      "2101 S101 initialization_failed system initialization critical no_retry 0.1.0",
      "System initialization failed"
    },
    {
      "2102 S102 service_unavailable system initialization high immediate 0.1.0",
      "Required service unavailable"
    },
    {
      "2103 S103 already_open system initialization medium no_retry reserved",
      "An instance of this name is open already"
    },
    {
      "2201 S201 resource_exhausted system resources high immediate 0.1.0",
      "System resources exhausted"
    },
    {
      "2202 S202 no_space system resources high fixed_delay 0.1.0",
      "The disk is full"
    },
    {
      "2203 S203 store_full system resources high fixed_delay 0.1.0",
      "The event store is full"
    },
    {
      "2204 S204 no_memory system resources critical fixed_delay 0.1.0",
      "Memory could not be allocated"
    },
    {
      "2205 S205 too_many_series system resources medium no_retry 0.1.0",
      "The instance holds as many telemetry series as it may"
    },
    {
      "2206 S206 cursor_expired system resources low no_retry reserved",
      "The cursor lost the segments that it read from"
    },
    {
      "2301 S301 dependency_failed system dependencies high immediate reserved",
      "Required dependency failed"
    },
    {
      "2401 S401 internal_error system runtime critical no_retry 0.1.0",
      "Internal system error"
    },
    {
      "2402 S402 stale_handle system runtime medium no_retry 0.1.0",
      "The handle is closed, of another kind or not of this library"
    },
    {
      "2403 S403 forked system runtime high no_retry 0.1.0",
      "The process was forked: this copy may not use the instance"
    },
    {
      "2404 S404 reentrant system runtime medium no_retry 0.1.0",
      "This call is not allowed from inside a callback"
    },
    {
      "2405 S405 closing system runtime medium no_retry 0.1.0",
      "The instance is being closed"
    },
    {
      "2406 S406 locked system runtime medium fixed_delay 0.1.0",
      "Another process holds the lock"
    },
    {
      "2407 S407 operation_forbidden system runtime high no_retry 0.1.0",
      "The operation is not allowed here"
    },
    {
      "2408 S408 service_not_found system runtime medium no_retry 0.1.0",
      "No service is registered under this name"
    },
    {
      "3101 D101 serialization_failed data serialization medium fixed_delay 0.1.0",
      "Data serialization failed"
    },
    {
      "3102 D102 deserialization_failed data serialization medium fixed_delay 0.1.0",
      "Data deserialization failed"
    },
    {
      "3201 D201 type_mismatch data validation low fixed_delay 0.1.0",
      "Data type mismatch"
    },
    {
      "3202 D202 format_error data validation low fixed_delay 0.1.0",
      "Data format error"
    },
    {
      "3203 D203 validation_failed data validation medium fixed_delay 0.1.0",
      "Data validation failed"
    },
    {
      "3204 D204 invalid_input data validation low fixed_delay 0.1.0",
      "Invalid input provided"
    },
    {
      "3205 D205 data_too_large data validation high no_retry 0.1.0",
      "Data is larger than allowed"
    },
    {
      "3206 D206 invalid_utf8 data validation low no_retry 0.1.0",
      "Text is not valid UTF-8"
    },
    {
      "3207 D207 too_deep data validation low no_retry 0.1.0",
      "Data is nested more deeply than allowed"
    },
    {
      "3208 D208 null_argument data validation low no_retry 0.1.0",
      "An argument that must point to something is NULL"
    },
    {
      "3209 D209 invalid_event_type data validation medium no_retry 0.1.0",
      "The event type is empty, too long or not allowed"
    },
    {
      "3301 D301 data_corruption data corruption critical no_retry 0.1.0",
      "Data corruption detected"
    },
    {
      "3401 D401 data_not_found data not_found low fixed_delay 0.1.0",
      "Requested data not found"
    },
    {
      "3402 D402 duplicate_event_id data conflict medium no_retry 0.1.0",
      "An event with this id is stored already"
    },
    {
      "3501 D501 io_error data storage high fixed_delay 0.1.0",
      "Reading or writing a file failed"
    },
    {
      "3502 D502 incompatible_format data storage high no_retry 0.1.0",
      "The file is of a format this version cannot read"
    },
    {
      "4101 E101 network_error external network medium exponential_backoff reserved",
      "Network communication error"
    },
    {
      "4201 E201 external_service_error external service medium fixed_delay reserved",
      "External service error"
    },
    {
      "4301 E301 timeout external timeout medium exponential_backoff 0.1.0",
      "Operation timeout"
    },
    {
      "4401 E401 authentication_failed external auth high immediate reserved",
      "Authentication failed"
    },
    {
      "4402 E402 unauthorized external auth high no_retry reserved",
      "The caller's role does not allow this"
    },
    {
      "4403 E403 insufficient_privileges external auth high no_retry reserved",
      "The caller may not read or change this path"
    },
    {
      "4501 E501 circuit_open external protection medium fixed_delay reserved",
      "The circuit breaker is open"
    },
    {
      "4502 E502 rate_limited external protection low fixed_delay reserved",
      "The rate limit is reached"
    },
    {
      "9999 9999 external_error unknown unknown medium fixed_delay 0.1.0",
      "Unknown error"
    }
  ]

  @recovery_actions %{
    invalid_config_value: [
      "Check configuration format",
      "Validate against schema",
      "Review documentation"
    ],
    config_not_found: [
      "Check configuration file",
      "Verify configuration path"
    ],
    service_unavailable: [
      "Check service health",
      "Verify network connectivity",
      "Review service logs"
    ],
    resource_exhausted: [
      "Check memory usage",
      "Review resource limits",
      "Scale resources if needed"
    ],
    data_corruption: [
      "Restore from backup",
      "Contact system administrator"
    ],
    network_error: [
      "Check network connectivity",
      "Retry with exponential backoff"
    ],
    timeout: [
      "Increase timeout value",
      "Check network latency",
      "Review service performance"
    ]
  }

  @other_recovery_actions [
    "Check logs for details",
    "Review error context",
    "Contact support if needed"
  ]

  @rows Enum.map(@table, fn {words, message} ->
          [code, hierarchical, type, category, subcategory, severity, retry, since] = String.split(words)
          error_type = String.to_atom(type)

          %{
            code: String.to_integer(code),
            error_type: error_type,
            category: String.to_atom(category),
            subcategory: String.to_atom(subcategory),
            severity: String.to_atom(severity),
            retry_strategy: String.to_atom(retry),
            hierarchical: hierarchical,
            message: message,
            recovery_actions: Map.get(@recovery_actions, error_type, @other_recovery_actions),
            since: since
          }
        end)

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
