/* SPDX-License-Identifier: MIT */
/* memory://: its URIs, many threads on one store, fork, and the application's own use of RCU. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>

#include "api.h"

#define THREADS 4
#if defined(__SANITIZE_THREAD__)
#define ROUNDS 2000
#else
#define ROUNDS 20000
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif
#ifndef ASAN
#define ASAN 0
#endif

static void check_refused(const char *uri, int status, const char *names)
{
    tks_store *store = (tks_store *)(void *)&status;

    CHECK_STATUS(tks_store_open(uri, NULL, &store), status);
    CHECK(store == NULL);
    if (strstr(tks_last_error(), names) == NULL)
        api_fail(__FILE__, __LINE__, "\"%s\" does not name %s", tks_last_error(), names);
}

static struct tks_check check_of(tks_store *store)
{
    struct tks_check check = {.size = sizeof(check)};

    CHECK_OK(tks_store_check(store, &check));
    CHECK_INT(check.leaked_blocks, 0);
    return check;
}

static struct tks_stats stats_of(tks_store *store)
{
    struct tks_stats stats = {.size = sizeof(stats)};

    CHECK_OK(tks_store_stats(store, &stats));
    return stats;
}

/* ---- URIs -------------------------------------------------------------------------------- */

static void a_name_or_an_unknown_parameter_is_refused(void **fixture)
{
    struct tks_options existing = {.size = sizeof(existing), .flags = TKS_OPEN_EXISTING};
    tks_store *store;

    (void)fixture;
    check_refused("memory://desk", TKS_INVALID, "desk");
    check_refused("memory:///", TKS_INVALID, "takes no name");
    check_refused("memory://?size=64M", TKS_INVALID, "size");
    check_refused("memory://?sweep_ms=often", TKS_INVALID, "sweep_ms=often");
    check_refused("memory://?sweep_ms", TKS_INVALID, "sweep_ms");
    CHECK_STATUS(tks_store_open("memory://", &existing, &store), TKS_NOT_FOUND);
    CHECK(store == NULL);
}

static void nothing_is_kept(void **fixture)
{
    struct api *f = *fixture;

    CHECK_STATUS(tks_store_checkpoint(f->store), TKS_UNSUPPORTED);
    CHECK(strstr(tks_last_error(), "memory://") != NULL);
    CHECK_STATUS(tks_store_destroy("memory://"), TKS_UNSUPPORTED);
    CHECK(strstr(tks_last_error(), "memory://") != NULL);
    CHECK_STATUS(tks_store_destroy("memory://desk"), TKS_INVALID);
}

static void each_open_is_a_store_of_its_own(void **fixture)
{
    struct api *f = *fixture;
    tks_store *other = api_store("memory://");
    tks_state *state = api_state(other, "plugin");

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_ABSENT(state, "key");
    CHECK_OK(tks_set(state, "key", "other", 5));
    CHECK_TEXT(f->state, "key", "value");
    tks_state_close(state);
    tks_store_close(other);
}

static void sweep_ms_drops_what_nobody_reads(void **fixture)
{
    tks_store *store = api_store("memory://?sweep_ms=1");
    tks_state *state = api_state(store, "plugin");

    (void)fixture;
    CHECK_OK(tks_set(state, "kept", "", 0));
    for (int i = 0; i < 100; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_set_with_ttl(state, key, "", 0, 1 + i % 20));
    }
    while (check_of(store).keys != 1)
        sched_yield();
    tks_state_close(state);
    tks_store_close(store);
}

static void stats_count_bytes(void **fixture)
{
    struct api *f = *fixture;
    const size_t len = (size_t)1 << 20;
    struct tks_stats before = stats_of(f->store), after;
    char *value = calloc(1, len);

    CHECK(value != NULL);
    CHECK_OK(tks_set(f->state, "large", value, len));
    after = stats_of(f->store);
    free(value);
    CHECK(after.used_bytes >= before.used_bytes + len);
    CHECK(after.used_bytes < before.used_bytes + len + 4096);
    CHECK_INT(after.stores, 1);
    CHECK(after.created_ms <= api_wall_ms() && after.created_ms > api_wall_ms() - API_HOUR_MS);
    CHECK_OK(tks_delete(f->state, "large"));
    CHECK_INT(check_of(f->store).retired_blocks, 0);
    after = stats_of(f->store);
    CHECK_INT(after.used_bytes, before.used_bytes);
    CHECK_INT(after.retired_bytes, 0);
}

