/* SPDX-License-Identifier: MIT */
/*
 * Ticks of 3 gets and 1 set, timed one by one. Every tick is timed by two stamps around it; in runs
 * of their own, every get by two stamps around the get. Blocks in which the scheduler took this CPU
 * are dropped and repeated.
 */
#ifndef BENCH_TICKS_H
#define BENCH_TICKS_H

#include "common.h"
#include "peer.h"

#define TICK_GETS 3

struct ticker {
    const struct peer *peer;
    const char *label;
    void *handle;
    char *prepared; /* or NULL: by string */
    const char *keys;
    unsigned key_count;
};

struct tick_keys {
    unsigned index[TICK_GETS + 1];
};

/** Returns how many samples it wrote. */
typedef size_t tick_fn(const struct ticker *ticker, const struct tick_keys *tick, uint32_t *out,
                       int *bad);

tick_fn time_tick;
tick_fn time_gets;

/** Prepare all keys. */
void ticker_prepare(struct ticker *ticker);

/** Ticks until there are @p wanted samples or @p seconds are over; how many samples there are. */
size_t ticks_collect(const struct ticker *ticker, tick_fn *run, uint32_t *samples, size_t wanted,
                     double seconds, struct block_count *count);

#endif
