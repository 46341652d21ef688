/* SPDX-License-Identifier: MIT */
/* The seven operations and their limits. */
#include <stdlib.h>

#include "api.h"
#include "utf8.h"

static void get_returns_what_set_stored(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set(f->state, "key", "value", 5));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_TYPE(f->state, "key", TKS_TYPE_BYTES);
}

static void a_key_never_set_is_absent(void **fixture)
{
    struct api *f = *fixture;

    CHECK_ABSENT(f->state, "key");
}

static void set_overwrites(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set(f->state, "key", "one", 3));
    CHECK_OK(op->set(f->state, "key", "two and more", 12));
    CHECK_TEXT(f->state, "key", "two and more");
    CHECK_OK(op->set(f->state, "key", "3", 1));
    CHECK_TEXT(f->state, "key", "3");
    CHECK_INT(api_count_keys(f->state), 1);
}

static void values_of_every_length_come_back(void **fixture)
{
    static const size_t lengths[] = {0,    1,    7,    8,     9,     15,    16,     17,     31,
                                     63,   64,   65,   127,   128,   129,   255,    256,    1000,
                                     4095, 4096, 4097, 65535, 65536, 65537, 300000, 1 << 20};
    struct api *f = *fixture;
    char *value = malloc((size_t)1 << 20);

    CHECK(value != NULL);
    for (size_t i = 0; i < API_ARRAY(lengths); i++) {
        api_pattern(value, lengths[i], lengths[i]);
        CHECK_OK(op->set(f->state, "key", value, lengths[i]));
        CHECK_BYTES(f->state, "key", value, lengths[i]);
    }
    for (size_t i = API_ARRAY(lengths); i-- > 0;) {
        api_pattern(value, lengths[i], i);
        CHECK_OK(op->set(f->state, "key", value, lengths[i]));
        CHECK_BYTES(f->state, "key", value, lengths[i]);
    }
    free(value);
}

static void every_small_length_comes_back_from_its_own_key(void **fixture)
{
    struct api *f = *fixture;
    char value[600];
    char key[16];

    for (size_t len = 0; len < sizeof(value); len++) {
        snprintf(key, sizeof(key), "len-%zu", len);
        api_pattern(value, len, len);
        CHECK_OK(op->set(f->state, key, value, len));
    }
    for (size_t len = 0; len < sizeof(value); len++) {
        snprintf(key, sizeof(key), "len-%zu", len);
        api_pattern(value, len, len);
        CHECK_BYTES(f->state, key, value, len);
    }
}

static void a_value_may_hold_every_byte(void **fixture)
{
    struct api *f = *fixture;
    unsigned char value[512];

    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (unsigned char)i;
    CHECK_OK(op->set(f->state, "key", value, sizeof(value)));
    CHECK_BYTES(f->state, "key", value, sizeof(value));
}

static void an_empty_value_is_present(void **fixture)
{
    struct api *f = *fixture;
    size_t len = 12345;

    CHECK_OK(op->set(f->state, "key", NULL, 0));
    CHECK_INT(op->has(f->state, "key"), 1);
    CHECK_OK(op->get(f->state, "key", NULL, 0, &len));
    CHECK_INT(len, 0);
    CHECK_OK(op->set_with_ttl(f->state, "ttl", NULL, 0, API_HOUR_MS));
    CHECK_INT(op->has(f->state, "ttl"), 1);
    CHECK_OK(op->set_if(f->state, "if", NULL, 0, 0));
    CHECK_INT(op->has(f->state, "if"), 1);
    CHECK_OK(op->set_str(f->state, "str", NULL, 0));
    CHECK_INT(op->has(f->state, "str"), 1);
}

