/* SPDX-License-Identifier: MIT */
/*
 * What the sweeps do at every instruction of: one call (or a few) of a subject on a store that its
 * parent arranged, with the parent's part while the subject is stopped.
 */
#ifndef TKS_PROTOCOL_SCENARIO_H
#define TKS_PROTOCOL_SCENARIO_H

#include "actor.h"

enum {
    LONG = 1,       /* sampled, not every position */
    NO_STORE = 2,   /* the subject opens nothing before the measured call */
    NO_STATE = 4,   /* it opens the store only */
    NEW_PLUGIN = 8, /* a plugin of its own for every position */
    WALKS = 16      /* the keys it saw are in actor->visited */
};

struct scenario {
    const char *name;
    unsigned flags;
    enum key target;
    void (*arrange)(struct actor *parent);
    void (*prepare)(struct actor *subject);
    void (*run)(struct actor *subject);
    void (*finish)(struct actor *subject);
    const char *victim; /* a scenario whose subject is killed half-way before this one runs */
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

const struct scenario *scenario_named(const char *name);

/** What the subject of a scenario opens before it prepares. */
void scenario_open(const struct scenario *scenario, struct actor *subject);

/** Plugin and URI that subjects use; set by the sweep. */
extern char scenario_plugin[64];
extern char scenario_uri[128];

#endif
