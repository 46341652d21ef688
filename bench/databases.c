/* SPDX-License-Identifier: MIT */
/*
 * How long does a tick of 3 gets and 1 set take on every backend, and how much of it is the
 * database's own?
 *
 * A database's anchor is its library doing the same statements by hand (raw.h). Files lie on the
 * disk
 * (--disk). PostgreSQL is measured when the environment has TKS_TEST_POSTGRES, a URI of a server,
 * as in tests/database/with_postgres bench-databases.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tickstate/tickstate.h>

#include "common.h"
#include "peer.h"
#include "raw.h"
#include "report.h"
#include "subject.h"
#include "targets.h"
#include "ticks.h"

#define KEYS 16
#define SAMPLES 200000
#define PLACE_MAX 512

struct runner {
    struct ticker ticker;
    int anchor;         /* the runner that it is compared with, -1: none */
    const char *target; /* of its median, or NULL */
    const char *tail;   /* of its 99.9 % */
    double p50[ROUNDS_MAX], p99[ROUNDS_MAX], p999[ROUNDS_MAX], max[ROUNDS_MAX];
    struct block_count count;
};

static char *keys;
static uint32_t *samples;

/* ---- tickstate by URI --------------------------------------------------------------------- */

struct store {
    tks_store *store;
    tks_state *state;
};

static void *store_open(const struct peer_config *config)
{
    struct store *store = allocate(sizeof(*store));

    if (tks_store_open(config->name, NULL, &store->store) != TKS_OK ||
        tks_state_open(store->store, "bench", &store->state) != TKS_OK) {
        die("%s", tks_last_error());
    }
    return store;
}

static void store_close(void *handle)
{
    struct store *store = handle;

    tks_state_close(store->state);
    tks_store_close(store->store);
    free(store);
}

static int store_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    return tks_get(((struct store *)handle)->state, key, buf, cap, len);
}

static int store_set(void *handle, const char *key, const void *value, size_t len)
{
    return tks_set(((struct store *)handle)->state, key, value, len);
}

static int store_tick_begin(void *handle)
{
    return tks_tick_begin(((struct store *)handle)->state);
}

static int store_tick_end(void *handle)
{
    return tks_tick_end(((struct store *)handle)->state);
}

static const struct peer peer_store = {
    .name = "tickstate",
    .open = store_open,
    .close = store_close,
    .get = store_get,
    .set = store_set,
    .tick_begin = store_tick_begin,
    .tick_end = store_tick_end,
};

/* ---- Runners ----------------------------------------------------------------------------- */

static size_t add(struct runner *runners, size_t n, const struct peer *peer, const char *label,
                  const char *place)
{
    const struct peer_config config = {.name = place, .keys = KEYS};
    struct runner *runner = &runners[n];

    *runner = (struct runner){.ticker = {.peer = peer,
                                         .label = label,
                                         .handle = peer->open(&config),
                                         .keys = keys,
                                         .key_count = KEYS},
                              .anchor = -1};
    return n + 1;
}

static size_t add_local(struct runner *runners, size_t n)
{
    char name[64], uri[PLACE_MAX];

    temp_name(name, sizeof(name), "databases");
    temp_register(name, "");
    snprintf(uri, sizeof(uri), "shm://%s?size=16M&prefault=1&snapshot_cpu=%d", name,
             options.other_cpu);
    n = add(runners, n, &peer_store, "tickstate shm://", uri);
    return add(runners, n, &peer_store, "tickstate memory://", "memory://");
}

static bool supported(const char *uri)
{
    tks_store *store;
    int status = tks_store_open(uri, NULL, &store);

    if (status == TKS_OK) {
        tks_store_close(store);
        return true;
    }
    if (status != TKS_UNSUPPORTED) {
        die("%s", tks_last_error());
    }
    report_note("left out: %s", tks_last_error());
    return false;
}

/* A database and its anchor, each in a place of its own; tickstate has made both tables. */
static size_t add_pair(struct runner *runners, size_t n, const char *label, const char *uri,
                       const struct peer *raw, const char *place, const char *target,
                       const char *tail)
{
    size_t own = n + 1;

    n = add(runners, n, raw, raw->label, place);
    n = add(runners, n, &peer_store, label, uri);
    runners[own].anchor = (int)own - 1;
    runners[own].target = target;
    runners[own].tail = tail;
    return n;
}

static size_t add_sqlite(struct runner *runners, size_t n)
{
#ifdef BENCH_HAVE_SQLITE
    char own[PLACE_MAX], raw[PLACE_MAX];

    snprintf(own, sizeof(own), "sqlite://%s/own.db", temp_folder());
    snprintf(raw, sizeof(raw), "sqlite://%s/raw.db", temp_folder());
    if (!supported(own) || !supported(raw)) {
        return n;
    }
    return add_pair(runners, n, "tickstate sqlite://", own, &raw_sqlite, raw + strlen("sqlite://"),
                    "sqlite-tick", "sqlite-tail");
#else
    (void)runners;
    report_note("left out: libsqlite3 was not there when the bench was built");
    return n;
#endif
}

