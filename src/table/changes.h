/* SPDX-License-Identifier: MIT */
/* Which ranges of a plugin's hashes have changed since an era, by the marks of its index. */
#ifndef TKS_TABLE_CHANGES_H
#define TKS_TABLE_CHANGES_H

#include "table/index.h"

struct tks_changes {
    struct tks_member *member;
    struct plugin *plugin;
    uint64_t since;    /* an era */
    uint64_t position; /* first hash not looked at yet */
    bool ended;
};

/* A run of ranges: hashes first to last, both included. */
struct tks_run {
    uint64_t first, last;
};

/**
 * The next run of neighbouring ranges that changed in @p changes->since or later. What is settled
 * while this looks may be in it or not. Outside any section. TKS_OK; changes->ended with an empty
 * run (first > last) at the end; TKS_EVICTED, TKS_CORRUPT.
 */
int tks_changes_next(struct tks_changes *changes, struct tks_run *run);

/**
 * Visit the ranges of those who are stopped in the middle of settling, for a snapshot that is held
 * and looks for changes since an earlier one. Another value than 0 stops and is the result.
 *
 * A settler that read an era, was stopped, and was evicted so that this snapshot could begin, may
 * raise its mark and settle whenever it comes back: under an era that nobody looks for any more.
 * Its log says where. Visited now or in a later snapshot, its node is found: settled by then, or
 * settled by the walk, which raises the mark itself. This comes before the marks are looked at: who
 * is not seen stopped here has raised its mark. Sections that are open began after the snapshot's
 * era.
 */
int tks_changes_stopped(const struct tks_segment *segment,
                        int (*visit)(void *arg, struct plugin *plugin, struct tks_run run),
                        void *arg);

/** Whether anything was written since the snapshot of stamp @p since, or may have been. */
bool tks_changes_any(const struct tks_segment *segment, uint64_t since);

#endif
