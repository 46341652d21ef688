/* SPDX-License-Identifier: MIT */
/*
 * How long does a tick of 3 gets and 1 set take, alone and while another process overwrites the
 * same 16 keys as fast as it can?
 *
 * Percentiles are those of a round, the table shows their medians over the rounds.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "helper.h"
#include "peer.h"
#include "report.h"
#include "subject.h"
#include "targets.h"
#include "ticks.h"

#define KEYS 16
#define SAMPLES 200000

struct runner {
    struct ticker ticker;
    struct helper *helper; /* or NULL: one process only */
    bool judged;
};

/* One kind of run of one runner: percentiles by round. */
struct outcome {
    double p50[ROUNDS_MAX], p99[ROUNDS_MAX], p999[ROUNDS_MAX], max[ROUNDS_MAX];
    double spread[ROUNDS_MAX], others[ROUNDS_MAX];
    struct block_count count;
};

struct result {
    struct outcome alone_tick, alone_get, contended_tick, contended_get;
};

static char *keys;
static uint32_t *samples;

/* ---- Runs -------------------------------------------------------------------------------- */

static void measure(const struct runner *runner, tick_fn *run, struct outcome *outcome,
                    unsigned round)
{
    size_t n = ticks_collect(&runner->ticker, run, samples, options.quick ? SAMPLES / 100 : SAMPLES,
                             options.quick ? 0.05 : 1.0, &outcome->count);
    struct percentiles found = percentiles_of(samples, n);

    outcome->p50[round] = found.p50;
    outcome->p99[round] = found.p99;
    outcome->p999[round] = found.p999;
    outcome->max[round] = found.max / 1e3;
    outcome->spread[round] = found.p999 / found.p50;
}

static void measure_contended(const struct runner *runner, tick_fn *run, struct outcome *outcome,
                              unsigned round)
{
    helper_run(runner->helper);
    measure(runner, run, outcome, round);
    outcome->others[round] = helper_pause(runner->helper) / 1e3;
}

static void measure_round(const struct runner *runners, size_t n, struct result *results,
                          unsigned round)
{
    for (size_t i = 0; i < n; i++) {
        measure(&runners[i], time_tick, &results[i].alone_tick, round);
        measure(&runners[i], time_gets, &results[i].alone_get, round);
        if (runners[i].helper != NULL) {
            measure_contended(&runners[i], time_tick, &results[i].contended_tick, round);
            measure_contended(&runners[i], time_gets, &results[i].contended_get, round);
        }
    }
}

/* ---- Report ------------------------------------------------------------------------------ */

static double middle(const double *rounds)
{
    double values[ROUNDS_MAX];

    memcpy(values, rounds, sizeof(values[0]) * options.rounds);
    return median(values, options.rounds);
}

static const char *const metrics[] = {METRIC_P50,    METRIC_P99, METRIC_P999,     METRIC_SPREAD,
                                      METRIC_MAX_US, "kept",     "others kset/s", NULL};

static void report(const char *work, const struct runner *runner, const struct outcome *outcome,
                   const char *target)
{
    double values[] = {middle(outcome->p50),
                       middle(outcome->p99),
                       middle(outcome->p999),
                       middle(outcome->spread),
                       middle(outcome->max),
                       (double)outcome->count.kept /
                           (double)(outcome->count.kept + outcome->count.dropped),
                       outcome->others[0] > 0 ? middle(outcome->others) : NAN};

    report_row(work, runner->ticker.label, values, runner->judged ? target : NULL);
}

static void report_all(const struct runner *runners, size_t n, const struct result *results)
{
    report_section("alone", metrics);
    for (size_t i = 0; i < n; i++) {
        report("tick: 3 gets 1 set", &runners[i], &results[i].alone_tick, "tick-spread");
    }
    for (size_t i = 0; i < n; i++) {
        report("get in such a tick", &runners[i], &results[i].alone_get, NULL);
    }
    report_section("while another process overwrites the same 16 keys", metrics);
    for (size_t i = 0; i < n; i++) {
        if (runners[i].helper != NULL) {
            report("tick: 3 gets 1 set", &runners[i], &results[i].contended_tick, "tick-contended");
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (runners[i].helper != NULL) {
            report("get in such a tick", &runners[i], &results[i].contended_get, "get-contended");
        }
    }
}

/* ---- Subjects ---------------------------------------------------------------------------- */

static int nothing_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    (void)handle;
    (void)key;
    (void)buf;
    *len = cap;
    return 0;
}

