/* SPDX-License-Identifier: MIT */
/*
 * A bursty stream without a file: gaps between ticks follow the quantiles of a real capture of six
 * instruments (half under 10 µs, one in a hundred over 20 ms), prices walk at random, the book
 * leans the way the price is about to go. The same seed gives the same stream.
 */
#include "replay/tick.h"

#include <math.h>
#include <stdlib.h>

#define START_NS INT64_C(1700000000000000000)
#define TRADE_SHARE 0.21

struct market {
    const char *venue, *symbol;
    double tick_size, price;
    double weight; /* share of the ticks, cumulative */
};

static const struct market markets[] = {
    {"spot", "BTCUSDT", 0.01, 60000.0, 0.24}, {"spot", "ETHUSDT", 0.01, 2600.0, 0.42},
    {"usdm", "BTCUSDT", 0.10, 60010.0, 0.68}, {"usdm", "ETHUSDT", 0.01, 2601.0, 0.88},
    {"coinm", "BTCUSD", 0.10, 60005.0, 0.95}, {"coinm", "ETHUSD", 0.01, 2600.5, 1.00},
};

#define MARKETS (sizeof(markets) / sizeof(markets[0]))

/* Where a share of all gaps lies below: what is between is interpolated, logarithmically. */
static const struct {
    double share, gap_ns;
} gap_quantiles[] = {
    {0.00, 800.0}, {0.50, 9.1e3}, {0.53, 20e3}, {0.90, 3.0e6}, {0.99, 20e6}, {1.00, 134e6},
};

struct book_side {
    double mid, lean; /* lean -1 to 1: more to buy, more to sell */
    uint64_t seq;
    int number;
};

struct tick_generator {
    uint64_t random, left;
    int64_t now_ns;
    struct book_side sides[MARKETS];
};

/* splitmix64: a full period, and good enough for a market. */
static uint64_t next_random(struct tick_generator *generator)
{
    uint64_t z = generator->random += 0x9E3779B97F4A7C15u;

    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static double uniform(struct tick_generator *generator)
{
    return (double)(next_random(generator) >> 11) * 0x1p-53;
}

/* Near enough to a normal distribution: the sum of four uniform ones. */
static double bell(struct tick_generator *generator)
{
    double sum = 0;

    for (int i = 0; i < 4; i++)
        sum += uniform(generator) - 0.5;
    return sum * 1.732;
}

static double next_gap(struct tick_generator *generator)
{
    double share = uniform(generator), part;
    size_t i = 1;

    while (share > gap_quantiles[i].share)
        i++;
    part = (share - gap_quantiles[i - 1].share) /
           (gap_quantiles[i].share - gap_quantiles[i - 1].share);
    return gap_quantiles[i - 1].gap_ns *
           pow(gap_quantiles[i].gap_ns / gap_quantiles[i - 1].gap_ns, part);
}

struct tick_generator *tick_generator_open(const struct tick_spec *spec, struct tick_source *source)
{
    struct tick_generator *generator = calloc(1, sizeof(*generator));

    if (!generator)
        return NULL;
    generator->random = spec->seed;
    generator->left = spec->count;
    generator->now_ns = START_NS;
    for (size_t i = 0; i < MARKETS; i++) {
        generator->sides[i].mid = markets[i].price;
        generator->sides[i].seq = 1000000 * (i + 1);
        generator->sides[i].number =
            tick_source_number(source, markets[i].venue, markets[i].symbol);
        if (generator->sides[i].number < 0) {
            free(generator);
            return NULL;
        }
    }
    return generator;
}

static double on_grid(double price, double tick_size)
{
    return round(price / tick_size) * tick_size;
}

static double some_qty(struct tick_generator *generator, double share)
{
    return 0.001 + share * 5.0 * pow(uniform(generator), 2);
}

static void make_quote(struct tick_generator *generator, size_t i, struct tick *tick)
{
    struct book_side *side = &generator->sides[i];
    double step = markets[i].tick_size;
    double spread = uniform(generator) < 0.85 ? step : step * 3;

    tick->kind = TICK_QUOTE;
    tick->bid = on_grid(side->mid - spread / 2, step);
    tick->ask = tick->bid + spread;
    tick->bid_qty = some_qty(generator, 0.02 + 0.5 * (1 + side->lean));
    tick->ask_qty = some_qty(generator, 0.02 + 0.5 * (1 - side->lean));
}

static void make_trade(struct tick_generator *generator, size_t i, struct tick *tick)
{
    struct book_side *side = &generator->sides[i];
    double step = markets[i].tick_size;

    tick->kind = TICK_TRADE;
    tick->buyer_took = uniform(generator) < 0.5 + 0.4 * side->lean;
    tick->price = on_grid(side->mid + (tick->buyer_took ? step / 2 : -step / 2), step);
    tick->qty = some_qty(generator, 0.2);
}

int tick_generator_next(struct tick_generator *generator, struct tick *tick)
{
    double which = uniform(generator);
    struct book_side *side;
    size_t i = 0;

    if (generator->left == 0)
        return 0;
    generator->left--;
    while (i + 1 < MARKETS && which >= markets[i].weight)
        i++;
    side = &generator->sides[i];
    generator->now_ns += (int64_t)next_gap(generator);
    side->lean = fmax(-1, fmin(1, 0.97 * side->lean + 0.25 * bell(generator)));
    /* About a tenth of a basis point per tick, most of it the way the book leans. */
    side->mid *= 1 + 1e-5 * (0.6 * side->lean + bell(generator));
    *tick = (struct tick){
        .recv_ns = generator->now_ns,
        .seq = side->seq++,
        .instrument = (uint16_t)side->number,
    };
    if (uniform(generator) < TRADE_SHARE)
        make_trade(generator, i, tick);
    else
        make_quote(generator, i, tick);
    return 1;
}

void tick_generator_close(struct tick_generator *generator)
{
    free(generator);
}
