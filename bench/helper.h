/* SPDX-License-Identifier: MIT */
/*
 * A second process that overwrites the same keys as fast as it can, on the other CPU.
 *
 * It is forked before this process opens any store, so that it inherits no handle, and attaches to
 * the store when told to. Between runs it sleeps in a semaphore.
 */
#ifndef BENCH_HELPER_H
#define BENCH_HELPER_H

#include <stdint.h>

#include "peer.h"

struct helper;

/** Fork it. The keys must exist already and stay. */
struct helper *helper_fork(const struct peer *peer, const char *keys, uint64_t key_count);
/** Open the store of this name. Returns when it is open. */
void helper_attach(struct helper *helper, const char *name);
/** Start overwriting. Returns when the first overwrites have happened. */
void helper_run(struct helper *helper);
/** Stop overwriting; returns how many overwrites a second there were. */
double helper_pause(struct helper *helper);
void helper_end(struct helper *helper);

#endif
