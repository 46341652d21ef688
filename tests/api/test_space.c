/* SPDX-License-Identifier: MIT */
/* Small and full stores: what they hold, and that what is emptied can be filled again. */
#include <signal.h>
#include <stdlib.h>

#include "api.h"

enum { KEY_SIZE = 40 };

static const size_t sizes[] = {1, 24, 64, 200, 1000, 4000, 20000, 150000};

static char *value_of(size_t len)
{
    static char value[200000];

    CHECK(len <= sizeof(value));
    memset(value, (int)(len % 251), len);
    return value;
}

static void name_key(char key[KEY_SIZE], int i)
{
    snprintf(key, KEY_SIZE, "key-%06d-0123456789a", i); /* 22 bytes */
}

/* Set one key after the other until the store is full; how many it took. */
static int fill(tks_state *state, size_t len)
{
    char key[KEY_SIZE];
    int count = 0;
    int status;

    do
        name_key(key, count);
    while ((status = tks_set(state, key, value_of(len), len)) == TKS_OK && ++count < 10000000);
    CHECK_STATUS(status, TKS_NO_SPACE);
    CHECK_INT(tks_has(state, key), 0);
    return count;
}

static void check_filled(tks_state *state, int count, size_t len)
{
    char key[KEY_SIZE];

    for (int i = 0; i < count; i++) {
        name_key(key, i);
        CHECK_BYTES(state, key, value_of(len), len);
    }
    CHECK_INT(api_count_keys(state), count);
}

static void empty(tks_state *state, int count)
{
    char key[KEY_SIZE];

    for (int i = 0; i < count; i++) {
        name_key(key, i);
        CHECK_OK(tks_delete(state, key));
        CHECK_INT(tks_has(state, key), 0);
    }
    CHECK_INT(api_count_keys(state), 0);
}

static void one_megabyte_holds_500_values_of_200_bytes(void **fixture)
{
    struct api *f = *fixture;
    int count;

    api_replace_store(f, "size=1M");
    count = fill(f->state, 200);
    print_message("           1M holds %d values of 200 bytes\n", count);
    CHECK(count >= 500);
    check_filled(f->state, count, 200);
}

enum { SHORT_PLUGINS = 5, SHORT_SAMPLE = 160000 };

static uint64_t committed_bytes(struct api *f)
{
    struct tks_stats stats = {.size = sizeof(stats)};

    CHECK_OK(tks_store_stats(f->store, &stats));
    return stats.committed_bytes;
}

/*
 * As many small values as fit, by states opened for @p writes each, one plugin after the other;
 * @p committed: what the first SHORT_SAMPLE of them took.
 */
static int fill_by_short_states(struct api *f, int writes, uint64_t *committed)
{
    char key[KEY_SIZE], plugin[16];
    int count = 0, status = TKS_OK;

    api_replace_store(f, "size=64M");
    for (int turn = 0; status == TKS_OK; turn++) {
        tks_state *state;
        snprintf(plugin, sizeof(plugin), "short-%d", turn % SHORT_PLUGINS);
        status = tks_state_open(f->store, plugin, &state);
        for (int i = 0; status == TKS_OK && i < writes; i++) {
            name_key(key, count);
            status = tks_set(state, key, value_of(24), 24);
            count += status == TKS_OK;
            if (count == SHORT_SAMPLE)
                *committed = committed_bytes(f);
        }
        tks_state_close(state);
    }
    CHECK_STATUS(status, TKS_NO_SPACE);
    return count;
}

static void short_states_do_not_scatter_blocks(void **fixture)
{
    uint64_t close = 0, scattered = 0;

    if (API_THREAD_SANITIZER)
        skip(); /* a minute for what one thread does */
    const int together = fill_by_short_states(*fixture, 20000, &close);
    const int alternating = fill_by_short_states(*fixture, 1, &scattered);

    print_message("           64M hold %d values written together, %d one by one\n", together,
                  alternating);
    print_message("           %d take %llu KiB together, %llu KiB one by one\n", SHORT_SAMPLE,
                  (unsigned long long)close >> 10, (unsigned long long)scattered >> 10);
    CHECK(alternating >= together / 2);
    CHECK(scattered > 0 && scattered < close + close / 2);
}

