/* SPDX-License-Identifier: MIT */
/*
 * Several processes of several threads change the same few keys while the index grows; processes
 * are stopped and killed meanwhile. What every call returned, with the times of calls and returns,
 * must be explained by one order of all calls on each key; a killed call may have happened or not.
 */
#include "actor.h"
#include "audit.h"
#include "crew.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROCESSES 3u
#define THREADS 2u
#define ACTORS (PROCESSES * THREADS)
#define STEPS 200u
#define ROUNDS_PER_STORE 12u
#define HANG_SECONDS 60u

struct arena {
    struct log logs[ACTORS];
    unsigned long ready; /* actors */
    unsigned long done;  /* steps of all actors */
};

static struct arena *arena;
static char uri[128], plugin[32];
static uint64_t round_number;
static tks_store *store; /* of a worker process */

/* ---- Workers ------------------------------------------------------------------------------- */

static void step(struct actor *actor, struct chance *chance)
{
    static const unsigned keys[] = {KEY_A, KEY_V0, KEY_V1};
    unsigned key = keys[chance_below(chance, 3)];
    switch (chance_below(chance, 12)) {
    case 0:
    case 1:
    case 2:
        actor_get(actor, key);
        break;
    case 3:
    case 4:
        actor_set(actor, key, (unsigned)chance_below(chance, 3));
        break;
    case 5:
        actor_delete(actor, key);
        break;
    case 6:
        actor_set_if(actor, key, 0);
        break;
    case 7:
    case 8:
        actor_add(actor, chance_below(chance, 2) ? KEY_C : KEY_VC, 1);
        break;
    case 9:
        actor_has(actor, key);
        break;
    case 10:
        actor_set(actor, KEY_GROW + (unsigned)chance_below(chance, KEYS_GROW), 0);
        break;
    default:
        actor_get(actor, chance_below(chance, 2) ? KEY_C : KEY_VC);
    }
}

static void *act(void *arg)
{
    struct actor *actor = calloc(1, sizeof(*actor));
    unsigned id = (unsigned)(uintptr_t)arg;
    struct chance chance = {scramble64(options.seed + round_number * ACTORS + id) << 20};
    if (!actor)
        abort();
    actor->id = id;
    actor->log = &arena->logs[id];
    if (tks_state_open(store, plugin, &actor->state)) {
        actor_problem(actor, "state open: %s", tks_last_error());
        return NULL;
    }
    __atomic_add_fetch(&arena->ready, 1, __ATOMIC_SEQ_CST);
    crew_await(&arena->ready, ACTORS);
    bool in_tick = false;
    for (unsigned i = 0; i < STEPS; i++) {
        if (chance_below(&chance, 4) == 0) {
            int status = in_tick ? tks_tick_end(actor->state) : tks_tick_begin(actor->state);
            if (status)
                actor_problem(actor, "tick: %s", tks_last_error());
            in_tick = !in_tick;
        }
        step(actor, &chance);
        if (chance_below(&chance, 8) == 0)
            sched_yield(); /* mixes the processes where there are few cores */
        __atomic_add_fetch(&arena->done, 1, __ATOMIC_SEQ_CST);
    }
    tks_state_close(actor->state);
    free(actor);
    return NULL;
}

static int work(void *arg)
{
    pthread_t threads[THREADS];
    uintptr_t first = (uintptr_t)arg * THREADS;
    if (tks_store_open(uri, NULL, &store))
        return 2;
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, act, (void *)(first + i)))
            return 3;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    tks_store_close(store);
    return 0;
}

/* ---- Rounds -------------------------------------------------------------------------------- */

/* When so many of the steps are done: stop one and let it go on later, or kill it. */
static void disturb(pid_t *workers, struct chance *chance)
{
    unsigned who = (unsigned)chance_below(chance, PROCESSES);
    unsigned long all = ACTORS * STEPS;
    unsigned long at = chance_below(chance, all * 3 / 4);
    if (!crew_await(&arena->done, at))
        test_fail("no progress before %lu steps", at);
    if (chance_below(chance, 3) == 0)
        return;
    if (chance_below(chance, 2)) {
        crew_kill(workers[who]);
        workers[who] = 0;
        return;
    }
    if (!crew_stop(workers[who]))
        return;
    /* The others get to their end. */
    unsigned long least = __atomic_load_n(&arena->done, __ATOMIC_ACQUIRE) + STEPS / 4;
    unsigned long most = (PROCESSES - 1) * THREADS * STEPS;
    if (!crew_await(&arena->done, least < most ? least : most))
        test_fail("no progress while a process is stopped");
    if (chance_below(chance, 2)) {
        crew_kill(workers[who]);
        workers[who] = 0;
    } else {
        crew_go_on(workers[who]);
    }
}

static void check_round(void)
{
    static struct event events[ACTORS * LOG_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < ACTORS; i++) {
        const struct log *log = &arena->logs[i];
        memcpy(events + count, log->events, log->count * sizeof(*events));
        count += log->count;
        if (log->problems)
            test_fail("%s", log->problem);
    }
    for (unsigned key = 0; key < KEYS_ALL; key++) {
        char why[400];
        if (!history_linearizable(events, count, key, why, sizeof(why)))
            test_fail("%s", why);
    }
}

static void run_round(struct chance *chance)
{
    pid_t workers[PROCESSES];
    watchdog(HANG_SECONDS);
    test_context("--seed %llu, round %llu", (unsigned long long)options.seed,
                 (unsigned long long)round_number);
    memset(arena, 0, sizeof(*arena));
    snprintf(plugin, sizeof(plugin), "round-%llu", (unsigned long long)round_number);
    for (uintptr_t i = 0; i < PROCESSES; i++)
        workers[i] = crew_start(work, (void *)i);
    if (crew_await(&arena->ready, ACTORS))
        disturb(workers, chance);
    else
        test_fail("the workers did not get ready");
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status = workers[i] ? crew_wait(workers[i]) : 0;
        if (status)
            test_fail("a worker ended with %d", status);
    }
    check_round();
    round_number++;
}

static int final_audit(void *arg)
{
    (void)arg;
    if (tks_store_open(uri, NULL, &store)) {
        test_fail("store open: %s", tks_last_error());
        return 1;
    }
    audit_store(store, 0, 1);
    tks_store_close(store);
    if (tks_store_destroy(uri))
        test_fail("destroy: %s", tks_last_error());
    return test_failed();
}

int main(int argc, char **argv)
{
    options_read(argc, argv, 30);
    struct chance chance = {scramble64(options.seed) << 20};
    double until = seconds_now() + options.budget;
    keys_choose();
    arena = crew_memory(sizeof(*arena));
    snprintf(uri, sizeof(uri), "shm://%s?size=" CREW_SIZE "&slots=24", store_name());
    test_begin("linearizability");
    while (seconds_now() < until && !test_failed()) {
        for (unsigned i = 0; i < ROUNDS_PER_STORE && !test_failed(); i++)
            run_round(&chance);
        /* In a process of its own: the one that forks stays free of threads. */
        if (crew_wait(crew_start(final_audit, NULL)))
            test_fail("the audit failed");
    }
    test_end("%llu rounds of %u threads in %u processes", (unsigned long long)round_number, ACTORS,
             PROCESSES);
    return test_summary();
}
