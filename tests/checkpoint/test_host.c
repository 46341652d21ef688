/* SPDX-License-Identifier: MIT */
/*
 * The checkpoint of a store that lives: the barrier, what changed, failures of the disk, two
 * segments and one file, the size of the file, the end. Killed and stopped hosts are
 * host_kill.c's.
 */
#include "host_support.h"

#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR_MS 3600000

static void jump(const char *why)
{
    fail_msg("%s", why);
}

static uint64_t test_seed(void)
{
    static uint64_t seed;
    const char *text = getenv("TKS_TEST_SEED");
    if (!seed) {
        seed = text ? strtoull(text, NULL, 10) : (uint64_t)(seconds() * 1e6);
        print_message("TKS_TEST_SEED=%llu\n", (unsigned long long)seed);
    }
    return seed;
}

/* A child; its body's value is its exit status. Where a sanitizer has its own allocator, a child of
 * a process whose other threads are in it inherits its locks for ever: start children first. */
static pid_t start(int (*body)(void *arg), void *arg)
{
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid)
        return pid;
    die_jump = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(getppid() == parent ? body(arg) : 1);
}

static void finish(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) != pid)
        NEED(errno == EINTR);
    NEED(status == 0);
}

static uint64_t flushes(tks_store *store)
{
    return load_acquire(&header_of_store(store)->flushes);
}

static uint64_t flush_errors(tks_store *store)
{
    return load_acquire(&header_of_store(store)->flush_errors);
}

static void await_word(const uint64_t *word, uint64_t at_least)
{
    for (double until = seconds() + 20; load_acquire(word) < at_least; pause_us(500))
        NEED(seconds() < until);
}

/* A place with a store of its file in it, and a state. */
static tks_state *stage(struct place *place, const char *query, tks_store **store)
{
    place_make(place, query);
    *store = open_store(place);
    return open_state(*store, "plugin");
}

static void strike(struct place *place, tks_store *store, tks_state *state)
{
    tks_state_close(state);
    tks_store_close(store);
    place_drop(place, true);
}

/* ---- 1: the barrier ------------------------------------------------------------------------ */

#define FLUSHERS 4u
#define FLUSHER_ROUNDS 60u

struct flushing {
    struct place place;
    unsigned process, thread;
    uint64_t *calls; /* shared */
};

static int find_number(void *arg, const struct tks_record *record, uint64_t hash)
{
    uint64_t *wanted = arg, number;
    (void)hash;
    memcpy(&number, record->value, sizeof(number));
    if (record->key[0] == 'k' && strtoul(record->key + 1, NULL, 10) == wanted[0] &&
        number >= wanted[1])
        wanted[2] = 1;
    return 0;
}

static void need_number(const struct place *place, uint64_t key, uint64_t number)
{
    uint64_t wanted[3] = {key, number, 0};
    struct tks_loaded *loaded = load_file(place);
    tks_loaded_each(loaded, find_number, wanted);
    tks_loaded_free(loaded);
    NEED(wanted[2]);
}

static void *write_and_flush(void *arg)
{
    const struct flushing *flushing = arg;
    const unsigned me = flushing->process * FLUSHERS + flushing->thread;
    char key[16];
    tks_store *store = open_store(&flushing->place);
    tks_state *state = open_state(store, "plugin");
    snprintf(key, sizeof(key), "k%u", me);
    for (uint64_t number = 1; number <= FLUSHER_ROUNDS; number++) {
        NEED_OK(tks_set(state, key, &number, sizeof(number)));
        NEED_OK(tks_store_checkpoint(store));
        __atomic_fetch_add(flushing->calls, 1, __ATOMIC_RELAXED);
        if (number % 8 == 0)
            need_number(&flushing->place, me, number);
    }
    tks_state_close(state);
    tks_store_close(store);
    return NULL;
}