static size_t add_postgres(struct runner *runners, size_t n)
{
    const char *uri = getenv("TKS_TEST_POSTGRES");

    if (uri == NULL) {
        report_note("PostgreSQL is left out: TKS_TEST_POSTGRES names no server");
        return n;
    }
#ifdef BENCH_HAVE_POSTGRES
    if (!supported(uri)) {
        return n;
    }
    return add_pair(runners, n, "tickstate postgres://", uri, &raw_postgres, uri, "postgres-tick",
                    "postgres-tail");
#else
    (void)runners;
    report_note("left out: libpq was not there when the bench was built");
    return n;
#endif
}

static void fill(const struct ticker *ticker)
{
    unsigned char value[VALUE_LEN];

    for (unsigned key = 0; key < KEYS; key++) {
        value_write(value, key);
        if (ticker->peer->set(ticker->handle, keys + key * KEY_STRIDE, value, VALUE_LEN) != 0) {
            die("%s cannot be filled: %s", ticker->label, tks_last_error());
        }
    }
}

/* ---- Runs -------------------------------------------------------------------------------- */

static void measure(struct runner *runner, unsigned round)
{
    size_t n = ticks_collect(&runner->ticker, time_tick, samples, options.quick ? 2000 : SAMPLES,
                             options.quick ? 0.05 : 2.0, &runner->count);
    struct percentiles found = percentiles_of(samples, n);

    runner->p50[round] = found.p50;
    runner->p99[round] = found.p99;
    runner->p999[round] = found.p999;
    runner->max[round] = found.max / 1e3;
}

static double middle(const double *rounds)
{
    double values[ROUNDS_MAX];

    memcpy(values, rounds, sizeof(values[0]) * options.rounds);
    return median(values, options.rounds);
}

/* Median of the rounds' own quotients: what slows a round down slows both. */
static double ratio(const double *own, const double *anchor)
{
    double values[ROUNDS_MAX];

    for (unsigned i = 0; i < options.rounds; i++) {
        values[i] = own[i] / anchor[i];
    }
    return median(values, options.rounds);
}

static void report(const struct runner *runners, const struct runner *runner)
{
    const struct runner *anchor = runner->anchor < 0 ? NULL : &runners[runner->anchor];
    double values[] = {middle(runner->p50),
                       middle(runner->p99),
                       middle(runner->p999),
                       middle(runner->max),
                       anchor != NULL ? ratio(runner->p50, anchor->p50) : NAN,
                       (double)runner->count.kept /
                           (double)(runner->count.kept + runner->count.dropped)};

    report_row("tick: 3 gets 1 set", runner->ticker.label, values, runner->target);
}

static void report_tail(const struct runner *runners, const struct runner *runner)
{
    const struct runner *anchor = &runners[runner->anchor];
    double values[] = {middle(runner->p999), middle(anchor->p999),
                       ratio(runner->p999, anchor->p999)};

    report_row("99.9 % of the ticks", runner->ticker.label, values, runner->tail);
}

static void report_all(const struct runner *runners, size_t n)
{
    static const char *const metrics[] = {METRIC_P50, METRIC_P99, METRIC_P999, METRIC_MAX_US,
                                          METRIC_RAW, "kept",     NULL};
    static const char *const tail_metrics[] = {METRIC_P999, "p99.9 ns by hand", METRIC_RAW, NULL};

    report_section("a tick on every backend", metrics);
    for (size_t i = 0; i < n; i++) {
        report(runners, &runners[i]);
    }
    report_section("the slow ones against those of the library by hand", tail_metrics);
    for (size_t i = 0; i < n; i++) {
        if (runners[i].anchor >= 0) {
            report_tail(runners, &runners[i]);
        }
    }
}

int main(int argc, char **argv)
{
    struct runner *runners;
    size_t n = 0;

    bench_start(argc, argv, "databases", "a tick of 3 gets and 1 set on every backend");
    if (options.rounds > ROUNDS_MAX) {
        die("at most %d rounds", ROUNDS_MAX);
    }
    report_note("16 keys, by string, stamps included; SQLite on the disk, synchronous=normal");
    keys = keys_make(KEYS);
    samples = allocate(sizeof(samples[0]) * SAMPLES);
    runners = allocate(sizeof(runners[0]) * SUBJECTS_MAX);
    n = add_local(runners, n);
    n = add_sqlite(runners, n);
    n = add_postgres(runners, n);
    for (size_t i = 0; i < n; i++) {
        fill(&runners[i].ticker);
    }
    for (unsigned round = 0; round < options.rounds; round++) {
        for (size_t i = 0; i < n; i++) {
            measure(&runners[i], round);
        }
    }
    report_all(runners, n);
    for (size_t i = 0; i < n; i++) {
        runners[i].ticker.peer->close(runners[i].ticker.handle);
    }
    return bench_finish();
}
