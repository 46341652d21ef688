/* SPDX-License-Identifier: MIT */
/*
 * Processes that do everything at once on a few keys of a small store, killed and stopped at
 * random and started again. What they read is checked while they run; the sums, the audit and the
 * order of a plugin's writes in every export are checked too.
 */
#include "actor.h"
#include "audit.h"
#include "crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define MIXERS 4u
#define PAIR_WRITER MIXERS
#define EXPORTER (MIXERS + 1)
#define WORKERS (MIXERS + 2)
#define COUNTERS 2u
#define HANG_SECONDS 60u

struct journal {
    unsigned long begun[COUNTERS], done[COUNTERS]; /* adds; a killed one is begun only */
    unsigned long operations;
    unsigned lives;
};

struct arena {
    struct journal journals[WORKERS];
    struct log logs[WORKERS];
    unsigned long exports, walks, stops, kills, refused;
};

static struct arena *arena;
static char uri[128];

/* ---- A worker ------------------------------------------------------------------------------ */

struct worker {
    struct actor actor;
    struct journal *journal;
    struct chance chance;
    char again[VALUE_ROOM];
};

static bool well(const struct worker *worker)
{
    return !worker->actor.log->problems;
}

static void expect(struct worker *worker, int status, const char *what)
{
    if (status && status != TKS_NOT_FOUND && status != TKS_CONFLICT)
        actor_problem(&worker->actor, "%s: %s", what, tks_last_error());
}

static void open_store(struct worker *worker, const char *plugin)
{
    expect(worker, tks_store_open(uri, NULL, &worker->actor.store), "store open");
    if (well(worker))
        expect(worker, tks_state_open(worker->actor.store, plugin, &worker->actor.state),
               "state open");
}

static struct worker *enter(unsigned id, const char *plugin)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        abort();
    worker->journal = &arena->journals[id];
    worker->actor.id = id;
    worker->actor.log = &arena->logs[id];
    worker->actor.serial = (uint64_t)++worker->journal->lives << 24;
    worker->chance.state = scramble64(options.seed * 64 + id + worker->actor.serial) << 8;
    open_store(worker, plugin);
    return worker;
}

/* ---- Mixers: everything at once ------------------------------------------------------------ */

static unsigned some_key(struct worker *worker)
{
    static const unsigned keys[] = {KEY_A, KEY_N, KEY_V0, KEY_V1, KEY_V2, KEY_GROW, KEY_GROW + 9};
    return keys[chance_below(&worker->chance, sizeof(keys) / sizeof(keys[0]))];
}

static void mix_set(struct worker *worker)
{
    struct actor *actor = &worker->actor;
    unsigned key = some_key(worker);
    unsigned size_class = (unsigned)chance_below(&worker->chance, 3);
    if (chance_below(&worker->chance, 40) == 0)
        size_class = 3;
    actor_value(actor, key, size_class);
    int status = chance_below(&worker->chance, 4)
                     ? tks_set(actor->state, key_name(key), actor->buf, actor->len)
                     : tks_set_with_ttl(actor->state, key_name(key), actor->buf, actor->len,
                                        1 + (int64_t)chance_below(&worker->chance, 20));
    /* Three neighbouring slabs of a tiny store may honestly not be there. */
    if (status == TKS_NO_SPACE && size_class == 3)
        arena->refused++;
    else
        expect(worker, status, "set");
}

static void mix_get(struct worker *worker)
{
    struct actor *actor = &worker->actor;
    unsigned key = some_key(worker);
    size_t len = 0;
    int status = tks_get(actor->state, key_name(key), actor->buf, sizeof(actor->buf), &len);
    expect(worker, status, "get");
    actor_decode(actor, key, status, actor->buf, len);
}

static void mix_set_if(struct worker *worker)
{
    struct actor *actor = &worker->actor;
    unsigned key = some_key(worker);
    size_t len = 0;
    uint64_t version = 0;
    int status = tks_get_versioned(actor->state, key_name(key), actor->buf, sizeof(actor->buf),
                                   &len, &version);
    expect(worker, status, "get versioned");
    actor_decode(actor, key, status, actor->buf, len);
    actor_value(actor, key, 0);
    expect(worker, tks_set_if(actor->state, key_name(key), actor->buf, actor->len, version),
           "set if");
}

static void mix_add(struct worker *worker)
{
    unsigned which = (unsigned)chance_below(&worker->chance, COUNTERS);
    int64_t result = 0;
    worker->journal->begun[which]++;
    int status = tks_add_i64(worker->actor.state, key_name(which ? KEY_VC : KEY_C), 1, &result);
    expect(worker, status, "add");
    if (!status)
        worker->journal->done[which]++;
}

