/* SPDX-License-Identifier: MIT */
/*
 * The parent's side of a sweep: a store, a plugin to work on and another that must not be harmed,
 * and what must hold when everybody else is gone.
 */
#ifndef TKS_PROTOCOL_BENCH_H
#define TKS_PROTOCOL_BENCH_H

#include "actor.h"

#define SUBJECTS 4u

struct arena {
    uint64_t clock;
    struct log logs[SUBJECTS]; /* 0: the parent's */
    bool walked;
    char visited[KEYS_ALL + 1];
};

struct bench {
    struct arena *arena; /* shared with the children */
    struct actor *parent;
    tks_state *other; /* a plugin that nobody else touches */
    unsigned plugins; /* opened so far */
};

void bench_init(struct bench *bench);
/** Make the store anew. */
void bench_renew(struct bench *bench);
void bench_new_plugin(struct bench *bench);
void bench_end(struct bench *bench);

/** Forget what was recorded. */
void bench_clear(struct bench *bench);

/** Every key in its usual place. */
void bench_arrange(struct bench *bench);

/** Move the epochs on, whoever holds them back, and make every free block reusable. */
void bench_recycle(struct bench *bench);

/** Index word of the bucket of a key. */
uint64_t bench_head(struct bench *bench, unsigned key);

/** Use the store's keys, old and new; then all that must hold when the subjects are dead. */
void bench_verify(struct bench *bench, unsigned target, bool audit);

#endif
