/* SPDX-License-Identifier: MIT */
/* Expiry: absent everywhere, purged by get and has, judged by one clock per tick. */
#include "api.h"

/* A value that expires in a moment, and that moment over. */
static void set_expired(struct api *f, const char *key)
{
    CHECK_OK(op->set_with_ttl(f->state, key, "value", 5, 1));
    api_let_expire(f->store, 2);
}

static uint64_t sweep(struct api *f)
{
    uint64_t purged = 12345;

    CHECK_OK(tks_store_sweep(f->store, &purged));
    return purged;
}

static void a_value_lives_until_its_ttl_is_over(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, API_HOUR_MS));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_TYPE(f->state, "key", TKS_TYPE_BYTES);
    set_expired(f, "key");
    CHECK_ABSENT(f->state, "key");
}

static void a_ttl_below_1_is_invalid_and_changes_nothing(void **fixture)
{
    static const int64_t ttls[] = {0, -1, -1000, INT64_MIN};
    struct api *f = *fixture;

    CHECK_OK(op->set(f->state, "key", "value", 5));
    for (size_t i = 0; i < API_ARRAY(ttls); i++) {
        CHECK_STATUS(op->set_with_ttl(f->state, "key", "other", 5, ttls[i]), TKS_INVALID);
        CHECK_STATUS(op->set_with_ttl(f->state, "none", "other", 5, ttls[i]), TKS_INVALID);
    }
    CHECK_TEXT(f->state, "key", "value");
    CHECK_ABSENT(f->state, "none");
}

static void a_huge_ttl_never_wraps(void **fixture)
{
    static const int64_t ttls[] = {
        INT64_MAX,         INT64_MAX - 1,    INT64_MAX - INT64_C(1800000000000),
        INT64_MAX / 2 + 1, INT64_C(1) << 62, INT64_C(1) << 53,
        INT64_C(1) << 48};
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(ttls); i++) {
        CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, ttls[i]));
        CHECK_TEXT(f->state, "key", "value");
        CHECK_INT(sweep(f), 0);
        CHECK_OK(tks_tick_begin_at(f->state, INT64_C(253402300799000))); /* the year 9999 */
        CHECK_TEXT(f->state, "key", "value");
        CHECK_OK(tks_tick_end(f->state));
    }
}

static void the_longest_ttl_lasts_as_far_as_time_goes(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, INT64_MAX));
    CHECK_OK(tks_tick_begin_at(f->state, INT64_MAX - 1));
    CHECK_INT(op->has(f->state, "key"), 1);
    CHECK_OK(op->set_with_ttl(f->state, "late", "value", 5, 1000));
    CHECK_INT(op->has(f->state, "late"), 1);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_INT(op->has(f->state, "late"), 1);
}

static void an_expired_key_can_be_set_again(void **fixture)
{
    struct api *f = *fixture;

    set_expired(f, "key");
    CHECK_OK(op->set(f->state, "key", "again", 5));
    CHECK_TEXT(f->state, "key", "again");
    CHECK_INT(sweep(f), 0);
}

static void an_expired_key_is_absent_for_set_if(void **fixture)
{
    struct api *f = *fixture;
    uint64_t version = 0;
    char buf[8];

    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, API_HOUR_MS));
    CHECK_STATUS(op->set_if(f->state, "key", "v", 1, 0), TKS_CONFLICT);
    /* A tick keeps the short-lived one alive for long enough to ask its version. */
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, 1));
    CHECK_OK(op->get_versioned(f->state, "key", buf, sizeof(buf), NULL, &version));
    CHECK_OK(tks_tick_end(f->state));
    api_let_expire(f->store, 2);
    CHECK_STATUS(op->set_if(f->state, "key", "v", 1, version), TKS_CONFLICT);
    CHECK_OK(op->set_if(f->state, "key", "again", 5, 0));
    CHECK_TEXT(f->state, "key", "again");
}

static void an_expired_key_is_absent_for_add(void **fixture)
{
    struct api *f = *fixture;
    int64_t result = 0;

    set_expired(f, "key"); /* bytes, which add refuses while they live */
    CHECK_OK(op->add_i64(f->state, "key", 7, &result));
    CHECK_INT(result, 7);
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 1000 * API_HOUR_MS));
    CHECK_OK(op->get_i64(f->state, "key", &result)); /* the old TTL is gone with the old value */
    CHECK_OK(tks_tick_end(f->state));
}