static void a_small_buffer_gets_nothing_but_the_length(void **fixture)
{
    struct api *f = *fixture;
    char buf[8] = "untouch";
    size_t len;
    uint64_t version;

    CHECK_OK(op->set(f->state, "key", "12345", 5));
    for (size_t cap = 0; cap < 5; cap++) {
        len = 12345;
        CHECK_STATUS(op->get(f->state, "key", buf, cap, &len), TKS_TOO_SMALL);
        CHECK_INT(len, 5);
        len = 12345;
        CHECK_STATUS(op->get_or_default(f->state, "key", "", 0, buf, cap, &len), TKS_TOO_SMALL);
        CHECK_INT(len, 5);
        len = 12345;
        CHECK_STATUS(op->get_versioned(f->state, "key", buf, cap, &len, &version), TKS_TOO_SMALL);
        CHECK_INT(len, 5);
    }
    CHECK(strcmp(buf, "untouch") == 0);
    CHECK_STATUS(op->get(f->state, "key", NULL, 0, &len), TKS_TOO_SMALL);
    CHECK_OK(op->get(f->state, "key", buf, 5, &len));
    CHECK(memcmp(buf, "12345ch", 8) == 0);
}

static void get_writes_no_byte_past_the_value(void **fixture)
{
    struct api *f = *fixture;
    char value[200];
    char buf[264];

    api_pattern(value, sizeof(value), 1);
    for (size_t len = 0; len <= sizeof(value); len++) {
        CHECK_OK(op->set(f->state, "key", value, len));
        memset(buf, 0x5a, sizeof(buf));
        CHECK_OK(op->get(f->state, "key", buf + 1, sizeof(buf) - 1, NULL));
        CHECK(memcmp(buf + 1, value, len) == 0);
        CHECK_INT(buf[0], 0x5a);
        for (size_t i = 1 + len; i < sizeof(buf); i++)
            CHECK_INT(buf[i], 0x5a);
    }
}

static void the_length_need_not_be_asked_for(void **fixture)
{
    struct api *f = *fixture;
    char buf[8];

    CHECK_STATUS(op->get(f->state, "key", buf, sizeof(buf), NULL), TKS_NOT_FOUND);
    CHECK_OK(op->get_or_default(f->state, "key", "d", 1, buf, sizeof(buf), NULL));
    CHECK_OK(op->set(f->state, "key", "value", 5));
    CHECK_OK(op->get(f->state, "key", buf, sizeof(buf), NULL));
    CHECK_STATUS(op->get(f->state, "key", buf, 1, NULL), TKS_TOO_SMALL);
    CHECK_OK(op->get_or_default(f->state, "key", "d", 1, buf, sizeof(buf), NULL));
    CHECK_OK(op->get_versioned(f->state, "key", buf, sizeof(buf), NULL, NULL));
}

static void get_or_default_prefers_the_value(void **fixture)
{
    struct api *f = *fixture;
    char buf[8];
    size_t len;

    CHECK_OK(op->set(f->state, "key", "value", 5));
    CHECK_OK(op->get_or_default(f->state, "key", "default", 7, buf, sizeof(buf), &len));
    CHECK_INT(len, 5);
    CHECK(memcmp(buf, "value", 5) == 0);
}

static void get_or_default_stores_nothing(void **fixture)
{
    struct api *f = *fixture;
    char buf[8];
    size_t len;

    CHECK_OK(op->get_or_default(f->state, "key", "default", 7, buf, sizeof(buf), &len));
    CHECK_INT(len, 7);
    CHECK(memcmp(buf, "default", 7) == 0);
    CHECK_ABSENT(f->state, "key");
    CHECK_INT(api_count_keys(f->state), 0);
}

static void a_fallback_may_be_empty_or_too_large(void **fixture)
{
    struct api *f = *fixture;
    char buf[8] = "untouch";
    size_t len = 12345;

    CHECK_OK(op->get_or_default(f->state, "key", NULL, 0, NULL, 0, &len));
    CHECK_INT(len, 0);
    CHECK_STATUS(op->get_or_default(f->state, "key", "default", 7, buf, 6, &len), TKS_TOO_SMALL);
    CHECK_INT(len, 7);
    CHECK(strcmp(buf, "untouch") == 0);
}

