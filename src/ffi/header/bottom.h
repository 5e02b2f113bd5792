
/*
 * Shorthands
 * ==========
 */

#ifdef __cplusplus
/** An esf_str of a string literal. */
#define ESF_STR(literal) (esf_str{"" literal, sizeof(literal) - 1})
#else
/** An esf_str of a string literal. */
#define ESF_STR(literal) ((esf_str){"" literal, sizeof(literal) - 1})
#endif

/** No text, or no bytes. */
#define ESF_STR_INIT                                                                                         \
    { NULL, 0 }

/** The two arguments of printf's "%.*s" for an esf_str or esf_string. */
#define ESF_FMT(text) (int)(text).len, ((text).len ? (text).ptr : "")

/** True if the library in use has the ABI that this header describes. */
#define ESF_CHECK_VERSION() (esf_abi_version() == ESF_ABI_VERSION)

/** An empty esf_string; esf_string_free leaves it alone. */
#define ESF_STRING_INIT                                                                                      \
    { NULL, 0, 0 }

/** An event of no type with no data, to be filled in. */
#define ESF_EVENT_INIT                                                                                       \
    {                                                                                                        \
        (uint32_t)sizeof(esf_event), ESF_ENCODING_JSON, 0, 0, ESF_NOW, ESF_NOW, NULL, ESF_STR_INIT,          \
            ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT                                           \
    }

/** A receipt to be written to. */
#define ESF_RECEIPT_INIT                                                                                     \
    { (uint32_t)sizeof(esf_receipt), 0, 0, 0 }

/** A query for everything, by timestamp, oldest first. */
#define ESF_QUERY_INIT                                                                                       \
    {                                                                                                        \
        (uint32_t)sizeof(esf_event_query), ESF_ORDER_TIMESTAMP, 0, 0, NULL, 0, ESF_STR_INIT, INT64_MIN,      \
            INT64_MAX, 0, UINT64_MAX, 0, ESF_NO_LIMIT, 0, 0, 0, ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT, 0  \
    }

/** An event's view to be written to. */
#define ESF_VIEW_INIT                                                                                        \
    {                                                                                                        \
        (uint32_t)sizeof(esf_event_view), 0, 0, 0, 0, 0, 0, 0, 0, 0, ESF_STR_INIT, ESF_STR_INIT,             \
            ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT                                                         \
    }

/** What is to be known of a trace, to be written to. */
#define ESF_TRACE_INFO_INIT                                                                                  \
    { (uint32_t)sizeof(esf_trace_info), 0, 0, 0, NULL, 0 }

/** A tail of every event that is stored from now on. */
#define ESF_TAIL_INIT                                                                                        \
    { (uint32_t)sizeof(esf_tail_options), 0, NULL, ESF_TAIL_FROM_NOW, 0 }

/** A gap to be written to. */
#define ESF_GAP_INIT                                                                                         \
    { (uint32_t)sizeof(esf_gap), 0, 0, 0, 0 }

/** A change of configuration to be written to. */
#define ESF_CHANGE_INIT                                                                                      \
    { (uint32_t)sizeof(esf_config_change), 0, 0, 0, ESF_STR_INIT, ESF_STR_INIT, ESF_STR_INIT }

/*
 * The layout of the structs is part of the ABI: the library is held to the same numbers.
 */
#if defined(__cplusplus)
#define ESF_LAYOUT(condition) static_assert(condition, "the layout of an esf struct")
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define ESF_LAYOUT(condition) _Static_assert(condition, "the layout of an esf struct")
#else
#define ESF_LAYOUT(condition) extern int esf__layout_is_checked_from_c11_on
#endif
/* @LAYOUT@ */
#undef ESF_LAYOUT

#ifdef __cplusplus
}
#endif

#endif