static void an_expired_key_is_absent_for_typed_reads(void **fixture)
{
    struct api *f = *fixture;
    int64_t i64;
    double f64;
    bool truth;

    set_expired(f, "key");
    CHECK_STATUS(op->get_i64(f->state, "key", &i64), TKS_NOT_FOUND);
    set_expired(f, "key");
    CHECK_STATUS(op->get_f64(f->state, "key", &f64), TKS_NOT_FOUND);
    set_expired(f, "key");
    CHECK_STATUS(op->get_bool(f->state, "key", &truth), TKS_NOT_FOUND);
}

static void an_expired_key_is_absent_for_borrow(void **fixture)
{
    struct api *f = *fixture;
    const void *value;
    size_t len = 12345;
    int status;

    set_expired(f, "key");
    CHECK_OK(tks_tick_begin(f->state));
    status = op->borrow(f->state, "key", &value, &len);
    CHECK_OK(tks_tick_end(f->state));
    if (status != TKS_UNSUPPORTED)
        CHECK_STATUS(status, TKS_NOT_FOUND);
}

static void an_expired_key_is_absent_for_each_first_call(void **fixture)
{
    struct api *f = *fixture;
    char buf[8];
    size_t len;
    uint64_t version;
    int type;

    set_expired(f, "key");
    CHECK_STATUS(op->get(f->state, "key", buf, sizeof(buf), &len), TKS_NOT_FOUND);
    set_expired(f, "key");
    CHECK_INT(op->has(f->state, "key"), 0);
    set_expired(f, "key");
    CHECK_INT(api_count_keys(f->state), 0);
    set_expired(f, "key");
    CHECK_STATUS(op->type(f->state, "key", &type), TKS_NOT_FOUND);
    set_expired(f, "key");
    CHECK_STATUS(op->get_versioned(f->state, "key", buf, sizeof(buf), &len, &version),
                 TKS_NOT_FOUND);
    CHECK_INT(version, 0);
    set_expired(f, "key");
    CHECK_OK(op->get_or_default(f->state, "key", "dflt", 4, buf, sizeof(buf), &len));
    CHECK_INT(len, 4);
    set_expired(f, "key");
    CHECK_OK(op->delete (f->state, "key"));
    set_expired(f, "key");
    CHECK_INT(api_live_keys(f->store), 0);
}

static void get_and_has_purge_an_expired_entry(void **fixture)
{
    struct api *f = *fixture;
    char buf[8];

    set_expired(f, "key");
    CHECK_STATUS(op->get(f->state, "key", buf, sizeof(buf), NULL), TKS_NOT_FOUND);
    if (api_stored_entries(f->store) >= 0)
        CHECK_INT(api_stored_entries(f->store), 0);
    CHECK_INT(sweep(f), 0);

    set_expired(f, "key");
    CHECK_INT(op->has(f->state, "key"), 0);
    if (api_stored_entries(f->store) >= 0)
        CHECK_INT(api_stored_entries(f->store), 0);
    CHECK_INT(sweep(f), 0);
}

static void keys_leaves_out_what_has_expired(void **fixture)
{
    struct api *f = *fixture;
    char key[16];

    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        if (i % 4 == 0)
            CHECK_OK(op->set_with_ttl(f->state, key, key, 2, 1));
        else
            CHECK_OK(op->set_with_ttl(f->state, key, key, 2, API_HOUR_MS));
    }
    api_let_expire(f->store, 2);
    CHECK_INT(api_count_keys(f->state), 75);
    CHECK_INT(api_live_keys(f->store), 75);
}

static void sweep_drops_what_nobody_reads_again(void **fixture)
{
    struct api *f = *fixture;
    tks_state *other = api_state(f->store, "other");
    char key[16];

    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(op->set_with_ttl(i % 2 == 0 ? f->state : other, key, key, 2, 1));
        snprintf(key, sizeof(key), "keep%d", i);
        CHECK_OK(op->set_with_ttl(f->state, key, key, 2, API_HOUR_MS));
    }
    tks_state_close(other);
    api_let_expire(f->store, 2);
    CHECK_INT(sweep(f), 200);
    CHECK_INT(sweep(f), 0);
    CHECK_INT(api_count_keys(f->state), 200);
    if (api_stored_entries(f->store) >= 0)
        CHECK_INT(api_stored_entries(f->store), 200);
    CHECK_OK(tks_store_sweep(f->store, NULL));
}

