/* SPDX-License-Identifier: MIT */
/*
 * Twenty readers stopped inside their ticks, and writers stopped inside a set and an add, while
 * another goes on writing: in bounded memory. When they go on, they finish with right results.
 */
#include "actor.h"
#include "audit.h"
#include "crew.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READERS 20u
#define WORKERS (READERS + 2)
#define OVERWRITES 6000u
#define HANG_SECONDS 60u

struct arena {
    unsigned long ready;  /* workers that are at it */
    unsigned long finish; /* 1: they may end */
    unsigned long passes[WORKERS];
    unsigned long adds_begun, adds_done;
    struct log logs[WORKERS + 1];
};

static struct arena *arena;
static char uri[128];

/* ---- Workers ------------------------------------------------------------------------------- */

static struct actor *enter(unsigned id)
{
    struct actor *actor = calloc(1, sizeof(*actor));
    if (!actor)
        abort();
    actor->id = id;
    actor->log = &arena->logs[id];
    if (tks_store_open(uri, NULL, &actor->store) ||
        tks_state_open(actor->store, "stall", &actor->state))
        actor_problem(actor, "open: %s", tks_last_error());
    return actor;
}

static int leave(struct actor *actor)
{
    int problems = actor->log->problems != 0;
    tks_state_close(actor->state);
    tks_store_close(actor->store);
    free(actor);
    return problems;
}

static void check_read(struct actor *actor, unsigned key)
{
    size_t len = 0;
    int status = tks_get(actor->state, key_name(key), actor->buf, sizeof(actor->buf), &len);
    if (status)
        actor_problem(actor, "get of key %u: %s", key, tks_last_error());
    else
        actor_decode(actor, key, TKS_OK, actor->buf, len);
}

static int read_in_tick(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    struct actor *actor = enter(id);
    const void *borrowed = NULL;
    size_t len = 0;
    char copy[VALUE_ROOM];
    if (tks_tick_begin(actor->state) ||
        tks_borrow(actor->state, key_name(id & 1 ? KEY_A : KEY_V0), &borrowed, &len))
        actor_problem(actor, "tick: %s", tks_last_error());
    memcpy(copy, borrowed ? borrowed : "", len);
    for (bool ready = false; !__atomic_load_n(&arena->finish, __ATOMIC_ACQUIRE); ready = true) {
        check_read(actor, KEY_A);
        check_read(actor, KEY_V1);
        if (!ready)
            __atomic_add_fetch(&arena->ready, 1, __ATOMIC_SEQ_CST);
        arena->passes[id]++;
    }
    check_read(actor, KEY_V0);
    if (memcmp(copy, borrowed ? borrowed : "", len))
        actor_problem(actor, "a borrowed value changed");
    if (tks_tick_end(actor->state))
        actor_problem(actor, "tick end: %s", tks_last_error());
    check_read(actor, KEY_A);
    return leave(actor);
}

static int write_values(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    struct actor *actor = enter(id);
    for (bool ready = false; !__atomic_load_n(&arena->finish, __ATOMIC_ACQUIRE); ready = true) {
        unsigned key = arena->passes[id]++ & 1 ? KEY_A : KEY_V1;
        actor_value(actor, key, 0);
        if (tks_set(actor->state, key_name(key), actor->buf, actor->len))
            actor_problem(actor, "set: %s", tks_last_error());
        if (!ready)
            __atomic_add_fetch(&arena->ready, 1, __ATOMIC_SEQ_CST);
    }
    return leave(actor);
}

static int add_ones(void *arg)
{
    unsigned id = (unsigned)(uintptr_t)arg;
    struct actor *actor = enter(id);
    for (bool ready = false; !__atomic_load_n(&arena->finish, __ATOMIC_ACQUIRE); ready = true) {
        int64_t result;
        arena->passes[id]++;
        arena->adds_begun++;
        if (tks_add_i64(actor->state, key_name(KEY_VC), 1, &result))
            actor_problem(actor, "add: %s", tks_last_error());
        else
            arena->adds_done++;
        if (!ready)
            __atomic_add_fetch(&arena->ready, 1, __ATOMIC_SEQ_CST);
    }
    return leave(actor);
}

/* ---- The writer that goes on --------------------------------------------------------------- */

static void write_one(struct actor *actor, unsigned key, unsigned size_class)
{
    actor_value(actor, key, size_class);
    if (tks_set(actor->state, key_name(key), actor->buf, actor->len))
        actor_problem(actor, "set beside stopped processes: %s", tks_last_error());
}

