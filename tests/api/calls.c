/* SPDX-License-Identifier: MIT */
/* The calls by key, by prepared key and inside a tick; and a table of all of them. */
#include "api.h"

#define BY_PREPARED(name, parameters, by_key, by_prepared)                                         \
    static int name##_by_prepared parameters                                                       \
    {                                                                                              \
        tks_key prepared;                                                                          \
        int status = tks_key_prepare(state, key, &prepared);                                       \
                                                                                                   \
        return status != TKS_OK ? status : tks_##name##_k by_prepared;                             \
    }
API_CALLS(BY_PREPARED)

#define IN_TICK(name, parameters, by_key, by_prepared)                                             \
    static int name##_in_tick parameters                                                           \
    {                                                                                              \
        int begun = tks_tick_begin(state);                                                         \
        int status = tks_##name by_key;                                                            \
                                                                                                   \
        if (begun == TKS_OK)                                                                       \
            CHECK_OK(tks_tick_end(state));                                                         \
        return status;                                                                             \
    }
API_CALLS(IN_TICK)

#define MEMBER_BY_KEY(name, parameters, by_key, by_prepared) .name = tks_##name,
#define MEMBER_BY_PREPARED(name, parameters, by_key, by_prepared) .name = name##_by_prepared,
#define MEMBER_IN_TICK(name, parameters, by_key, by_prepared) .name = name##_in_tick,

static const struct api_calls forms[] = {
    {.form = "by key", API_CALLS(MEMBER_BY_KEY)},
    {.form = "by prepared key", API_CALLS(MEMBER_BY_PREPARED)},
    {.form = "in a tick", API_CALLS(MEMBER_IN_TICK)},
};

const struct api_calls *op = &forms[0];

int api_run_forms_(const char *group, const struct CMUnitTest *tests, size_t count)
{
    int failed = 0;

    for (size_t i = 0; i < API_ARRAY(forms); i++) {
        char name[128];

        op = &forms[i];
        snprintf(name, sizeof(name), "%s, %s", group, op->form);
        failed += _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    }
    op = &forms[0];
    return failed;
}

/* ---- Each call once ---------------------------------------------------------------------- */

static int visit_nothing(void *arg, const char *key, size_t key_len)
{
    (void)arg;
    (void)key;
    (void)key_len;
    return 0;
}

static int any_keys(tks_state *state, tks_key *key)
{
    (void)key;
    return tks_keys(state, visit_nothing, NULL);
}

static int any_tick_begin(tks_state *state, tks_key *key)
{
    (void)key;
    return tks_tick_begin(state);
}

static int any_tick_begin_at(tks_state *state, tks_key *key)
{
    (void)key;
    return tks_tick_begin_at(state, 1000);
}

static int any_tick_end(tks_state *state, tks_key *key)
{
    (void)key;
    return tks_tick_end(state);
}

static int any_key_prepare(tks_state *state, tks_key *key)
{
    tks_key other;

    (void)key;
    return tks_key_prepare(state, "key", &other);
}

static const struct tks_record any_record = {.size = sizeof(any_record),
                                             .plugin = "plugin",
                                             .plugin_len = 6,
                                             .key = "key",
                                             .key_len = 3,
                                             .value = "v",
                                             .value_len = 1};

static int any_put_record(tks_state *state, tks_key *key)
{
    (void)key;
    return tks_put_record(state, &any_record);
}

static int any_copy_record(tks_state *state, tks_key *key)
{
    (void)key;
    return tks_copy_record(state, &any_record, NULL);
}

/* The same arguments by key and by prepared key. */
#define ANY(name, ...)                                                                             \
    static int any_##name(tks_state *state, tks_key *key)                                          \
    {                                                                                              \
        ANY_OUT(void) key;                                                                         \
        return tks_##name(state, "key" __VA_ARGS__);                                               \
    }                                                                                              \
    static int any_##name##_k(tks_state *state, tks_key *key)                                      \
    {                                                                                              \
        ANY_OUT                                                                                    \
        return tks_##name##_k(state, key __VA_ARGS__);                                             \
    }
#define ANY_OUT                                                                                    \
    char buf[8];                                                                                   \
    int64_t i64;                                                                                   \
    uint64_t version;                                                                              \
    double f64;                                                                                    \
    bool truth;                                                                                    \
    int type;                                                                                      \
    size_t len;                                                                                    \
    const void *borrowed;                                                                          \
    (void)buf, (void)i64, (void)version, (void)f64, (void)truth, (void)type, (void)len;            \
    (void)borrowed;

ANY(get, , buf, sizeof(buf), &len)
ANY(get_or_default, , "f", 1, buf, sizeof(buf), &len)
ANY(set, , "v", 1)
ANY(set_with_ttl, , "v", 1, 1000)
ANY(delete)
ANY(has)
ANY(borrow, , &borrowed, &len)
ANY(get_versioned, , buf, sizeof(buf), &len, &version)
ANY(set_if, , "v", 1, 0)
ANY(add_i64, , 1, &i64)
ANY(set_i64, , 1)
ANY(set_f64, , 1.5)
ANY(set_bool, , true)
ANY(set_str, , "v", 1)
ANY(set_json, , "[]", 2)
ANY(get_i64, , &i64)
ANY(get_f64, , &f64)
ANY(get_bool, , &truth)
ANY(type, , &type)

#define ANY_ROWS(name, parameters, by_key, by_prepared)                                            \
    {"tks_" #name, false, any_##name}, {"tks_" #name "_k", true, any_##name##_k},

const struct api_any_call api_every_call[] = {
    API_CALLS(ANY_ROWS){"tks_keys", false, any_keys}, {"tks_tick_begin", false, any_tick_begin},
    {"tks_tick_begin_at", false, any_tick_begin_at},  {"tks_tick_end", false, any_tick_end},
    {"tks_key_prepare", false, any_key_prepare},      {"tks_put_record", false, any_put_record},
    {"tks_copy_record", false, any_copy_record},
};
const size_t api_every_call_count = API_ARRAY(api_every_call);

void api_check_every_call(const char *file, int line, tks_state *state, tks_key *key, int want)
{
    for (size_t i = 0; i < api_every_call_count; i++)
        api_check_status(file, line, api_every_call[i].name, api_every_call[i].call(state, key),
                         want);
}
