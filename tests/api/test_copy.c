/* SPDX-License-Identifier: MIT */
/* tks_copy_record(): what comes from another store keeps its version. */
#include <pthread.h>
#include <stdlib.h>

#include "api.h"

/* Whatever a store gives out begins at the wall clock in ns: far above. */
#define OLD UINT64_C(1000000)
#define HOUR_NS UINT64_C(3600000000000)

static struct tks_record record_of(const char *key, const char *text, uint64_t version)
{
    return (struct tks_record){.size = sizeof(struct tks_record),
                               .type = TKS_TYPE_STRING,
                               .plugin = "plugin",
                               .plugin_len = 6,
                               .key = key,
                               .key_len = strlen(key),
                               .value = text,
                               .value_len = strlen(text),
                               .version = version};
}

static uint64_t now_ns(void)
{
    return (uint64_t)api_wall_ms() * 1000000;
}

static uint64_t version_of(tks_state *state, const char *key)
{
    uint64_t version = 0;
    char buf[64];

    CHECK_OK(tks_get_versioned(state, key, buf, sizeof(buf), NULL, &version));
    return version;
}

#define CHECK_COPY(state, record, want)                                                            \
    check_copy(__FILE__, __LINE__, (state), (record), TKS_COPY_##want)

static void check_copy(const char *file, int line, tks_state *state,
                       const struct tks_record *record, int want)
{
    int outcome = -1;

    api_check_status(file, line, "tks_copy_record", tks_copy_record(state, record, &outcome),
                     TKS_OK);
    api_check_int(file, line, "outcome", outcome, want);
}

/* ---- One record -------------------------------------------------------------------------- */

static void a_copy_has_the_records_version(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", OLD);

    CHECK_COPY(f->state, &record, KEPT);
    CHECK_TEXT(f->state, "key", "value");
    CHECK_TYPE(f->state, "key", TKS_TYPE_STRING);
    CHECK(version_of(f->state, "key") == OLD);
    CHECK_OK(tks_copy_record(f->state, &record, NULL));
    record.key = "other";
    record.key_len = 5;
    CHECK_COPY(f->state, &record, KEPT); /* a version is one of a key */
    CHECK(version_of(f->state, "other") == OLD);
}

static void set_if_goes_on_with_the_version(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", OLD);

    CHECK_COPY(f->state, &record, KEPT);
    CHECK_STATUS(tks_set_if(f->state, "key", "new", 3, OLD + 1), TKS_CONFLICT);
    CHECK_STATUS(tks_set_if(f->state, "key", "new", 3, 0), TKS_CONFLICT);
    CHECK_OK(tks_set_if(f->state, "key", "new", 3, OLD));
    CHECK_TEXT(f->state, "key", "new");
    CHECK(version_of(f->state, "key") != OLD);
    CHECK_STATUS(tks_set_if(f->state, "key", "newer", 5, OLD), TKS_CONFLICT);
}

static void every_type_and_length_is_copied(void **fixture)
{
    static const int64_t i64 = -17;
    static const double f64 = 1.5;
    static const struct {
        int type;
        const void *value;
        size_t len;
    } rows[] = {{TKS_TYPE_BYTES, "\xff\0v", 3}, {TKS_TYPE_BYTES, NULL, 0},
                {TKS_TYPE_I64, &i64, 8},        {TKS_TYPE_F64, &f64, 8},
                {TKS_TYPE_BOOL, "\x01", 1},     {TKS_TYPE_STRING, "", 0},
                {TKS_TYPE_STRING, "text", 4},   {TKS_TYPE_JSON, "{\"a\":1}", 7}};
    struct api *f = *fixture;
    char large[3000];

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        struct tks_record record = record_of("key", "", OLD + i);

        record.type = (uint32_t)rows[i].type;
        record.value = rows[i].value;
        record.value_len = rows[i].len;
        CHECK_COPY(f->state, &record, KEPT);
        CHECK_TYPE(f->state, "key", rows[i].type);
        CHECK_BYTES(f->state, "key", rows[i].len ? rows[i].value : "", rows[i].len);
        CHECK(version_of(f->state, "key") == OLD + i);
        CHECK_COPY(f->state, &record, SAME);
    }
    for (size_t len = 0; len < sizeof(large); len += 1 + len / 20) {
        struct tks_record record = record_of("key", "", OLD + 100 + len);

        api_pattern(large, len, len);
        record.type = TKS_TYPE_BYTES;
        record.value = large;
        record.value_len = len;
        CHECK_COPY(f->state, &record, KEPT);
        CHECK_BYTES(f->state, "key", large, len);
        CHECK_COPY(f->state, &record, SAME);
    }
}