/* ---- Threads ----------------------------------------------------------------------------- */

struct crew {
    tks_store *store;
    void (*body)(tks_state *state, int index, struct crew *crew);
    pthread_barrier_t start;
    atomic_int running; /* writers that have not finished */
    atomic_int next;
};

static void *crew_thread(void *arg)
{
    struct crew *crew = arg;
    int index = atomic_fetch_add(&crew->next, 1);
    tks_state *state = api_state(crew->store, "plugin");

    pthread_barrier_wait(&crew->start);
    crew->body(state, index, crew);
    atomic_fetch_sub(&crew->running, 1);
    tks_state_close(state);
    return NULL;
}

/* Run THREADS bodies at once, and watch() again and again until they have finished. */
static void run_crew(struct api *f, void (*body)(tks_state *state, int index, struct crew *crew),
                     void (*watch)(struct api *f))
{
    struct crew crew = {.store = f->store, .body = body, .running = THREADS};
    pthread_t threads[THREADS];

    CHECK(pthread_barrier_init(&crew.start, NULL, THREADS) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, crew_thread, &crew) == 0);
    do {
        if (watch != NULL)
            watch(f);
        else
            sched_yield();
    } while (atomic_load(&crew.running) > 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&crew.start);
    CHECK_INT(check_of(f->store).retired_blocks, 0);
}

/* A value of one byte, as long as the byte says. */
static void write_whole_values(tks_state *state, int index, struct crew *crew)
{
    char value[256];

    (void)crew;
    for (int i = 0; i < ROUNDS; i++) {
        int len = (i * 7 + index * 61) % 255 + 1;

        memset(value, len, (size_t)len);
        CHECK_OK(tks_set(state, "value", value, (size_t)len));
        if (i % 16 == 0)
            CHECK_OK(tks_delete(state, "value"));
        if (i % 8 == 0)
            CHECK_OK(tks_set_with_ttl(state, "value", value, (size_t)len, 1));
    }
}

static void read_whole_values(struct api *f)
{
    char value[256];
    const void *borrowed;
    size_t len;
    int status = tks_get(f->state, "value", value, sizeof(value), &len);

    if (status != TKS_NOT_FOUND) {
        CHECK_OK(status);
        for (size_t i = 0; i < len; i++)
            CHECK_INT((unsigned char)value[i], len);
    }
    CHECK_OK(tks_tick_begin(f->state));
    if (tks_borrow(f->state, "value", &borrowed, &len) == TKS_OK) {
        sched_yield(); /* others overwrite it meanwhile */
        CHECK_INT((uintptr_t)borrowed % 16, 0);
        for (size_t i = 0; i < len; i++)
            CHECK_INT(((const unsigned char *)borrowed)[i], len);
    }
    CHECK_OK(tks_tick_end(f->state));
}

static void no_value_is_torn(void **fixture)
{
    run_crew(*fixture, write_whole_values, read_whole_values);
}

enum { SHORT_LIVED = 40 };

/* Reads keys, which purges those that have expired. */
static void purge(tks_state *state, int index, struct crew *crew)
{
    char key[16];

    (void)crew;
    for (int i = 0; i < ROUNDS * 4; i++) {
        snprintf(key, sizeof(key), "k%d", (i + index * 10) % SHORT_LIVED);
        CHECK(tks_has(state, key) >= 0);
    }
}

/* Puts lasting values in the place of those that expire about now. */
static void replace_what_expires(struct api *f)
{
    char key[16];

    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < SHORT_LIVED; i++) {
            snprintf(key, sizeof(key), "k%d", i);
            if (pass == 0) {
                CHECK_OK(tks_set_with_ttl(f->state, key, "", 0, 1));
            } else {
                CHECK_OK(tks_set(f->state, key, key, strlen(key)));
                sched_yield(); /* time for a purge that was late */
                CHECK_TEXT(f->state, key, key);
            }
        }
    }
}

