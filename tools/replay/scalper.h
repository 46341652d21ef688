/* SPDX-License-Identifier: MIT */
/*
 * A small scalping rule: enter with the lean of the book when price and flow agree, leave on
 * profit, loss or age. After each trade it waits (cooldown), after three losses it stops for a
 * while (ban). It is no advice; it is a load that needs all of its state on every tick.
 *
 * Nothing here knows a store, and nothing is kept outside of the book: the same stream always
 * gives the same books.
 */
#ifndef TICKSTATE_REPLAY_SCALPER_H
#define TICKSTATE_REPLAY_SCALPER_H

#include "replay/tick.h"

/** What a plugin keeps from tick to tick: one value in the store. No padding. */
struct scalper_book {
    uint64_t ticks;         /* seen, this one included */
    uint64_t decisions;     /* ticks on which it wanted to trade */
    uint64_t blocked;       /* decisions that the cooldown or the ban held back */
    uint64_t trades;        /* decisions carried out */
    uint64_t digest;        /* of every tick seen, in order */
    int64_t position;       /* lots; negative: short */
    int64_t last_trade_ms;  /* 0: never */
    uint64_t losses_in_row; /* since the last win or ban */
    uint64_t bans;
    double cash, entry_price;
    double bid, ask, lean; /* last quote of its instrument; 0: none yet */
    double mean_mid;       /* of the recent past */
    double flow;           /* who took lately: -1 sellers to 1 buyers */
};

struct scalper_rule {
    uint16_t instrument;
    double enter_lean;   /* -1 to 1 */
    double profit, loss; /* of the price */
    int64_t hold_ms;     /* leave after so long */
    int64_t cooldown_ms;
    int64_t ban_ms;
};

/** The rule of plugin @p index: they differ a little, so that they do not all act at once. */
struct scalper_rule scalper_rule(int index, size_t instruments);

/** What holds a plugin back now. */
struct scalper_guards {
    bool cooling, banned;
};

/** What a tick led to, beyond the book. */
struct scalper_action {
    bool traded; /* start the cooldown */
    bool banned; /* start the ban */
};

struct scalper_action scalper_decide(const struct scalper_rule *rule, const struct tick *tick,
                                     struct scalper_guards guards, struct scalper_book *book);

#endif