static void what_is_there_already_is_left(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", OLD);

    record.expires_at = api_wall_ms() + API_HOUR_MS;
    CHECK_COPY(f->state, &record, KEPT);
    CHECK_COPY(f->state, &record, SAME);
    record.expires_at += 60 * 1000;
    CHECK_COPY(f->state, &record, KEPT);
    record.expires_at = 0;
    CHECK_COPY(f->state, &record, KEPT);
    CHECK_COPY(f->state, &record, SAME);
    record.version++;
    CHECK_COPY(f->state, &record, KEPT);
    CHECK_COPY(f->state, &record, SAME);
    CHECK_OK(tks_delete(f->state, "key"));
    CHECK_COPY(f->state, &record, KEPT);
    CHECK(version_of(f->state, "key") == OLD + 1);
}

static void another_value_is_overwritten(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", OLD);

    CHECK_OK(tks_set_with_ttl(f->state, "key", "newer", 5, API_HOUR_MS));
    CHECK_COPY(f->state, &record, KEPT);
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 2 * API_HOUR_MS));
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_end(f->state));
    CHECK_OK(tks_set_str(f->state, "key", "value", 5)); /* the same under a version of its own */
    CHECK_COPY(f->state, &record, KEPT);
    CHECK(version_of(f->state, "key") == OLD);
}

static void what_has_expired_deletes_its_key(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", OLD);

    CHECK_OK(tks_set(f->state, "key", "old", 3));
    record.expires_at = api_wall_ms() - 1000;
    CHECK_COPY(f->state, &record, EXPIRED);
    CHECK_ABSENT(f->state, "key");
    CHECK_COPY(f->state, &record, EXPIRED);
}

static void a_copy_expires(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", OLD);
    uint64_t purged = 0;

    record.expires_at = api_wall_ms() + 50;
    CHECK_OK(tks_copy_record(f->state, &record, NULL));
    api_let_expire(f->store, 60);
    CHECK_STATUS(tks_set_if(f->state, "key", "new", 3, OLD), TKS_CONFLICT);
    CHECK_OK(tks_store_sweep(f->store, &purged));
    CHECK_ABSENT(f->state, "key");
}

static void add_gives_a_copied_counter_a_new_version(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "", OLD);
    int64_t value = 41;

    record.type = TKS_TYPE_I64;
    record.value = &value;
    record.value_len = sizeof(value);
    CHECK_COPY(f->state, &record, KEPT);
    CHECK_OK(tks_add_i64(f->state, "key", 1, &value));
    CHECK_INT(value, 42);
    CHECK(version_of(f->state, "key") != OLD);
}

/* ---- Versions that may be this store's ---------------------------------------------------- */

static void a_version_given_out_here_is_not_kept(void **fixture)
{
    struct api *f = *fixture;
    uint64_t versions[2], renewed;

    for (int i = 0; i < 2; i++) {
        CHECK_OK(tks_set_i64(f->state, "key", i));
        versions[i] = version_of(f->state, "key");
    }
    for (int i = 0; i < 2; i++) {
        struct tks_record record = record_of("key", i ? "b" : "a", versions[i]);

        CHECK_COPY(f->state, &record, RENEWED);
        CHECK_TEXT(f->state, "key", i ? "b" : "a");
        renewed = version_of(f->state, "key");
        CHECK(renewed != versions[0] && renewed != versions[1]);
        CHECK_COPY(f->state, &record, SAME); /* it could not be kept this time either */
        CHECK(version_of(f->state, "key") == renewed);
    }
}