static void delete_is_idempotent(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->delete (f->state, "key"));
    CHECK_OK(op->set(f->state, "key", "value", 5));
    CHECK_OK(op->delete (f->state, "key"));
    CHECK_ABSENT(f->state, "key");
    CHECK_OK(op->delete (f->state, "key"));
    CHECK_OK(op->set(f->state, "key", "again", 5));
    CHECK_TEXT(f->state, "key", "again");
}

static void delete_takes_only_its_own_key(void **fixture)
{
    struct api *f = *fixture;
    char key[16];

    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(op->set(f->state, key, key, strlen(key)));
    }
    for (int i = 0; i < 300; i += 2) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(op->delete (f->state, key));
    }
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        if (i % 2 == 0)
            CHECK_INT(op->has(f->state, key), 0);
        else
            CHECK_TEXT(f->state, key, key);
    }
    CHECK_INT(api_count_keys(f->state), 150);
}

static void keys_that_begin_alike_are_different_keys(void **fixture)
{
    static const char *const keys[] = {"a", "aa", "aaa", "aaaaaaaa", "aaaaaaaaa", "a\x01",
                                       "A", "a ", " a",  "\xc3\xa4", "a\xcc\x88"};
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(keys); i++)
        CHECK_OK(op->set(f->state, keys[i], &i, sizeof(i)));
    for (size_t i = 0; i < API_ARRAY(keys); i++)
        CHECK_BYTES(f->state, keys[i], &i, sizeof(i));
    CHECK_INT(api_count_keys(f->state), API_ARRAY(keys));
}

/* ---- Limits ------------------------------------------------------------------------------ */

static void keys_of_1_to_255_bytes_work(void **fixture)
{
    struct api *f = *fixture;
    char key[TKS_NAME_MAX + 1];

    for (size_t len = 1; len <= TKS_NAME_MAX; len++) {
        memset(key, 'k', len);
        key[len] = '\0';
        CHECK_OK(op->set(f->state, key, &len, sizeof(len)));
    }
    for (size_t len = 1; len <= TKS_NAME_MAX; len++) {
        memset(key, 'k', len);
        key[len] = '\0';
        CHECK_BYTES(f->state, key, &len, sizeof(len));
    }
    CHECK_INT(api_count_keys(f->state), TKS_NAME_MAX);
}

static void a_long_key_goes_with_a_large_value(void **fixture)
{
    struct api *f = *fixture;
    size_t len = (size_t)1 << 20;
    char *value = malloc(len);
    char key[TKS_NAME_MAX + 1];

    CHECK(value != NULL);
    memset(key, 'k', TKS_NAME_MAX);
    key[TKS_NAME_MAX] = '\0';
    api_pattern(value, len, 3);
    CHECK_OK(op->set(f->state, key, value, len));
    CHECK_BYTES(f->state, key, value, len);
    free(value);
}

static void every_good_utf8_is_a_key(void **fixture)
{
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(api_utf8_good); i++)
        CHECK_OK(op->set(f->state, api_utf8_good[i], &i, sizeof(i)));
    for (size_t i = 0; i < API_ARRAY(api_utf8_good); i++)
        CHECK_BYTES(f->state, api_utf8_good[i], &i, sizeof(i));
}