/* A tick that holds what it borrowed while others write. */
static void mix_tick(struct worker *worker)
{
    struct actor *actor = &worker->actor;
    unsigned key = some_key(worker);
    const void *value = NULL;
    size_t len = 0;
    expect(worker, tks_tick_begin(actor->state), "tick");
    int status = tks_borrow(actor->state, key_name(key), &value, &len);
    expect(worker, status, "borrow");
    if (!status && len <= sizeof(worker->again))
        memcpy(worker->again, value, len);
    actor_decode(actor, key, status, worker->again, len);
    for (unsigned i = 0; i < 4; i++) {
        mix_get(worker);
        mix_add(worker);
    }
    mix_set(worker);
    if (!status && memcmp(worker->again, value, len))
        actor_problem(actor, "the borrowed value of key %u changed", key);
    expect(worker, tks_tick_end(actor->state), "tick end");
}

static void mix_rare(struct worker *worker)
{
    struct actor *actor = &worker->actor;
    switch (chance_below(&worker->chance, 5)) {
    case 0:
        actor_keys(actor);
        __atomic_add_fetch(&arena->walks, 1, __ATOMIC_RELAXED);
        break;
    case 1:
        expect(worker, tks_store_sweep(actor->store, NULL), "sweep");
        break;
    case 2:
        tks_state_close(actor->state);
        expect(worker, tks_state_open(actor->store, "mix", &actor->state), "state open");
        break;
    case 3:
        tks_state_close(actor->state);
        tks_store_close(actor->store);
        open_store(worker, "mix");
        break;
    default:
        expect(worker, tks_delete(actor->state, key_name(some_key(worker))), "delete");
    }
}

static int mix(void *arg)
{
    struct worker *worker = enter((unsigned)(uintptr_t)arg, "mix");
    while (well(worker)) { /* until it is killed */
        uint64_t choice = chance_below(&worker->chance, 100);
        if (choice < 30)
            mix_set(worker);
        else if (choice < 55)
            mix_get(worker);
        else if (choice < 70)
            mix_add(worker);
        else if (choice < 80)
            expect(worker, tks_delete(worker->actor.state, key_name(some_key(worker))), "delete");
        else if (choice < 90)
            mix_set_if(worker);
        else if (choice < 98)
            mix_tick(worker);
        else
            mix_rare(worker);
        worker->journal->operations++;
    }
    return 1;
}

/* ---- Exports: never a write without the plugin's writes before it -------------------------- */

static int write_pairs(void *arg)
{
    struct worker *worker = enter((unsigned)(uintptr_t)arg, "pair");
    tks_state *state = worker->actor.state;
    int64_t number = 0;
    expect(worker, tks_get_i64(state, "first", &number), "get");
    while (well(worker)) {
        number++;
        expect(worker, tks_set_i64(state, "first", number), "set first");
        expect(worker, tks_set_i64(state, "second", number), "set second");
        worker->journal->operations++;
    }
    return 1;
}

struct pair {
    int64_t first, second;
};

static int note_pair(void *arg, const struct tks_record *record)
{
    struct pair *pair = arg;
    int64_t number;
    memcpy(&number, record->value, sizeof(number));
    if (!strcmp(record->key, "first"))
        pair->first = number;
    else
        pair->second = number;
    return 0;
}

static void export_once(struct worker *worker, struct pair *last)
{
    struct actor *actor = &worker->actor;
    struct pair before = {0, 0}, after = {0, 0}, seen = {0, 0};
    expect(worker, tks_get_i64(actor->state, "second", &before.second), "get");
    int status = tks_store_export(actor->store, "pair", note_pair, &seen);
    if (status == TKS_BUSY)
        return;
    expect(worker, status, "export");
    expect(worker, tks_get_i64(actor->state, "first", &after.first), "get");
    if (seen.second > seen.first || seen.second < before.second || seen.first > after.first ||
        seen.first < last->first || seen.second < last->second)
        actor_problem(actor,
                      "export: first %lld second %lld; before: second %lld, after: first %lld; the "
                      "last one: %lld %lld",
                      (long long)seen.first, (long long)seen.second, (long long)before.second,
                      (long long)after.first, (long long)last->first, (long long)last->second);
    *last = seen;
    __atomic_add_fetch(&arena->exports, 1, __ATOMIC_RELAXED);
}

static int export_pairs(void *arg)
{
    struct worker *worker = enter((unsigned)(uintptr_t)arg, "pair");
    struct pair last = {0, 0};
    while (well(worker)) {
        export_once(worker, &last);
        worker->journal->operations++;
    }
    return 1;
}

/* ---- Chaos --------------------------------------------------------------------------------- */

static pid_t start_worker(unsigned id)
{
    return crew_start(id < MIXERS         ? mix
                      : id == PAIR_WRITER ? write_pairs
                                          : export_pairs,
                      (void *)(uintptr_t)id);
}

