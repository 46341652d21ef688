/* SPDX-License-Identifier: MIT */
/* Versions, compare-and-set and counters. */
#include <stdlib.h>

#include "api.h"

static uint64_t version_of(tks_state *state, const char *key)
{
    uint64_t version = 0;
    char buf[64];

    CHECK_OK(op->get_versioned(state, key, buf, sizeof(buf), NULL, &version));
    CHECK(version != 0);
    return version;
}

static void get_versioned_gives_the_value_and_a_version(void **fixture)
{
    struct api *f = *fixture;
    uint64_t version = 0;
    char buf[8];
    size_t len;

    CHECK_OK(op->set(f->state, "key", "value", 5));
    CHECK_OK(op->get_versioned(f->state, "key", buf, sizeof(buf), &len, &version));
    CHECK_INT(len, 5);
    CHECK(memcmp(buf, "value", 5) == 0);
    CHECK(version != 0);
    CHECK(version_of(f->state, "key") == version);
}

static void an_absent_key_has_version_0(void **fixture)
{
    struct api *f = *fixture;
    uint64_t version = 12345;
    size_t len = 12345;

    CHECK_STATUS(op->get_versioned(f->state, "key", NULL, 0, &len, &version), TKS_NOT_FOUND);
    CHECK_INT(version, 0);
    CHECK_INT(len, 0);
}

static void every_write_changes_the_version(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = {.size = sizeof(record),
                                .type = TKS_TYPE_I64,
                                .plugin = "plugin",
                                .plugin_len = 6,
                                .key = "key",
                                .key_len = 3,
                                .value = &(int64_t){1},
                                .value_len = 8};
    uint64_t versions[12];
    int n = 0;

    CHECK_OK(op->set(f->state, "key", "same", 4));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set(f->state, "key", "same", 4)); /* also when the value stays the same */
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set_with_ttl(f->state, "key", "same", 4, API_HOUR_MS));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set_if(f->state, "key", "same", 4, versions[n - 1]));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set_i64(f->state, "key", 1));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->add_i64(f->state, "key", 0, NULL));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set_f64(f->state, "key", 1));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set_bool(f->state, "key", true));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set_str(f->state, "key", "same", 4));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(op->set_json(f->state, "key", "[]", 2));
    versions[n++] = version_of(f->state, "key");
    CHECK_OK(tks_put_record(f->state, &record));
    versions[n++] = version_of(f->state, "key");
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++)
            CHECK(versions[i] != versions[j]);
    }
}

static void reading_and_failing_leave_the_version(void **fixture)
{
    struct api *f = *fixture;
    uint64_t version;
    int64_t i64;

    CHECK_OK(op->set(f->state, "key", "value", 5));
    version = version_of(f->state, "key");
    CHECK_INT(op->has(f->state, "key"), 1);
    CHECK_STATUS(op->get_i64(f->state, "key", &i64), TKS_TYPE);
    CHECK_STATUS(op->add_i64(f->state, "key", 1, NULL), TKS_TYPE);
    CHECK_STATUS(op->set_if(f->state, "key", "other", 5, 0), TKS_CONFLICT);
    CHECK_STATUS(op->set_with_ttl(f->state, "key", "other", 5, 0), TKS_INVALID);
    CHECK_OK(op->set(f->state, "other", "value", 5));
    CHECK_OK(op->delete (f->state, "other"));
    CHECK(version_of(f->state, "key") == version);
}

