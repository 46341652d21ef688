/* SPDX-License-Identifier: MIT */
/*
 * What the loader makes of a file: parse.c fills it batch by batch, live.c works out what counts.
 *
 * An entry counts if no later cut has a range of its plugin that covers its hash. Cuts lie in the
 * file one after another, so "later" is a matter of offsets: for each hash let F be where the last
 * cut begins that has a range over it, 0 without one; an entry at offset E counts if E >= F. (An
 * entry of an increment lies in a range of its own cut, so for those that count, F is where their
 * own cut begins.)
 *
 * F is a step function, worked out per plugin before anything is visited: ranges sorted by where
 * they begin, larger ones first; they nest or are disjoint, so a stack of at most 65 holds those
 * that cover the current hash. R ranges make at most 2R steps, in O(R log R).
 *
 * The full image of a plugin is normally in ascending order and is walked where it lies ("runs"),
 * next to the steps: no memory and no work beyond one comparison; without increments not even that.
 * Entries of increments, and of plugins whose image is not in order, become items, which are
 * sorted: O(M log M). So a file is loaded in O(bytes + (R + M) log (R + M)), whatever is in it.
 */
#ifndef TKS_CHECKPOINT_LOADED_H
#define TKS_CHECKPOINT_LOADED_H

#include "checkpoint/checkpoint.h"
#include "checkpoint/format.h"

/* A growing array. */
struct vector {
    void *items;
    size_t count, room;
};

/** Append @p bytes, the size of each item of this vector. False without memory. */
bool tks_vector_push(struct vector *vector, const void *item, size_t bytes);

struct loaded_plugin {
    const char *name;
    size_t name_len;
    uint64_t last_hash; /* of the run so far */
    bool has_run;       /* an entry of the full image was seen */
    bool ordered;       /* its runs are in strictly ascending order of the hash */
    size_t items, items_end, steps, steps_end; /* its parts of the vectors, once sorted */
    size_t runs, runs_end;
};

/* Entries of one plugin in one batch of the full image. */
struct loaded_run {
    uint32_t plugin;
    uint32_t entries;
    uint64_t from; /* offset of the first */
};

struct loaded_range {
    uint64_t first, last;
    uint64_t from; /* where its cut begins */
    uint32_t plugin;
};

struct loaded_item {
    uint64_t hash;
    uint64_t from; /* offset of the entry */
    uint32_t plugin;
};

struct loaded_step {
    uint64_t hash; /* from here to the next step */
    uint64_t from; /* cuts before this offset do not count */
};

struct tks_loaded {
    struct tks_checkpoint_info info;
    unsigned char *bytes;
    uint64_t size, salt;
    struct format_mark mark; /* as it was before the size was looked at */
    struct vector plugins, runs, ranges, items, steps;
    uint32_t *table; /* of plugins by name: number + 1; open addressing */
    size_t table_mask;
    uint64_t table_seed;
};

static inline struct loaded_plugin *loaded_plugin(const struct tks_loaded *loaded, size_t number)
{
    return (struct loaded_plugin *)loaded->plugins.items + number;
}

/* Where a parser stands, within a cut. */
struct parser {
    struct tks_loaded *loaded;
    uint64_t cut_from; /* where the cut begins */
    bool full, in_plugin, in_range, committed;
    uint32_t plugin;
    uint64_t first, last;
    uint64_t entries;
    struct format_commit commit;
};

/**
 * Take the records of a batch whose checksum is right. TKS_OK, TKS_CORRUPT (with a sentence's end
 * in *why) or TKS_NO_SPACE.
 */
int tks_parse_batch(struct parser *parser, const struct format_batch *batch, uint64_t payload_from,
                    const char **why);

/** The highest version that a batch whose checksum is right speaks of, as far as it can be read. */
uint64_t tks_parse_versions(const struct tks_loaded *loaded, const struct format_batch *batch,
                            uint64_t payload_from);

/** The entry at @p from, which was parsed. Returns where the next record begins. */
uint64_t tks_parsed_entry(const struct tks_loaded *loaded, uint64_t from,
                          struct tks_record *record);

/**
 * Work out what counts, and info.entries and live_bytes. TKS_OK, TKS_NO_SPACE, TKS_CORRUPT: a cut
 * holds a key twice, differently.
 */
int tks_live_prepare(struct tks_loaded *loaded, const char *path);

#endif
