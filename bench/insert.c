/* SPDX-License-Identifier: MIT */
/*
 * How long does an insert take while the store grows from 1 k to 4 M keys?
 *
 * Every insert is timed on its own; nothing is dropped, since growth cannot be repeated. An
 * operation over 1 ms is put down to the scheduler when this thread lost the CPU since the last
 * look at ru_nivcsw, else to the store ("own"). What the kernel cannot see, a hypervisor that took
 * the CPU, counts as own, too. So two more rows say what the machine does on its own: reading the
 * clock for as long as tickstate took, and touching as many fresh tmpfs pages.
 */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"
#include "peer.h"
#include "report.h"
#include "subject.h"
#include "targets.h"

#define FIRST_KEYS 1000
#define LAST_KEYS 4000000
/* Seldom enough to cost little, often enough that few operations share a loss of the CPU. */
#define LOOK_EVERY 64
#define SLOW_NS 1e6
#define PATIENCE_S 20.0
/* Slow operations that are named, per peer. */
#define NOTED_MAX 4

struct outcome {
    double p50[ROUNDS_MAX], p99[ROUNDS_MAX], p999[ROUNDS_MAX], max[ROUNDS_MAX];
    double mean[ROUNDS_MAX];
    unsigned rounds;
    double slow_own;       /* over 1 ms with the CPU all the time */
    double slow_scheduler; /* over 1 ms, the scheduler took the CPU */
    double faults;         /* page faults in all rounds */
    double inserts;        /* in all rounds */
};

static const char *const metrics[] = {METRIC_P50,    METRIC_P99,  METRIC_P999,
                                      METRIC_MAX_US, "mean ns",   METRIC_OVER_OWN,
                                      ">1ms sched",  "faults/op", NULL};

static uint32_t *samples;

static uint32_t narrow(uint64_t ticks)
{
    return ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

/* Called after a slow operation at once, else every LOOK_EVERY-th time. True: slow on its own. */
static bool look(struct block_guard *guard, bool slow, struct outcome *outcome)
{
    struct block_guard now;
    bool taken;

    block_begin(&now);
    taken = now.preempted != guard->preempted;
    outcome->slow_scheduler += slow && taken;
    outcome->slow_own += slow && !taken;
    outcome->faults += (double)(now.faults - guard->faults);
    *guard = now;
    return slow && !taken;
}

static void finish_round(struct outcome *outcome, size_t n, double seconds)
{
    struct percentiles found = percentiles_of(samples, n);
    unsigned round = outcome->rounds++;

    outcome->p50[round] = found.p50;
    outcome->p99[round] = found.p99;
    outcome->p999[round] = found.p999;
    outcome->max[round] = found.max / 1e3;
    outcome->mean[round] = seconds * 1e9 / (double)n;
    outcome->inserts += (double)n;
}

/* ---- Inserts ----------------------------------------------------------------------------- */

static void insert_timed(const struct peer *peer, void *handle, const char *keys, uint64_t n,
                         struct outcome *outcome)
{
    uint64_t slow_ticks = timer_ticks(SLOW_NS);
    uint64_t patience = timer_ticks(PATIENCE_S * 1e9);
    unsigned char value[VALUE_LEN];
    struct block_guard guard;
    uint64_t busy = 0;

    value_write(value, 0);
    block_begin(&guard);
    for (uint64_t i = FIRST_KEYS; i < n; i++) {
        uint64_t began = timer_now();
        int status = peer->set(handle, keys + i * KEY_STRIDE, value, sizeof(value));
        uint64_t took = timer_now() - began;
        if (status != 0) {
            die("%s: insert %lu failed (%d)", peer->label, (unsigned long)i, status);
        }
        samples[i - FIRST_KEYS] = narrow(took);
        busy += took;
        if ((took > slow_ticks || i % LOOK_EVERY == 0) &&
            look(&guard, took > slow_ticks, outcome) && outcome->slow_own <= NOTED_MAX) {
            report_note("%s: %.1f ms on its own, insert %lu", peer->label, timer_ns(took) / 1e6,
                        (unsigned long)i);
        }
        if (busy > patience && peer != &peer_tickstate) {
            report_note("%s: given up after %.0f s, %lu k keys", peer->label, PATIENCE_S,
                        (unsigned long)i / 1000);
            n = i + 1;
        }
    }
    look(&guard, false, outcome);
    finish_round(outcome, n - FIRST_KEYS, timer_ns(busy) * 1e-9);
}

static uint64_t insert_limit(const struct peer *peer)
{
    uint64_t last = options.quick ? 20000 : LAST_KEYS;

    return peer->insert_max != 0 && peer->insert_max < last ? peer->insert_max : last;
}

/* Every round has a store of its own; its memory goes back before the next. */
static void run_peer(const struct peer *peer, const char *keys, struct outcome *outcome)
{
    char name[64];
    uint64_t n = insert_limit(peer);
    struct peer_config config = {.name = name, .keys = n, .grow = true};
    void *handle;

    temp_name(name, sizeof(name), peer->name);
    handle = peer->open(&config);
    peer_fill(peer, handle, keys, FIRST_KEYS);
    insert_timed(peer, handle, keys, n, outcome);
    peer->close(handle);
    temp_remove_named(name);
}

/* ---- The machine alone ------------------------------------------------------------------- */

static void run_clock(double seconds, struct outcome *outcome)
{
    uint64_t slow_ticks = timer_ticks(SLOW_NS);
    uint64_t end = timer_now() + timer_ticks(seconds * 1e9);
    uint64_t n = insert_limit(&peer_tickstate) - FIRST_KEYS;
    struct block_guard guard;
    uint64_t done = 0;
    uint64_t last;

    block_begin(&guard);
    for (last = timer_now(); last < end;) {
        uint64_t now = timer_now();
        uint64_t took = now - last;
        samples[done % n] = narrow(took);
        if (took > slow_ticks || ++done % (LOOK_EVERY * 16) == 0) {
            look(&guard, took > slow_ticks, outcome);
            now = timer_now();
        }
        last = now;
    }
    finish_round(outcome, done < n ? done : n, seconds);
}

static void run_pages(uint64_t bytes, struct outcome *outcome)
{
    uint64_t slow_ticks = timer_ticks(SLOW_NS);
    uint64_t n = bytes / 4096;
    struct block_guard guard;
    uint64_t busy = 0;
    char *pages;

    n = n < LAST_KEYS ? n : LAST_KEYS;
    pages = temp_map(n * 4096);
    block_begin(&guard);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t began = timer_now();
        uint64_t took;
        *(volatile char *)(pages + i * 4096) = 1;
        took = timer_now() - began;
        samples[i] = narrow(took);
        busy += took;
        if (took > slow_ticks || i % LOOK_EVERY == 0) {
            look(&guard, took > slow_ticks, outcome);
        }
    }
    look(&guard, false, outcome);
    finish_round(outcome, n, timer_ns(busy) * 1e-9);
    munmap(pages, n * 4096);
}