static void a_purge_takes_no_newer_value(void **fixture)
{
    run_crew(*fixture, purge, replace_what_expires);
}

static void count_by_set_if(tks_state *state, int index, struct crew *crew)
{
    (void)index;
    (void)crew;
    for (int done = 0; done < ROUNDS / 10;) {
        uint64_t version, count = 0;
        int status = tks_get_versioned(state, "count", &count, sizeof(count), NULL, &version);

        CHECK(status == TKS_OK || status == TKS_NOT_FOUND);
        count++;
        status = tks_set_if(state, "count", &count, sizeof(count), version);
        CHECK(status == TKS_OK || status == TKS_CONFLICT);
        done += status == TKS_OK;
        CHECK_OK(tks_add_i64(state, "added", 1, NULL));
        CHECK_OK(tks_add_i64(state, "attempts", status == TKS_OK, NULL));
    }
}

static void no_update_is_lost(void **fixture)
{
    struct api *f = *fixture;
    uint64_t count;
    int64_t attempts;

    run_crew(f, count_by_set_if, NULL);
    CHECK_OK(tks_get(f->state, "count", &count, sizeof(count), NULL));
    CHECK_OK(tks_get_i64(f->state, "attempts", &attempts));
    CHECK_INT(count, THREADS * (ROUNDS / 10));
    CHECK_INT(attempts, THREADS * (ROUNDS / 10));
}

enum { LASTING = 300 };

/* Makes the table grow and keeps replacing what lasts. */
static void churn(tks_state *state, int index, struct crew *crew)
{
    char key[32];

    (void)crew;
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof(key), "fresh%d-%d", index, i % 3000);
        CHECK_OK(i / 3000 % 2 == 0 ? tks_set(state, key, key, strlen(key))
                                   : tks_delete(state, key));
        snprintf(key, sizeof(key), "lasts%d", i % LASTING);
        CHECK_OK(tks_set(state, key, key, strlen(key)));
    }
}

struct seen {
    tks_state *state;
    int times[LASTING];
};

static int note_lasting(void *arg, const char *key, size_t key_len)
{
    struct seen *seen = arg;
    int number;

    CHECK_INT(strlen(key), key_len);
    if (sscanf(key, "lasts%d", &number) == 1) {
        seen->times[number]++;
        CHECK_OK(tks_set(seen->state, key, key, key_len)); /* a visitor may write */
    }
    return 0;
}

static void walk(struct api *f)
{
    struct seen seen = {.state = f->state};

    CHECK_OK(tks_keys(f->state, note_lasting, &seen));
    for (int i = 0; i < LASTING; i++)
        CHECK_INT(seen.times[i], 1);
}

static void a_walk_shows_each_lasting_key_once(void **fixture)
{
    struct api *f = *fixture;
    char key[32];

    for (int i = 0; i < LASTING; i++) {
        snprintf(key, sizeof(key), "lasts%d", i);
        CHECK_OK(tks_set(f->state, key, key, strlen(key)));
    }
    run_crew(f, churn, walk);
}

/* first is raised before second, so that no state has second ahead of first. */
static void write_in_order(tks_state *state, int index, struct crew *crew)
{
    char first[16], second[16];

    (void)crew;
    snprintf(first, sizeof(first), "first%d", index);
    snprintf(second, sizeof(second), "second%d", index);
    for (int i = 1; i <= ROUNDS; i++) {
        CHECK_OK(tks_set_i64(state, first, i));
        CHECK_OK(tks_set_i64(state, second, i));
    }
}

struct instant {
    int64_t first[THREADS], second[THREADS];
};

static int note_instant(void *arg, const struct tks_record *record)
{
    struct instant *instant = arg;
    int64_t value;
    int index;

    CHECK_INT(record->value_len, sizeof(value));
    memcpy(&value, record->value, sizeof(value));
    if (sscanf(record->key, "first%d", &index) == 1)
        instant->first[index] = value;
    else if (sscanf(record->key, "second%d", &index) == 1)
        instant->second[index] = value;
    return 0;
}

