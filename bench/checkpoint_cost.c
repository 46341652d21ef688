/* SPDX-License-Identifier: MIT */
/*
 * What others pay while checkpoints are written: ticks, gets and sets on one CPU, the writer on the
 * other, a cut every 100 ms. With and without take turns on the same segment, the first of a pair
 * now the one and now the other; the table shows medians, and medians of the pairs' quotients and
 * differences.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "checkpoint.h"
#include "common.h"
#include "peer.h"
#include "report.h"
#include "targets.h"
#include "ticks.h"

#define INTERVAL_MS 100
#define HOT_KEYS 16
#define PAIRS_MAX 256
#define SAMPLES 6000000
#define SETS 4096
#define BLOCKS_MAX 20000

/* One kind of run, with or without. */
struct outcome {
    double p50[PAIRS_MAX], p99[PAIRS_MAX], p999[PAIRS_MAX], max[PAIRS_MAX];
    struct block_count count;
};

struct pairs {
    struct outcome tick[2], get[2]; /* without, with */
    double mean[2][PAIRS_MAX], middle[2][PAIRS_MAX];
    unsigned n;
};

struct subject_store {
    struct checkpointed checkpointed;
    struct ticker ticker; /* of the hot keys */
    uint64_t key_count;
    const char *keys;
};

static uint32_t *samples;

/* ---- With and without -------------------------------------------------------------------- */

static tks_store *switch_to(const struct subject_store *subject, bool with)
{
    tks_store *store = NULL;

    if (with) {
        store = checkpointing_start(&subject->checkpointed, INTERVAL_MS);
        checkpointing_wait(store); /* the full image is another question */
    }
    return store;
}

/* A bench of checkpoints that are not written would be a fine one. */
static void require_cuts(const struct subject_store *subject, time_t since)
{
    struct stat status;

    if (stat(subject->checkpointed.path, &status) != 0 || status.st_mtime < since) {
        die("no checkpoint was written meanwhile");
    }
}

static double seconds_of_phase(void)
{
    return options.quick ? 0.05 : 1.0;
}

/* ---- Ticks ------------------------------------------------------------------------------- */

static void measure_ticks(const struct subject_store *subject, tick_fn *run,
                          struct outcome *outcome, unsigned pair)
{
    size_t n =
        ticks_collect(&subject->ticker, run, samples, SAMPLES, seconds_of_phase(), &outcome->count);
    struct percentiles found = percentiles_of(samples, n);

    outcome->p50[pair] = found.p50;
    outcome->p99[pair] = found.p99;
    outcome->p999[pair] = found.p999;
    outcome->max[pair] = found.max / 1e3;
}

/* ---- Sets -------------------------------------------------------------------------------- */

static double time_sets(const struct subject_store *subject, uint64_t key_count, int *bad)
{
    static struct random_state random = {5};
    static const char *picks[SETS];
    static unsigned char value[VALUE_LEN];
    void *handle = subject->ticker.handle;
    uint64_t began;

    for (unsigned i = 0; i < SETS; i++) {
        picks[i] = subject->keys + random_below(&random, key_count) * KEY_STRIDE;
    }
    began = timer_now();
    for (unsigned i = 0; i < SETS; i++) {
        *bad |= peer_tickstate.set(handle, picks[i], value, sizeof(value));
    }
    return timer_ns(timer_now() - began) / SETS;
}

static void measure_sets(const struct subject_store *subject, uint64_t key_count,
                         struct pairs *pairs, int with)
{
    static double blocks[BLOCKS_MAX];
    double until = seconds_now() + seconds_of_phase();
    double sum = 0;
    size_t n = 0;
    int bad = 0;

    while (n < BLOCKS_MAX && seconds_now() < until) {
        struct block_guard guard;
        block_begin(&guard);
        blocks[n] = time_sets(subject, key_count, &bad);
        if (block_undisturbed(&guard)) {
            sum += blocks[n++];
        }
    }
    if (bad != 0) {
        die("a set failed (%d): %s", bad, tks_last_error());
    }
    pairs->mean[with][pairs->n] = sum / (double)n;
    pairs->middle[with][pairs->n] = median(blocks, n);
}

/* ---- Rounds ------------------------------------------------------------------------------ */

static void measure_side(const struct subject_store *subject, struct pairs *pairs, int with)
{
    tks_store *store = switch_to(subject, with != 0);
    time_t began = time(NULL);

    measure_ticks(subject, time_tick, &pairs->tick[with], pairs->n);
    measure_ticks(subject, time_gets, &pairs->get[with], pairs->n);
    measure_sets(subject, HOT_KEYS, pairs, with);
    if (with) {
        checkpointing_wait(store);
        require_cuts(subject, began);
    }
    tks_store_close(store);
}