static void one_megabyte_of_500_values_takes_overwrites(void **fixture)
{
    struct api *f = *fixture;
    char key[KEY_SIZE];

    api_replace_store(f, "size=1M");
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 500; i++) {
            name_key(key, i);
            CHECK_OK(tks_set(f->state, key, value_of(200), 200));
        }
    }
    check_filled(f->state, 500, 200);
}

static void a_full_store_says_no_space_and_keeps_everything(void **fixture)
{
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(sizes); i++) {
        struct tks_record record = {.size = sizeof(record),
                                    .key = "new",
                                    .key_len = 3,
                                    .plugin = "plugin",
                                    .plugin_len = 6,
                                    .value = value_of(200000),
                                    .value_len = 200000};
        char key[KEY_SIZE];
        int count;

        api_replace_store(f, "size=2M");
        count = fill(f->state, sizes[i]);
        name_key(key, 0);
        CHECK_STATUS(tks_set(f->state, "new", value_of(200000), 200000), TKS_NO_SPACE);
        CHECK(strlen(tks_last_error()) > 0);
        CHECK_STATUS(tks_set(f->state, key, value_of(200000), 200000), TKS_NO_SPACE);
        CHECK_STATUS(tks_set_if(f->state, "new", value_of(200000), 200000, 0), TKS_NO_SPACE);
        CHECK_STATUS(tks_set_with_ttl(f->state, "new", value_of(200000), 200000, 1), TKS_NO_SPACE);
        CHECK_STATUS(tks_put_record(f->state, &record), TKS_NO_SPACE);
        check_filled(f->state, count, sizes[i]);
    }
}

static void delete_works_in_a_full_store(void **fixture)
{
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(sizes); i++) {
        api_replace_store(f, "size=2M");
        empty(f->state, fill(f->state, sizes[i]));
        api_replace_store(f, "size=2M");
        CHECK_OK(tks_tick_begin(f->state)); /* the same within a tick */
        empty(f->state, fill(f->state, sizes[i]));
        CHECK_OK(tks_tick_end(f->state));
    }
}

static void every_other_key_of_a_full_store_can_go(void **fixture)
{
    struct api *f = *fixture;
    char key[KEY_SIZE];
    int count;

    api_replace_store(f, "size=2M");
    count = fill(f->state, 1);
    for (int i = count - 1; i >= 0; i -= 2) {
        name_key(key, i);
        CHECK_OK(tks_delete(f->state, key));
    }
    for (int i = 0; i < count; i++) {
        name_key(key, i);
        CHECK_INT(tks_has(f->state, key), (count - 1 - i) % 2 != 0);
    }
}

static void what_expired_in_a_full_store_can_be_purged(void **fixture)
{
    struct api *f = *fixture;
    char key[KEY_SIZE];
    int count = 0;
    int status;

    api_replace_store(f, "size=2M");
    do
        name_key(key, count);
    while ((status = tks_set_with_ttl(f->state, key, "value", 5, 1)) == TKS_OK && ++count < 1000);
    CHECK_OK(status);
    fill(f->state, 3000);
    do
        name_key(key, --count);
    while (tks_has(f->state, key) == 0 && count > 0);
    CHECK_OK(tks_store_sweep(f->store, NULL));
}

static void an_emptied_store_can_be_filled_again(void **fixture)
{
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(sizes); i++) {
        int first, again;

        api_replace_store(f, "size=2M");
        first = fill(f->state, sizes[i]);
        empty(f->state, first);
        again = fill(f->state, sizes[i]);
        CHECK(again >= first - first / 10);
    }
}

static void an_emptied_store_can_be_filled_with_another_size(void **fixture)
{
    struct api *f = *fixture;
    int fresh[API_ARRAY(sizes)];

    for (size_t i = 0; i < API_ARRAY(sizes); i++) {
        api_replace_store(f, "size=4M");
        fresh[i] = fill(f->state, sizes[i]);
    }
    for (size_t i = 0; i < API_ARRAY(sizes); i++) {
        for (size_t j = 0; j < API_ARRAY(sizes); j++) {
            api_replace_store(f, "size=4M");
            empty(f->state, fill(f->state, sizes[i]));
            /* What the index grew to may stay; half is left for whatever comes next. */
            if (fill(f->state, sizes[j]) < fresh[j] / 2)
                api_fail(__FILE__, __LINE__, "after %zu bytes each, %zu bytes do not fit", sizes[i],
                         sizes[j]);
        }
    }
}

