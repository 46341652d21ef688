/* SPDX-License-Identifier: MIT */
/*
 * The database seen from outside the library, as another program sees it: plain SQL over a
 * connection of its own, and the server taken down and up. For programs run by with_postgres.
 */
#ifndef TICKSTATE_TESTS_OUTSIDE_H
#define TICKSTATE_TESTS_OUTSIDE_H

#include "../api/api.h"
#include "../api/peers.h"

/** A schema of its own for every test, roles that only it uses, and a URI that finds its tables
 * there. */
struct outside {
    char uri[API_URI_MAX];
    char schema[32];
};

int outside_setup(void **fixture);
int outside_teardown(void **fixture);
#define OUTSIDE_TEST(name) cmocka_unit_test_setup_teardown(name, outside_setup, outside_teardown)

/** Run SQL as the superuser, in the test's schema; "%s" in it is the schema's name. It must
 * succeed. */
void outside_sql(const struct outside *o, const char *sql, ...)
    __attribute__((format(printf, 2, 3)));
/** The same; the first field of its first row, "" when null, NULL when there is no row. Lives until
 * the next call. */
const char *outside_ask(const struct outside *o, const char *sql, ...)
    __attribute__((format(printf, 2, 3)));
#define CHECK_ASK(o, want, ...)                                                                    \
    outside_check(__FILE__, __LINE__, outside_ask((o), __VA_ARGS__), (want))
void outside_check(const char *file, int line, const char *got, const char *want);

/** The test's URI with another user (and ":password"), and more parameters. */
void outside_uri(const struct outside *o, char uri[API_URI_MAX], const char *user,
                 const char *parameters);

/** with_postgres --control ACTION. */
void outside_control(const char *action);

/** The call fails with this status, and its sentence has this in it. */
#define CHECK_SAYS(call, want, part)                                                               \
    do {                                                                                           \
        CHECK_STATUS(call, want);                                                                  \
        outside_check_says(__FILE__, __LINE__, part);                                              \
    } while (0)
void outside_check_says(const char *file, int line, const char *part);

/** Fails when more time has passed since @p since_ms (outside_clock_ms()) than the calls may take.
 */
#define CHECK_BOUNDED(since_ms, calls, timeout_ms)                                                 \
    outside_check_bounded(__FILE__, __LINE__, since_ms, calls, timeout_ms)
void outside_check_bounded(const char *file, int line, int64_t since_ms, int calls, int timeout_ms);
int64_t outside_clock_ms(void);

#endif