static void measure_pairs(const struct subject_store *subject, struct pairs *pairs)
{
    for (unsigned i = 0; i < options.rounds * 2 && i < PAIRS_MAX; i++) {
        int first = (int)(i % 2);
        measure_side(subject, pairs, first);
        measure_side(subject, pairs, !first);
        pairs->n++;
    }
}

/* ---- Report ------------------------------------------------------------------------------ */

static const char *const side_labels[] = {"tickstate", "tickstate checkpointing"};

static double middle_of(const double *values, unsigned n)
{
    double copy[PAIRS_MAX];

    memcpy(copy, values, sizeof(copy[0]) * n);
    return median(copy, n);
}

static void report_outcomes(const char *work, const struct outcome *outcomes, unsigned n,
                            const char *target)
{
    double ratios[PAIRS_MAX];

    for (unsigned i = 0; i < n; i++) {
        ratios[i] = outcomes[1].p999[i] / outcomes[0].p999[i];
    }
    for (int with = 0; with < 2; with++) {
        const struct outcome *outcome = &outcomes[with];
        double values[] = {middle_of(outcome->p50, n),
                           middle_of(outcome->p99, n),
                           middle_of(outcome->p999, n),
                           with ? middle_of(ratios, n) : 1,
                           middle_of(outcome->max, n),
                           (double)outcome->count.kept /
                               (double)(outcome->count.kept + outcome->count.dropped)};
        report_row(work, side_labels[with], values, with ? target : NULL);
    }
}

static void report_ticks(const char *title, const struct pairs *pairs)
{
    static const char *const metrics[] = {METRIC_P50,    METRIC_P99, METRIC_P999, METRIC_OFF,
                                          METRIC_MAX_US, "kept",     NULL};

    report_section(title, metrics);
    report_outcomes("tick: 3 gets 1 set", pairs->tick, pairs->n, "checkpoint-tick");
    report_outcomes("get in such a tick", pairs->get, pairs->n, "checkpoint-get");
}

/* The mean is judged: a median over blocks leaves out those that a cut falls into. */
static void report_sets(const char *title, const struct pairs *pairs)
{
    static const char *const metrics[] = {METRIC_NS, METRIC_MORE, "median ns", "median more", NULL};
    double more[PAIRS_MAX];
    double middle_more[PAIRS_MAX];

    for (unsigned i = 0; i < pairs->n; i++) {
        more[i] = pairs->mean[1][i] - pairs->mean[0][i];
        middle_more[i] = pairs->middle[1][i] - pairs->middle[0][i];
    }
    report_section(title, metrics);
    for (int with = 0; with < 2; with++) {
        double values[] = {
            middle_of(pairs->mean[with], pairs->n), with ? middle_of(more, pairs->n) : 0,
            middle_of(pairs->middle[with], pairs->n), with ? middle_of(middle_more, pairs->n) : 0};
        report_row("set one of 16 keys", side_labels[with], values, with ? "checkpoint-set" : NULL);
    }
}

/* ---- Stores ------------------------------------------------------------------------------ */

static void measure_store(const char *keys, uint64_t key_count)
{
    struct subject_store subject = {.keys = keys, .key_count = key_count};
    struct peer_config config = {.keys = key_count, .prefault = true};
    static char titles[4][64]; /* live until the report is written */
    static unsigned used;
    struct pairs *pairs = allocate(sizeof(*pairs));

    checkpointed_name(&subject.checkpointed, key_count > HOT_KEYS ? "many" : "few");
    config.name = subject.checkpointed.name;
    subject.ticker = (struct ticker){.peer = &peer_tickstate,
                                     .label = peer_tickstate.label,
                                     .handle = peer_tickstate.open(&config),
                                     .keys = keys,
                                     .key_count = HOT_KEYS};
    peer_fill(&peer_tickstate, subject.ticker.handle, keys, key_count);
    ticker_prepare(&subject.ticker);
    measure_pairs(&subject, pairs);
    snprintf(titles[used], sizeof(titles[0]), "ticks of 16 keys; the store has %lu",
             (unsigned long)key_count);
    report_ticks(titles[used++], pairs);
    snprintf(titles[used], sizeof(titles[0]), "sets by string; the store has %lu",
             (unsigned long)key_count);
    report_sets(titles[used++], pairs);
    peer_tickstate.close(subject.ticker.handle);
    temp_remove_named(subject.checkpointed.name);
    free(subject.ticker.prepared);
    free(pairs);
}

void measure_cost(const char *keys, uint64_t key_count)
{
    samples = allocate(sizeof(samples[0]) * SAMPLES);
    report_note("checkpointing: a cut every %d ms", INTERVAL_MS);
    measure_store(keys, HOT_KEYS);
    measure_store(keys, key_count);
    free(samples);
}
