/* SPDX-License-Identifier: MIT */
/*
 * What every program of the API suite shares: a fresh store per test, checks that work in any
 * thread and process, other processes to play with, and the calls in several forms.
 *
 * The suite knows nothing but <tickstate/tickstate.h> and a store URI. TKS_TEST_URI names it, "%p"
 * in it becomes something new for every store. What a backend may lack is asked, never assumed:
 * api_need() and api_need_sharing() skip the test, except on shm://, which may lack nothing.
 */
#ifndef TICKSTATE_TESTS_API_H
#define TICKSTATE_TESTS_API_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <cmocka.h>
#include <tickstate/tickstate.h>

#if defined(__SANITIZE_THREAD__)
#define API_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define API_THREAD_SANITIZER 1
#endif
#endif
#ifndef API_THREAD_SANITIZER
#define API_THREAD_SANITIZER 0
#endif

#define API_URI_MAX 512
#define API_ARRAY(a) (sizeof(a) / sizeof((a)[0]))
#define API_HOUR_MS ((int64_t)3600 * 1000)

/* ---- Checks ------------------------------------------------------------------------------ */

/*
 * cmocka's own assertions jump back into the runner, which is wrong in a second thread or a forked
 * child. These fail the test in the main thread and end the process anywhere else.
 */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            api_fail(__FILE__, __LINE__, "not so: %s", #condition);                                \
    } while (0)
#define CHECK_STATUS(call, want) api_check_status(__FILE__, __LINE__, #call, (call), (want))
#define CHECK_OK(call) CHECK_STATUS(call, TKS_OK)
#define CHECK_INT(got, want)                                                                       \
    api_check_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
/** The value of key is exactly these bytes. */
#define CHECK_BYTES(state, key, bytes, len)                                                        \
    api_check_bytes(__FILE__, __LINE__, (state), (key), (bytes), (len))
#define CHECK_TEXT(state, key, text) CHECK_BYTES(state, key, text, strlen(text))
/** The key is absent for every call that reads one. */
#define CHECK_ABSENT(state, key) api_check_absent(__FILE__, __LINE__, (state), (key))
#define CHECK_TYPE(state, key, type) api_check_type(__FILE__, __LINE__, (state), (key), (type))

__attribute__((noreturn, format(printf, 3, 4))) void api_fail(const char *file, int line,
                                                              const char *format, ...);
void api_check_status(const char *file, int line, const char *call, int got, int want);
void api_check_int(const char *file, int line, const char *what, long long got, long long want);
void api_check_bytes(const char *file, int line, tks_state *state, const char *key,
                     const void *bytes, size_t len);
void api_check_absent(const char *file, int line, tks_state *state, const char *key);
void api_check_type(const char *file, int line, tks_state *state, const char *key, int type);

/* ---- A store per test -------------------------------------------------------------------- */

struct api {
    char uri[API_URI_MAX];
    tks_store *store;
    tks_state *state; /**< of plugin "plugin" */
};

int api_setup(void **fixture);
/** Closes, audits, destroys. A test may have closed and zeroed what is in the fixture. */
int api_teardown(void **fixture);
#define API_TEST(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)

/** The URI under test, not used by any store yet. */
void api_fresh_uri(char uri[API_URI_MAX]);
/** A fresh shm:// URI with this query, e.g. "size=1M". */
void api_shm_uri(char uri[API_URI_MAX], const char *query);
bool api_is_shm(void);
/** Whether calls are carried out by another process, also when the caller is dead by then. */
bool api_has_server(void);
tks_store *api_store(const char *uri);
tks_state *api_state(tks_store *store, const char *plugin);
/** Close, audit, destroy. */
void api_dispose(tks_store *store, const char *uri);
/** For the end of a test that put its own store in place of the fixture's. */
void api_replace_store(struct api *f, const char *query);

/** Skip the test when the backend says TKS_UNSUPPORTED. */
void api_need(int status);
/** Skip the test when the backend has no tks_borrow(). Before anything is allocated or opened. */
void api_need_borrow(struct api *f);
/** Skip the test when two stores opened by one URI do not share their content. */
void api_need_sharing(struct api *f);

/** Entries that are stored, expired ones included; -1 when the backend cannot tell. */
int64_t api_stored_entries(tks_store *store);
uint64_t api_open_states(tks_store *store);
uint64_t api_live_keys(tks_store *store);
uint64_t api_count_keys(tks_state *state);

/**
 * Returns when what was set with this TTL before the call has expired. Awaits an entry's own
 * expiry, in another plugin.
 */
void api_let_expire(tks_store *store, int64_t ttl_ms);
/** Wall clock, ms since 1970. */
int64_t api_wall_ms(void);

/** Bytes that depend on seed, for values that must not be mistaken for each other. */
void api_pattern(void *buf, size_t len, uint64_t seed);
/** xorshift64*: never 0. */
uint64_t api_random(uint64_t *seed);

/* ---- The calls in several forms ---------------------------------------------------------- */