static int flush_in_threads(void *arg)
{
    struct flushing each[FLUSHERS];
    pthread_t threads[FLUSHERS];
    for (unsigned i = 0; i < FLUSHERS; i++) {
        each[i] = *(struct flushing *)arg;
        each[i].thread = i;
        NEED(!pthread_create(&threads[i], NULL, write_and_flush, &each[i]));
    }
    for (unsigned i = 0; i < FLUSHERS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static void a_barrier_covers_what_was_written_and_cuts_are_shared(void **unused)
{
    struct flushing flushing = {.calls = shared_memory(sizeof(uint64_t))};
    pid_t pids[3];
    (void)unused;
    place_make(&flushing.place, "size=8M&interval_ms=86400000");
    for (unsigned i = 0; i < 3; i++) {
        flushing.process = i;
        pids[i] = start(flush_in_threads, &flushing);
    }
    tks_store *store = open_store(&flushing.place);
    for (unsigned i = 0; i < 3; i++)
        finish(pids[i]);
    NEED(*flushing.calls == 3 * FLUSHERS * FLUSHER_ROUNDS);
    print_message("%llu barriers, %llu cuts\n", (unsigned long long)*flushing.calls,
                  (unsigned long long)flushes(store));
    NEED(flushes(store) * 4 < *flushing.calls * 3);
    NEED(flush_errors(store) == 0);
    need_same(store, &flushing.place);
    tks_store_close(store);
    place_drop(&flushing.place, true);
}

static void a_barrier_with_nothing_to_write_makes_no_cut(void **unused)
{
    struct place place;
    (void)unused;
    tks_store *store;
    tks_state *state = stage(&place, "size=8M&interval_ms=86400000", &store);
    NEED_OK(tks_set(state, "key", "value", 5));
    for (unsigned i = 0; i < 3; i++)
        NEED_OK(tks_store_checkpoint(store));
    const uint64_t cuts = flushes(store), bytes = place_file_bytes(&place);
    for (unsigned i = 0; i < 200; i++)
        NEED_OK(tks_store_checkpoint(store));
    NEED(flushes(store) == cuts && place_file_bytes(&place) == bytes);
    NEED_OK(tks_set(state, "key", "other", 5));
    NEED_OK(tks_store_checkpoint(store));
    NEED(flushes(store) == cuts + 1);
    need_same(store, &place);
    strike(&place, store, state);
}

static void without_asking_it_is_written_after_the_interval(void **unused)
{
    struct place place;
    (void)unused;
    tks_store *store;
    tks_state *state = stage(&place, "size=8M&interval_ms=20", &store);
    for (unsigned i = 0; i < 10; i++) {
        const uint64_t cuts = flushes(store);
        NEED_OK(tks_set_i64(state, "key", i));
        await_word(&header_of_store(store)->flushes, cuts + 1);
    }
    strike(&place, store, state);
}

static void without_checkpoint_it_is_unsupported(void **unused)
{
    struct place place;
    tks_store *store;
    (void)unused;
    place_make(&place, "size=8M");
    sprintf(place.uri, "shm://%s?size=8M", place.name);
    NEED_OK(tks_store_open(place.uri, NULL, &store));
    NEED(tks_store_checkpoint(store) == TKS_UNSUPPORTED);
    tks_store_close(store);
    NEED(place_files(&place, "") == 0);
    place_drop(&place, true);
}

/* ---- 2: increments ------------------------------------------------------------------------- */

#define ORACLE_PLUGINS 3u
#define ORACLE_KEYS 50000u

struct known {
    uint32_t seed; /* of its value */
    uint16_t len;
    bool present, counter, fleeting; /* fleeting: it may have expired */
    bool deadline;
    int64_t count;
};

struct oracle {
    struct known keys[ORACLE_PLUGINS][ORACLE_KEYS];
    tks_state *states[ORACLE_PLUGINS];
    uint64_t random;
    unsigned in_use; /* keys; grows */
    uint64_t found, missing;
};

static void oracle_value(const struct known *known, char *value)
{
    uint64_t random = known->seed;
    for (unsigned i = 0; i < known->len; i += 8) {
        uint64_t word = dice(&random, UINT64_MAX);
        memcpy(value + i, &word, known->len - i < 8 ? known->len - i : 8);
    }
}

static void set_one(struct oracle *oracle, tks_state *state, const char *key, struct known *known)
{
    char value[512];
    const uint64_t kind = dice(&oracle->random, 16);
    *known = (struct known){.seed = (uint32_t)dice(&oracle->random, UINT32_MAX),
                            .len = (uint16_t)dice(&oracle->random, kind < 14 ? 90 : 512),
                            .present = true,
                            .deadline = kind <= 1,
                            .fleeting = kind == 0};
    oracle_value(known, value);
    if (kind <= 1)
        NEED_OK(tks_set_with_ttl(state, key, value, known->len, kind ? HOUR_MS : 30));
    else
        NEED_OK(tks_set(state, key, value, known->len));
}

static void change_one(struct oracle *oracle)
{
    char key[24];
    const unsigned plugin = (unsigned)dice(&oracle->random, ORACLE_PLUGINS);
    /* Mostly a few, so that increments leave most ranges alone. */
    const unsigned limit = dice(&oracle->random, 4) ? oracle->in_use : oracle->in_use / 64 + 1;
    const unsigned index = (unsigned)dice(&oracle->random, limit);
    struct known *known = &oracle->keys[plugin][index];
    tks_state *state = oracle->states[plugin];
    const uint64_t what = dice(&oracle->random, 10);
    snprintf(key, sizeof(key), "key-%u", index);
    if (what < 3) {
        NEED_OK(tks_delete(state, key));
        known->present = false;
    } else if (what == 3 && (!known->present || known->counter)) {
        int64_t before = known->present ? known->count : 0;
        *known = (struct known){.present = true, .counter = true, .count = before + 5};
        NEED_OK(tks_add_i64(state, key, 5, NULL));
    } else {
        set_one(oracle, state, key, known);
    }
}

static int compare_one(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct oracle *oracle = arg;
    char value[512];
    (void)hash;
    const unsigned plugin = (unsigned)strtoul(record->plugin + 6, NULL, 10);
    const unsigned index = (unsigned)strtoul(record->key + 4, NULL, 10);
    NEED(plugin < ORACLE_PLUGINS && index < ORACLE_KEYS);
    const struct known *known = &oracle->keys[plugin][index];
    if (!known->present)
        die(__FILE__, __LINE__, "%s of %s was deleted", record->key, record->plugin);
    NEED((record->expires_at != 0) == known->deadline);
    if (known->counter) {
        NEED(record->type == TKS_TYPE_I64 && !memcmp(record->value, &known->count, 8));
    } else {
        oracle_value(known, value);
        if (record->value_len != known->len || memcmp(record->value, value, known->len))
            die(__FILE__, __LINE__, "%s of %s has an older value", record->key, record->plugin);
    }
    oracle->found += !known->fleeting;
    return 0;
}

static void compare_file(struct oracle *oracle, const struct place *place)
{
    uint64_t expected = 0;
    struct tks_loaded *loaded = load_file(place);
    oracle->found = 0;
    tks_loaded_each(loaded, compare_one, oracle);
    tks_loaded_free(loaded);
    for (unsigned p = 0; p < ORACLE_PLUGINS; p++)
        for (unsigned i = 0; i < ORACLE_KEYS; i++)
            expected += oracle->keys[p][i].present && !oracle->keys[p][i].fleeting;
    if (oracle->found != expected)
        die(__FILE__, __LINE__, "%llu keys in the file, not %llu",
            (unsigned long long)oracle->found, (unsigned long long)expected);
}

/* Lost marks show while the index grows: hence several times from the beginning. */
static void run_oracle(uint64_t random, unsigned most)
{
    struct place place;
    char name[16];
    struct oracle *oracle = calloc(1, sizeof(*oracle));
    place_make(&place, "size=128M&interval_ms=86400000");
    tks_store *store = open_store(&place);
    NEED(oracle);
    oracle->random = random;
    oracle->in_use = 16;
    for (unsigned p = 0; p < ORACLE_PLUGINS; p++) {
        snprintf(name, sizeof(name), "plugin%u", p);
        oracle->states[p] = open_state(store, name);
    }
    for (unsigned cuts = 0; oracle->in_use < most; cuts++) {
        for (uint64_t i = dice(&oracle->random, oracle->in_use / 2 + 20); i; i--)
            change_one(oracle);
        NEED_OK(tks_store_checkpoint(store));
        compare_file(oracle, &place);
        oracle->in_use += oracle->in_use / 6 + 1;
    }
    for (unsigned p = 0; p < ORACLE_PLUGINS; p++)
        tks_state_close(oracle->states[p]);
    tks_store_close(store);
    compare_file(oracle, &place);
    free(oracle);
    place_drop(&place, true);
}

static void increments_are_what_changed(void **unused)
{
    (void)unused;
    uint64_t random = test_seed();
#ifdef HOST_SANITIZED
    const unsigned small = 6;
#else
    const unsigned small = 20;
#endif
    for (unsigned i = 0; i < small; i++)
        run_oracle(random + i, 2000);
    run_oracle(random + small, ORACLE_KEYS);
}

/* ---- 2: increments while others write ------------------------------------------------------ */

#define WRITERS 3u

struct writer {
    struct place place;
    struct crew *crew;
    unsigned number, linger;
    int gate[2]; /* a pipe: children wait until the parent, which is to be host, closes it */
};

static void wait_at_gate(const struct writer *writer)
{
    char none;
    close(writer->gate[1]);
    NEED(read(writer->gate[0], &none, 1) == 0);
}

static int write_as_crew(void *arg)
{
    struct writer *writer = arg;
    seam.linger = writer->linger;
    wait_at_gate(writer);
    tks_store *store = open_store(&writer->place);
    tks_state *state = open_state(store, "crew");
    crew_write(writer->crew, state, writer->number);
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static int count_record(void *arg, const struct tks_record *record)
{
    (void)record;
    ++*(uint64_t *)arg;
    return 0;
}

static int export_on_and_on(void *arg)
{
    const struct writer *writer = arg;
    wait_at_gate(writer);
    tks_store *store = open_store(&writer->place);
    uint64_t records = 0;
    while (!__atomic_load_n(&writer->crew->stop, __ATOMIC_RELAXED)) {
        int status = tks_store_export(store, NULL, count_record, &records);
        NEED(status == TKS_OK || status == TKS_BUSY);
        pause_us(3000);
    }
    tks_store_close(store);
    return 0;
}

static void run_load(uint32_t keys, uint32_t pace, unsigned linger)
{
    struct writer writer = {.crew = shared_memory(sizeof(struct crew)), .linger = linger};
    static struct crew_marks marks;
    pid_t pids[WRITERS + 1];
    unsigned cuts = 0;
    writer.crew->seed = test_seed();
    writer.crew->keys = keys;
    writer.crew->pace = pace;
    place_make(&writer.place, "size=64M&interval_ms=86400000");
    NEED(pipe(writer.gate) == 0);
    for (; writer.number < WRITERS; writer.number++)
        pids[writer.number] = start(write_as_crew, &writer);
    pids[WRITERS] = start(export_on_and_on, &writer);
    tks_store *store = open_store(&writer.place);
    NEED(await_host(store, getpid(), 0));
    close(writer.gate[0]);
    close(writer.gate[1]);
    for (double until = seconds() + 6; seconds() < until; cuts++) {
        crew_note(writer.crew, &marks);
        NEED_OK(tks_store_checkpoint(store));
        crew_check(writer.crew, &marks, &writer.place);
        if (writer.crew->keys < CREW_KEYS && cuts % 8 == 7)
            writer.crew->keys *= 2;
    }
    __atomic_store_n(&writer.crew->stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i <= WRITERS; i++)
        finish(pids[i]);
    NEED_OK(tks_store_checkpoint(store));
    need_same(store, &writer.place);
    print_message("%u barriers, %llu cuts\n", cuts, (unsigned long long)flushes(store));
    NEED(flush_errors(store) == 0);
    tks_store_close(store);
    place_drop(&writer.place, true);
}

static void cuts_under_load_are_states_that_existed(void **unused)
{
    (void)unused;
    run_load(16, 32, 0);
}

struct settler {
    char uri[128]; /* without the checkpoint: it is no host */
    const char *key;
};

static int stop_before_settling(void *arg)
{
    const struct settler *settler = arg;
    tks_store *store;
    NEED_OK(tks_store_open(settler->uri, NULL, &store));
    tks_state *state = open_state(store, "plugin");
    seam.settles = 1;
    NEED_OK(tks_set(state, settler->key, "late", 4));
    NEED(!seam.settles);
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

/* Far from @p key in the order of hashes: no mark stands for both. */
static const char *far_from(const char *key)
{
    const uint64_t half = hash_of(key, strlen(key)) >> 63;
    return half == hash_of("other", 5) >> 63 ? "third" : "other";
}

/* Between the era it read and the mark it raises a writer is stopped over a whole cut. What it
 * wrote is in the cut, or in the next. */
static void a_settler_stopped_over_a_cut_is_not_missed(void **unused)
{
    static const char *const keys[] = {"there", "absent"};
    struct place place;
    struct settler settler;
    int status;
    (void)unused;
    NEED(hash_of("other", 5) >> 63 != hash_of("third", 5) >> 63);
#ifndef TKS_TEST_TINY
    skip();
#endif
    for (unsigned i = 0; i < 2; i++) {
        tks_store *store;
        tks_state *state = stage(&place, "size=8M&interval_ms=86400000", &store);
        snprintf(settler.uri, sizeof(settler.uri), "shm://%s", place.name);
        settler.key = keys[i];
        for (unsigned k = 0; k < 400; k++) {
            char key[16];
            snprintf(key, sizeof(key), "k%u", k);
            NEED_OK(tks_set(state, key, "value", 5));
        }
        const char *other = far_from(settler.key);
        NEED_OK(tks_set(state, "there", "value", 5));
        NEED_OK(tks_set(state, other, "value", 5));
        NEED_OK(tks_store_checkpoint(store));
        pid_t child = start(stop_before_settling, &settler);
        NEED(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
        for (unsigned cut = 0; cut < 2; cut++) {
            NEED_OK(tks_set(state, other, "again", 5));
            NEED_OK(tks_store_checkpoint(store));
        }
        NEED(!kill(child, SIGCONT));
        finish(child);
        NEED_OK(tks_set(state, other, "last", 4));
        NEED_OK(tks_store_checkpoint(store));
        need_same(store, &place);
        strike(&place, store, state);
    }
}

/* The same with many writers, where it happens. */
static void a_late_mark_is_not_missed(void **unused)
{
    (void)unused;
#ifndef TKS_TEST_TINY
    skip();
#endif
    run_load(CREW_KEYS, 2, 8);
}

struct holder {
    struct header *header;
    uint64_t word;
};

static void *hold_snapshot(void *arg)
{
    struct holder *holder = arg;
    for (double until = seconds() + 0.5; seconds() < until; pause_us(200))
        fetch_add(&holder->header->snapshot_beat, 1);
    NEED(compare_and_swap(&holder->header->snapshot, holder->word, 0));
    return NULL;
}

/* An export that takes its time is waited for; it is no failure of the disk. */
static void a_snapshot_of_somebody_else_is_waited_for(void **unused)
{
    struct place place;
    pthread_t thread;
    (void)unused;
    tks_store *store;
    tks_state *state = stage(&place, "size=8M&interval_ms=86400000", &store);
    NEED_OK(tks_store_checkpoint(store));
    struct header *header = header_of_store(store);
    struct holder holder = {header, snapshot_word(SNAPSHOT_ACTIVE, 0, load_ordered(&header->epoch),
                                                  load_ordered(&header->era))};
    NEED(compare_and_swap(&header->snapshot, 0, holder.word));
    NEED(!pthread_create(&thread, NULL, hold_snapshot, &holder));
    NEED_OK(tks_set(state, "key", "value", 5));
    NEED_OK(tks_store_checkpoint(store));
    pthread_join(thread, NULL);
    NEED(flush_errors(store) == 0);
    need_same(store, &place);
    strike(&place, store, state);
}

/* ---- 5: failures --------------------------------------------------------------------------- */

static void need_failure(tks_store *store, const char *named)
{
    const uint64_t errors = flush_errors(store);
    int status = tks_store_checkpoint(store);
    if (status != TKS_IO || !strstr(tks_last_error(), named))
        die(__FILE__, __LINE__, "the barrier says %s, \"%s\", without \"%s\"", tks_strerror(status),
            tks_last_error(), named);
    NEED(flush_errors(store) > errors);
    NEED(load_acquire(&header_of_store(store)->flush_status) != 0);
    NEED(header_of_store(store)->flush_text[0] != 0);
}

static void need_life(tks_store *store, tks_state *state)
{
    static int64_t count;
    int64_t value;
    struct tks_check check = {.size = sizeof(check)};
    count++;
    NEED_OK(tks_set_i64(state, "alive", count));
    NEED_OK(tks_get_i64(state, "alive", &value));
    NEED(value == count);
    NEED_OK(tks_store_check(store, &check));
    NEED(check.leaked_blocks == 0);
}

struct failure {
    const char *name;
    unsigned kinds;
    int error;
};

static void disk_errors_are_told_and_survived(void **unused)
{
    static const struct failure failures[] = {
        {"no space to write", SEAM_WRITE, -ENOSPC}, {"quota", SEAM_WRITE, -EDQUOT},
        {"write error", SEAM_WRITE, -EIO},          {"sync error", SEAM_SYNC, -EIO},
        {"rename error", SEAM_RENAME, -EIO},        {"read-only", SEAM_OPEN, -EROFS},
        {"permission", SEAM_OPEN, -EACCES},         {"no space to sync", SEAM_SYNC, -ENOSPC},
    };
    for (unsigned full = 0; full < 2; full++) {
        for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
            struct place place;
            (void)unused;
            /* An increment opens and renames nothing. */
            if (!full && failures[i].kinds & (SEAM_OPEN | SEAM_RENAME))
                continue;
            seam = (struct seam){.stop_at = 0};
            place_make(&place, "size=8M&interval_ms=50");
            if (full) {
                seam.fail_kinds = failures[i].kinds;
                __atomic_store_n(&seam.fail, failures[i].error, __ATOMIC_SEQ_CST);
            }
            tks_store *store = open_store(&place);
            tks_state *state = open_state(store, "plugin");
            if (!full) {
                NEED_OK(tks_set(state, "key", "value", 5));
                NEED_OK(tks_store_checkpoint(store));
                seam.fail_kinds = failures[i].kinds;
                __atomic_store_n(&seam.fail, failures[i].error, __ATOMIC_SEQ_CST);
                NEED_OK(tks_set(state, "key", "other", 5));
            }
            need_failure(store, place.path);
            need_life(store, state);
            /* It goes on trying by itself. */
            await_word(&header_of_store(store)->flush_errors, flush_errors(store) + 2);
            if (!full)
                tks_loaded_free(load_file(&place));
            __atomic_store_n(&seam.fail, 0, __ATOMIC_SEQ_CST);
            const uint64_t cuts = flushes(store);
            await_word(&header_of_store(store)->flushes, cuts + 1);
            NEED_OK(tks_store_checkpoint(store));
            need_same(store, &place);
            NEED(place_files(&place, ".tmp") == 0);
            tks_state_close(state);
            tks_store_close(store);
            NEED_OK(tks_store_destroy(place.uri));
            place_drop(&place, true);
        }
    }
}

static void the_file_becomes_a_folder(void **unused)
{
    struct place place;
    (void)unused;
    tks_store *store;
    tks_state *state = stage(&place, "size=8M&interval_ms=86400000", &store);
    NEED_OK(tks_set(state, "key", "value", 5));
    NEED_OK(tks_store_checkpoint(store));
    NEED(!unlink(place.path) && !mkdir(place.path, 0700));
    NEED_OK(tks_set(state, "key", "other", 5));
    need_failure(store, place.path);
    need_life(store, state);
    NEED(!rmdir(place.path));
    NEED_OK(tks_store_checkpoint(store));
    need_same(store, &place);
    strike(&place, store, state);
}

static void the_folder_goes_and_comes(void **unused)
{
    struct place place;
    (void)unused;
    tks_store *store;
    tks_state *state = stage(&place, "size=8M&interval_ms=86400000", &store);
    NEED_OK(tks_set(state, "key", "value", 5));
    NEED_OK(tks_store_checkpoint(store));
    char aside[128];
    snprintf(aside, sizeof(aside), "%s-aside", place.folder);
    NEED(!rename(place.folder, aside));
    NEED_OK(tks_set(state, "key", "other", 5));
    need_failure(store, place.folder);
    need_life(store, state);
    NEED(!rename(aside, place.folder));
    NEED_OK(tks_store_checkpoint(store));
    need_same(store, &place);
    strike(&place, store, state);
}

/* The file itself, and a path that never can be one. */
static void a_path_that_cannot_be(void **unused)
{
    struct place place;
    char below[160];
    (void)unused;
    place_make(&place, "size=8M&interval_ms=86400000");
    NEED(!symlink("/dev/null", place.path));
    snprintf(below, sizeof(below), "%s/none/ck", place.folder);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(place.uri, sizeof(place.uri), "shm://%s?size=8M&checkpoint=%s", place.name,
                 i ? below : place.path);
        tks_store *store;
        /* A file that a restore cannot read may be refused at once. */
        int status = tks_store_open(place.uri, NULL, &store);
        if (status) {
            NEED(strstr(tks_last_error(), place.folder));
            continue;
        }
        tks_state *state = open_state(store, "plugin");
        NEED_OK(tks_set(state, "key", "value", 5));
        need_failure(store, place.folder);
        need_life(store, state);
        tks_state_close(state);
        tks_store_close(store);
        NEED_OK(tks_store_destroy(place.uri));
    }
    place_drop(&place, true);
}

/* ---- 6: two segments, one file ------------------------------------------------------------- */

static void two_segments_do_not_share_a_file(void **unused)
{
    struct place place, other_place;
    (void)unused;
    place_make(&place, "size=8M&interval_ms=100");
    place_beside(&other_place, &place, "size=8M&interval_ms=100");
    tks_store *store = open_store(&place);
    tks_state *state = open_state(store, "plugin");
    NEED_OK(tks_set(state, "key", "first", 5));
    NEED_OK(tks_store_checkpoint(store));
    tks_store *other = open_store(&other_place);
    tks_state *other_state = open_state(other, "plugin");
    NEED_OK(tks_set(other_state, "other-key", "second", 6));
    need_failure(other, "another segment");
    NEED_OK(tks_set(state, "key", "again", 5));
    NEED_OK(tks_store_checkpoint(store));
    need_same(store, &place);
    NEED(flush_errors(store) == 0);
    tks_state_close(state);
    tks_store_close(store);
    const uint64_t cuts = flushes(other);
    await_word(&header_of_store(other)->flushes, cuts + 1);
    NEED_OK(tks_store_checkpoint(other));
    need_same(other, &other_place);
    tks_state_close(other_state);
    tks_store_close(other);
    NEED_OK(tks_store_destroy(place.uri));
    NEED_OK(tks_store_destroy(other_place.uri));
    place_drop(&place, true);
}

/* ---- 7: size ------------------------------------------------------------------------------- */

static uint64_t image_bytes(const struct place *place)
{
    struct tks_loaded *loaded = load_file(place);
    const uint64_t bytes = tks_loaded_info(loaded)->live_bytes;
    tks_loaded_free(loaded);
    return bytes;
}

static void need_small_file(tks_store *store, const struct place *place)
{
    NEED_OK(tks_store_checkpoint(store));
    const uint64_t bytes = place_file_bytes(place), live = image_bytes(place);
    if (bytes > 3 * live + (64 << 10))
        die(__FILE__, __LINE__, "a file of %llu bytes for %llu that live",
            (unsigned long long)bytes, (unsigned long long)live);
}

/* What shrinks it may come a little later than what made it too large. */
static void await_small_file(tks_store *store, const struct place *place)
{
    double until = seconds() + 10;
    while (place_file_bytes(place) > 3 * image_bytes(place) + (64 << 10)) {
        NEED(seconds() < until);
        pause_us(20000);
    }
    need_small_file(store, place);
}

static void change_sizes(tks_store *store, tks_state *state, const struct place *place,
                         unsigned keys, size_t len)
{
    static char value[4000];
    char key[16];
    for (unsigned i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        NEED_OK(tks_set(state, key, value, len));
        if (i % 100 == 99)
            NEED_OK(tks_store_checkpoint(store));
    }
    await_small_file(store, place);
}

static void a_file_stays_small(void **unused)
{
    struct place place;
    char key[16];
    (void)unused;
    tks_store *store;
    tks_state *state = stage(&place, "size=64M&interval_ms=20", &store);
    uint64_t random = test_seed();
    change_sizes(store, state, &place, 4000, 200);
    for (unsigned i = 0; i < 300; i++) {
        for (unsigned j = 0; j < 300; j++) {
            snprintf(key, sizeof(key), "key-%u", (unsigned)dice(&random, 4000));
            NEED_OK(tks_set(state, key, key, dice(&random, 2) ? sizeof(key) : 3));
        }
        if (i % 10)
            NEED_OK(tks_store_checkpoint(store));
        else
            await_small_file(store, &place);
    }
    change_sizes(store, state, &place, 1000, 4000);
    change_sizes(store, state, &place, 1000, 10);
    for (unsigned i = 20; i < 4000; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        NEED_OK(tks_delete(state, key));
        if (i % 200 == 0)
            NEED_OK(tks_store_checkpoint(store));
    }
    await_small_file(store, &place);
    NEED(place_file_bytes(&place) < 80 << 10);
    for (unsigned i = 0; i < 3000; i++) {
        NEED_OK(tks_set_i64(state, "key-1", i));
        if (i % 10 == 0)
            need_small_file(store, &place);
    }
    NEED_OK(tks_store_checkpoint(store));
    need_same(store, &place);
    strike(&place, store, state);
}

/* ---- 8: the end ---------------------------------------------------------------------------- */

static void closing_writes_a_last_time(void **unused)
{
    (void)unused;
    for (unsigned i = 0; i < 40; i++) {
        struct place place, plain;
        place_make(&place, "size=8M&interval_ms=86400000");
        plain = place;
        sprintf(plain.uri, "shm://%s?size=8M", place.name);
        tks_store *watcher = open_store(&plain), *store = open_store(&place);
        tks_state *state = open_state(store, "plugin");
        if (i % 4)
            NEED_OK(tks_store_checkpoint(store));
        NEED_OK(tks_set_i64(state, "key", i));
        tks_state_close(state);
        if (i % 2) /* else it may be closed before it was elected */
            NEED(await_host(watcher, getpid(), 0));
        tks_store_close(store);
        if (i % 4)
            need_same(watcher, &place);
        NEED(host_pid(watcher) == 0);
        tks_store_close(watcher);
        NEED_OK(tks_store_destroy(place.uri));
        NEED(place_files(&place, ".tmp") == 0);
        place_drop(&place, true);
    }
}

static int host_until_told(void *arg)
{
    struct writer *writer = arg;
    tks_store *store = open_store(&writer->place);
    tks_state *state = open_state(store, "plugin");
    NEED(await_host(store, getpid(), 0));
    NEED_OK(tks_set(state, "key", "of the host", 11));
    __atomic_store_n(&writer->crew->keys, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(&writer->crew->stop, __ATOMIC_SEQ_CST))
        pause_us(500);
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void a_candidate_takes_over_from_a_host_that_closes(void **unused)
{
    struct writer writer = {.crew = shared_memory(sizeof(struct crew))};
    (void)unused;
    place_make(&writer.place, "size=8M&interval_ms=86400000");
    pid_t pid = start(host_until_told, &writer);
    for (double until = seconds() + 20; !__atomic_load_n(&writer.crew->keys, __ATOMIC_SEQ_CST);
         pause_us(500))
        NEED(seconds() < until);
    tks_store *store = open_store(&writer.place);
    NEED_OK(tks_store_checkpoint(store));
    NEED(host_pid(store) == pid);
    NEED(tks_store_destroy(writer.place.uri) == TKS_BUSY);
    __atomic_store_n(&writer.crew->stop, 1, __ATOMIC_SEQ_CST);
    finish(pid);
    double began = seconds();
    NEED(await_host(store, getpid(), 0));
    NEED(seconds() - began < 5);
    tks_state *state = open_state(store, "plugin");
    NEED_OK(tks_set(state, "mine", "too", 3));
    NEED_OK(tks_store_checkpoint(store));
    NEED(seconds() - began < 10);
    need_same(store, &writer.place);
    tks_state_close(state);
    tks_store_close(store);
    NEED_OK(tks_store_destroy(writer.place.uri));
    place_drop(&writer.place, true);
}

/* A host that was replaced while its disk failed keeps its sentence to itself. */
static void a_replaced_host_tells_no_failure(void **unused)
{
    struct place place;
    (void)unused;
    seam = (struct seam){.stop_at = 0};
    place_make(&place, "size=8M&interval_ms=86400000");
    tks_store *store = open_store(&place);
    NEED_OK(tks_store_checkpoint(store));
    struct header *header = header_of_store(store);
    const uint64_t lease = load_ordered(&header->lease);
    NEED(lease_slot_and_1(lease) != 0);
    NEED(!unlink(place.path)); /* a full image: it is begun before the lease is asked for */
    seam.fail_kinds = SEAM_OPEN;
    seam.fail_limit = 1;
    __atomic_store_n(&seam.fail, -EIO, __ATOMIC_SEQ_CST);
    /* Somebody else, alive: this slot's own, under a generation that this process never took. */
    store_release(&header->lease, lease_word(lease_generation(lease) + 1, lease_slot_and_1(lease)));
    NEED_OK(tks_store_checkpoint(store)); /* taken back when it shows no life */
    NEED(flush_errors(store) == 0);
    tks_store_close(store);
    place_drop(&place, true);
}

static int setup(void **unused)
{
    (void)unused;
    seam = (struct seam){.stop_at = 0};
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_barrier_covers_what_was_written_and_cuts_are_shared, setup),
        cmocka_unit_test_setup(a_barrier_with_nothing_to_write_makes_no_cut, setup),
        cmocka_unit_test_setup(without_asking_it_is_written_after_the_interval, setup),
        cmocka_unit_test_setup(without_checkpoint_it_is_unsupported, setup),
        cmocka_unit_test_setup(increments_are_what_changed, setup),
        cmocka_unit_test_setup(cuts_under_load_are_states_that_existed, setup),
        cmocka_unit_test_setup(a_settler_stopped_over_a_cut_is_not_missed, setup),
        cmocka_unit_test_setup(a_late_mark_is_not_missed, setup),
        cmocka_unit_test_setup(a_snapshot_of_somebody_else_is_waited_for, setup),
        cmocka_unit_test_setup(disk_errors_are_told_and_survived, setup),
        cmocka_unit_test_setup(the_file_becomes_a_folder, setup),
        cmocka_unit_test_setup(the_folder_goes_and_comes, setup),
        cmocka_unit_test_setup(a_path_that_cannot_be, setup),
        cmocka_unit_test_setup(two_segments_do_not_share_a_file, setup),
        cmocka_unit_test_setup(a_file_stays_small, setup),
        cmocka_unit_test_setup(closing_writes_a_last_time, setup),
        cmocka_unit_test_setup(a_candidate_takes_over_from_a_host_that_closes, setup),
        cmocka_unit_test_setup(a_replaced_host_tells_no_failure, setup),
    };
    die_jump = jump;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("host", tests, NULL, NULL);
}
