/* Configuration: reading by path and by key, updating, validating. */
#include "check.h"

static esf_error *err;

static void reading_by_path(esf_foundation *app) {
    esf_string text = ESF_STRING_INIT;
    bool flag = true;
    int64_t whole = 0;
    double number = 0;
    char buffer[256];
    size_t needed = 0;
    OK(esf_config_get_json(app, ESF_STR(""), &text, &err));
    CHECK(text.ptr[0] == '{' && has(text, "\"planning\"") && has(text, "\"dev\""));
    esf_string_free(&text);
    OK(esf_config_get_json(app, ESF_STR("ai.planning"), &text, &err));
    CHECK(has(text, "\"sampling_rate\"") && !has(text, "\"dev\""));
    OK(esf_config_get_json_into(app, ESF_STR("ai.planning"), buffer, sizeof buffer, &needed, &err));
    CHECK(needed == text.len + 1 && strcmp(buffer, text.ptr) == 0);
    esf_string_free(&text);

    OK(esf_config_get_bool_at(app, ESF_STR("dev.debug_mode"), &flag, &err));
    CHECK(!flag);
    OK(esf_config_get_i64_at(app, ESF_STR("ai.analysis.timeout"), &whole, &err));
    CHECK(whole == 30000);
    OK(esf_config_get_f64_at(app, ESF_STR("ai.planning.sampling_rate"), &number, &err));
    CHECK(number == 1.0);
    OK(esf_config_get_text_at(app, ESF_STR("ai.planning.default_strategy"), &text, &err));
    CHECK(strcmp(text.ptr, "balanced") == 0);
    esf_string_free(&text);
    OK(esf_config_get_text_at_into(app, ESF_STR("ai.planning.default_strategy"), buffer, sizeof buffer,
                                   &needed, &err));
    CHECK(strcmp(buffer, "balanced") == 0 && needed == sizeof "balanced");

    /* What is wrong is named. */
    number = -7;
    STATUS(ESF_E_TYPE_MISMATCH, esf_config_get_f64_at(app, ESF_STR("dev.debug_mode"), &number, &err));
    OK(esf_error_json(err, &text));
    CHECK(has(text, "dev.debug_mode") && number == -7);
    esf_string_free(&text);
    esf_error_free(err);
    err = NULL;
    FAILS(ESF_E_CONFIG_PATH_NOT_FOUND, esf_config_get_json(app, ESF_STR("ai.plan"), &text, &err));
    FAILS(ESF_E_INVALID_PATH, esf_config_get_json(app, ESF_STR("ai..planning"), &text, &err));
}