/* Two stores may have given it out: then it is no longer one write's. */
static void a_version_names_one_write(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", OLD);

    CHECK_COPY(f->state, &record, KEPT);
    record.value = "other";
    CHECK_COPY(f->state, &record, RENEWED);
    CHECK_TEXT(f->state, "key", "other");
    CHECK_STATUS(tks_set_if(f->state, "key", "new", 3, OLD), TKS_CONFLICT);
    record = record_of("key", "value", OLD);
    CHECK_OK(tks_delete(f->state, "key"));
    CHECK_COPY(f->state, &record, KEPT);
    record.type = TKS_TYPE_BYTES;
    CHECK_COPY(f->state, &record, RENEWED);
    CHECK_TYPE(f->state, "key", TKS_TYPE_BYTES);
    CHECK_TEXT(f->state, "key", "value");
}

static void a_record_without_a_version_gets_one(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "value", 0);

    CHECK_COPY(f->state, &record, RENEWED);
    CHECK(version_of(f->state, "key") != 0);
    CHECK_COPY(f->state, &record, SAME);
    record.version = UINT64_MAX; /* would use all numbers up */
    record.value = "other";
    CHECK_COPY(f->state, &record, RENEWED);
    CHECK(version_of(f->state, "key") != UINT64_MAX);
}

/* Of a store that is younger than this one, in any order. */
static void versions_ahead_of_ours_are_kept_and_not_given_out(void **fixture)
{
    enum { COPIES = 3000, WRITES = 20000 };
    struct api *f = *fixture;
    const uint64_t ahead = now_ns() + HOUR_NS;
    uint64_t seed = 7, last = 0;
    char key[32];

    for (int i = 0; i < COPIES; i++) {
        struct tks_record record;

        snprintf(key, sizeof(key), "copy-%d", i);
        record = record_of(key, "value", ahead - 2 * (uint64_t)i);
        CHECK_COPY(f->state, &record, KEPT);
    }
    for (int i = 0; i < WRITES; i++) {
        uint64_t version;

        snprintf(key, sizeof(key), "own-%d", (int)(api_random(&seed) % 100));
        CHECK_OK(tks_set(f->state, key, "own", 3));
        version = version_of(f->state, key);
        CHECK(version != last && (version > ahead || version < ahead - 2 * COPIES));
        last = version;
    }
    for (int i = 0; i < COPIES; i++) {
        struct tks_record record;

        snprintf(key, sizeof(key), "copy-%d", i);
        record = record_of(key, "value", ahead - 2 * (uint64_t)i);
        CHECK_COPY(f->state, &record, SAME);
    }
}

/* Versions that the store would have come to soon: kept or not, no write gets one. */
static void a_kept_version_is_never_given_out(void **fixture)
{
    enum { COPIES = 64, SPACING = 256, WRITES = 2 * COPIES * SPACING };
    struct api *f = *fixture;
    uint64_t copied[COPIES], next;
    char key[32];

    CHECK_OK(tks_set(f->state, "own", "value", 5));
    next = version_of(f->state, "own") + 1;
    for (int i = 0; i < COPIES; i++) {
        struct tks_record record;

        snprintf(key, sizeof(key), "copy-%d", i);
        record = record_of(key, "value", next + (uint64_t)i * SPACING);
        CHECK_OK(tks_copy_record(f->state, &record, NULL));
        copied[i] = version_of(f->state, key);
    }
    for (int i = 0; i < WRITES; i++) {
        uint64_t version;

        CHECK_OK(tks_set(f->state, "own", "value", 5));
        version = version_of(f->state, "own");
        for (int j = 0; j < COPIES; j++)
            CHECK(version != copied[j]);
    }
}

enum { THREADS = 4, ROUNDS = 500 };

struct racer {
    pthread_t thread;
    tks_store *store;
    int index;
    uint64_t own[ROUNDS], copied[ROUNDS];
};