/* ---- What keeps and what clears a TTL ---------------------------------------------------- */

/* Whether "key" is still there long after every TTL of these tests. */
static int outlives(struct api *f)
{
    int present;

    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 1000 * API_HOUR_MS));
    present = op->has(f->state, "key");
    CHECK_OK(tks_tick_end(f->state));
    return present;
}

static void writes_clear_a_ttl(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = {.size = sizeof(record),
                                .plugin = "plugin",
                                .plugin_len = 6,
                                .key = "key",
                                .key_len = 3,
                                .value = "v",
                                .value_len = 1};
    uint64_t version;
    char buf[8];

    for (int i = 0; i < 8; i++) {
        CHECK_OK(op->set_with_ttl(f->state, "key", "v", 1, API_HOUR_MS));
        CHECK_INT(outlives(f), 0);
        CHECK_OK(op->get_versioned(f->state, "key", buf, sizeof(buf), NULL, &version));
        switch (i) {
        case 0:
            CHECK_OK(op->set(f->state, "key", "v", 1));
            break;
        case 1:
            CHECK_OK(op->set_if(f->state, "key", "v", 1, version));
            break;
        case 2:
            CHECK_OK(op->set_i64(f->state, "key", 1));
            break;
        case 3:
            CHECK_OK(op->set_f64(f->state, "key", 1.5));
            break;
        case 4:
            CHECK_OK(op->set_bool(f->state, "key", true));
            break;
        case 5:
            CHECK_OK(op->set_str(f->state, "key", "v", 1));
            break;
        case 6:
            CHECK_OK(op->set_json(f->state, "key", "[]", 2));
            break;
        default:
            CHECK_OK(tks_put_record(f->state, &record));
            break;
        }
        CHECK_INT(outlives(f), 1);
    }
}

static void set_with_ttl_replaces_a_ttl(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_with_ttl(f->state, "key", "v", 1, API_HOUR_MS));
    CHECK_INT(outlives(f), 0);
    CHECK_OK(op->set_with_ttl(f->state, "key", "v", 1, 2000 * API_HOUR_MS));
    CHECK_INT(outlives(f), 1);
    CHECK_OK(op->set_with_ttl(f->state, "key", "v", 1, API_HOUR_MS));
    CHECK_INT(outlives(f), 0);
    CHECK_OK(op->set(f->state, "key", "v", 1));
    CHECK_OK(op->set_with_ttl(f->state, "key", "v", 1, API_HOUR_MS));
    CHECK_INT(outlives(f), 0);
}

static void a_failed_write_keeps_the_ttl(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_with_ttl(f->state, "key", "v", 1, API_HOUR_MS));
    CHECK_STATUS(op->set_if(f->state, "key", "w", 1, 0), TKS_CONFLICT);
    CHECK_STATUS(op->set_with_ttl(f->state, "key", "w", 1, 0), TKS_INVALID);
    CHECK_STATUS(op->add_i64(f->state, "key", 1, NULL), TKS_TYPE);
    CHECK_STATUS(op->set_json(f->state, "key", "{", 1), TKS_INVALID);
    CHECK_TEXT(f->state, "key", "v");
    CHECK_INT(outlives(f), 0);
}

/* A counter with a TTL comes in as a record: no setter makes one. */
static void put_counter(struct api *f, int64_t value, int64_t expires_at)
{
    struct tks_record record = {.size = sizeof(record),
                                .type = TKS_TYPE_I64,
                                .plugin = "plugin",
                                .plugin_len = 6,
                                .key = "key",
                                .key_len = 3,
                                .value = &value,
                                .value_len = sizeof(value),
                                .expires_at = expires_at};

    CHECK_OK(tks_put_record(f->state, &record));
}

static void add_keeps_a_live_ttl(void **fixture)
{
    struct api *f = *fixture;
    int64_t result = 0;

    put_counter(f, 40, api_wall_ms() + API_HOUR_MS);
    CHECK_OK(op->add_i64(f->state, "key", 2, &result));
    CHECK_INT(result, 42);
    CHECK_INT(outlives(f), 0);
    CHECK_OK(op->get_i64(f->state, "key", &result));
    CHECK_INT(result, 42);
}

