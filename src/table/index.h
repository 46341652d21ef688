/* SPDX-License-Identifier: MIT */
/*
 * A plugin's index: where the bucket of a hash is, and how it grows.
 *
 * Level k has 2^k times as many heads as level 0, in pieces that are allocated as they are
 * needed. The bucket of a hash is its top bits, so bucket i of a level splits into 2i and 2i + 1 of
 * the next and a walk in hash order survives growth. `base` is the lowest level that is not
 * wholly DONE; at most base and base + 1 are in use, besides levels below base being taken apart.
 *
 * Moving one parent bucket, by anybody, any number of times, killed anywhere:
 *
 *   1 settle the head's stamp
 *   2 freeze: CAS head -> head | FROZEN     writers may not change it now, readers still read it
 *   3 CAS each child 0 -> its share         the first mover's stays, later ones throw theirs away
 *   4 CAS head -> DONE                      readers go on to the children; the winner retires a
 * vector
 *
 * Everybody builds the same children from the frozen head, so it does not matter who wins. A mover
 * pins the piece of the children before it trusts them to be level base + 1, as a stopped one
 * may CAS a child long after; zero is only ever a child not set in a piece still in use.
 *
 * Marks say what changed since when, so that a checkpoint costs what changed. A mark, one for 16
 * neighbouring heads, is the latest era in which a stamp of one of their nodes was settled: whoever
 * settles raises the mark first (never lowers it), so a node of stamp s is never seen without a
 * mark
 * >= s. A mover raises the children's mark to the parent's after it froze the bucket: what is
 * marked at the parent later was settled by somebody who found it frozen, and is no news. A
 * snapshot of stamp t that looks for what changed since the one of stamp s takes every range with a
 * mark >= s: a settler that had read era s may have raised its mark after s looked.
 *
 * Inserts move a few buckets each (the cursor); a writer that meets a frozen bucket moves that
 * one. When all are DONE base advances by CAS and the old level's pieces are retired one by one,
 * each unlinked (CAS directory word -> LEVEL_GONE) by the one who then retires it.
 */
#ifndef TKS_TABLE_INDEX_H
#define TKS_TABLE_INDEX_H

#include "memory/member.h"

#define LEVEL_GONE UINT64_MAX
#define MOVE_GROUP 8u

struct tks_place {
    uint64_t *head;
    uint64_t piece; /* granule of the head's piece; 0: level 0, in the descriptor */
    uint64_t base;  /* plugin->base when it was found */
    unsigned level;
};

static inline unsigned level_bits(unsigned level)
{
    return LEVEL0_BITS + level;
}

/** Hash of the first key that could be in bucket @p bucket of @p level. */
static inline uint64_t bucket_hash(unsigned level, uint64_t bucket)
{
    return bucket << (64 - level_bits(level));
}

/** Heads in a piece of @p level. */
static inline uint64_t piece_heads(unsigned level)
{
    return 1ull << (level_bits(level) < PIECE_BITS ? level_bits(level) : PIECE_BITS);
}

/** Whether the level is one piece, without a directory. */
static inline bool single_piece(unsigned level)
{
    return level_bits(level) <= PIECE_BITS;
}

/** Pieces of a level that has a directory, a word for each. */
static inline uint64_t directory_words(unsigned level)
{
    return 1ull << (level_bits(level) - PIECE_BITS);
}

/** A piece with its marks. */
static inline uint64_t piece_bytes(unsigned level)
{
    return (piece_heads(level) + MARKS_FOR(piece_heads(level))) * 8;
}

/** The mark of a head that lies in @p piece (0: in the descriptor) of @p level. */
static inline uint64_t *mark_of(const struct tks_segment *segment, struct plugin *plugin,
                                uint64_t piece, unsigned level, const uint64_t *head)
{
    uint64_t *first = piece ? granule_words(segment, piece) : plugin->heads;
    return first + piece_heads(level) + ((uint64_t)(head - first) >> MARK_BITS);
}

/** Raise a mark to @p era, and the plugin's word first. */
void tks_mark_raise(struct plugin *plugin, uint64_t *mark, uint64_t era);

/**
 * Say that something near the mark changes in @p era: before the stamp that makes it so is settled.
 * The piece is pinned.
 */