static int compare_versions(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void versions_are_unique_across_keys_states_and_plugins(void **fixture)
{
    enum { WRITES = 6000 };
    struct api *f = *fixture;
    tks_state *states[3] = {f->state, api_state(f->store, "plugin"), api_state(f->store, "other")};
    uint64_t *versions = calloc(WRITES, sizeof(*versions));
    char key[16];

    CHECK(versions != NULL);
    for (int i = 0; i < WRITES; i++) {
        snprintf(key, sizeof(key), "k%d", i % 40);
        CHECK_OK(op->set(states[i % 3], key, &i, sizeof(i)));
        versions[i] = version_of(states[i % 3], key);
        if (i % 7 == 0)
            CHECK_OK(op->delete (states[i % 3], key));
    }
    qsort(versions, WRITES, sizeof(*versions), compare_versions);
    for (int i = 1; i < WRITES; i++)
        CHECK(versions[i] != versions[i - 1]);
    free(versions);
    tks_state_close(states[1]);
    tks_state_close(states[2]);
}

static void set_if_stores_over_the_version_it_names(void **fixture)
{
    struct api *f = *fixture;
    uint64_t version;

    CHECK_OK(op->set(f->state, "key", "one", 3));
    version = version_of(f->state, "key");
    CHECK_OK(op->set_if(f->state, "key", "two", 3, version));
    CHECK_TEXT(f->state, "key", "two");
    CHECK_STATUS(op->set_if(f->state, "key", "three", 5, version), TKS_CONFLICT);
    CHECK_TEXT(f->state, "key", "two");
    CHECK_TYPE(f->state, "key", TKS_TYPE_BYTES);
}

static void set_if_0_stores_only_when_absent(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_if(f->state, "key", "one", 3, 0));
    CHECK_STATUS(op->set_if(f->state, "key", "two", 3, 0), TKS_CONFLICT);
    CHECK_TEXT(f->state, "key", "one");
    CHECK_OK(op->delete (f->state, "key"));
    CHECK_OK(op->set_if(f->state, "key", "three", 5, 0));
    CHECK_TEXT(f->state, "key", "three");
}

static void set_if_conflicts_with_an_absent_key(void **fixture)
{
    static const uint64_t versions[] = {1, 2, UINT64_C(1) << 63, UINT64_MAX};
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(versions); i++)
        CHECK_STATUS(op->set_if(f->state, "key", "v", 1, versions[i]), TKS_CONFLICT);
    CHECK_ABSENT(f->state, "key");
}

static void a_version_is_dead_after_a_delete(void **fixture)
{
    struct api *f = *fixture;
    uint64_t version;

    for (int i = 0; i < 200; i++) {
        CHECK_OK(op->set(f->state, "key", "value", 5));
        version = version_of(f->state, "key");
        CHECK_OK(op->delete (f->state, "key"));
        CHECK_STATUS(op->set_if(f->state, "key", "w", 1, version), TKS_CONFLICT);
        CHECK_OK(op->set(f->state, "key", "value", 5)); /* the same value once more */
        CHECK(version_of(f->state, "key") != version);
        CHECK_STATUS(op->set_if(f->state, "key", "w", 1, version), TKS_CONFLICT);
        CHECK_TEXT(f->state, "key", "value");
    }
}

static void a_version_of_one_key_is_none_of_another(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set(f->state, "a", "value", 5));
    CHECK_OK(op->set(f->state, "b", "value", 5));
    CHECK_STATUS(op->set_if(f->state, "b", "w", 1, version_of(f->state, "a")), TKS_CONFLICT);
    CHECK_TEXT(f->state, "b", "value");
}

static void set_if_sees_another_states_write(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");
    uint64_t version;

    CHECK_OK(op->set(f->state, "key", "one", 3));
    version = version_of(f->state, "key");
    CHECK(version_of(twin, "key") == version);
    CHECK_OK(op->set(twin, "key", "two", 3));
    CHECK_STATUS(op->set_if(f->state, "key", "three", 5, version), TKS_CONFLICT);
    CHECK_OK(op->set_if(f->state, "key", "three", 5, version_of(twin, "key")));
    CHECK_TEXT(twin, "key", "three");
    tks_state_close(twin);
}

static void set_if_never_fails_without_a_reason(void **fixture)
{
    struct api *f = *fixture;
    uint64_t version = 0;

    for (int i = 0; i < 5000; i++) {
        CHECK_OK(op->set_if(f->state, "key", &i, sizeof(i), version));
        version = version_of(f->state, "key");
    }
}

/* ---- Counters ---------------------------------------------------------------------------- */

static void add_counts_an_absent_key_as_0(void **fixture)
{
    struct api *f = *fixture;
    int64_t result = 0;

    CHECK_OK(op->add_i64(f->state, "key", 5, &result));
    CHECK_INT(result, 5);
    CHECK_OK(op->add_i64(f->state, "key", -7, &result));
    CHECK_INT(result, -2);
    CHECK_OK(op->add_i64(f->state, "key", 0, &result));
    CHECK_INT(result, -2);
    CHECK_OK(op->add_i64(f->state, "key", 3, NULL));
    CHECK_OK(op->get_i64(f->state, "key", &result));
    CHECK_INT(result, 1);
    CHECK_TYPE(f->state, "key", TKS_TYPE_I64);
    CHECK_OK(op->add_i64(f->state, "zero", 0, &result));
    CHECK_INT(result, 0);
    CHECK_INT(op->has(f->state, "zero"), 1);
}

