/* SPDX-License-Identifier: MIT */
/* Ticks, and what they borrow. */
#include <stdlib.h>

#include "api.h"

static void a_tick_does_not_nest(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_tick_begin(f->state));
    CHECK_STATUS(tks_tick_begin(f->state), TKS_INVALID);
    CHECK_STATUS(tks_tick_begin_at(f->state, 1000), TKS_INVALID);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_OK(tks_tick_begin_at(f->state, 1000));
    CHECK_STATUS(tks_tick_begin(f->state), TKS_INVALID);
    CHECK_STATUS(tks_tick_begin_at(f->state, 1000), TKS_INVALID);
    CHECK_OK(tks_tick_end(f->state));
}

static void a_nested_begin_leaves_the_first_ticks_clock(void **fixture)
{
    struct api *f = *fixture;
    int64_t then = api_wall_ms() + 10 * API_HOUR_MS;

    CHECK_OK(tks_set_with_ttl(f->state, "key", "value", 5, API_HOUR_MS));
    CHECK_OK(tks_tick_begin_at(f->state, then));
    CHECK_STATUS(tks_tick_begin_at(f->state, 1000), TKS_INVALID);
    CHECK_STATUS(tks_tick_begin(f->state), TKS_INVALID);
    CHECK_INT(tks_has(f->state, "key"), 0);
    CHECK_OK(tks_tick_end(f->state));
}

static void an_end_needs_a_begin(void **fixture)
{
    struct api *f = *fixture;

    CHECK_STATUS(tks_tick_end(f->state), TKS_INVALID);
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_tick_end(f->state));
    CHECK_STATUS(tks_tick_end(f->state), TKS_INVALID);
}

static void a_write_in_a_tick_is_visible_at_once(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");

    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_set(f->state, "key", "one", 3));
    CHECK_TEXT(f->state, "key", "one");
    CHECK_TEXT(twin, "key", "one");
    CHECK_OK(tks_set(f->state, "key", "two", 3));
    CHECK_TEXT(twin, "key", "two");
    CHECK_OK(tks_delete(f->state, "key"));
    CHECK_ABSENT(twin, "key");
    CHECK_OK(tks_tick_end(f->state));
    tks_state_close(twin);
}

static void a_tick_sees_what_others_write_meanwhile(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");

    CHECK_OK(tks_tick_begin(f->state));
    CHECK_ABSENT(f->state, "key");
    CHECK_OK(tks_set(twin, "key", "one", 3));
    CHECK_TEXT(f->state, "key", "one");
    CHECK_OK(tks_set(twin, "key", "two", 3));
    CHECK_TEXT(f->state, "key", "two");
    CHECK_OK(tks_delete(twin, "key"));
    CHECK_ABSENT(f->state, "key");
    CHECK_OK(tks_tick_end(f->state));
    tks_state_close(twin);
}

static void each_state_has_its_own_tick(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");

    CHECK_OK(tks_tick_begin(f->state));
    CHECK_STATUS(tks_tick_end(twin), TKS_INVALID);
    CHECK_OK(tks_tick_begin(twin));
    CHECK_OK(tks_tick_end(f->state));
    CHECK_STATUS(tks_tick_begin(twin), TKS_INVALID);
    CHECK_OK(tks_tick_end(twin));
    tks_state_close(twin);
}

static void closing_a_state_ends_its_tick(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");
    const void *value;

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_tick_begin(twin));
    if (tks_borrow(twin, "key", &value, NULL) != TKS_UNSUPPORTED)
        CHECK_OK(tks_borrow(twin, "key", &value, NULL));
    tks_state_close(twin);
    CHECK_OK(tks_set(f->state, "key", "other", 5));
    CHECK_OK(tks_delete(f->state, "key"));
}

static void a_long_tick_holds_up_nobody(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin = api_state(f->store, "plugin");
    char value[1000];

    /* 100 MB through a store of 64 MB. */
    CHECK_OK(tks_set(twin, "key", "value", 5));
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_TEXT(f->state, "key", "value");
    for (uint64_t i = 0; i < 100000; i++) {
        memset(value, (int)(i % 100), sizeof(value));
        CHECK_OK(tks_set(twin, "key", value, sizeof(value)));
    }
    CHECK_BYTES(f->state, "key", value, sizeof(value));
    CHECK_OK(tks_tick_end(f->state));
    tks_state_close(twin);
}

static void a_tick_may_write_more_than_the_store_holds(void **fixture)
{
    struct api *f = *fixture;
    char value[1000];

    CHECK_OK(tks_tick_begin(f->state));
    for (uint64_t i = 0; i < 100000; i++) {
        memset(value, (int)(i % 100), sizeof(value));
        CHECK_OK(tks_set(f->state, "key", value, sizeof(value)));
    }
    CHECK_BYTES(f->state, "key", value, sizeof(value));
    CHECK_OK(tks_tick_end(f->state));
}

/* ---- Borrow ------------------------------------------------------------------------------ */

