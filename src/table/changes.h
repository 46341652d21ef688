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

/** The range that @p hash lies in: what one mark stands for, or more. */
struct tks_run tks_changes_around(struct plugin *plugin, uint64_t hash);

#endif