static void many_rounds_do_not_wear_a_store_out(void **fixture)
{
    enum { ROUNDS = 12 };
    struct api *f = *fixture;
    int counts[ROUNDS][API_ARRAY(sizes)];

    api_replace_store(f, "size=4M");
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < API_ARRAY(sizes); i++) {
            counts[round][i] = fill(f->state, sizes[i]);
            empty(f->state, counts[round][i]);
        }
    }
    for (size_t i = 0; i < API_ARRAY(sizes); i++) {
        if (counts[ROUNDS - 1][i] < counts[1][i] - counts[1][i] / 10)
            api_fail(__FILE__, __LINE__, "%zu bytes: %d fit at first, %d at last", sizes[i],
                     counts[1][i], counts[ROUNDS - 1][i]);
    }
}

static void mixed_sizes_fill_the_store_again_and_again(void **fixture)
{
    struct api *f = *fixture;
    uint64_t seed = 7;
    uint64_t stored[20] = {0};
    char key[KEY_SIZE];

    api_replace_store(f, "size=4M");
    for (size_t round = 0; round < API_ARRAY(stored); round++) {
        int count = 0;
        int status;

        for (;;) {
            size_t len = sizes[api_random(&seed) % 7];

            name_key(key, count);
            status = tks_set(f->state, key, value_of(len), len);
            if (status != TKS_OK)
                break;
            stored[round] += len;
            count++;
        }
        CHECK_STATUS(status, TKS_NO_SPACE);
        empty(f->state, count);
    }
    for (size_t round = 1; round < API_ARRAY(stored); round++)
        CHECK(stored[round] > (1 << 20)); /* a quarter at the very least, whatever the mix */
}

static void overwriting_goes_on_in_a_nearly_full_store(void **fixture)
{
    struct api *f = *fixture;
    char key[KEY_SIZE];
    int count;

    api_replace_store(f, "size=2M");
    count = fill(f->state, 200);
    for (int i = 0; i < count / 10; i++) {
        name_key(key, count - 1 - i);
        CHECK_OK(tks_delete(f->state, key));
    }
    for (int i = 0; i < 200000; i++) {
        name_key(key, i % (count / 2));
        CHECK_OK(tks_set(f->state, key, value_of(200), 200));
    }
}

static void a_value_larger_than_the_store_is_no_space(void **fixture)
{
    struct api *f = *fixture;
    char *value = calloc(1, TKS_VALUE_MAX);

    api_replace_store(f, "size=1M");
    CHECK(value != NULL);
    CHECK_STATUS(tks_set(f->state, "key", value, (size_t)1 << 20), TKS_NO_SPACE);
    CHECK_STATUS(tks_set(f->state, "key", value, (size_t)2 << 20), TKS_NO_SPACE);
    CHECK_STATUS(tks_set(f->state, "key", value, TKS_VALUE_MAX), TKS_NO_SPACE);
    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_TEXT(f->state, "key", "value");
    free(value);
}

static void a_full_store_still_opens_the_plugins_it_knows(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin;
    int count;

    api_replace_store(f, "size=1M");
    count = fill(f->state, 1);
    for (int i = 0; i < 50; i++) {
        twin = api_state(f->store, "plugin");
        CHECK_INT(tks_has(twin, "none"), 0);
        tks_state_close(twin);
    }
    twin = api_state(f->store, "plugin");
    empty(twin, count);
    tks_state_close(twin);
}

static void one_plugins_space_becomes_anothers(void **fixture)
{
    struct api *f = *fixture;
    tks_state *other;
    int first, count;

    api_replace_store(f, "size=4M");
    other = api_state(f->store, "other");
    first = fill(f->state, 200);
    CHECK_STATUS(tks_set(other, "key", value_of(4000), 4000), TKS_NO_SPACE);
    empty(f->state, first);
    count = fill(other, 200);
    CHECK(count >= first / 2);
    empty(other, count);
    CHECK(fill(f->state, 200) >= first / 2);
    tks_state_close(other);
}

