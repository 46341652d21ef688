/* SPDX-License-Identifier: MIT */
/*
 * Blocks: where they are, taking one, giving one back.
 *
 * Every block has one state word in a table beside the slabs:
 *
 *        take                 retire (CAS: one winner)      grace period over, not pinned
 *   FREE ----> ALLOCATED{slot} ----> RETIRED{slot, epoch} ----> FREE, or ALLOCATED again at once
 *
 * Slabs, limbo lists and ready lists are affinity, not ownership: under pressure any member frees
 * anybody's RETIRED block. The taker logs the block in its slot *before* the CAS, so that a killed
 * taker leaves ALLOCATED{slot} only for blocks its log names.
 *
 * A slab that is wholly free may change its class: one member marks it DRAINING, takes every block
 * (FREE -> TAKEN) and makes it EMPTY, or puts all back. A taker that was stopped between finding
 * a block and its CAS re-checks the slab's word after it; state words do not move when the class
 * changes, so a late CAS hits a state word, never data.
 */
#ifndef TKS_MEMORY_BLOCK_H
#define TKS_MEMORY_BLOCK_H

#include "memory/member.h"

/* Positive: not a public status. Memory must be found first, outside a section. */
#define BLOCK_SLOW 1

/** Bytes of the blocks of a class. */
uint64_t tks_class_bytes(unsigned class);

/** Smallest class that holds @p bytes; CLASS_COUNT when only a run does. */
unsigned tks_class_of(uint64_t bytes);

/** State word of slab @p slab's block @p index. */
static inline uint64_t *block_word(const struct tks_segment *segment, uint64_t slab, unsigned index)
{
    return &segment->states[slab * SLAB_STATES + index];
}

/** Find the block that starts at @p granule: false when none does (a damaged segment). */
bool tks_block_find(const struct tks_segment *segment, uint64_t granule, struct tks_block_ref *ref);

/** Bytes of the block that starts at @p granule, 0 when none does. */
uint64_t tks_block_bytes(const struct tks_segment *segment, uint64_t granule);

/**
 * Take a block of at least @p bytes without waiting for anything, its name logged in @p pin first.
 * TKS_OK or BLOCK_SLOW. With member->use_reserve also from the reserve that only operations which
 * make room may touch.
 */
int tks_block_take(struct tks_member *member, uint64_t bytes, uint64_t plain, enum pin pin,
                   uint64_t *granule);

/**
 * Take a block that is kept ready, if there is one; it is logged first, and a full fence lies
 * between everything stored before the call and whatever follows. False: neither happened.
 */
bool tks_block_take_ready(struct tks_member *member, uint64_t bytes, enum pin pin,
                          uint64_t *granule);

/**
 * After BLOCK_SLOW, outside any section: find a slab with room, commit memory, reclaim. With @p
 * hard also expel sections, give up a snapshot, and empty slabs. TKS_OK: try again.
 */
int tks_block_refill(struct tks_member *member, uint64_t bytes, bool hard);

/** Look for room among all slabs that are offered, where a refill looks at some: before a hard one. */
bool tks_block_search(struct tks_member *member, uint64_t bytes);

/**
 * Commit a piece of memory before it is needed, if what is left is little against what is in use.
 * True: it did, and there may be more to do. For the keeper, outside any section.
 */
bool tks_commit_ahead(struct tks_member *member);

/** Stop taking blocks of @p class from the slab that they come from: others may. */
void tks_slab_give_back(struct tks_member *member, unsigned class);

/** Take a block larger than a slab's share: whole slabs. Outside any section. */
int tks_run_take(struct tks_member *member, uint64_t bytes, uint64_t plain, enum pin pin,
                 uint64_t *granule);

/** The same, from slab *@p from on, which is moved behind the block: for many in a row. */
int tks_run_take_from(struct tks_member *member, uint64_t *from, uint64_t bytes, uint64_t plain,
                      enum pin pin, uint64_t *granule);

/** Give back a block of ours that nobody else has seen, and clear @p pin. */
void tks_block_discard(struct tks_member *member, enum pin pin);

/** RETIRED or TAKEN-by-us block to FREE; ref->state must be its exact state. False: lost a race. */
bool tks_block_free(struct tks_member *member, const struct tks_block_ref *ref);

/** Keep a block that may be reused at once for our next take of its class, or free it. */
static inline void block_make_ready(struct tks_member *member, const struct tks_block_ref *ref)
{
    uint64_t word = load_relaxed(&member->segment->slabs[ref->slab].word);
    unsigned class = slab_class(word);
    struct tks_ready *ready =
        slab_kind(word) == SLAB_CLASSED && class < CLASS_COUNT ? &member->ready[class] : NULL;
    if (ready && ready->count < READY_BLOCKS)
        ready->blocks[ready->count++] = *ref;
    else
        tks_block_free(member, ref);
}

/** Recovery: put back the slab that a dead slot was draining, claiming or freeing. */
void tks_slab_recover(struct tks_member *member, unsigned dead, uint64_t slab);

#endif