/* Every call that takes a key says INVALID to this one. */
static void check_bad_key(tks_state *state, const char *key)
{
    char buf[8];
    uint64_t version;
    int64_t i64;
    double f64;
    bool truth;
    int type;

    CHECK_STATUS(op->get(state, key, buf, sizeof(buf), NULL), TKS_INVALID);
    CHECK_STATUS(op->get_or_default(state, key, "f", 1, buf, sizeof(buf), NULL), TKS_INVALID);
    CHECK_STATUS(op->set(state, key, "v", 1), TKS_INVALID);
    CHECK_STATUS(op->set_with_ttl(state, key, "v", 1, 1000), TKS_INVALID);
    CHECK_STATUS(op->delete (state, key), TKS_INVALID);
    CHECK_STATUS(op->has(state, key), TKS_INVALID);
    CHECK_STATUS(op->get_versioned(state, key, buf, sizeof(buf), NULL, &version), TKS_INVALID);
    CHECK_STATUS(op->set_if(state, key, "v", 1, 0), TKS_INVALID);
    CHECK_STATUS(op->add_i64(state, key, 1, &i64), TKS_INVALID);
    CHECK_STATUS(op->set_i64(state, key, 1), TKS_INVALID);
    CHECK_STATUS(op->set_f64(state, key, 1), TKS_INVALID);
    CHECK_STATUS(op->set_bool(state, key, true), TKS_INVALID);
    CHECK_STATUS(op->set_str(state, key, "v", 1), TKS_INVALID);
    CHECK_STATUS(op->set_json(state, key, "1", 1), TKS_INVALID);
    CHECK_STATUS(op->get_i64(state, key, &i64), TKS_INVALID);
    CHECK_STATUS(op->get_f64(state, key, &f64), TKS_INVALID);
    CHECK_STATUS(op->get_bool(state, key, &truth), TKS_INVALID);
    CHECK_STATUS(op->type(state, key, &type), TKS_INVALID);
}

static void a_key_that_is_null_empty_or_256_bytes_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    char key[2000];

    check_bad_key(f->state, NULL);
    check_bad_key(f->state, "");
    memset(key, 'k', sizeof(key));
    key[TKS_NAME_MAX + 1] = '\0';
    check_bad_key(f->state, key);
    key[TKS_NAME_MAX + 1] = 'k';
    key[sizeof(key) - 1] = '\0';
    check_bad_key(f->state, key);
    CHECK_INT(api_count_keys(f->state), 0);
}

static void a_key_that_is_not_utf8_is_invalid(void **fixture)
{
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(api_utf8_bad); i++)
        check_bad_key(f->state, api_utf8_bad[i]);
    CHECK_INT(api_count_keys(f->state), 0);
}

static void a_character_cut_by_the_limit_is_no_way_out(void **fixture)
{
    struct api *f = *fixture;
    char key[TKS_NAME_MAX + 2];

    /* 254 letters and the two bytes of one more: 256. */
    memset(key, 'k', sizeof(key));
    memcpy(key + 254, "\xc3\xbc", 3);
    check_bad_key(f->state, key);
    /* 253 and the two: 255. */
    memcpy(key + 253, "\xc3\xbc", 3);
    CHECK_OK(op->set(f->state, key, "v", 1));
    CHECK_TEXT(f->state, key, "v");
}

static void the_longest_value_fits(void **fixture)
{
    struct api *f = *fixture;
    char *value = malloc(TKS_VALUE_MAX);

    CHECK(value != NULL);
    for (uint64_t i = 0; i < 3; i++) {
        api_pattern(value, TKS_VALUE_MAX, i);
        CHECK_OK(op->set(f->state, "key", value, TKS_VALUE_MAX));
        CHECK_BYTES(f->state, "key", value, TKS_VALUE_MAX);
    }
    free(value);
}

