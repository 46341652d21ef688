/* SPDX-License-Identifier: MIT */
/*
 * What the tests of sqlite:// share: a file of one's own per test, and the same file seen as
 * another program sees it, through plain SQL.
 */
#ifndef TICKSTATE_TESTS_SQLITE_SUPPORT_H
#define TICKSTATE_TESTS_SQLITE_SUPPORT_H

#include "../api/api.h"
#include "../api/peers.h"

#include <sqlite3.h>

struct file {
    char folder[64]; /* removed with all that is in it */
    char path[96];
    char uri[API_URI_MAX];
};

int file_setup(void **fixture);
int file_teardown(void **fixture);
#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, file_setup, file_teardown)

/** Run SQL as another program; it must succeed. */
void outside(const struct file *file, const char *sql);
/** The same, and what it answers: columns with a | between them, rows with a line break. Static. */
const char *outside_answer(const struct file *file, const char *sql);
#define CHECK_ANSWER(file, sql, want)                                                              \
    check_answer(__FILE__, __LINE__, outside_answer((file), (sql)), (want))
void check_answer(const char *source, int line, const char *got, const char *want);

/** The call fails with this status, and its sentence has this in it. */
#define CHECK_SAYS(call, want, part)                                                               \
    do {                                                                                           \
        CHECK_STATUS(call, want);                                                                  \
        check_says(__FILE__, __LINE__, part);                                                      \
    } while (0)
void check_says(const char *source, int line, const char *part);

/** Opening the file fails so. */
#define CHECK_OPEN_SAYS(file, want, part)                                                          \
    do {                                                                                           \
        tks_store *store_ = NULL;                                                                  \
        CHECK_SAYS(tks_store_open((file)->uri, NULL, &store_), want, part);                        \
        CHECK(store_ == NULL);                                                                     \
    } while (0)

uint64_t version_of(tks_state *state, const char *key);

#endif
