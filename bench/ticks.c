/* SPDX-License-Identifier: MIT */
#include "ticks.h"

#define TICKS_PER_BLOCK 500
#define BLOCK_NS 2e6

static unsigned char new_value[VALUE_LEN];

static void choose(const struct ticker *ticker, struct tick_keys *tick)
{
    static struct random_state random = {7};

    for (unsigned i = 0; i <= TICK_GETS; i++) {
        tick->index[i] = (unsigned)random_below(&random, ticker->key_count);
    }
}

static inline int get_one(const struct ticker *ticker, unsigned index, unsigned char *buf)
{
    const struct peer *peer = ticker->peer;
    size_t len;
    int status;

    if (ticker->prepared != NULL) {
        status = peer->get_prepared(ticker->handle, ticker->prepared + index * peer->prepared_size,
                                    buf, VALUE_CAP, &len);
    } else {
        status = peer->get(ticker->handle, ticker->keys + index * KEY_STRIDE, buf, VALUE_CAP, &len);
    }
    USE_VALUE(buf);
    return status;
}

static inline int set_one(const struct ticker *ticker, unsigned index)
{
    const struct peer *peer = ticker->peer;

    if (ticker->prepared != NULL) {
        return peer->set_prepared(ticker->handle, ticker->prepared + index * peer->prepared_size,
                                  new_value, VALUE_LEN);
    }
    return peer->set(ticker->handle, ticker->keys + index * KEY_STRIDE, new_value, VALUE_LEN);
}

static uint32_t interval(uint64_t began)
{
    uint64_t ticks = timer_now() - began;

    return ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

size_t time_tick(const struct ticker *ticker, const struct tick_keys *tick, uint32_t *out, int *bad)
{
    unsigned char buf[VALUE_CAP] __attribute__((aligned(64)));
    uint64_t began = timer_now();

    *bad |= ticker->peer->tick_begin(ticker->handle);
    for (unsigned i = 0; i < TICK_GETS; i++) {
        *bad |= get_one(ticker, tick->index[i], buf);
    }
    *bad |= set_one(ticker, tick->index[TICK_GETS]);
    *bad |= ticker->peer->tick_end(ticker->handle);
    *out = interval(began);
    return 1;
}

size_t time_gets(const struct ticker *ticker, const struct tick_keys *tick, uint32_t *out, int *bad)
{
    unsigned char buf[VALUE_CAP] __attribute__((aligned(64)));

    *bad |= ticker->peer->tick_begin(ticker->handle);
    for (unsigned i = 0; i < TICK_GETS; i++) {
        uint64_t began = timer_now();
        *bad |= get_one(ticker, tick->index[i], buf);
        out[i] = interval(began);
    }
    *bad |= set_one(ticker, tick->index[TICK_GETS]);
    *bad |= ticker->peer->tick_end(ticker->handle);
    return TICK_GETS;
}

static size_t run_block(const struct ticker *ticker, tick_fn *run, uint32_t *out, size_t room)
{
    static struct tick_keys ticks[TICKS_PER_BLOCK];
    uint64_t limit = timer_now() + timer_ticks(BLOCK_NS);
    size_t n = 0;
    int bad = 0;

    for (unsigned i = 0; i < TICKS_PER_BLOCK; i++) {
        choose(ticker, &ticks[i]);
    }
    for (unsigned i = 0; i < TICKS_PER_BLOCK && n + TICK_GETS <= room; i++) {
        n += run(ticker, &ticks[i], out + n, &bad);
        if (timer_now() > limit) {
            break;
        }
    }
    if (bad != 0) {
        die("%s: a tick failed (%d)", ticker->label, bad);
    }
    return n;
}

size_t ticks_collect(const struct ticker *ticker, tick_fn *run, uint32_t *samples, size_t wanted,
                     double seconds, struct block_count *count)
{
    double until = seconds_now() + seconds;
    struct block_guard guard;
    size_t n = 0;

    run_block(ticker, run, samples, wanted);
    while (n + TICK_GETS <= wanted && seconds_now() < until) {
        size_t more;
        block_begin(&guard);
        more = run_block(ticker, run, samples + n, wanted - n);
        n += block_end(&guard, count) ? more : 0;
    }
    return n;
}

void ticker_prepare(struct ticker *ticker)
{
    size_t size = ticker->peer->prepared_size;

    ticker->prepared = allocate(size * ticker->key_count);
    for (unsigned i = 0; i < ticker->key_count; i++) {
        if (ticker->peer->prepare(ticker->handle, ticker->keys + i * KEY_STRIDE,
                                  ticker->prepared + i * size) != 0) {
            die("%s: a key could not be prepared", ticker->label);
        }
    }
}
