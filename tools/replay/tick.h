/* SPDX-License-Identifier: MIT */
/* A stream of ticks, from a file or generated; the same one however often it is opened. */
#ifndef TICKSTATE_REPLAY_TICK_H
#define TICKSTATE_REPLAY_TICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TICK_QUOTE 'Q'
#define TICK_TRADE 'T'

struct tick {
    int64_t recv_ns; /* since 1970; never goes back */
    uint64_t seq;
    double bid, bid_qty, ask, ask_qty; /* quote */
    double price, qty;                 /* trade */
    uint16_t instrument;               /* index in the stream's order of first appearance */
    char kind;                         /* TICK_… */
    bool buyer_took;                   /* trade */
};

/** Which stream. An empty path: generate. */
struct tick_spec {
    char path[4096];
    uint64_t count;
    uint64_t seed;
};

#define INSTRUMENT_NAME_MAX 48 /* "VENUE:SYMBOL" */
#define INSTRUMENTS_MAX 4096

struct tick_source;

/** Why a stream ended early: room for FILE:LINE: and a sentence. */
#define TICK_ERROR_MAX 5000

/** NULL: error says why. */
struct tick_source *tick_source_open(const struct tick_spec *spec, char error[TICK_ERROR_MAX]);
/** 1: a tick; 0: the end; -1: error says why. */
int tick_source_next(struct tick_source *source, struct tick *tick, char error[TICK_ERROR_MAX]);
size_t tick_source_instruments(const struct tick_source *source);
const char *tick_source_instrument(const struct tick_source *source, size_t index);
void tick_source_close(struct tick_source *source);

/* ---- For the kinds of sources ------------------------------------------------------------ */

struct tick_csv;
struct tick_csv *tick_csv_open(const char *path, char error[TICK_ERROR_MAX]);
int tick_csv_next(struct tick_csv *csv, struct tick_source *source, struct tick *tick,
                  char error[TICK_ERROR_MAX]);
void tick_csv_close(struct tick_csv *csv);

struct tick_generator;
struct tick_generator *tick_generator_open(const struct tick_spec *spec,
                                           struct tick_source *source);
int tick_generator_next(struct tick_generator *generator, struct tick *tick);
void tick_generator_close(struct tick_generator *generator);

/** Number of the instrument called so, a new one if need be; -1: too many, or no memory. */
int tick_source_number(struct tick_source *source, const char *venue, const char *symbol);

#endif