static inline void mark_changed(struct plugin *plugin, uint64_t *mark, uint64_t era)
{
    if (tks_unlikely(load_acquire(mark) < era))
        tks_mark_raise(plugin, mark, era);
}

/** Head of @p hash on @p level, NULL when the level or its piece is not there. */
static inline uint64_t *head_on_level(const struct tks_segment *segment, struct plugin *plugin,
                                      unsigned level, uint64_t hash, uint64_t *piece)
{
    *piece = 0;
    if (tks_unlikely(level >= LEVELS))
        return NULL;
    uint64_t bucket = hash >> (64 - level_bits(level));
    if (level == 0)
        return &plugin->heads[bucket];
    uint64_t granule = load_acquire(&plugin->level[level]);
    if (level_bits(level) > PIECE_BITS) {
        uint64_t words = 1ull << (level_bits(level) - PIECE_BITS);
        if (tks_unlikely(!granule_in_range(segment, granule, words * 8)))
            return NULL;
        granule = load_acquire(granule_words(segment, granule) + (bucket >> PIECE_BITS));
        bucket &= PIECE_HEADS - 1;
    }
    if (tks_unlikely(!granule_in_range(segment, granule, (bucket + 1) * 8)))
        return NULL;
    *piece = granule;
    return granule_words(segment, granule) + bucket;
}

/**
 * The head that now stands for @p hash and its word. False: damaged, or read too late (the section
 * is not intact).
 */
static inline bool index_find(const struct tks_segment *segment, struct plugin *plugin,
                              uint64_t hash, struct tks_place *place, uint64_t *word)
{
    /* base only grows, and a level goes only after base has passed it: at most LEVELS restarts. */
    for (unsigned restart = 0; restart < LEVELS; restart++) {
        place->base = load_acquire(&plugin->base);
        uint64_t level = place->base;
        for (; level < segment->levels; level++) {
            place->head = head_on_level(segment, plugin, (unsigned)level, hash, &place->piece);
            if (tks_unlikely(!place->head))
                break;
            place->level = (unsigned)level;
            *word = load_acquire(place->head);
            if (tks_likely(head_kind(*word) != HEAD_DONE))
                return head_kind(*word) != HEAD_UNUSED;
        }
        if (load_acquire(&plugin->base) == place->base)
            break;
    }
    return false;
}

/** Whether the plugin's index is being moved, or leftovers of a move are to be retired. */
static inline bool index_moving(const struct plugin *plugin)
{
    uint64_t base = load_relaxed(&plugin->base);
    if (base + 1 < LEVELS && load_relaxed(&plugin->level[base + 1]))
        return true;
    return base > 1 && base < LEVELS && load_relaxed(&plugin->level[base - 1]) != LEVEL_GONE;
}

/**
 * Begin to grow if a key that was @p inserted makes the neighbourhood of @p place crowded; a small
 * index also when the key there @p collided with another. Inside a section.
 */
int tks_index_consider_growth(struct tks_member *member, struct plugin *plugin,
                              const struct tks_place *place, uint64_t hash, bool inserted,
                              bool collided);

/** Move a group of buckets, or take apart some of an old level. Inside a section. TKS_OK,
 * BLOCK_SLOW, TKS_EVICTED, TKS_CORRUPT. */
int tks_index_help(struct tks_member *member, struct plugin *plugin);

/** Finish moving the frozen bucket at @p place. The same results. */
int tks_index_finish(struct tks_member *member, struct plugin *plugin,
                     const struct tks_place *place, uint64_t hash);

/** Retire pieces of levels below base, @p budget at most. */
void tks_index_retire_levels(struct tks_member *member, struct plugin *plugin, unsigned budget);

/** Recovery and audit: whether the index of @p plugin names the piece or directory. */
bool tks_index_names_piece(const struct tks_segment *segment, struct plugin *plugin,
                           uint64_t granule);

/** The word of plugin->cursor. */
static inline uint64_t cursor_word(uint64_t level, uint64_t group)
{
    return level | group << 8;
}

/** Call @p visit for every piece and directory of the index. */
void tks_index_each_piece(const struct tks_segment *segment, struct plugin *plugin,
                          void (*visit)(void *arg, uint64_t granule), void *arg);

/** Recovery: whether a bucket of @p hash, at any level in use, names the node. */
bool tks_index_names_node(const struct tks_segment *segment, struct plugin *plugin, uint64_t hash,
                          uint64_t granule);

#endif