#define API_CALLS(X)                                                                               \
    X(get, (tks_state * state, const char *key, void *buf, size_t cap, size_t *len),               \
      (state, key, buf, cap, len), (state, &prepared, buf, cap, len))                              \
    X(get_or_default,                                                                              \
      (tks_state * state, const char *key, const void *fallback, size_t fallback_len, void *buf,   \
       size_t cap, size_t *len),                                                                   \
      (state, key, fallback, fallback_len, buf, cap, len),                                         \
      (state, &prepared, fallback, fallback_len, buf, cap, len))                                   \
    X(set, (tks_state * state, const char *key, const void *value, size_t len),                    \
      (state, key, value, len), (state, &prepared, value, len))                                    \
    X(set_with_ttl,                                                                                \
      (tks_state * state, const char *key, const void *value, size_t len, int64_t ttl_ms),         \
      (state, key, value, len, ttl_ms), (state, &prepared, value, len, ttl_ms))                    \
    X(delete, (tks_state * state, const char *key), (state, key), (state, &prepared))              \
    X(has, (tks_state * state, const char *key), (state, key), (state, &prepared))                 \
    X(borrow, (tks_state * state, const char *key, const void **value, size_t *len),               \
      (state, key, value, len), (state, &prepared, value, len))                                    \
    X(get_versioned,                                                                               \
      (tks_state * state, const char *key, void *buf, size_t cap, size_t *len, uint64_t *version), \
      (state, key, buf, cap, len, version), (state, &prepared, buf, cap, len, version))            \
    X(set_if,                                                                                      \
      (tks_state * state, const char *key, const void *value, size_t len, uint64_t version),       \
      (state, key, value, len, version), (state, &prepared, value, len, version))                  \
    X(add_i64, (tks_state * state, const char *key, int64_t delta, int64_t *result),               \
      (state, key, delta, result), (state, &prepared, delta, result))                              \
    X(set_i64, (tks_state * state, const char *key, int64_t value), (state, key, value),           \
      (state, &prepared, value))                                                                   \
    X(set_f64, (tks_state * state, const char *key, double value), (state, key, value),            \
      (state, &prepared, value))                                                                   \
    X(set_bool, (tks_state * state, const char *key, bool value), (state, key, value),             \
      (state, &prepared, value))                                                                   \
    X(set_str, (tks_state * state, const char *key, const char *text, size_t len),                 \
      (state, key, text, len), (state, &prepared, text, len))                                      \
    X(set_json, (tks_state * state, const char *key, const char *text, size_t len),                \
      (state, key, text, len), (state, &prepared, text, len))                                      \
    X(get_i64, (tks_state * state, const char *key, int64_t *value), (state, key, value),          \
      (state, &prepared, value))                                                                   \
    X(get_f64, (tks_state * state, const char *key, double *value), (state, key, value),           \
      (state, &prepared, value))                                                                   \
    X(get_bool, (tks_state * state, const char *key, bool *value), (state, key, value),            \
      (state, &prepared, value))                                                                   \
    X(type, (tks_state * state, const char *key, int *type), (state, key, type),                   \
      (state, &prepared, type))

/** Every call that takes a key, in one form. */
struct api_calls {
    const char *form;
#define API_CALL_MEMBER(name, parameters, by_key, by_prepared) int(*name) parameters;
    API_CALLS(API_CALL_MEMBER)
#undef API_CALL_MEMBER
};

/** The form the running test uses; by key outside api_run_forms(). */
extern const struct api_calls *op;

/**
 * Run a group once by key, once by prepared key, once with a tick around every call that is not in
 * one already.
 */
int api_run_forms_(const char *group, const struct CMUnitTest *tests, size_t count);
#define api_run_forms(group, tests) api_run_forms_(group, tests, API_ARRAY(tests))
#define api_run(group, tests) cmocka_run_group_tests_name(group, tests, NULL, NULL)

/** One harmless call with key "key" or a key prepared for it. */
struct api_any_call {
    const char *name;
    bool prepared; /**< the _k form */
    int (*call)(tks_state *state, tks_key *key);
};
extern const struct api_any_call api_every_call[];
extern const size_t api_every_call_count;
/** All of them, with status want. */
#define CHECK_EVERY_CALL(state, key, want)                                                         \
    api_check_every_call(__FILE__, __LINE__, (state), (key), (want))
void api_check_every_call(const char *file, int line, tks_state *state, tks_key *key, int want);

/* ---- Other processes --------------------------------------------------------------------- */

/**
 * A forked child. Its body gets one end of a socket pair for api_tell() and api_hear(); its return
 * value is the exit status. It ends with its parent.
 */
struct api_peer {
    pid_t pid;
    int fd;
};
typedef int (*api_body)(int fd, void *arg);

struct api_peer api_spawn(api_body body, void *arg);
/** Wait for its end; it must have exited with 0. */
void api_join(struct api_peer *peer);
/** SIGKILL; the child stays a zombie until api_reap(). */
void api_kill(struct api_peer *peer);
void api_reap(struct api_peer *peer);
/** SIGSTOP; it has stopped, all its threads, when this returns. */
void api_stop(const struct api_peer *peer);
/** One byte through a peer's socket, and waiting for one. */
void api_tell(int fd);
void api_hear(int fd);

/** Run count bodies at once: all start, then all are let go. index is 0 to count - 1. */
void api_crew(int count, int (*body)(int index, void *arg), void *arg);

#endif