/* Copies with versions that the others are about to get. */
static void *race(void *arg)
{
    struct racer *racer = arg;
    uint64_t seed = 99 + (uint64_t)racer->index;
    tks_state *state = api_state(racer->store, "plugin");
    char key[32], own[32];

    snprintf(own, sizeof(own), "own-%d", racer->index);
    for (int i = 0; i < ROUNDS; i++) {
        struct tks_record record;
        int outcome;

        CHECK_OK(tks_set(state, own, "value", 5));
        racer->own[i] = version_of(state, own);
        snprintf(key, sizeof(key), "copy-%d-%d", racer->index, i);
        record = record_of(key, "value", racer->own[i] + 1 + api_random(&seed) % 20000);
        CHECK_OK(tks_copy_record(state, &record, &outcome));
        racer->copied[i] = version_of(state, key);
        CHECK((racer->copied[i] == record.version) == (outcome == TKS_COPY_KEPT));
    }
    tks_state_close(state);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void racing_copies_and_writes_share_no_version(void **fixture)
{
    static struct racer racers[THREADS];
    static uint64_t own[THREADS * ROUNDS];
    struct api *f = *fixture;
    size_t count = 0;

    for (int i = 0; i < THREADS; i++) {
        racers[i].store = f->store;
        racers[i].index = i;
        CHECK_INT(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(racers[i].thread, NULL), 0);
        for (int j = 0; j < ROUNDS; j++)
            own[count++] = racers[i].own[j];
    }
    qsort(own, count, sizeof(own[0]), by_value);
    for (size_t i = 1; i < count; i++)
        CHECK(own[i] != own[i - 1]);
    for (int i = 0; i < THREADS; i++)
        for (int j = 0; j < ROUNDS; j++)
            CHECK(!bsearch(&racers[i].copied[j], own, count, sizeof(own[0]), by_value));
}

/* The next run brings what has changed since: versions above and between those of the first. */
static void later_copies_keep_theirs_too(void **fixture)
{
    struct api *f = *fixture;
    const uint64_t ahead = now_ns() + HOUR_NS;

    for (uint64_t run = 0; run < 100; run++) {
        struct tks_record record = record_of("key", "value", ahead + run * 1000000);

        CHECK_COPY(f->state, &record, KEPT);
        CHECK_OK(tks_set(f->state, "other", "own", 3));
        record.version -= 500;
        CHECK_COPY(f->state, &record, KEPT);
    }
}

/* ---- Whole stores ------------------------------------------------------------------------ */

struct target {
    tks_store *store;
    tks_state *state;
    uint64_t records, outcomes[4];
};

static int copy_entry(void *arg, const struct tks_record *record)
{
    struct target *target = arg;
    int outcome = 0;
    int status = tks_copy_record(target->state, record, &outcome);

    target->records++;
    if (status == TKS_OK)
        target->outcomes[outcome]++;
    return status;
}

struct comparison {
    tks_state *state;
    uint64_t records;
};

static int compare_entry(void *arg, const struct tks_record *record)
{
    struct comparison *comparison = arg;
    int type = -1;

    CHECK_BYTES(comparison->state, record->key, record->value, record->value_len);
    CHECK_OK(tks_type(comparison->state, record->key, &type));
    CHECK_INT(type, record->type);
    CHECK(version_of(comparison->state, record->key) == record->version);
    comparison->records++;
    return 0;
}

static void fill(tks_state *state, int keys)
{
    char key[32];

    for (int i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        if (i % 3 == 0)
            CHECK_OK(tks_set_with_ttl(state, key, key, strlen(key), API_HOUR_MS + i));
        else
            CHECK_OK(tks_set_i64(state, key, i));
        if (i % 7 == 0)
            CHECK_OK(tks_set_str(state, key, key, strlen(key)));
        if (i % 11 == 0)
            CHECK_OK(tks_delete(state, key));
    }
}

/* All of @p from, which has @p keys, twice. */
static void copy_store(tks_store *from, struct target *target, uint64_t keys)
{
    struct comparison comparison = {.state = target->state};

    for (int run = 0; run < 2; run++) {
        target->records = 0;
        memset(target->outcomes, 0, sizeof(target->outcomes));
        CHECK_OK(tks_store_export(from, "plugin", copy_entry, target));
        CHECK_INT(target->records, keys);
        CHECK_INT(target->outcomes[run == 0 ? TKS_COPY_KEPT : TKS_COPY_SAME], keys);
    }
    CHECK_OK(tks_store_export(target->store, "plugin", compare_entry, &comparison));
    CHECK_INT(comparison.records, keys);
    comparison = (struct comparison){.state = target->state};
    CHECK_OK(tks_store_export(from, "plugin", compare_entry, &comparison));
    CHECK_INT(comparison.records, keys);
}

struct segment {
    char uri[API_URI_MAX];
    struct target target;
};

static void open_segment(struct segment *segment)
{
    api_shm_uri(segment->uri, "size=64M");
    segment->target.store = api_store(segment->uri);
    segment->target.state = api_state(segment->target.store, "plugin");
}

static void drop_segment(struct segment *segment)
{
    tks_state_close(segment->target.state);
    api_dispose(segment->target.store, segment->uri);
}

static void give_out_versions(tks_state *state)
{
    CHECK_OK(tks_set(state, "older", "value", 5));
    CHECK_OK(tks_delete(state, "older"));
}

/* From a segment to a store made before it, whatever it is, and from there to other segments: one
 * made before both and one made after. */
static void a_store_goes_there_and_back(void **fixture)
{
    enum { KEYS = 5000 };
    static struct segment oldest, from, newest;
    struct api *f = *fixture;
    struct target here = {.store = f->store, .state = f->state};
    uint64_t keys;

    open_segment(&oldest);
    give_out_versions(oldest.target.state);
    give_out_versions(f->state);
    open_segment(&from);
    fill(from.target.state, KEYS);
    keys = api_count_keys(from.target.state);
    copy_store(from.target.store, &here, keys);
    copy_store(f->store, &oldest.target, keys);
    open_segment(&newest);
    copy_store(f->store, &newest.target, keys);
    drop_segment(&oldest);
    drop_segment(&from);
    drop_segment(&newest);
}

/* ---- What is refused --------------------------------------------------------------------- */

static void a_bad_record_is_invalid_and_changes_nothing(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of("key", "\xff", OLD);
    int outcome = 12345;

    CHECK_OK(tks_set(f->state, "key", "old", 3));
    CHECK_STATUS(tks_copy_record(f->state, NULL, &outcome), TKS_INVALID);
    CHECK_STATUS(tks_copy_record(f->state, &record, &outcome), TKS_INVALID);
    record = record_of("", "value", OLD);
    CHECK_STATUS(tks_copy_record(f->state, &record, &outcome), TKS_INVALID);
    record = record_of("key", "value", OLD);
    record.expires_at = -1;
    CHECK_STATUS(tks_copy_record(f->state, &record, &outcome), TKS_INVALID);
    record = record_of("key", "value", OLD);
    record.size = 4;
    CHECK_STATUS(tks_copy_record(f->state, &record, &outcome), TKS_INVALID);
    CHECK_INT(outcome, 12345);
    CHECK_TEXT(f->state, "key", "old");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(a_copy_has_the_records_version),
        API_TEST(set_if_goes_on_with_the_version),
        API_TEST(every_type_and_length_is_copied),
        API_TEST(what_is_there_already_is_left),
        API_TEST(another_value_is_overwritten),
        API_TEST(what_has_expired_deletes_its_key),
        API_TEST(a_copy_expires),
        API_TEST(add_gives_a_copied_counter_a_new_version),
        API_TEST(a_version_given_out_here_is_not_kept),
        API_TEST(a_version_names_one_write),
        API_TEST(a_record_without_a_version_gets_one),
        API_TEST(versions_ahead_of_ours_are_kept_and_not_given_out),
        API_TEST(a_kept_version_is_never_given_out),
        API_TEST(racing_copies_and_writes_share_no_version),
        API_TEST(later_copies_keep_theirs_too),
        API_TEST(a_store_goes_there_and_back),
        API_TEST(a_bad_record_is_invalid_and_changes_nothing),
    };

    return api_run("copies", tests);
}