static void export_all(struct api *f)
{
    struct instant instant = {0};

    CHECK_OK(tks_store_export(f->store, NULL, note_instant, &instant));
    for (int i = 0; i < THREADS; i++)
        CHECK(instant.first[i] == instant.second[i] || instant.first[i] == instant.second[i] + 1);
}

static void an_export_is_of_one_instant(void **fixture)
{
    run_crew(*fixture, write_in_order, export_all);
}

/* ---- Ticks and reclamation --------------------------------------------------------------- */

static void a_tick_may_write_as_much_as_it_likes(void **fixture)
{
    struct api *f = *fixture;
    char key[16];
    const void *value;

    CHECK_OK(tks_set(f->state, "k1", "first", 5));
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_borrow(f->state, "k1", &value, NULL));
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof(key), "k%d", i % 5000);
        CHECK_OK(tks_set(f->state, key, key, strlen(key)));
    }
    CHECK(memcmp(value, "first", 5) == 0);
    /* An audit by the thread that holds everything back does not wait for itself. */
    CHECK(check_of(f->store).retired_blocks >= 1);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_INT(check_of(f->store).retired_blocks, 0);
}

static void a_store_may_end_within_a_tick_of_another(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_tick_begin(f->state));
    for (int i = 0; i < 20; i++) {
        tks_store *store = api_store("memory://");
        tks_state *state = api_state(store, "plugin");

        CHECK_OK(tks_set(state, "key", "value", 5));
        CHECK_OK(tks_set(state, "key", "other", 5));
        CHECK_OK(tks_tick_begin(state));
        tks_store_close(store);
        tks_state_close(state);
    }
    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_tick_end(f->state));
}

/* ---- The application's own RCU ------------------------------------------------------------ */

static void *read_for_oneself(void *arg)
{
    struct api *f = arg;

    urcu_memb_register_thread();
    urcu_memb_read_lock();
    for (int i = 0; i < 3; i++) {
        tks_state *state = api_state(f->store, "plugin");

        CHECK_OK(tks_tick_begin(state));
        CHECK_OK(tks_set(state, "key", "value", 5));
        CHECK_TEXT(state, "key", "value");
        CHECK_OK(tks_tick_end(state));
        tks_state_close(state);
        CHECK(urcu_memb_read_ongoing());
    }
    urcu_memb_read_unlock();
    CHECK(!urcu_memb_read_ongoing());
    urcu_memb_unregister_thread();
    return NULL;
}

static void a_thread_may_use_the_same_rcu_itself(void **fixture)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, read_for_oneself, *fixture) == 0);
    pthread_join(thread, NULL);
    urcu_memb_synchronize_rcu(); /* ends: nobody is left in a section */
}

/* ---- fork() ------------------------------------------------------------------------------ */

/* A store of one's own that works, grace periods included. */
static int open_its_own(int fd, void *arg)
{
    tks_store *store = api_store("memory://");
    tks_state *state = api_state(store, "plugin");
    char key[16];

    (void)fd;
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "k%d", i % 700);
        CHECK_OK(tks_set(state, key, key, strlen(key)));
    }
    CHECK_INT(check_of(store).keys, 700);
    CHECK_INT(check_of(store).retired_blocks, 0);
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void fork_one(void)
{
    struct api_peer peer = api_spawn(open_its_own, NULL);

    api_join(&peer);
}

static void fork_while_others_write(struct api *f)
{
    (void)f;
    fork_one();
}

static void tick_and_write(tks_state *state, int index, struct crew *crew)
{
    (void)index;
    (void)crew;
    for (int i = 0; i < ROUNDS * 4; i++) {
        CHECK_OK(tks_tick_begin(state));
        CHECK_OK(tks_set_i64(state, "key", i));
        CHECK_OK(tks_tick_end(state));
    }
}

static void a_child_has_memory_of_its_own(void **fixture)
{
    struct api *f = *fixture;

    fork_one();
    CHECK_OK(tks_set(f->state, "key", "value", 5));
    fork_one();
    CHECK_TEXT(f->state, "key", "value");
}