/* ---- With other processes ---------------------------------------------------------------- */

static int fill_and_empty(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");

    empty(state, fill(state, 200));
    api_tell(fd);
    api_hear(fd);
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void check_freed_space(struct api *f, bool stop)
{
    struct api_peer peer;
    int first;

    api_replace_store(f, "size=4M");
    first = fill(f->state, 200);
    empty(f->state, first);
    peer = api_spawn(fill_and_empty, f->uri);
    api_hear(peer.fd);
    if (stop)
        api_stop(&peer);
    CHECK(fill(f->state, 200) >= first - first / 10);
    CHECK(kill(peer.pid, SIGCONT) == 0);
    api_tell(peer.fd);
    api_join(&peer);
}

static void what_an_idle_process_freed_is_free_for_all(void **fixture)
{
    check_freed_space(*fixture, false);
}

static void what_a_stopped_process_freed_is_free_for_all(void **fixture)
{
    check_freed_space(*fixture, true);
}

static int fill_in_a_tick_and_wait(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");

    CHECK_OK(tks_tick_begin(state));
    fill(state, 200);
    api_tell(fd);
    api_hear(fd);
    return 0;
}

static void a_full_store_survives_its_filler(void **fixture)
{
    struct api *f = *fixture;

    api_replace_store(f, "size=2M");
    for (int i = 0; i < 10; i++) {
        struct api_peer peer = api_spawn(fill_in_a_tick_and_wait, f->uri);
        int count;

        api_hear(peer.fd);
        api_kill(&peer);
        api_reap(&peer);
        count = (int)api_count_keys(f->state);
        CHECK(count > 1000);
        empty(f->state, count);
    }
}

static int fight_for_space(int index, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    uint64_t seed = (uint64_t)index + 1;
    char key[KEY_SIZE];

    for (int i = 0; i < 60000; i++) {
        size_t len = sizes[api_random(&seed) % 7];
        int status;

        snprintf(key, sizeof(key), "p%d-%d", index, (int)(api_random(&seed) % 300));
        if (api_random(&seed) % 3 == 0) {
            CHECK_OK(tks_delete(state, key));
            continue;
        }
        status = tks_set(state, key, value_of(len), len);
        CHECK(status == TKS_OK || status == TKS_NO_SPACE);
        if (status == TKS_OK)
            CHECK_BYTES(state, key, value_of(len), len);
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void processes_that_fight_for_space_lose_nothing(void **fixture)
{
    struct api *f = *fixture;

    api_replace_store(f, "size=3M");
    api_crew(4, fight_for_space, f->uri);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(one_megabyte_holds_500_values_of_200_bytes),
        API_TEST(short_states_do_not_scatter_blocks),
        API_TEST(one_megabyte_of_500_values_takes_overwrites),
        API_TEST(a_full_store_says_no_space_and_keeps_everything),
        API_TEST(delete_works_in_a_full_store),
        API_TEST(every_other_key_of_a_full_store_can_go),
        API_TEST(what_expired_in_a_full_store_can_be_purged),
        API_TEST(an_emptied_store_can_be_filled_again),
        API_TEST(an_emptied_store_can_be_filled_with_another_size),
        API_TEST(many_rounds_do_not_wear_a_store_out),
        API_TEST(mixed_sizes_fill_the_store_again_and_again),
        API_TEST(overwriting_goes_on_in_a_nearly_full_store),
        API_TEST(a_value_larger_than_the_store_is_no_space),
        API_TEST(a_full_store_still_opens_the_plugins_it_knows),
        API_TEST(one_plugins_space_becomes_anothers),
        API_TEST(what_an_idle_process_freed_is_free_for_all),
        API_TEST(what_a_stopped_process_freed_is_free_for_all),
        API_TEST(a_full_store_survives_its_filler),
        API_TEST(processes_that_fight_for_space_lose_nothing),
    };

    if (!api_is_shm())
        return 77; /* skipped, for Meson */
    return api_run("space", tests);
}
