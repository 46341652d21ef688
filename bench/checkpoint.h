/* SPDX-License-Identifier: MIT */
/* What the two halves of bench-checkpoint share. */
#ifndef BENCH_CHECKPOINT_H
#define BENCH_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <tickstate/tickstate.h>

/* A cut only when it is asked for. */
#define INTERVAL_NEVER 86400000u

#define PATH_ROOM 160

/** A segment and the file that it is written to. */
struct checkpointed {
    char name[64];
    char path[PATH_ROOM];
};

/** Names that nobody else uses. */
void checkpointed_name(struct checkpointed *checkpointed, const char *what);

/**
 * Open the segment once more, with checkpoint=: this process then writes the file, on the other
 * CPU. Beside it the store stays open without.
 */
tks_store *checkpointing_start(const struct checkpointed *checkpointed, unsigned interval_ms);

/** Wait until all that was written is in the file. */
void checkpointing_wait(tks_store *store);

/** What checkpoints cost those who read and write meanwhile. */
void measure_cost(const char *keys, uint64_t key_count);

#endif
