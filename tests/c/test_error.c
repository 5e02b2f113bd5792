/* Status, errors, text in its three forms, versions, and the guard against panics. */
#include "check.h"

/* Not in the header and no part of the ABI. */
esf_status esf__test_panic(esf_error **err);

static void every_form_of_an_error(void) {
    esf_foundation *foundation = (esf_foundation *)&check_passed;
    esf_error *err = NULL;
    STATUS(ESF_E_INVALID_INPUT, esf_foundation_open(ESF_STR("{\"shards\":2}"), &foundation, &err));
    CHECK(foundation == (esf_foundation *)&check_passed);

    esf_status code = 0;
    esf_str text = ESF_STR_INIT;
    esf_string json = ESF_STRING_INIT;
    OK(esf_error_code(err, &code));
    CHECK(code == ESF_E_INVALID_INPUT);
    OK(esf_error_type(err, &text));
    CHECK(is_text(text, "invalid_input"));
    OK(esf_error_hierarchical(err, &text));
    CHECK(is_text(text, "D204"));
    OK(esf_error_message(err, &text));
    CHECK(text.len > 10);
    OK(esf_error_json(err, &json));
    CHECK(has(json, "\"code\":3204") && has(json, "\"hierarchical_code\":\"D204\"") && has(json, "shards"));
    CHECK(json.ptr[json.len] == '\0');

    /* The buffer's form: too small says how much, and writes nothing into it. */
    char buffer[64];
    size_t needed = 0;
    memset(buffer, '#', sizeof buffer);
    STATUS(ESF_AGAIN, esf_error_type_into(err, NULL, 0, &needed));
    CHECK(needed == sizeof "invalid_input");
    STATUS(ESF_AGAIN, esf_error_type_into(err, buffer, needed - 1, &needed));
    CHECK(buffer[0] == '#');
    OK(esf_error_type_into(err, buffer, needed, &needed));
    CHECK(strcmp(buffer, "invalid_input") == 0 && buffer[needed] == '#');
    OK(esf_error_hierarchical_into(err, buffer, sizeof buffer, &needed));
    CHECK(strcmp(buffer, "D204") == 0 && needed == 5);
    char *all = malloc(json.len + 1);
    OK(esf_error_json_into(err, all, json.len + 1, &needed));
    CHECK(needed == json.len + 1 && strcmp(all, json.ptr) == 0);
    OK(esf_error_message_into(err, all, json.len + 1, &needed));
    CHECK(needed == text.len + 1 && memcmp(all, text.ptr, text.len) == 0);
    free(all);

    /* Owned text is freed once; a copy of the struct finds out. */
    esf_string copy = json;
    OK(esf_string_free(&json));
    CHECK(json.ptr == NULL && json.len == 0);
    OK(esf_string_free(&json));
    STATUS(ESF_E_STALE_HANDLE, esf_string_free(&copy));
    OK(esf_string_free(NULL));

    OK(esf_error_free(err));
    STATUS(ESF_E_STALE_HANDLE, esf_error_free(err));
    STATUS(ESF_E_STALE_HANDLE, esf_error_code(err, &code));
    OK(esf_error_free(NULL));
}

static void names_of_statuses(void) {
    CHECK(is_text(esf_status_name(ESF_OK), "ok"));
    CHECK(is_text(esf_status_name(ESF_DONE), "done"));
    CHECK(is_text(esf_status_name(ESF_AGAIN), "again"));
    CHECK(is_text(esf_status_name(ESF_TIMED_OUT), "timed_out"));
    CHECK(is_text(esf_status_name(ESF_E_RANGE_ERROR), "range_error"));
    CHECK(is_text(esf_status_name(ESF_E_EXTERNAL_ERROR), "external_error"));
    CHECK(is_text(esf_status_name(-1), "unknown"));
    CHECK(is_text(esf_status_name(1000), "unknown"));
    char buffer[16];
    size_t needed = 0;
    OK(esf_status_name_into(ESF_E_RANGE_ERROR, buffer, sizeof buffer, &needed));
    CHECK(strcmp(buffer, "range_error") == 0 && needed == sizeof "range_error");
    OK(esf_version_into(buffer, sizeof buffer, &needed));
    CHECK(strcmp(buffer, ESF_VERSION) == 0);
}

static void versions(void) {
    CHECK(ESF_CHECK_VERSION());
    CHECK(esf_abi_version() == ESF_ABI_VERSION);
    CHECK(is_text(esf_version(), ESF_VERSION));
    char made[32];
    snprintf(made, sizeof made, "%d.%d.%d", ESF_VERSION_MAJOR, ESF_VERSION_MINOR, ESF_VERSION_PATCH);
    CHECK(strcmp(made, ESF_VERSION) == 0);
}

static void a_panic_is_an_error(void) {
    esf_error *err = NULL;
    esf_string json = ESF_STRING_INIT;
    STATUS(ESF_E_INTERNAL_ERROR, esf__test_panic(&err));
    OK(esf_error_json(err, &json));
    CHECK(has(json, "asked for by esf__test_panic"));
    esf_string_free(&json);
    esf_error_free(err);
    STATUS(ESF_E_INTERNAL_ERROR, esf__test_panic(NULL));
}

/* A program that never frees its errors gets errors without details in the end, and no more memory is used.
 */
static void errors_are_bounded(void) {
    enum { MANY = 70000 };
    static esf_error *errors[MANY];
    esf_str message = ESF_STR_INIT;
    esf_foundation *none = NULL;
    unsigned long wrong = 0;
    for (size_t at = 0; at < MANY; at++)
        wrong += esf_foundation_open(ESF_STR("7"), &none, &errors[at]) < 1000 || !errors[at];
    CHECK(wrong == 0);
    OK(esf_error_message(errors[MANY - 1], &message));
    CHECK(message.len > 0);
    for (size_t at = 0; at < MANY; at++)
        wrong += esf_error_free(errors[at]) != ESF_OK;
    CHECK(wrong == 0);
}

int main(void) {
    every_form_of_an_error();
    names_of_statuses();
    versions();
    a_panic_is_an_error();
    errors_are_bounded();
    return check_report();
}