/* ---- Report ------------------------------------------------------------------------------ */

static double middle(const struct outcome *outcome, const double *rounds)
{
    double values[ROUNDS_MAX];

    memcpy(values, rounds, sizeof(values[0]) * outcome->rounds);
    return median(values, outcome->rounds);
}

static void report(const char *work, const char *label, const struct outcome *outcome,
                   const char *target)
{
    double values[] = {middle(outcome, outcome->p50),  middle(outcome, outcome->p99),
                       middle(outcome, outcome->p999), middle(outcome, outcome->max),
                       middle(outcome, outcome->mean), outcome->slow_own,
                       outcome->slow_scheduler,        outcome->faults / outcome->inserts};

    report_row(work, label, values, target);
}

static void report_peer(const struct peer *peer, const struct outcome *outcome)
{
    char work[64];

    snprintf(work, sizeof(work), "insert 1 k to %lu k keys",
             (unsigned long)insert_limit(peer) / 1000);
    if (peer != &peer_tickstate) {
        report(work, peer->label, outcome, NULL);
        return;
    }
    report(work, peer->label, outcome, "insert-growing");
    report("the same; over 1 ms", peer->label, outcome, "insert-over-1ms");
}

int main(int argc, char **argv)
{
    const struct peer *const *peers;
    static struct outcome outcomes[SUBJECTS_MAX];
    static struct outcome clock_alone;
    static struct outcome pages_alone;
    char *keys;

    bench_start(argc, argv, "insert", "an insert while the store grows, stamps included");
    if (options.rounds > ROUNDS_MAX) {
        die("at most %d rounds", ROUNDS_MAX);
    }
    peers_note_missing();
    report_note("tickstate not prefaulted; counts over 1 ms are sums over the rounds, figures are "
                "medians");
    peers = peers_available();
    keys = keys_make(insert_limit(&peer_tickstate));
    samples = allocate(sizeof(samples[0]) * LAST_KEYS);
    for (unsigned round = 0; round < options.rounds; round++) {
        for (size_t i = 0; peers[i] != NULL; i++) {
            /* No ratio is judged here: once is enough for the others. */
            if (peers[i] == &peer_tickstate || peers[i] == &peer_flat || round == 0) {
                run_peer(peers[i], keys, &outcomes[i]);
            }
        }
        run_clock(outcomes[1].mean[round] * 1e-9 * (double)insert_limit(&peer_tickstate),
                  &clock_alone);
        run_pages(insert_limit(&peer_tickstate) * 220, &pages_alone);
    }
    report_section("insert while growing", metrics);
    for (size_t i = 0; peers[i] != NULL; i++) {
        report_peer(peers[i], &outcomes[i]);
    }
    report("the machine alone", "reading the clock", &clock_alone, NULL);
    report("the machine alone", "touching tmpfs pages", &pages_alone, NULL);
    return bench_finish();
}