static void add_adds_to_what_set_i64_stored(void **fixture)
{
    struct api *f = *fixture;
    int64_t result = 0;

    CHECK_OK(op->set_i64(f->state, "key", 1000));
    CHECK_OK(op->add_i64(f->state, "key", 1, &result));
    CHECK_INT(result, 1001);
    CHECK_OK(op->delete (f->state, "key"));
    CHECK_OK(op->add_i64(f->state, "key", 1, &result));
    CHECK_INT(result, 1);
}

static void add_says_range_rather_than_overflow(void **fixture)
{
    static const struct {
        int64_t start, delta;
    } rows[] = {
        {INT64_MAX, 1},         {INT64_MAX - 1, 2},  {INT64_MAX, INT64_MAX}, {INT64_MIN, -1},
        {INT64_MIN, INT64_MIN}, {-2, INT64_MIN + 1}, {1, INT64_MAX},
    };
    struct api *f = *fixture;
    int64_t value;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        CHECK_OK(op->set_i64(f->state, "key", rows[i].start));
        CHECK_STATUS(op->add_i64(f->state, "key", rows[i].delta, NULL), TKS_RANGE);
        CHECK_OK(op->get_i64(f->state, "key", &value));
        CHECK(value == rows[i].start);
    }
}

static void add_reaches_both_ends(void **fixture)
{
    struct api *f = *fixture;
    int64_t value = 0;

    CHECK_OK(op->add_i64(f->state, "max", INT64_MAX, &value));
    CHECK(value == INT64_MAX);
    CHECK_OK(op->add_i64(f->state, "max", INT64_MIN, &value));
    CHECK_INT(value, -1);
    CHECK_OK(op->add_i64(f->state, "max", INT64_MIN + 1, &value));
    CHECK(value == INT64_MIN);
    CHECK_OK(op->add_i64(f->state, "min", INT64_MIN, &value));
    CHECK(value == INT64_MIN);
}

static void add_refuses_another_type(void **fixture)
{
    struct api *f = *fixture;
    double f64 = 0;

    CHECK_OK(op->set(f->state, "bytes", "12345678", 8));
    CHECK_STATUS(op->add_i64(f->state, "bytes", 1, NULL), TKS_TYPE);
    CHECK_TEXT(f->state, "bytes", "12345678");
    CHECK_OK(op->set_f64(f->state, "f64", 1));
    CHECK_STATUS(op->add_i64(f->state, "f64", 1, NULL), TKS_TYPE);
    CHECK_OK(op->get_f64(f->state, "f64", &f64));
    CHECK(f64 == 1);
    CHECK_OK(op->set_bool(f->state, "bool", true));
    CHECK_STATUS(op->add_i64(f->state, "bool", 1, NULL), TKS_TYPE);
    CHECK_OK(op->set_str(f->state, "str", "1", 1));
    CHECK_STATUS(op->add_i64(f->state, "str", 1, NULL), TKS_TYPE);
    CHECK_OK(op->set_json(f->state, "json", "[1]", 3));
    CHECK_STATUS(op->add_i64(f->state, "json", 1, NULL), TKS_TYPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(get_versioned_gives_the_value_and_a_version),
        API_TEST(an_absent_key_has_version_0),
        API_TEST(every_write_changes_the_version),
        API_TEST(reading_and_failing_leave_the_version),
        API_TEST(versions_are_unique_across_keys_states_and_plugins),
        API_TEST(set_if_stores_over_the_version_it_names),
        API_TEST(set_if_0_stores_only_when_absent),
        API_TEST(set_if_conflicts_with_an_absent_key),
        API_TEST(a_version_is_dead_after_a_delete),
        API_TEST(a_version_of_one_key_is_none_of_another),
        API_TEST(set_if_sees_another_states_write),
        API_TEST(set_if_never_fails_without_a_reason),
        API_TEST(add_counts_an_absent_key_as_0),
        API_TEST(add_adds_to_what_set_i64_stored),
        API_TEST(add_says_range_rather_than_overflow),
        API_TEST(add_reaches_both_ends),
        API_TEST(add_refuses_another_type),
    };

    return api_run_forms("versions and counters", tests);
}
