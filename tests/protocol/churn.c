/* SPDX-License-Identifier: MIT */
#include "churn.h"

#define ROUNDS_MAX 6u

/* Overwrites in place, with the freed blocks taken again at once: the head's word comes back. */
static void overwrite(struct actor *parent, unsigned target)
{
    if (key_counts(target)) {
        actor_add(parent, target, 1);
        return;
    }
    actor_set(parent, target, 0);
}

static void churn_target(struct bench *bench, unsigned target, uint64_t word)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        overwrite(bench->parent, target);
        bench_recycle(bench);
        if (bench_head(bench, target) == word)
            return;
    }
}

/* The bucket of several: changes and the same key last. */
static void churn_vector(struct bench *bench, unsigned target, uint64_t word)
{
    struct actor *parent = bench->parent;
    for (unsigned round = 0; round < ROUNDS_MAX / 2; round++) {
        actor_set(parent, KEY_V0, 0);
        bench_recycle(bench);
        if (round & 1)
            actor_delete(parent, KEY_V1);
        else
            actor_set(parent, KEY_V1, 0);
        bench_recycle(bench);
        actor_add(parent, KEY_VC, 1);
        bench_recycle(bench);
        if (bench_head(bench, target) == word)
            return;
    }
}

/* Keys come and go, blocks change their size and their owner. */
static void churn_everything(struct bench *bench, unsigned target)
{
    struct actor *parent = bench->parent;
    actor_delete(parent, target);
    actor_delete(parent, KEY_V0);
    bench_recycle(bench);
    for (unsigned round = 0; round < 2; round++) {
        actor_set(parent, KEY_V1, round ? 2 : 0);
        actor_set(parent, KEY_V2, 0);
        actor_set(parent, KEY_A, round ? 0 : 2);
        bench_recycle(bench);
        actor_set(parent, KEY_V0, 0);
        actor_add(parent, KEY_C, 1);
        actor_delete(parent, KEY_V2);
        actor_set(parent, KEY_BIG, round ? 0 : 3);
        bench_recycle(bench);
    }
    if (!key_counts(target))
        actor_set(parent, target, 0);
}

void churn(struct bench *bench, unsigned target, uint64_t kind)
{
    uint64_t word = bench_head(bench, target);
    switch (kind % 3) {
    case 0:
        churn_target(bench, target, word);
        break;
    case 1:
        churn_vector(bench, target, word);
        break;
    default:
        churn_everything(bench, target);
    }
}
