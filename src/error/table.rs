//! The code table: the one source of every error number in every language.
//!
//! `build.rs` includes this very file to write the C header's `ESF_E_…` constants; the tests make
//! `docs/errors.md` and the Elixir table from it and fail when those drift. A number is never changed and
//! never reused. The first digit is the category's letter (1 C, 2 S, 3 D, 4 E), the second the subcategory.

/// What part of the world an error belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// Configuration: letter C, numbers 1100–1599.
    Config,
    /// This process and its services: letter S, numbers 2000–2999.
    System,
    /// What was handed in or read back: letter D, numbers 3000–3999.
    Data,
    /// Something outside the process: letter E, numbers 4000–4999.
    External,
    /// An error of somebody else's, wrapped: no letter, number 9999.
    Unknown,
}

/// How bad it is: `High` and `Critical` should be escalated to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// An ordinary answer that a caller handles.
    Low,
    /// Something was refused or went wrong for this call only.
    Medium,
    /// A part cannot do its work.
    High,
    /// The instance cannot be trusted to go on.
    Critical,
}

/// What a caller may do about an error by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same call fails again: do not retry.
    NoRetry,
    /// Retry at once.
    Immediate,
    /// Retry after one second.
    FixedDelay,
    /// Retry after 1 s, 2 s, 4 s … at most 30 s.
    ExponentialBackoff,
}

/// One row of the code table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The number: what a C caller gets as status.
    pub code: u32,
    /// The name (`error_type`): the same word in every language.
    pub name: &'static str,
    /// The category, which gives the hierarchical code its letter.
    pub category: Category,
    /// The part of the category.
    pub subcategory: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What the caller may do.
    pub retry: Retry,
    /// The first version that can return it; `reserved` while nothing does.
    pub since: &'static str,
    /// What it means, when nothing more exact is known.
    pub message: &'static str,
}

macro_rules! error_table {
    ($($code:literal $variant:ident $name:literal $category:ident $sub:literal $severity:ident $retry:ident
       $since:literal $message:literal;)*) => {
        /// The type of an error; its number is `code as u32`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Code {
            $(#[doc = $message] $variant = $code,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The row of this code.
            pub const fn row(self) -> Row {
                match self {
                    $(Code::$variant => Row {
                        code: $code,
                        name: $name,
                        category: Category::$category,
                        subcategory: $sub,
                        severity: Severity::$severity,
                        retry: Retry::$retry,
                        since: $since,
                        message: $message,
                    },)*
                }
            }
        }
    };
}