/* ---- The caller's clock ------------------------------------------------------------------ */

static void a_tick_judges_expiry_by_the_callers_clock(void **fixture)
{
    struct api *f = *fixture;
    int64_t then = api_wall_ms() + 10 * API_HOUR_MS;

    CHECK_OK(tks_tick_begin_at(f->state, then));
    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, 1000));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_end(f->state));
    CHECK_OK(tks_tick_begin_at(f->state, then + 999));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_end(f->state));
    CHECK_OK(tks_tick_begin_at(f->state, then + 1001));
    CHECK_ABSENT(f->state, "key");
    CHECK_OK(tks_tick_end(f->state));
}

static void the_callers_clock_may_go_back(void **fixture)
{
    struct api *f = *fixture;
    int64_t then = api_wall_ms() + 10 * API_HOUR_MS;

    CHECK_OK(tks_tick_begin_at(f->state, then));
    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, 1000));
    CHECK_OK(tks_tick_end(f->state));
    for (int i = 0; i < 3; i++) {
        CHECK_OK(tks_tick_begin_at(f->state, then + API_HOUR_MS));
        CHECK_ABSENT(f->state, "key");
        CHECK_OK(tks_tick_end(f->state));
        CHECK_OK(tks_tick_begin_at(f->state, then));
        CHECK_TEXT(f->state, "key", "value");
        CHECK_OK(tks_tick_end(f->state));
    }
    CHECK_TEXT(f->state, "key", "value");
}

static void the_callers_clock_may_lie_in_the_past(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_tick_begin_at(f->state, 0));
    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, 1000));
    CHECK_OK(op->set_with_ttl(f->state, "long", "value", 5, 1000 * API_HOUR_MS));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_TEXT(f->state, "long", "value");
    CHECK_INT(api_count_keys(f->state), 2);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_ABSENT(f->state, "key"); /* 1970 is over */
    CHECK_ABSENT(f->state, "long");
}

static void a_clock_before_1970_is_invalid(void **fixture)
{
    struct api *f = *fixture;

    CHECK_STATUS(tks_tick_begin_at(f->state, -1), TKS_INVALID);
    CHECK_STATUS(tks_tick_begin_at(f->state, INT64_MIN), TKS_INVALID);
    CHECK_STATUS(tks_tick_end(f->state), TKS_INVALID);
}

static void a_replay_does_not_delete_live_bans(void **fixture)
{
    struct api *f = *fixture;
    int64_t now = api_wall_ms();

    CHECK_OK(op->set_with_ttl(f->state, "ban", "until tomorrow", 14, 24 * API_HOUR_MS));
    CHECK_OK(tks_tick_begin_at(f->state, now + 48 * API_HOUR_MS));
    CHECK_ABSENT(f->state, "ban");
    CHECK_OK(tks_tick_end(f->state));
    CHECK_TEXT(f->state, "ban", "until tomorrow");
    if (api_stored_entries(f->store) >= 0)
        CHECK_INT(api_stored_entries(f->store), 1);
}

static void a_replay_that_writes_much_does_not_delete_live_bans(void **fixture)
{
    struct api *f = *fixture;
    int64_t now = api_wall_ms();
    char key[16];

    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "ban%d", i);
        CHECK_OK(op->set_with_ttl(f->state, key, key, 2, 24 * API_HOUR_MS));
    }
    CHECK_OK(tks_tick_begin_at(f->state, now + 48 * API_HOUR_MS));
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "new%d", i);
        CHECK_OK(op->set(f->state, key, key, 2));
    }
    CHECK_INT(api_count_keys(f->state), 3000);
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "new%d", i);
        CHECK_OK(op->delete (f->state, key));
    }
    CHECK_OK(tks_tick_end(f->state));
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "ban%d", i);
        CHECK_INT(op->has(f->state, key), 1);
    }
    CHECK_INT(api_count_keys(f->state), 500);
}

static void the_callers_clock_is_this_states_alone(void **fixture)
{
    struct api *f = *fixture;
    tks_state *live = api_state(f->store, "plugin");

    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, API_HOUR_MS));
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 2 * API_HOUR_MS));
    CHECK_ABSENT(f->state, "key");
    CHECK_TEXT(live, "key", "value");
    CHECK_OK(tks_tick_begin(live));
    CHECK_TEXT(live, "key", "value");
    CHECK_OK(tks_tick_end(live));
    CHECK_INT(api_live_keys(f->store), 1);
    CHECK_INT(sweep(f), 0);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_TEXT(f->state, "key", "value");
    tks_state_close(live);
}

