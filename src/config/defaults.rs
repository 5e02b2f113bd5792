//! Every key of the foundation: path, type, default, range, in the order of the documentation.

use super::schema::{KeyKind, KeySpec, Literal};
use crate::error::Code;

use Literal::{Bool, Float, Int, Null, Str};

const SWITCH: KeyKind = KeyKind::Bool;
const POSITIVE: KeyKind = KeyKind::Int { min: 1, max: i64::MAX };
const TEXT: KeyKind = KeyKind::Str { nullable: false };

const fn one_of(allowed: &'static [&'static str]) -> KeyKind {
    KeyKind::Enum { allowed }
}

const fn key(path: &'static str, kind: KeyKind, default: Literal, doc: &'static str) -> KeySpec {
    let violation = match kind {
        KeyKind::Enum { .. } => Code::InvalidConfigValue,
        _ => Code::ValidationFailed,
    };
    KeySpec {
        path,
        kind,
        default,
        doc,
        unit: None,
        updatable: false,
        secret: false,
        required: true,
        fixed: false,
        checked_when: None,
        checked_after: None,
        violation,
    }
}

impl KeySpec {
    const fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    const fn updatable(mut self) -> Self {
        self.updatable = true;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    const fn when(mut self, switch: &'static str) -> Self {
        self.checked_when = Some(switch);
        self
    }

    const fn after(mut self, path: &'static str) -> Self {
        self.checked_after = Some(path);
        self
    }

    const fn violates(mut self, code: Code) -> Self {
        self.violation = code;
        self
    }
}

const WARM: &str = "storage.warm.enable";

/// The paths that may change at run time, in the order in which they are listed to callers.
pub(crate) const UPDATABLE_PATHS: &[&str] = &[
    "ai.planning.sampling_rate",
    "ai.planning.performance_target",
    "capture.processing.batch_size",
    "capture.processing.flush_interval",
    "interface.query_timeout",
    "interface.max_results",
    "dev.debug_mode",
    "dev.verbose_logging",
    "dev.performance_monitoring",
];

/// The keys.
pub(crate) const KEYS: &[KeySpec] = &[
    key(
        "ai.provider",
        one_of(&["mock", "openai", "anthropic", "gemini"]),
        Str("mock"),
        "Which AI service answers.",
    ),
    key("ai.api_key", KeyKind::Str { nullable: true }, Null, "The key that the AI service asks for.")
        .optional()
        .secret(),
    key("ai.model", TEXT, Str("gpt-4"), "Which model of the AI service is asked.").optional(),
    key("ai.analysis.max_file_size", POSITIVE, Int(1_000_000), "The largest file that is analysed.")
        .unit("bytes"),
    key("ai.analysis.timeout", POSITIVE, Int(30_000), "How long one analysis may take.").unit("ms"),
    key("ai.analysis.cache_ttl", POSITIVE, Int(3600), "How long an analysis is kept for reuse.").unit("s"),
    key(
        "ai.planning.default_strategy",
        one_of(&["fast", "balanced", "thorough"]),
        Str("balanced"),
        "How thorough a plan is when the caller does not say.",
    )
    .after("ai.planning.sampling_rate"),
    key(
        "ai.planning.performance_target",
        KeyKind::Float { min: 0.0, max: f64::INFINITY },
        Float(0.01),
        "The overhead that a plan may cost, as a share of the run time.",
    )
    .updatable()
    .violates(Code::ConstraintViolation),
    key(
        "ai.planning.sampling_rate",
        KeyKind::Float { min: 0.0, max: 1.0 },
        Float(1.0),
        "The share of calls that is recorded.",
    )
    .updatable()
    .violates(Code::RangeError),
    key("capture.ring_buffer.size", POSITIVE, Int(1024), "How many slots a ring buffer has."),
    key(
        "capture.ring_buffer.max_events",
        POSITIVE,
        Int(1000),
        "How many events a ring buffer holds at most.",
    ),
    key(
        "capture.ring_buffer.overflow_strategy",
        one_of(&["drop_oldest", "drop_newest", "block"]),
        Str("drop_oldest"),
        "What happens to an event that finds its ring buffer full.",
    ),
    key(
        "capture.ring_buffer.num_buffers",
        KeyKind::EnumOrInt { allowed: &["schedulers"], min: 1 },
        Str("schedulers"),
        "How many ring buffers there are; \"schedulers\" is one for each scheduler.",
    )
    .optional(),
    key("capture.processing.batch_size", POSITIVE, Int(100), "How many events are processed together.")
        .updatable(),
    key(
        "capture.processing.flush_interval",
        POSITIVE,
        Int(50),
        "How long an incomplete batch waits at most.",
    )
    .unit("ms")
    .updatable(),
    key(
        "capture.processing.max_queue_size",
        POSITIVE,
        Int(1000),
        "How many events wait for processing at most.",
    ),
    key(
        "capture.vm_tracing.enable_spawn_trace",
        SWITCH,
        Bool(true),
        "Whether the start of a process is recorded.",
    ),
    key(
        "capture.vm_tracing.enable_exit_trace",
        SWITCH,
        Bool(true),
        "Whether the end of a process is recorded.",
    ),
    key("capture.vm_tracing.enable_message_trace", SWITCH, Bool(false), "Whether messages are recorded."),
    key(
        "capture.vm_tracing.trace_children",
        SWITCH,
        Bool(true),
        "Whether processes started by a traced one are traced.",
    ),
    key("storage.hot.max_events", POSITIVE, Int(100_000), "How many events the hot tier holds at most."),
    key("storage.hot.max_age_seconds", POSITIVE, Int(3600), "How old an event of the hot tier may grow.")
        .unit("s"),
    key(
        "storage.hot.prune_interval",
        POSITIVE,
        Int(60_000),
        "How often events that are too old are removed.",
    )
    .unit("ms"),
    key(WARM, SWITCH, Bool(false), "Whether there is a warm tier."),
    key("storage.warm.path", TEXT, Str("./elixir_scope_data"), "The directory of the warm tier.").when(WARM),
    key("storage.warm.max_size_mb", POSITIVE, Int(100), "How large the warm tier may grow.")
        .unit("MB")
        .when(WARM),
    key(
        "storage.warm.compression",
        one_of(&["none", "gzip", "zstd"]),
        Str("zstd"),
        "How the events of the warm tier are compressed.",
    )
    .when(WARM),
    key("storage.cold.enable", SWITCH, Bool(false), "Whether there is a cold tier.").fixed(),
    key("interface.query_timeout", POSITIVE, Int(10_000), "How long a query may take.")
        .unit("ms")
        .updatable(),
    key(
        "interface.max_results",
        POSITIVE,
        Int(1000),
        "How many results a query gives when it sets no limit.",
    )
    .updatable(),
    key("interface.enable_streaming", SWITCH, Bool(true), "Whether results may be streamed."),
    key("dev.debug_mode", SWITCH, Bool(false), "Whether debugging aids are on.").updatable(),
    key("dev.verbose_logging", SWITCH, Bool(false), "Whether the log is verbose.").updatable(),
    key("dev.performance_monitoring", SWITCH, Bool(true), "Whether the foundation measures itself.")
        .updatable(),
];
