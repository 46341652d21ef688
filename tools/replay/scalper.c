/* SPDX-License-Identifier: MIT */
#include "replay/scalper.h"

#include <assert.h>
#include <string.h>

#define LOSSES_TO_BAN 3
#define MEAN_WEIGHT 0.02
#define FLOW_WEIGHT 0.1

static_assert(sizeof(struct scalper_book) == 16 * 8, "the book has no padding: it is compared");

struct scalper_rule scalper_rule(int index, size_t instruments)
{
    double step = index % 4;

    return (struct scalper_rule){
        .instrument = (uint16_t)((size_t)index % (instruments ? instruments : 1)),
        .enter_lean = 0.5 + 0.1 * step,
        .profit = 2e-5 + 1e-5 * step,
        .loss = 3e-5 + 1e-5 * step,
        .hold_ms = 2000 + 500 * (index % 4),
        .cooldown_ms = 100 + 50 * (index % 4),
        .ban_ms = 3000 + 1000 * (index % 4),
    };
}

static uint64_t mix(uint64_t digest, uint64_t word)
{
    digest = (digest ^ word) * 0x9E3779B97F4A7C15u;
    return digest ^ digest >> 29;
}

static uint64_t bits(double number)
{
    uint64_t word;

    memcpy(&word, &number, sizeof(word));
    return word;
}

/* Leaving out, repeating or exchanging any tick gives another digest. */
static void count_tick(struct scalper_book *book, const struct tick *tick)
{
    uint64_t digest = mix(book->digest, (uint64_t)tick->recv_ns);

    digest = mix(digest, tick->seq + ((uint64_t)tick->instrument << 48));
    digest = mix(digest, bits(tick->kind == TICK_QUOTE ? tick->bid : tick->price));
    digest = mix(digest, bits(tick->kind == TICK_QUOTE ? tick->ask_qty : tick->qty));
    book->digest = digest;
    book->ticks++;
}

static double mid_price(const struct scalper_book *book)
{
    return (book->bid + book->ask) / 2;
}

/* Take in what the tick says about the plugin's own instrument. */
static void observe(struct scalper_book *book, const struct tick *tick)
{
    double total = tick->bid_qty + tick->ask_qty;

    if (tick->kind == TICK_TRADE) {
        book->flow += FLOW_WEIGHT * ((tick->buyer_took ? 1 : -1) - book->flow);
        return;
    }
    if (tick->bid <= 0 || tick->ask <= 0)
        return; /* one side of the book is empty: no price to act on */
    book->bid = tick->bid;
    book->ask = tick->ask;
    book->lean = total > 0 ? (tick->bid_qty - tick->ask_qty) / total : 0;
    if (book->mean_mid <= 0)
        book->mean_mid = mid_price(book);
    else
        book->mean_mid += MEAN_WEIGHT * (mid_price(book) - book->mean_mid);
}

/* 1 to buy, -1 to sell, 0 to stay as it is. */
static int enter_side(const struct scalper_rule *rule, const struct scalper_book *book)
{
    double move = mid_price(book) - book->mean_mid;

    if (book->lean >= rule->enter_lean && move >= 0 && book->flow >= 0)
        return 1;
    if (book->lean <= -rule->enter_lean && move <= 0 && book->flow <= 0)
        return -1;
    return 0;
}

static int leave_side(const struct scalper_rule *rule, const struct scalper_book *book,
                      int64_t now_ms)
{
    double gain = (mid_price(book) - book->entry_price) / book->entry_price;
    int side = book->position > 0 ? -1 : 1;

    if (side > 0)
        gain = -gain;
    if (gain >= rule->profit || gain <= -rule->loss)
        return side;
    return now_ms - book->last_trade_ms >= rule->hold_ms ? side : 0;
}

static void fill(struct scalper_book *book, int side, int64_t now_ms)
{
    double price = side > 0 ? book->ask : book->bid;

    book->cash -= side * price;
    book->position += side;
    book->entry_price = price;
    book->last_trade_ms = now_ms;
    book->trades++;
}

/* Count a loss that a trade ended with; true when it is one too many. */
static bool settle(struct scalper_book *book, int side, double entry)
{
    double gain = side > 0 ? entry - book->ask : book->bid - entry;

    book->losses_in_row = gain < 0 ? book->losses_in_row + 1 : 0;
    if (book->losses_in_row < LOSSES_TO_BAN)
        return false;
    book->losses_in_row = 0;
    book->bans++;
    return true;
}

struct scalper_action scalper_decide(const struct scalper_rule *rule, const struct tick *tick,
                                     struct scalper_guards guards, struct scalper_book *book)
{
    struct scalper_action action = {false, false};
    int64_t now_ms = tick->recv_ns / 1000000;
    bool own = tick->instrument == rule->instrument;
    bool flat = book->position == 0;
    double entry = book->entry_price;
    int side = 0;

    count_tick(book, tick);
    if (own)
        observe(book, tick);
    if (book->bid <= 0)
        return action; /* nothing quoted yet */
    /* A way out is looked for on every tick, a way in on the instrument's own ones. */
    if (!flat)
        side = leave_side(rule, book, now_ms);
    else if (own)
        side = enter_side(rule, book);
    if (side == 0)
        return action;
    book->decisions++;
    if (flat && (guards.cooling || guards.banned)) {
        book->blocked++; /* the way out is never blocked */
        return action;
    }
    fill(book, side, now_ms);
    action.traded = true;
    action.banned = !flat && settle(book, side, entry);
    return action;
}