static void reading_by_key(esf_foundation *app) {
    esf_config_key *rate, *mode, *timeout, *strategy, *other;
    esf_str word = ESF_STR_INIT;
    bool flag = true;
    int64_t whole = 0;
    double number = 0;
    char buffer[32];
    size_t needed = 0;
    OK(esf_config_key_resolve(app, ESF_STR("ai.planning.sampling_rate"), &rate, &err));
    OK(esf_config_key_resolve(app, ESF_STR("dev.debug_mode"), &mode, &err));
    OK(esf_config_key_resolve(app, ESF_STR("ai.analysis.timeout"), &timeout, &err));
    OK(esf_config_key_resolve(app, ESF_STR("ai.planning.default_strategy"), &strategy, &err));
    FAILS(ESF_E_CONFIG_PATH_NOT_FOUND, esf_config_key_resolve(app, ESF_STR("no.key"), &other, &err));
    FAILS(ESF_E_TYPE_MISMATCH, esf_config_key_resolve(app, ESF_STR("ai.planning"), &other, &err));
    OK(esf_config_get_f64(rate, &number));
    OK(esf_config_get_bool(mode, &flag));
    OK(esf_config_get_i64(timeout, &whole));
    OK(esf_config_get_enum(strategy, &word));
    CHECK(number == 1.0 && !flag && whole == 30000 && is_text(word, "balanced"));
    OK(esf_config_get_enum_into(strategy, buffer, sizeof buffer, &needed));
    CHECK(strcmp(buffer, "balanced") == 0);
    STATUS(ESF_E_TYPE_MISMATCH, esf_config_get_f64(mode, &number));
    STATUS(ESF_E_TYPE_MISMATCH, esf_config_get_bool(rate, &flag));
    STATUS(ESF_E_TYPE_MISMATCH, esf_config_get_i64(strategy, &whole));
    STATUS(ESF_E_TYPE_MISMATCH, esf_config_get_enum(timeout, &word));

    uint64_t before = 0, after = 0;
    OK(esf_config_version(app, &before, &err));
    OK(esf_config_update(app, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.5"), &after, &err));
    CHECK(after == before + 1);
    OK(esf_config_get_f64(rate, &number));
    CHECK(number == 0.5);
    OK(esf_config_reset(app, &after, &err));
    CHECK(after == before + 2);
    OK(esf_config_get_f64(rate, &number));
    CHECK(number == 1.0);
    OK(esf_config_key_free(rate));
    STATUS(ESF_E_STALE_HANDLE, esf_config_key_free(rate));
    STATUS(ESF_E_STALE_HANDLE, esf_config_get_f64(rate, &number));
    STATUS(ESF_E_STALE_HANDLE, esf_config_key_free((esf_config_key *)(void *)app));
    OK(esf_config_key_free(mode));
    OK(esf_config_key_free(timeout));
    OK(esf_config_key_free(strategy));
    OK(esf_config_key_free(NULL));
}

static void writing(esf_foundation *app) {
    esf_str path = ESF_STR("ai.planning.sampling_rate");
    esf_string text = ESF_STRING_INIT;
    uint64_t before = 0, after = 0;
    OK(esf_config_version(app, &before, &err));
    OK(esf_config_check_update(app, path, ESF_STR("0.25"), &err));
    FAILS(ESF_E_RANGE_ERROR, esf_config_check_update(app, path, ESF_STR("1.5"), &err));
    FAILS(ESF_E_RANGE_ERROR, esf_config_update(app, path, ESF_STR("1.5"), NULL, &err));
    FAILS(ESF_E_FORMAT_ERROR, esf_config_update(app, path, ESF_STR("one"), NULL, &err));
    CHECK(esf_config_update(app, path, ESF_STR("\"one\""), NULL, NULL) >= 1000);
    FAILS(ESF_E_CONFIG_UPDATE_FORBIDDEN,
          esf_config_update(app, ESF_STR("ai.provider"), ESF_STR("\"openai\""), NULL, &err));
    OK(esf_config_version(app, &after, &err));
    CHECK(before == after);

    OK(esf_config_get_json(app, ESF_STR(""), &text, &err));
    esf_str tree = {text.ptr, text.len};
    OK(esf_config_validate(app, tree, &err));
    esf_string_free(&text);
    CHECK(esf_config_validate(app, ESF_STR("{\"ai\":7}"), NULL) >= 1000);

    char buffer[2048];
    size_t needed = 0;
    OK(esf_config_updatable_paths_json(&text, &err));
    CHECK(has(text, "\"ai.planning.sampling_rate\"") && !has(text, "ai.provider"));
    OK(esf_config_updatable_paths_json_into(buffer, sizeof buffer, &needed, &err));
    CHECK(strcmp(text.ptr, buffer) == 0);
    esf_string_free(&text);
}

/* An update is stored as an event and counted before it returns, and events carry the version in force. */
static void updates_are_events(esf_foundation *app) {
    esf_event_query query = ESF_QUERY_INIT;
    esf_event_view view = ESF_VIEW_INIT;
    esf_event event = ESF_EVENT_INIT;
    esf_cursor *cursor;
    esf_str type = ESF_STR("config_updated");
    uint64_t version = 0;
    OK(esf_config_update(app, ESF_STR("ai.planning.sampling_rate"), ESF_STR("0.75"), &version, &err));
    query.types = &type;
    query.type_count = 1;
    query.order = ESF_ORDER_SEQ;
    query.descending = 1;
    query.limit = 1;
    OK(esf_events_query(app, &query, &cursor, &err));
    OK(esf_cursor_next(cursor, &view));
    CHECK(is_text(view.type, "config_updated") && view.data.len > 0);
    OK(esf_cursor_free(cursor));

    esf_receipt receipt = ESF_RECEIPT_INIT;
    esf_string owner = ESF_STRING_INIT;
    event.type = ESF_STR("after");
    OK(esf_event_append(app, &event, &receipt, &err));
    OK(esf_event_get(app, receipt.event_id, &view, &owner, &err));
    CHECK(view.config_version == version);
    esf_string_free(&owner);
}

int main(void) {
    esf_foundation *app = open_instance("{}");
    reading_by_path(app);
    reading_by_key(app);
    writing(app);
    updates_are_events(app);
    OK(esf_foundation_close(app, 5000, &err));
    return check_report();
}