static int nothing_set(void *handle, const char *key, const void *value, size_t len)
{
    (void)handle;
    (void)key;
    (void)value;
    (void)len;
    return 0;
}

/* What the machine and the stamps do on their own. */
static const struct peer peer_nothing = {
    .name = "nothing",
    .label = "nothing (stamps and calls)",
    .get = nothing_get,
    .set = nothing_set,
    .tick_begin = peer_tick_nothing,
    .tick_end = peer_tick_nothing,
};

static struct runner make_runner(const struct peer *peer)
{
    return (struct runner){
        .ticker = {.peer = peer, .label = peer->label, .keys = keys, .key_count = KEYS}};
}

/* Every helper is forked before any store is open. */
static size_t make_runners(struct runner *runners)
{
    const struct peer *const *peers = peers_available();
    size_t n = 0;

    runners[n++] = make_runner(&peer_nothing);
    for (size_t i = 0; peers[i] != NULL; i++) {
        struct runner runner = make_runner(peers[i]);
        if (peers[i]->traits & PEER_PROCESSES) {
            runner.helper = helper_fork(peers[i], keys, KEYS);
        }
        runners[n++] = runner;
    }
    return n;
}

static void open_store(struct runner *runner)
{
    char name[64];
    struct peer_config config = {.name = name, .keys = KEYS, .prefault = true};

    if (runner->ticker.peer->open == NULL) {
        return;
    }
    temp_name(name, sizeof(name), runner->ticker.peer->name);
    runner->ticker.handle = runner->ticker.peer->open(&config);
    peer_fill(runner->ticker.peer, runner->ticker.handle, keys, KEYS);
    if (runner->helper != NULL) {
        helper_attach(runner->helper, name);
    }
}

/* tickstate runs twice on one store, prepared and by string. */
static size_t open_stores(struct runner *runners, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        open_store(&runners[i]);
    }
    for (size_t i = 0; i < n; i++) {
        if (runners[i].ticker.peer == &peer_tickstate) {
            memmove(&runners[i + 1], &runners[i], (n - i) * sizeof(runners[0]));
            runners[i].ticker.label = "tickstate prepared";
            runners[i + 1].ticker.label = "tickstate by string";
            runners[i].judged = runners[i + 1].judged = true;
            ticker_prepare(&runners[i].ticker);
            return n + 1;
        }
    }
    return n;
}

static void close_stores(struct runner *runners, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (runners[i].ticker.peer->close == NULL || runners[i].ticker.prepared != NULL) {
            continue;
        }
        if (runners[i].helper != NULL) {
            helper_end(runners[i].helper);
        }
        runners[i].ticker.peer->close(runners[i].ticker.handle);
    }
}

int main(int argc, char **argv)
{
    struct runner runners[SUBJECTS_MAX];
    struct result *results;
    size_t n;

    bench_start(argc, argv, "tick", "a tick of 3 gets and 1 set, 16 keys, stamps included");
    if (options.rounds > ROUNDS_MAX) {
        die("at most %d rounds", ROUNDS_MAX);
    }
    peers_note_missing();
    report_note(
        "tickstate prefaulted (prefault=1); kept: share of blocks the scheduler left alone");
    keys = keys_make(KEYS);
    samples = allocate(sizeof(samples[0]) * SAMPLES);
    n = open_stores(runners, make_runners(runners));
    results = allocate(sizeof(results[0]) * n);
    for (unsigned round = 0; round < options.rounds; round++) {
        measure_round(runners, n, results, round);
    }
    report_all(runners, n, results);
    close_stores(runners, n);
    return bench_finish();
}
