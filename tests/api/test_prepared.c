/* SPDX-License-Identifier: MIT */
/* Prepared keys: right whatever happens to the key, and only with their own state. */
#include "api.h"

/* The value by the prepared key, outside a tick, in one, and twice in one. */
static void check_prepared(tks_state *state, tks_key *key, const char *text)
{
    char buf[64];
    size_t len = 0;

    for (int i = 0; i < 4; i++) {
        if (i == 1)
            CHECK_OK(tks_tick_begin(state));
        if (text == NULL) {
            CHECK_STATUS(tks_get_k(state, key, buf, sizeof(buf), &len), TKS_NOT_FOUND);
            CHECK_INT(tks_has_k(state, key), 0);
        } else {
            CHECK_OK(tks_get_k(state, key, buf, sizeof(buf), &len));
            CHECK(len == strlen(text) && memcmp(buf, text, len) == 0);
            CHECK_INT(tks_has_k(state, key), 1);
        }
    }
    CHECK_OK(tks_tick_end(state));
}

static tks_key prepare(tks_state *state, const char *name)
{
    tks_key key;

    CHECK_OK(tks_key_prepare(state, name, &key));
    return key;
}

static void a_bad_name_cannot_be_prepared(void **fixture)
{
    struct api *f = *fixture;
    char name[TKS_NAME_MAX + 2];
    tks_key key;

    memset(name, 'k', sizeof(name));
    name[TKS_NAME_MAX + 1] = '\0';
    CHECK_STATUS(tks_key_prepare(f->state, name, &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare(f->state, NULL, &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare(f->state, "", &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare(f->state, "\xed\xa0\x80", &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare(f->state, "key", NULL), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare_n(f->state, name, TKS_NAME_MAX + 1, &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare_n(f->state, NULL, 3, &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare_n(f->state, "key", 0, &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare_n(f->state, "a\0b", 3, &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare_n(f->state, "key", 3, NULL), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare_n(f->state, "\xc3\xbc", 1, &key), TKS_INVALID);
    CHECK_STATUS(tks_key_prepare_n(NULL, "key", 3, &key), TKS_INVALID);
}

static void a_null_or_unprepared_key_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    tks_key zero;

    memset(&zero, 0, sizeof(zero));
    for (size_t i = 0; i < api_every_call_count; i++) {
        if (!api_every_call[i].prepared)
            continue;
        CHECK_STATUS(api_every_call[i].call(f->state, NULL), TKS_INVALID);
        CHECK_STATUS(api_every_call[i].call(f->state, &zero), TKS_INVALID);
    }
}

static void prepare_n_needs_no_nul(void **fixture)
{
    struct api *f = *fixture;
    char name[TKS_NAME_MAX];
    tks_key key;

    CHECK_OK(tks_key_prepare_n(f->state, "keyboard", 3, &key));
    CHECK_OK(tks_set_k(f->state, &key, "value", 5));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_ABSENT(f->state, "keyboard");
    memset(name, 'k', sizeof(name));
    CHECK_OK(tks_key_prepare_n(f->state, name, sizeof(name), &key));
    CHECK_OK(tks_set_k(f->state, &key, "long", 4));
    check_prepared(f->state, &key, "long");
}

static void a_prepared_key_and_its_name_are_one_key(void **fixture)
{
    struct api *f = *fixture;
    tks_key key = prepare(f->state, "key");

    check_prepared(f->state, &key, NULL);
    CHECK_OK(tks_set(f->state, "key", "by name", 7));
    check_prepared(f->state, &key, "by name");
    CHECK_OK(tks_set_k(f->state, &key, "by key", 6));
    CHECK_TEXT(f->state, "key", "by key");
    CHECK_OK(tks_delete_k(f->state, &key));
    CHECK_ABSENT(f->state, "key");
}

static void a_prepared_key_holds_its_name_itself(void **fixture)
{
    struct api *f = *fixture;
    char name[] = "key";
    tks_key key = prepare(f->state, name);

    memset(name, 'x', 3);
    CHECK_OK(tks_set_k(f->state, &key, "value", 5));
    CHECK_TEXT(f->state, "key", "value");
}

static void a_prepared_key_may_be_moved(void **fixture)
{
    struct api *f = *fixture;
    tks_key keys[3];

    keys[0] = prepare(f->state, "key");
    CHECK_OK(tks_set_k(f->state, &keys[0], "value", 5));
    check_prepared(f->state, &keys[0], "value");
    for (int i = 1; i < 3; i++) {
        memcpy(&keys[i], &keys[i - 1], sizeof(keys[i]));
        memset(&keys[i - 1], 0xee, sizeof(keys[i]));
        check_prepared(f->state, &keys[i], "value");
    }
    CHECK_OK(tks_set_k(f->state, &keys[2], "moved", 5));
    check_prepared(f->state, &keys[2], "moved");
}

static void copies_of_a_prepared_key_are_independent(void **fixture)
{
    struct api *f = *fixture;
    tks_key key = prepare(f->state, "key");
    tks_key copy;

    CHECK_OK(tks_set_k(f->state, &key, "one", 3));
    check_prepared(f->state, &key, "one");
    copy = key;
    CHECK_OK(tks_set_k(f->state, &key, "two", 3));
    check_prepared(f->state, &key, "two");
    check_prepared(f->state, &copy, "two");
    CHECK_OK(tks_delete_k(f->state, &copy));
    check_prepared(f->state, &key, NULL);
}

static void deleting_and_recreating_does_not_disturb_it(void **fixture)
{
    struct api *f = *fixture;
    tks_key key = prepare(f->state, "key");

    for (int i = 0; i < 100; i++) {
        char text[16];

        snprintf(text, sizeof(text), "%d", i);
        CHECK_OK(tks_set_k(f->state, &key, text, strlen(text)));
        check_prepared(f->state, &key, text);
        CHECK_OK(i % 2 == 0 ? tks_delete_k(f->state, &key) : tks_delete(f->state, "key"));
        check_prepared(f->state, &key, NULL);
    }
}

static void another_states_writes_are_seen_at_once_in_a_tick(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");
    tks_key key = prepare(f->state, "key");
    char text[16];
    char buf[64];
    size_t len;

    CHECK_OK(tks_tick_begin(f->state));
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof(text), "%d", i);
        CHECK_OK(tks_set(twin, "key", text, strlen(text)));
        CHECK_OK(tks_get_k(f->state, &key, buf, sizeof(buf), &len));
        CHECK(len == strlen(text) && memcmp(buf, text, len) == 0);
        if (i % 3 == 0) {
            CHECK_OK(tks_delete(twin, "key"));
            CHECK_STATUS(tks_get_k(f->state, &key, buf, sizeof(buf), &len), TKS_NOT_FOUND);
        }
    }
    CHECK_OK(tks_tick_end(f->state));
    tks_state_close(twin);
}

static void growth_does_not_disturb_it(void **fixture)
{
    enum { PREPARED = 100, OTHERS = 20000 };
    struct api *f = *fixture;
    tks_key keys[PREPARED];
    char name[24];

    for (int i = 0; i < PREPARED; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        keys[i] = prepare(f->state, name);
        CHECK_OK(tks_set_k(f->state, &keys[i], name, strlen(name)));
    }
    for (int i = 0; i < OTHERS; i++) {
        int which = i % PREPARED;
        char buf[16];

        snprintf(name, sizeof(name), "other%d", i);
        CHECK_OK(tks_set(f->state, name, name, strlen(name)));
        snprintf(name, sizeof(name), "k%d", which);
        CHECK_OK(tks_get_k(f->state, &keys[which], buf, sizeof(buf), NULL));
        CHECK(memcmp(buf, name, strlen(name)) == 0);
    }
    for (int i = 0; i < PREPARED; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        check_prepared(f->state, &keys[i], name);
    }
}

/*
 * Neighbours come and go between two reads, so that blocks are freed and built again at the same
 * place: what the key remembers must never pass for what is there now.
 */
static void reuse_of_memory_does_not_deceive_it(void **fixture)
{
    enum { KEYS = 48 };
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");
    tks_key keys[KEYS];
    int expected[KEYS];
    uint64_t seed = 20240607;
    char name[16];

    for (int i = 0; i < KEYS; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        keys[i] = prepare(f->state, name);
        expected[i] = -1;
    }
    for (int i = 0; i < 60000; i++) {
        int which = (int)(api_random(&seed) % KEYS);
        int value = -1;
        int status;

        snprintf(name, sizeof(name), "k%d", which);
        if (api_random(&seed) % 2 == 0) {
            CHECK_OK(tks_delete(twin, name));
            expected[which] = -1;
        } else {
            CHECK_OK(tks_set(twin, name, &i, sizeof(i)));
            expected[which] = i;
        }
        which = (int)(api_random(&seed) % KEYS);
        if (i % 16 == 0)
            CHECK_OK(tks_tick_begin(f->state));
        status = tks_get_k(f->state, &keys[which], &value, sizeof(value), NULL);
        CHECK_STATUS(status, expected[which] < 0 ? TKS_NOT_FOUND : TKS_OK);
        CHECK_INT(value, expected[which]);
        if (i % 16 == 15)
            CHECK_OK(tks_tick_end(f->state));
    }
    tks_state_close(twin);
}

static void a_key_of_another_state_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");
    tks_state *other = api_state(f->store, "other");
    tks_key key = prepare(f->state, "key");

    CHECK_OK(tks_set_k(f->state, &key, "value", 5));
    for (size_t i = 0; i < api_every_call_count; i++) {
        if (!api_every_call[i].prepared)
            continue;
        CHECK_STATUS(api_every_call[i].call(twin, &key), TKS_INVALID);
        CHECK_STATUS(api_every_call[i].call(other, &key), TKS_INVALID);
        CHECK_OK(tks_tick_begin(twin));
        CHECK_STATUS(api_every_call[i].call(twin, &key), TKS_INVALID);
        CHECK_OK(tks_tick_end(twin));
    }
    check_prepared(f->state, &key, "value");
    CHECK_ABSENT(other, "key");
    tks_state_close(twin);
    tks_state_close(other);
}

static void a_key_of_a_closed_state_is_invalid_with_the_next(void **fixture)
{
    struct api *f = *fixture;

    /* The next state may well get the same memory or the same slot. */
    for (int i = 0; i < 20; i++) {
        tks_state *old = api_state(f->store, "old");
        tks_key key = prepare(old, "key");
        tks_state *next;

        CHECK_OK(tks_set_k(old, &key, "value", 5));
        tks_state_close(old);
        next = api_state(f->store, i % 2 == 0 ? "old" : "next");
        CHECK_STATUS(tks_has_k(next, &key), TKS_INVALID);
        CHECK_STATUS(tks_delete_k(next, &key), TKS_INVALID);
        tks_state_close(next);
    }
}

static void a_key_may_be_prepared_in_a_tick_and_for_an_absent_name(void **fixture)
{
    struct api *f = *fixture;
    tks_key key;

    CHECK_OK(tks_tick_begin(f->state));
    key = prepare(f->state, "key");
    CHECK_INT(tks_has_k(f->state, &key), 0);
    CHECK_OK(tks_set_k(f->state, &key, "value", 5));
    CHECK_INT(tks_has_k(f->state, &key), 1);
    CHECK_OK(tks_tick_end(f->state));
    check_prepared(f->state, &key, "value");
    CHECK_INT(api_count_keys(f->state), 1);
}

static void preparing_creates_nothing(void **fixture)
{
    struct api *f = *fixture;
    char name[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        prepare(f->state, name);
    }
    CHECK_INT(api_count_keys(f->state), 0);
}

static void expiry_is_seen_through_a_warm_key(void **fixture)
{
    struct api *f = *fixture;
    tks_key key = prepare(f->state, "key");
    int64_t then = api_wall_ms() + 10 * API_HOUR_MS;
    int64_t i64;

    CHECK_OK(tks_tick_begin_at(f->state, then));
    CHECK_OK(tks_set_with_ttl_k(f->state, &key, "value", 5, 1000));
    CHECK_INT(tks_has_k(f->state, &key), 1);
    CHECK_INT(tks_has_k(f->state, &key), 1);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_OK(tks_tick_begin_at(f->state, then + 2000));
    CHECK_INT(tks_has_k(f->state, &key), 0);
    CHECK_STATUS(tks_get_i64_k(f->state, &key, &i64), TKS_NOT_FOUND);
    CHECK_OK(tks_tick_end(f->state));
    check_prepared(f->state, &key, "value");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(a_bad_name_cannot_be_prepared),
        API_TEST(a_null_or_unprepared_key_is_invalid),
        API_TEST(prepare_n_needs_no_nul),
        API_TEST(a_prepared_key_and_its_name_are_one_key),
        API_TEST(a_prepared_key_holds_its_name_itself),
        API_TEST(a_prepared_key_may_be_moved),
        API_TEST(copies_of_a_prepared_key_are_independent),
        API_TEST(deleting_and_recreating_does_not_disturb_it),
        API_TEST(another_states_writes_are_seen_at_once_in_a_tick),
        API_TEST(growth_does_not_disturb_it),
        API_TEST(reuse_of_memory_does_not_deceive_it),
        API_TEST(a_key_of_another_state_is_invalid),
        API_TEST(a_key_of_a_closed_state_is_invalid_with_the_next),
        API_TEST(a_key_may_be_prepared_in_a_tick_and_for_an_absent_name),
        API_TEST(preparing_creates_nothing),
        API_TEST(expiry_is_seen_through_a_warm_key),
    };

    return api_run("prepared keys", tests);
}