static void a_child_forked_while_threads_read_and_write_works(void **fixture)
{
    if (ASAN)
        skip(); /* its allocator's locks do not survive a fork while others allocate */
    fork_one(); /* skips where there are no children, before there are threads */
    run_crew(*fixture, tick_and_write, fork_while_others_write);
}

struct sitter {
    tks_store *store;
    pthread_barrier_t in, out;
};

static void *sit_in_a_tick(void *arg)
{
    struct sitter *sitter = arg;
    tks_state *state = api_state(sitter->store, "plugin");

    CHECK_OK(tks_tick_begin(state));
    pthread_barrier_wait(&sitter->in);
    pthread_barrier_wait(&sitter->out);
    CHECK_OK(tks_tick_end(state));
    tks_state_close(state);
    return NULL;
}

/* The reader that a child has not got is in a section for ever: the child must not wait for it. */
static void a_child_does_not_wait_for_its_parents_readers(void **fixture)
{
    struct api *f = *fixture;
    struct sitter sitter = {.store = f->store};
    pthread_t thread;

    fork_one();
    CHECK(pthread_barrier_init(&sitter.in, NULL, 2) == 0);
    CHECK(pthread_barrier_init(&sitter.out, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, sit_in_a_tick, &sitter) == 0);
    pthread_barrier_wait(&sitter.in);
    fork_one();
    pthread_barrier_wait(&sitter.out);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&sitter.in);
    pthread_barrier_destroy(&sitter.out);
}

static void a_child_forked_within_a_tick_works(void **fixture)
{
    struct api *f = *fixture;

    fork_one();
    CHECK_OK(tks_tick_begin(f->state));
    fork_one();
    CHECK_OK(tks_tick_end(f->state));
}

/* Tells its parent how opening went. */
static int open_and_tell(int fd, void *arg)
{
    tks_store *store;
    int status = tks_store_open("memory://", NULL, &store);

    CHECK(status == TKS_OK || strstr(tks_last_error(), "forked") != NULL);
    CHECK(write(fd, &status, sizeof(status)) == sizeof(status));
    if (status != TKS_OK)
        return 0;
    tks_store_close(store);
    return open_its_own(fd, arg);
}

/* The keeper begins to wait for the very tick that forks; children made before that work. */
static void a_child_forked_in_mid_grace_period_says_so(void **fixture)
{
    struct api *f = *fixture;
    int status;

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_tick_begin(f->state));
    CHECK_OK(tks_set(f->state, "key", "later", 5));
    do {
        struct api_peer peer = api_spawn(open_and_tell, NULL);

        CHECK(read(peer.fd, &status, sizeof(status)) == sizeof(status));
        api_join(&peer);
    } while (status == TKS_OK);
    CHECK_INT(status, TKS_UNSUPPORTED);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_INT(check_of(f->store).retired_blocks, 0);
    fork_one();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(a_name_or_an_unknown_parameter_is_refused),
        API_TEST(nothing_is_kept),
        API_TEST(each_open_is_a_store_of_its_own),
        API_TEST(sweep_ms_drops_what_nobody_reads),
        API_TEST(stats_count_bytes),
        API_TEST(no_value_is_torn),
        API_TEST(a_purge_takes_no_newer_value),
        API_TEST(no_update_is_lost),
        API_TEST(a_walk_shows_each_lasting_key_once),
        API_TEST(an_export_is_of_one_instant),
        API_TEST(a_tick_may_write_as_much_as_it_likes),
        API_TEST(a_store_may_end_within_a_tick_of_another),
        API_TEST(a_thread_may_use_the_same_rcu_itself),
        API_TEST(a_child_has_memory_of_its_own),
        API_TEST(a_child_forked_while_threads_read_and_write_works),
        API_TEST(a_child_does_not_wait_for_its_parents_readers),
        API_TEST(a_child_forked_within_a_tick_works),
        API_TEST(a_child_forked_in_mid_grace_period_says_so),
    };

    setenv("TKS_TEST_URI", "memory://", 1);
    return api_run("memory", tests);
}
