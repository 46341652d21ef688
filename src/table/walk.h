/* SPDX-License-Identifier: MIT */
/*
 * Walks over a plugin's entries, in hash order: each bucket's range of hashes is covered exactly
 * once, whatever level it is found on, so a key that is there throughout is seen once, also
 * while the table grows. What is seen is copied in small sections to process memory; callers look
 * at it between sections.
 */
#ifndef TKS_TABLE_WALK_H
#define TKS_TABLE_WALK_H

#include "table/snapshot.h"

struct tks_walk {
    struct tks_member *member;
    struct plugin *plugin;
    uint64_t position;                   /* first hash not walked yet */
    const struct tks_snapshot *snapshot; /* that we hold; NULL: what is there now */
    bool values;                         /* copy values too */
    bool in_tick;                        /* the section is the caller's and stays open */
    bool ended;
    uint64_t last; /* hash to end with; 0: the last there is */
};

/** One entry in a batch, followed by key + NUL and value, each padded to 8. */
struct tks_item {
    uint64_t meta;
    uint64_t version; /* as callers know it */
    uint64_t deadline;
    uint64_t node; /* the node's version */
};

struct tks_batch {
    char *bytes;
    size_t used;
    size_t cap;
};

static inline size_t item_padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}
static inline const char *item_key(const struct tks_item *item)
{
    return (const char *)(item + 1);
}
static inline const char *item_value(const struct tks_item *item)
{
    return item_key(item) + item_padded(meta_key_len(item->meta) + 1);
}

/** The item at *offset, moving it on; NULL at the end. */
const struct tks_item *tks_batch_next(const struct tks_batch *batch, size_t *offset, bool values);

/* The snapshot cannot be completed: begin another. Not a public status. */
#define WALK_LOST 4

/**
 * Append what some next buckets hold to @p batch, about @p enough bytes. walk->ended is set after
 * the last. TKS_OK, WALK_LOST, TKS_EVICTED, TKS_CORRUPT, TKS_NO_SPACE (process memory).
 */
int tks_walk_next(struct tks_walk *walk, struct tks_batch *batch, size_t enough);

/** Audit: call @p visit with every word of the index that may name blocks, children of frozen
 * buckets included. */
int tks_walk_words(struct tks_member *member, struct plugin *plugin,
                   void (*visit)(void *arg, uint64_t word), void *arg);

/** Call @p visit outside sections with a hash of every bucket that holds only a tombstone. */
int tks_walk_tombstones(struct tks_member *member, struct plugin *plugin,
                        void (*visit)(void *arg, uint64_t hash), void *arg);

#endif