static void a_value_beyond_the_longest_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    char *value = calloc(1, TKS_VALUE_MAX + 1);

    CHECK(value != NULL);
    memset(value, ' ', TKS_VALUE_MAX + 1);
    CHECK_OK(op->set(f->state, "key", "value", 5));
    CHECK_STATUS(op->set(f->state, "key", value, TKS_VALUE_MAX + 1), TKS_INVALID);
    CHECK_STATUS(op->set(f->state, "key", value, SIZE_MAX), TKS_INVALID);
    CHECK_STATUS(op->set_with_ttl(f->state, "key", value, TKS_VALUE_MAX + 1, 1), TKS_INVALID);
    CHECK_STATUS(op->set_str(f->state, "key", value, TKS_VALUE_MAX + 1), TKS_INVALID);
    value[0] = '[';
    value[TKS_VALUE_MAX] = ']';
    CHECK_STATUS(op->set_json(f->state, "key", value, TKS_VALUE_MAX + 1), TKS_INVALID);
    CHECK_STATUS(op->set_if(f->state, "none", value, TKS_VALUE_MAX + 1, 0), TKS_INVALID);
    CHECK_TEXT(f->state, "key", "value");
    CHECK_ABSENT(f->state, "none");
    free(value);
}

static void null_arguments_are_invalid(void **fixture)
{
    struct api *f = *fixture;
    char buf[8];
    size_t len;

    CHECK_OK(op->set(f->state, "key", "value", 5));
    CHECK_STATUS(op->get(f->state, "key", NULL, 1, &len), TKS_INVALID);
    CHECK_STATUS(op->get_or_default(f->state, "key", "f", 1, NULL, 1, &len), TKS_INVALID);
    CHECK_STATUS(op->get_or_default(f->state, "none", NULL, 1, buf, 8, &len), TKS_INVALID);
    CHECK_STATUS(op->get_versioned(f->state, "key", NULL, 1, &len, NULL), TKS_INVALID);
    CHECK_STATUS(op->set(f->state, "key", NULL, 1), TKS_INVALID);
    CHECK_STATUS(op->set_with_ttl(f->state, "key", NULL, 1, 1), TKS_INVALID);
    CHECK_STATUS(op->set_if(f->state, "none", NULL, 1, 0), TKS_INVALID);
    CHECK_STATUS(op->set_str(f->state, "key", NULL, 1), TKS_INVALID);
    CHECK_STATUS(op->set_json(f->state, "key", NULL, 1), TKS_INVALID);
    CHECK_STATUS(op->get_i64(f->state, "key", NULL), TKS_INVALID);
    CHECK_STATUS(op->get_f64(f->state, "key", NULL), TKS_INVALID);
    CHECK_STATUS(op->get_bool(f->state, "key", NULL), TKS_INVALID);
    CHECK_STATUS(op->type(f->state, "key", NULL), TKS_INVALID);
    CHECK_STATUS(tks_keys(f->state, NULL, NULL), TKS_INVALID);
    CHECK_TEXT(f->state, "key", "value");
    CHECK_ABSENT(f->state, "none");
}

static void a_null_state_is_invalid_for_every_call(void **fixture)
{
    struct api *f = *fixture;
    tks_key key;

    CHECK_OK(tks_key_prepare(f->state, "key", &key));
    CHECK_EVERY_CALL(NULL, &key, TKS_INVALID);
    tks_state_close(NULL);
    tks_store_close(NULL);
}

/* ---- Sharing ----------------------------------------------------------------------------- */

static void plugins_do_not_see_each_others_keys(void **fixture)
{
    struct api *f = *fixture;
    tks_state *other = api_state(f->store, "other");
    tks_state *prefix = api_state(f->store, "plug");

    CHECK_OK(op->set(f->state, "key", "mine", 4));
    CHECK_ABSENT(other, "key");
    CHECK_ABSENT(prefix, "key");
    CHECK_OK(op->set(other, "key", "theirs", 6));
    CHECK_TEXT(f->state, "key", "mine");
    CHECK_OK(op->delete (other, "key"));
    CHECK_TEXT(f->state, "key", "mine");
    CHECK_INT(api_count_keys(other), 0);
    tks_state_close(other);
    tks_state_close(prefix);
}

