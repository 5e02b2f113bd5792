/* Loading at run time: the library stays mapped, and a second copy of it does not know the first one's
 * handles. Not linked against the library. Usage: dlopen LIBRARY COPY */
#include "check.h"
#include <dlfcn.h>

typedef esf_status (*open_fn)(esf_str, esf_foundation **, esf_error **);
typedef esf_status (*close_fn)(esf_foundation *, int64_t, esf_error **);
typedef esf_status (*counter_fn)(const esf_foundation *, esf_str, const esf_label *, size_t, esf_counter **,
                                 esf_error **);
typedef esf_status (*add_fn)(const esf_counter *, uint64_t);

/* A function of a loaded library; ISO C has no cast from an object's pointer to a function's. */
#define FUNCTION(type, library, name)                                                                        \
    __extension__({                                                                                          \
        type function = NULL;                                                                                \
        *(void **)&function = dlsym(library, name);                                                          \
        function;                                                                                            \
    })

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: dlopen LIBRARY COPY\n");
        return 2;
    }
    esf_foundation *app = NULL, *other = NULL;
    esf_counter *counter = NULL, *others = NULL;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    if (!library)
        return check_report();
    add_fn add = FUNCTION(add_fn, library, "esf_counter_add");
    CHECK(FUNCTION(open_fn, library, "esf_foundation_open")(ESF_STR("{}"), &app, NULL) == ESF_OK);
    CHECK(FUNCTION(counter_fn, library, "esf_counter_new")(app, ESF_STR("c"), NULL, 0, &counter, NULL) ==
          ESF_OK);

    /* Whoever holds a function or a handle need not know that another has let the library go. */
    CHECK(dlclose(library) == 0);
    CHECK(add(counter, 1) == ESF_OK);
    void *again = dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD);
    CHECK(again == library);

    void *copy = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    CHECK(copy != NULL && copy != library);
    if (copy) {
        add_fn foreign_add = FUNCTION(add_fn, copy, "esf_counter_add");
        close_fn foreign_close = FUNCTION(close_fn, copy, "esf_foundation_close");
        CHECK(foreign_add != add);
        CHECK(FUNCTION(open_fn, copy, "esf_foundation_open")(ESF_STR("{}"), &other, NULL) == ESF_OK);
        CHECK(FUNCTION(counter_fn, copy, "esf_counter_new")(other, ESF_STR("c"), NULL, 0, &others, NULL) ==
              ESF_OK);
        /* The lowest seven bits tell copies apart, one time in 127 they do not. */
        if (((uintptr_t)app ^ (uintptr_t)other) & 127) {
            CHECK(foreign_add(counter, 1) == ESF_E_STALE_HANDLE);
            CHECK(add(others, 1) == ESF_E_STALE_HANDLE);
            CHECK(foreign_close(app, 5000, NULL) == ESF_E_STALE_HANDLE);
        }
        CHECK(foreign_close(other, 5000, NULL) == ESF_OK);
    }
    CHECK(add(counter, 1) == ESF_OK);
    CHECK(FUNCTION(close_fn, library, "esf_foundation_close")(app, 5000, NULL) == ESF_OK);
    return check_report();
}