error_table! {
    1101 InvalidConfigStructure "invalid_config_structure" Config "structure" High Immediate "0.1.0" "Configuration structure is invalid";
    1102 MissingRequiredField "missing_required_field" Config "structure" High Immediate "0.1.0" "Required configuration field missing";
    1201 InvalidConfigValue "invalid_config_value" Config "validation" Medium NoRetry "0.1.0" "Configuration value failed validation";
    1202 ConstraintViolation "constraint_violation" Config "validation" Medium FixedDelay "0.1.0" "Configuration constraint violated";
    1203 RangeError "range_error" Config "validation" Low FixedDelay "0.1.0" "Value outside acceptable range";
    1301 ConfigNotFound "config_not_found" Config "access" High Immediate "reserved" "Configuration not found";
    1302 ConfigPathNotFound "config_path_not_found" Config "access" Medium NoRetry "0.1.0" "No configuration value has this path";
    1303 InvalidPath "invalid_path" Config "access" Medium NoRetry "0.1.0" "The configuration path is malformed";
    1401 ConfigUpdateForbidden "config_update_forbidden" Config "runtime" Medium FixedDelay "0.1.0" "Configuration update not allowed";
    1402 VersionConflict "version_conflict" Config "runtime" Medium Immediate "reserved" "The configuration has another version than expected";
    1501 UnknownConfigKey "unknown_config_key" Config "schema" Medium NoRetry "0.1.0" "The schema has no such key";
    2101 InitializationFailed "initialization_failed" System "initialization" Critical NoRetry "0.1.0" "System initialization failed";
    2102 ServiceUnavailable "service_unavailable" System "initialization" High Immediate "0.1.0" "Required service unavailable";
    2103 AlreadyOpen "already_open" System "initialization" Medium NoRetry "reserved" "An instance of this name is open already";
    2201 ResourceExhausted "resource_exhausted" System "resources" High Immediate "0.1.0" "System resources exhausted";
    2202 NoSpace "no_space" System "resources" High FixedDelay "0.1.0" "The disk is full";
    2203 StoreFull "store_full" System "resources" High FixedDelay "0.1.0" "The event store is full";
    2204 NoMemory "no_memory" System "resources" Critical FixedDelay "0.1.0" "Memory could not be allocated";
    2205 TooManySeries "too_many_series" System "resources" Medium NoRetry "0.1.0" "The instance holds as many telemetry series as it may";
    2206 CursorExpired "cursor_expired" System "resources" Low NoRetry "reserved" "The cursor lost the segments that it read from";
    2301 DependencyFailed "dependency_failed" System "dependencies" High Immediate "reserved" "Required dependency failed";
    2401 InternalError "internal_error" System "runtime" Critical NoRetry "0.1.0" "Internal system error";
    2402 StaleHandle "stale_handle" System "runtime" Medium NoRetry "0.1.0" "The handle is closed, of another kind or not of this library";
    2403 Forked "forked" System "runtime" High NoRetry "0.1.0" "The process was forked: this copy may not use the instance";
    2404 Reentrant "reentrant" System "runtime" Medium NoRetry "0.1.0" "This call is not allowed from inside a callback";
    2405 Closing "closing" System "runtime" Medium NoRetry "0.1.0" "The instance is being closed";
    2406 Locked "locked" System "runtime" Medium FixedDelay "0.1.0" "Another process holds the lock";
    2407 OperationForbidden "operation_forbidden" System "runtime" High NoRetry "0.1.0" "The operation is not allowed here";
    2408 ServiceNotFound "service_not_found" System "runtime" Medium NoRetry "0.1.0" "No service is registered under this name";
    3101 SerializationFailed "serialization_failed" Data "serialization" Medium FixedDelay "0.1.0" "Data serialization failed";
    3102 DeserializationFailed "deserialization_failed" Data "serialization" Medium FixedDelay "0.1.0" "Data deserialization failed";
    3201 TypeMismatch "type_mismatch" Data "validation" Low FixedDelay "0.1.0" "Data type mismatch";
    3202 FormatError "format_error" Data "validation" Low FixedDelay "0.1.0" "Data format error";
    3203 ValidationFailed "validation_failed" Data "validation" Medium FixedDelay "0.1.0" "Data validation failed";
    3204 InvalidInput "invalid_input" Data "validation" Low FixedDelay "0.1.0" "Invalid input provided";
    3205 DataTooLarge "data_too_large" Data "validation" High NoRetry "0.1.0" "Data is larger than allowed";
    3206 InvalidUtf8 "invalid_utf8" Data "validation" Low NoRetry "0.1.0" "Text is not valid UTF-8";
    3207 TooDeep "too_deep" Data "validation" Low NoRetry "0.1.0" "Data is nested more deeply than allowed";
    3208 NullArgument "null_argument" Data "validation" Low NoRetry "0.1.0" "An argument that must point to something is NULL";
    3209 InvalidEventType "invalid_event_type" Data "validation" Medium NoRetry "0.1.0" "The event type is empty, too long or not allowed";
    3301 DataCorruption "data_corruption" Data "corruption" Critical NoRetry "0.1.0" "Data corruption detected";
    3401 DataNotFound "data_not_found" Data "not_found" Low FixedDelay "0.1.0" "Requested data not found";
    3402 DuplicateEventId "duplicate_event_id" Data "conflict" Medium NoRetry "0.1.0" "An event with this id is stored already";
    3501 IoError "io_error" Data "storage" High FixedDelay "0.1.0" "Reading or writing a file failed";
    3502 IncompatibleFormat "incompatible_format" Data "storage" High NoRetry "0.1.0" "The file is of a format this version cannot read";
    4101 NetworkError "network_error" External "network" Medium ExponentialBackoff "reserved" "Network communication error";
    4201 ExternalServiceError "external_service_error" External "service" Medium FixedDelay "reserved" "External service error";
    4301 Timeout "timeout" External "timeout" Medium ExponentialBackoff "0.1.0" "Operation timeout";
    4401 AuthenticationFailed "authentication_failed" External "auth" High Immediate "reserved" "Authentication failed";
    4402 Unauthorized "unauthorized" External "auth" High NoRetry "reserved" "The caller's role does not allow this";
    4403 InsufficientPrivileges "insufficient_privileges" External "auth" High NoRetry "reserved" "The caller may not read or change this path";
    4501 CircuitOpen "circuit_open" External "protection" Medium FixedDelay "reserved" "The circuit breaker is open";
    4502 RateLimited "rate_limited" External "protection" Low FixedDelay "reserved" "The rate limit is reached";
    9999 ExternalError "external_error" Unknown "unknown" Medium FixedDelay "0.1.0" "Unknown error";
}