static void plugin_and_key_are_not_glued_together(void **fixture)
{
    struct api *f = *fixture;
    tks_state *ab = api_state(f->store, "ab");
    tks_state *a = api_state(f->store, "a");

    CHECK_OK(op->set(ab, "c", "ab+c", 4));
    CHECK_OK(op->set(a, "bc", "a+bc", 4));
    CHECK_TEXT(ab, "c", "ab+c");
    CHECK_TEXT(a, "bc", "a+bc");
    tks_state_close(ab);
    tks_state_close(a);
}

static void two_states_of_one_plugin_share_its_keys(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");

    CHECK_OK(op->set(f->state, "key", "first", 5));
    CHECK_TEXT(twin, "key", "first");
    CHECK_OK(op->set(twin, "key", "second", 6));
    CHECK_TEXT(f->state, "key", "second");
    CHECK_OK(op->delete (f->state, "key"));
    CHECK_ABSENT(twin, "key");
    tks_state_close(twin);
}

static void two_stores_of_one_uri_share_its_keys(void **fixture)
{
    struct api *f = *fixture;
    tks_store *store;
    tks_state *twin;

    api_need_sharing(f);
    store = api_store(f->uri);
    twin = api_state(store, "plugin");
    CHECK_OK(op->set(f->state, "key", "first", 5));
    CHECK_TEXT(twin, "key", "first");
    CHECK_OK(op->set(twin, "key", "second", 6));
    tks_state_close(twin);
    tks_store_close(store);
    CHECK_TEXT(f->state, "key", "second");
}

static void values_outlive_their_state(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set(f->state, "key", "value", 5));
    tks_state_close(f->state);
    f->state = api_state(f->store, "plugin");
    CHECK_TEXT(f->state, "key", "value");
}

static void values_outlive_their_store(void **fixture)
{
    struct api *f = *fixture;

    api_need_sharing(f);
    CHECK_OK(op->set(f->state, "key", "value", 5));
    tks_state_close(f->state);
    tks_store_close(f->store);
    f->store = api_store(f->uri);
    f->state = api_state(f->store, "plugin");
    CHECK_TEXT(f->state, "key", "value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(get_returns_what_set_stored),
        API_TEST(a_key_never_set_is_absent),
        API_TEST(set_overwrites),
        API_TEST(values_of_every_length_come_back),
        API_TEST(every_small_length_comes_back_from_its_own_key),
        API_TEST(a_value_may_hold_every_byte),
        API_TEST(an_empty_value_is_present),
        API_TEST(a_small_buffer_gets_nothing_but_the_length),
        API_TEST(get_writes_no_byte_past_the_value),
        API_TEST(the_length_need_not_be_asked_for),
        API_TEST(get_or_default_prefers_the_value),
        API_TEST(get_or_default_stores_nothing),
        API_TEST(a_fallback_may_be_empty_or_too_large),
        API_TEST(delete_is_idempotent),
        API_TEST(delete_takes_only_its_own_key),
        API_TEST(keys_that_begin_alike_are_different_keys),
        API_TEST(keys_of_1_to_255_bytes_work),
        API_TEST(a_long_key_goes_with_a_large_value),
        API_TEST(every_good_utf8_is_a_key),
        API_TEST(a_key_that_is_null_empty_or_256_bytes_is_invalid),
        API_TEST(a_key_that_is_not_utf8_is_invalid),
        API_TEST(a_character_cut_by_the_limit_is_no_way_out),
        API_TEST(the_longest_value_fits),
        API_TEST(a_value_beyond_the_longest_is_invalid),
        API_TEST(null_arguments_are_invalid),
        API_TEST(a_null_state_is_invalid_for_every_call),
        API_TEST(plugins_do_not_see_each_others_keys),
        API_TEST(plugin_and_key_are_not_glued_together),
        API_TEST(two_states_of_one_plugin_share_its_keys),
        API_TEST(two_stores_of_one_uri_share_its_keys),
        API_TEST(values_outlive_their_state),
        API_TEST(values_outlive_their_store),
    };

    return api_run_forms("operations", tests);
}