static void report(unsigned id, int status)
{
    test_fail("worker %u ended with %d: %s", id, status, arena->logs[id].problem);
}

static bool ended(pid_t pid, unsigned id)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG) || !info.si_pid)
        return false;
    watchdog_child_gone(pid);
    report(id, info.si_status);
    return true;
}

/* Random moments are the point here: nothing is waited for. */
static void pause_for(uint64_t microseconds)
{
    const struct timespec pause = {0, (long)microseconds * 1000};
    nanosleep(&pause, NULL);
}

struct crowd {
    pid_t pids[WORKERS];
    bool stopped[WORKERS];
};

static void disturb(struct crowd *crowd, struct chance *chance)
{
    unsigned id = (unsigned)chance_below(chance, WORKERS);
    if (crowd->stopped[id]) {
        crew_go_on(crowd->pids[id]);
        crowd->stopped[id] = false;
    } else if (chance_below(chance, 3) == 0) {
        crowd->stopped[id] = crew_stop(crowd->pids[id]);
        arena->stops++;
        return;
    }
    if (chance_below(chance, 2))
        return;
    crew_kill(crowd->pids[id]);
    arena->kills++;
    crowd->pids[id] = start_worker(id);
}

/* Everybody goes on now: within the time of the watchdog each has done something. */
static void see_progress(struct crowd *crowd)
{
    for (unsigned id = 0; id < WORKERS; id++) {
        if (crowd->stopped[id])
            crew_go_on(crowd->pids[id]);
        crowd->stopped[id] = false;
    }
    for (unsigned id = 0; id < WORKERS && !test_failed(); id++)
        if (!crew_await(&arena->journals[id].operations, arena->journals[id].operations + 1) &&
            !ended(crowd->pids[id], id))
            test_fail("worker %u makes no progress", id);
}

static int check_end(void *arg)
{
    tks_store *store;
    tks_state *state;
    (void)arg;
    if (tks_store_open(uri, NULL, &store) || tks_state_open(store, "mix", &state)) {
        test_fail("open: %s", tks_last_error());
        return 1;
    }
    for (unsigned i = 0; i < COUNTERS; i++) {
        unsigned long begun = 0, done = 0;
        int64_t total = 0;
        for (unsigned id = 0; id < MIXERS; id++) {
            begun += arena->journals[id].begun[i];
            done += arena->journals[id].done[i];
        }
        int status = tks_get_i64(state, key_name(i ? KEY_VC : KEY_C), &total);
        if ((status && done) || (unsigned long)total < done || (unsigned long)total > begun)
            test_fail("counter %u is %lld after %lu of %lu adds", i, (long long)total, done, begun);
    }
    audit_store(store, 1, 1);
    tks_state_close(state);
    tks_store_close(store);
    if (tks_store_destroy(uri))
        test_fail("destroy: %s", tks_last_error());
    return test_failed();
}

static void run_round(struct chance *chance, double seconds)
{
    struct crowd crowd = {0};
    double until = seconds_now() + seconds;
    for (unsigned id = 0; id < WORKERS; id++)
        crowd.pids[id] = start_worker(id);
    while (seconds_now() < until && !test_failed()) {
        watchdog(HANG_SECONDS);
        pause_for(100 + chance_below(chance, 4000));
        disturb(&crowd, chance);
        for (unsigned id = 0; id < WORKERS && !test_failed(); id++)
            if (arena->logs[id].problems)
                report(id, 0);
    }
    see_progress(&crowd);
    for (unsigned id = 0; id < WORKERS; id++)
        crew_kill(crowd.pids[id]);
    if (crew_wait(crew_start(check_end, NULL)))
        test_fail("the store is not what it should be in the end");
}

int main(int argc, char **argv)
{
    options_read(argc, argv, 30);
    struct chance chance = {scramble64(options.seed) << 20};
    double until = seconds_now() + options.budget;
    unsigned rounds = 0;
    unsigned long kills = 0, stops = 0, exports = 0, walks = 0, operations = 0;
    keys_choose();
    arena = crew_memory(sizeof(*arena));
    snprintf(uri, sizeof(uri), "shm://%s?size=" CREW_SIZE "&slots=40", store_name());
    test_begin("random kills");
    while (!rounds || (seconds_now() < until && !test_failed())) {
        test_context("--seed %llu, round %u", (unsigned long long)options.seed, rounds);
        memset(arena, 0, sizeof(*arena));
        run_round(&chance, options.budget / 5);
        rounds++;
        kills += arena->kills;
        stops += arena->stops;
        exports += arena->exports;
        walks += arena->walks;
        for (unsigned id = 0; id < WORKERS; id++)
            operations += arena->journals[id].operations;
    }
    test_end("%u rounds, %lu kills, %lu stops, %lu operations, %lu walks, %lu exports", rounds,
             kills, stops, operations, walks, exports);
    return test_summary();
}