static void borrow_needs_a_tick(void **fixture)
{
    struct api *f = *fixture;
    const void *value;
    tks_key key;
    size_t len;
    int status;

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_key_prepare(f->state, "key", &key));
    status = tks_borrow(f->state, "key", &value, &len);
    if (status == TKS_UNSUPPORTED)
        api_need(status);
    CHECK_STATUS(status, TKS_INVALID);
    CHECK_STATUS(tks_borrow_k(f->state, &key, &value, &len), TKS_INVALID);
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_tick_end(f->state));
    CHECK_STATUS(tks_borrow(f->state, "key", &value, &len), TKS_INVALID);
}

/* Begins a tick; skips where there is no borrow. */
static void begin_borrowing(struct api *f)
{
    api_need_borrow(f);
    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_tick_begin(f->state));
}

static void borrow_shows_the_value_of_any_type(void **fixture)
{
    struct api *f = *fixture;
    const void *value = NULL;
    tks_key key;
    size_t len = 0;
    int64_t i64 = -3;

    begin_borrowing(f);
    CHECK_OK(tks_borrow(f->state, "key", &value, &len));
    CHECK(len == 5 && memcmp(value, "value", 5) == 0);
    CHECK_OK(tks_set_i64(f->state, "i64", i64));
    CHECK_OK(tks_borrow(f->state, "i64", &value, &len));
    CHECK(len == 8 && memcmp(value, &i64, 8) == 0);
    CHECK_OK(tks_set_json(f->state, "json", "[1]", 3));
    CHECK_OK(tks_key_prepare(f->state, "json", &key));
    CHECK_OK(tks_borrow_k(f->state, &key, &value, &len));
    CHECK(len == 3 && memcmp(value, "[1]", 3) == 0);
    CHECK_OK(tks_set(f->state, "empty", NULL, 0));
    CHECK_OK(tks_borrow(f->state, "empty", &value, &len));
    CHECK_INT(len, 0);
    CHECK_OK(tks_borrow(f->state, "empty", &value, NULL));
    CHECK_OK(tks_tick_end(f->state));
}

static void borrow_says_what_is_wrong(void **fixture)
{
    struct api *f = *fixture;
    const void *value;
    size_t len;

    begin_borrowing(f);
    CHECK_STATUS(tks_borrow(f->state, "none", &value, &len), TKS_NOT_FOUND);
    CHECK_STATUS(tks_borrow(f->state, NULL, &value, &len), TKS_INVALID);
    CHECK_STATUS(tks_borrow(f->state, "", &value, &len), TKS_INVALID);
    CHECK_STATUS(tks_borrow(f->state, "\xff", &value, &len), TKS_INVALID);
    CHECK_STATUS(tks_borrow(f->state, "key", NULL, &len), TKS_INVALID);
    CHECK_OK(tks_tick_end(f->state));
}

static void a_borrowed_value_is_aligned_to_16(void **fixture)
{
    struct api *f = *fixture;
    const void *value;
    char bytes[200];
    char key[TKS_NAME_MAX + 1];

    begin_borrowing(f);
    for (size_t len = 0; len < sizeof(bytes); len++) {
        memset(key, 'k', len + 1);
        key[len + 1] = '\0';
        api_pattern(bytes, len, len);
        CHECK_OK(tks_set(f->state, key, bytes, len));
        CHECK_OK(tks_borrow(f->state, key, &value, NULL));
        CHECK((uintptr_t)value % 16 == 0);
        CHECK(memcmp(value, bytes, len) == 0);
        CHECK_OK(tks_tick_end(f->state));
        CHECK_OK(tks_tick_begin(f->state));
    }
    CHECK_OK(tks_tick_end(f->state));
}

static void eight_borrows_then_busy(void **fixture)
{
    struct api *f = *fixture;
    const void *values[TKS_BORROW_MAX + 1];
    char key[8];

    begin_borrowing(f);
    for (int round = 0; round < 3; round++) {
        CHECK_STATUS(tks_borrow(f->state, "none", &values[0], NULL), TKS_NOT_FOUND);
        for (int i = 0; i <= TKS_BORROW_MAX; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            CHECK_OK(tks_set(f->state, key, key, sizeof(key)));
            CHECK_STATUS(tks_borrow(f->state, key, &values[i], NULL),
                         i < TKS_BORROW_MAX ? TKS_OK : TKS_BUSY);
        }
        for (int i = 0; i < TKS_BORROW_MAX; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            CHECK(strcmp(values[i], key) == 0);
        }
        CHECK_TEXT(f->state, "key", "value"); /* everything else goes on */
        CHECK_OK(tks_tick_end(f->state));
        CHECK_OK(tks_tick_begin(f->state));
    }
    CHECK_OK(tks_tick_end(f->state));
}