static void the_callers_clock_ends_with_its_tick(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, API_HOUR_MS));
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 2 * API_HOUR_MS));
    CHECK_INT(op->has(f->state, "key"), 0);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_end(f->state));
}

static void under_the_callers_clock_expired_is_absent_for_writes(void **fixture)
{
    struct api *f = *fixture;
    int64_t result = 0;
    uint64_t version;
    char buf[8];

    put_counter(f, 40, api_wall_ms() + API_HOUR_MS);
    CHECK_OK(op->get_versioned(f->state, "key", buf, sizeof(buf), NULL, &version));
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 2 * API_HOUR_MS));
    CHECK_STATUS(op->set_if(f->state, "key", "w", 1, version), TKS_CONFLICT);
    CHECK_OK(op->add_i64(f->state, "key", 1, &result));
    CHECK_INT(result, 1);
    CHECK_OK(op->get_versioned(f->state, "key", buf, sizeof(buf), NULL, &version));
    CHECK_OK(tks_tick_end(f->state));
    CHECK_INT(outlives(f), 1);
    put_counter(f, 40, api_wall_ms() + API_HOUR_MS);
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 2 * API_HOUR_MS));
    CHECK_OK(op->set_if(f->state, "key", "new", 3, 0));
    CHECK_OK(tks_tick_end(f->state));
    CHECK_TEXT(f->state, "key", "new");
}

static void one_tick_sees_one_now(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, 1));
    api_let_expire(f->store, 3);
    CHECK_TEXT(f->state, "key", "value");
    CHECK_INT(api_count_keys(f->state), 1);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_ABSENT(f->state, "key");
}

static void in_a_tick_a_ttl_counts_from_the_ticks_now(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_tick_begin(f->state));
    CHECK_INT(op->has(f->state, "key"), 0);
    CHECK_OK(op->set_with_ttl(f->state, "first", "v", 1, 1)); /* reads the clock for this tick */
    api_let_expire(f->store, 5);
    CHECK_OK(op->set_with_ttl(f->state, "key", "value", 5, 2));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_end(f->state));
    CHECK_ABSENT(f->state, "key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(a_value_lives_until_its_ttl_is_over),
        API_TEST(a_ttl_below_1_is_invalid_and_changes_nothing),
        API_TEST(a_huge_ttl_never_wraps),
        API_TEST(the_longest_ttl_lasts_as_far_as_time_goes),
        API_TEST(an_expired_key_can_be_set_again),
        API_TEST(an_expired_key_is_absent_for_set_if),
        API_TEST(an_expired_key_is_absent_for_add),
        API_TEST(an_expired_key_is_absent_for_typed_reads),
        API_TEST(an_expired_key_is_absent_for_borrow),
        API_TEST(an_expired_key_is_absent_for_each_first_call),
        API_TEST(get_and_has_purge_an_expired_entry),
        API_TEST(keys_leaves_out_what_has_expired),
        API_TEST(sweep_drops_what_nobody_reads_again),
        API_TEST(writes_clear_a_ttl),
        API_TEST(set_with_ttl_replaces_a_ttl),
        API_TEST(a_failed_write_keeps_the_ttl),
        API_TEST(add_keeps_a_live_ttl),
        API_TEST(a_tick_judges_expiry_by_the_callers_clock),
        API_TEST(the_callers_clock_may_go_back),
        API_TEST(the_callers_clock_may_lie_in_the_past),
        API_TEST(a_clock_before_1970_is_invalid),
        API_TEST(a_replay_does_not_delete_live_bans),
        API_TEST(a_replay_that_writes_much_does_not_delete_live_bans),
        API_TEST(the_callers_clock_is_this_states_alone),
        API_TEST(the_callers_clock_ends_with_its_tick),
        API_TEST(under_the_callers_clock_expired_is_absent_for_writes),
        API_TEST(one_tick_sees_one_now),
        API_TEST(in_a_tick_a_ttl_counts_from_the_ticks_now),
    };

    return api_run_forms("expiry", tests);
}
