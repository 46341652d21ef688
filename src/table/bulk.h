/* SPDX-License-Identifier: MIT */
/*
 * Filling indexes of a segment that nobody else can see: no pins, no sections, no growth.
 *
 * What an insert leads to step by step is built at once. The keys of a plugin are counted first
 * (tks_bulk_count()) and then added in ascending order of their hash. So the level they need is
 * known, its pieces are made one after another just before they are filled, and a bucket is
 * complete when the first key of a later one comes: an entry, or a vector of entries.
 *
 * What comes out is what growth would have left: base is the level, the levels below it are gone,
 * all pieces are there, no head is unused, everything carries FIRST_STAMP, and marks say so where
 * there are keys. Versions of entries are the caller's, those of vectors new ones: the segment's
 * counter must be beyond all of them before the first key is added.
 */
#ifndef TKS_TABLE_BULK_H
#define TKS_TABLE_BULK_H

#include "table/node.h"

/* A vector that an operation could have made. */
#define BULK_MEMBERS_FIT (BLOCK_BYTES_MAX / 8 - VECTOR_MEMBERS)
#define BULK_MEMBERS_MAX                                                                           \
    (BULK_MEMBERS_FIT < VECTOR_MEMBERS_MAX ? BULK_MEMBERS_FIT : VECTOR_MEMBERS_MAX)

/** What the keys of a plugin ask of its index. */
struct tks_bulk_shape {
    uint64_t keys;
    unsigned bits; /* of the hash that a level must tell apart, so that vectors can hold buckets */
};

/** Counting: all zero at first. */
struct tks_bulk_counter {
    struct tks_bulk_shape shape;
    uint64_t recent[BULK_MEMBERS_MAX]; /* hashes, a ring */
};

/** The next key of a plugin, in ascending order of the hash. */
void tks_bulk_count(struct tks_bulk_counter *counter, uint64_t hash);

/** Filling: all zero at first but for these two. */
struct tks_bulk {
    struct tks_member *member; /* alone in its segment */
    unsigned thrift;           /* halves the heads per key that often: less memory, more vectors */
    uint64_t committed;        /* slabs that have memory behind them */
    uint64_t run_from;         /* no room for runs before it, as far as was looked */
    /* The plugin that is being filled. */
    struct plugin *plugin;
    unsigned level;
    uint64_t pieces; /* made so far */
    uint64_t *heads; /* of the last one */
    uint64_t bucket; /* that the members belong to */
    uint64_t count;
    uint64_t members[BULK_MEMBERS_MAX];
};

/**
 * Begin with a plugin, which is new. TKS_OK; TKS_NO_SPACE, with a sentence (as all of these);
 * TKS_CORRUPT.
 */
int tks_bulk_begin(struct tks_bulk *bulk, const char *plugin, size_t len,
                   const struct tks_bulk_shape *shape);

/** Add a key. TKS_CORRUPT: not in ascending order of the hash, or more than were counted. */
int tks_bulk_add(struct tks_bulk *bulk, const struct tks_name *name,
                 const struct tks_content *content, uint64_t version);

/** No more keys for this plugin. */
int tks_bulk_end(struct tks_bulk *bulk);

#endif