/* Worker 0 of the audit's kind: its exit status says whether all was well. */
static int write_on(void *arg)
{
    struct actor *actor = enter(WORKERS);
    struct tks_stats stats = {.size = sizeof(stats)};
    (void)arg;
    uint64_t warm = 0, most = 0;
    for (unsigned i = 0; i < OVERWRITES && !actor->log->problems; i++) {
        write_one(actor, i & 1 ? KEY_A : KEY_V0, i / 2 & 1);
        write_one(actor, KEY_V1, 0);
        if (i % 8 == 0 && tks_delete(actor->state, key_name(KEY_V2)))
            actor_problem(actor, "delete: %s", tks_last_error());
        if (i % 8 == 4)
            write_one(actor, KEY_V2, 2);
        if (i % 500 != 499)
            continue;
        if (tks_store_stats(actor->store, &stats))
            actor_problem(actor, "stats: %s", tks_last_error());
        warm = i < OVERWRITES / 2 && stats.used_bytes > warm ? stats.used_bytes : warm;
        most = stats.used_bytes > most ? stats.used_bytes : most;
    }
    if (most > warm + stats.size_bytes / 4)
        actor_problem(actor, "memory grows beside stopped processes: %llu bytes, then %llu",
                      (unsigned long long)warm, (unsigned long long)most);
    if (!stats.evicted)
        actor_problem(actor, "nobody was evicted");
    return leave(actor);
}

static int set_up(void *arg)
{
    struct actor *actor = enter(WORKERS);
    (void)arg;
    write_one(actor, KEY_A, 0);
    write_one(actor, KEY_V0, 0);
    write_one(actor, KEY_V1, 0);
    return leave(actor);
}

static int check_end(void *arg)
{
    struct actor *actor = enter(WORKERS);
    int64_t total = 0;
    (void)arg;
    if (tks_get_i64(actor->state, key_name(KEY_VC), &total) ||
        (unsigned long)total != arena->adds_done || arena->adds_begun != arena->adds_done)
        test_fail("the counter is %lld after %lu of %lu adds", (long long)total, arena->adds_done,
                  arena->adds_begun);
    check_read(actor, KEY_A);
    check_read(actor, KEY_V1);
    audit_store(actor->store, 1, 1);
    int status = leave(actor);
    if (tks_store_destroy(uri))
        test_fail("destroy: %s", tks_last_error());
    return status || test_failed();
}

/* ---- Rounds -------------------------------------------------------------------------------- */

static void report(int status, unsigned id)
{
    if (status)
        test_fail("worker %u ended with %d: %s", id, status, arena->logs[id].problem);
}

static pid_t start_worker(unsigned id)
{
    void *arg = (void *)(uintptr_t)id;
    return crew_start(id < READERS ? read_in_tick : id == READERS ? write_values : add_ones, arg);
}

static void run_round(unsigned number, struct chance *chance)
{
    pid_t workers[WORKERS];
    watchdog(HANG_SECONDS);
    test_context("--seed %llu, round %u", (unsigned long long)options.seed, number);
    memset(arena, 0, sizeof(*arena));
    report(crew_wait(crew_start(set_up, NULL)), WORKERS);
    for (unsigned id = 0; id < WORKERS; id++)
        workers[id] = start_worker(id);
    if (!crew_await(&arena->ready, WORKERS))
        test_fail("only %lu workers got ready", arena->ready);
    for (unsigned id = 0; id < WORKERS; id++) {
        /* Somewhere in its loop, not where it was started. */
        unsigned long passes = arena->passes[id] + chance_below(chance, 3);
        crew_await(&arena->passes[id], passes);
        if (!crew_stop(workers[id]))
            test_fail("worker %u ended early: %s", id, arena->logs[id].problem);
    }
    report(crew_wait(crew_start(write_on, NULL)), WORKERS);
    for (unsigned id = 0; id < WORKERS; id++)
        crew_go_on(workers[id]);
    for (unsigned id = 0; id < WORKERS; id++)
        if (!crew_await(&arena->passes[id], arena->passes[id] + 1))
            test_fail("worker %u does not go on", id);
    __atomic_store_n(&arena->finish, 1, __ATOMIC_RELEASE);
    for (unsigned id = 0; id < WORKERS; id++)
        report(crew_wait(workers[id]), id);
    report(crew_wait(crew_start(check_end, NULL)), WORKERS);
}

int main(int argc, char **argv)
{
    options_read(argc, argv, 15);
    struct chance chance = {scramble64(options.seed) << 20};
    double until = seconds_now() + options.budget;
    unsigned rounds = 0;
    keys_choose();
    arena = crew_memory(sizeof(*arena));
    snprintf(uri, sizeof(uri), "shm://%s?size=" CREW_SIZE "&slots=64", store_name());
    test_begin("stall");
    do
        run_round(rounds++, &chance);
    while (seconds_now() < until && !test_failed());
    test_end("%u rounds of %u stopped readers and 2 stopped writers", rounds, READERS);
    return test_summary();
}