/* Overwrite, delete and fill the gaps, so that freed memory is used again at once. */
static void trample(tks_state *state, const char *key, int rounds)
{
    static const size_t lengths[] = {100, 3000, 8, 101, 99, 20000};
    char bytes[20000];

    memset(bytes, 0xee, sizeof(bytes));
    for (int i = 0; i < rounds; i++) {
        char gap[16];

        CHECK_OK(tks_set(state, key, bytes, lengths[(size_t)i % API_ARRAY(lengths)]));
        if (i % 5 == 0)
            CHECK_OK(tks_delete(state, key));
        snprintf(gap, sizeof(gap), "gap%d", i % 50);
        CHECK_OK(tks_set(state, gap, bytes, 100));
    }
}

/* Borrow 100 bytes, let something happen, look at them again. */
static void check_stays(struct api *f, void (*meanwhile)(struct api *f))
{
    const void *value;
    char bytes[100];
    size_t len = 0;

    begin_borrowing(f);
    api_pattern(bytes, sizeof(bytes), 9);
    CHECK_OK(tks_set(f->state, "kept", bytes, sizeof(bytes)));
    CHECK_OK(tks_borrow(f->state, "kept", &value, &len));
    meanwhile(f);
    CHECK_INT(len, sizeof(bytes));
    CHECK(memcmp(value, bytes, sizeof(bytes)) == 0);
    CHECK_OK(tks_tick_end(f->state));
}

static void trample_here(struct api *f)
{
    trample(f->state, "kept", 5000);
}

static void trample_in_another_state(struct api *f)
{
    tks_state *twin = api_state(f->store, "plugin");

    trample(twin, "kept", 20000);
    tks_state_close(twin);
}

static int trampling_process(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");

    (void)fd;
    trample(state, "kept", 20000);
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void trample_in_another_process(struct api *f)
{
    struct api_peer peer = api_spawn(trampling_process, f->uri);

    api_join(&peer);
}

static void a_borrowed_value_stays_while_its_own_state_writes(void **fixture)
{
    check_stays(*fixture, trample_here);
}

static void a_borrowed_value_stays_while_another_state_writes(void **fixture)
{
    check_stays(*fixture, trample_in_another_state);
}

static void a_borrowed_value_stays_while_another_process_writes(void **fixture)
{
    api_need_sharing(*fixture);
    check_stays(*fixture, trample_in_another_process);
}

static void a_large_borrowed_value_stays(void **fixture)
{
    struct api *f = *fixture;
    size_t len = (size_t)1 << 20;
    tks_state *twin;
    char *bytes;
    const void *value;

    begin_borrowing(f); /* or skips the test */
    twin = api_state(f->store, "plugin");
    bytes = malloc(len);
    CHECK(bytes != NULL);
    api_pattern(bytes, len, 1);
    CHECK_OK(tks_set(f->state, "kept", bytes, len));
    CHECK_OK(tks_borrow(f->state, "kept", &value, NULL));
    for (uint64_t i = 2; i < 300; i++) {
        memset(bytes, (int)(i % 100), len);
        CHECK_OK(tks_set(twin, "kept", bytes, len));
    }
    api_pattern(bytes, len, 1);
    CHECK(memcmp(value, bytes, len) == 0);
    CHECK_OK(tks_tick_end(f->state));
    free(bytes);
    tks_state_close(twin);
}

static void an_overwritten_value_can_be_borrowed_again(void **fixture)
{
    struct api *f = *fixture;
    const void *old, *new;
    size_t old_len, new_len;

    begin_borrowing(f);
    CHECK_OK(tks_borrow(f->state, "key", &old, &old_len));
    CHECK_OK(tks_set(f->state, "key", "newer", 5));
    CHECK_OK(tks_borrow(f->state, "key", &new, &new_len));
    CHECK(memcmp(old, "value", 5) == 0 && memcmp(new, "newer", 5) == 0);
    CHECK_OK(tks_tick_end(f->state));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(a_tick_does_not_nest),
        API_TEST(a_nested_begin_leaves_the_first_ticks_clock),
        API_TEST(an_end_needs_a_begin),
        API_TEST(a_write_in_a_tick_is_visible_at_once),
        API_TEST(a_tick_sees_what_others_write_meanwhile),
        API_TEST(each_state_has_its_own_tick),
        API_TEST(closing_a_state_ends_its_tick),
        API_TEST(a_long_tick_holds_up_nobody),
        API_TEST(a_tick_may_write_more_than_the_store_holds),
        API_TEST(borrow_needs_a_tick),
        API_TEST(borrow_shows_the_value_of_any_type),
        API_TEST(borrow_says_what_is_wrong),
        API_TEST(a_borrowed_value_is_aligned_to_16),
        API_TEST(eight_borrows_then_busy),
        API_TEST(a_borrowed_value_stays_while_its_own_state_writes),
        API_TEST(a_borrowed_value_stays_while_another_state_writes),
        API_TEST(a_borrowed_value_stays_while_another_process_writes),
        API_TEST(a_large_borrowed_value_stays),
        API_TEST(an_overwritten_value_can_be_borrowed_again),
    };

    return api_run("ticks", tests);
}
