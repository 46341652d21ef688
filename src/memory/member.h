/* SPDX-License-Identifier: MIT */
/*
 * A member: this process's private half of one slot. Everything here may vanish with the process:
 * what others need to know is in the slot, the rest are hints.
 */
#ifndef TKS_MEMORY_MEMBER_H
#define TKS_MEMORY_MEMBER_H

#include "segment/segment.h"

#define LIMBO_BLOCKS 1024u
#define LIMBO_HIGH 512u
/* Small and often: what an operation does for reclamation is part of its latency. The epoch is
 * moved less often, as that looks at every reader's line. */
#define COLLECT_EVERY 4u
#define COLLECT_BLOCKS 6u
#define ADVANCE_EVERY 8u
#define READY_BLOCKS 64u

/* A block and the exact state word it was seen with. */
struct tks_block_ref {
    uint64_t granule;
    uint32_t slab;
    uint32_t index;
    uint64_t state;
};

/* Blocks that may be taken at once: still RETIRED, past their grace period. */
struct tks_ready {
    unsigned count;
    struct tks_block_ref blocks[READY_BLOCKS];
};

struct tks_member {
    struct tks_segment *segment;
    struct slot *slot;
    unsigned index;
    uint64_t section; /* our section word; 0: none open */
    uint64_t closed;  /* what the slot reads when none is: SECTION_IDLE, or …_PAUSED in a tick */
    uint64_t generation; /* the slot's when we took it */
    uint64_t next_version, version_end;
    unsigned retired_since_collect;
    unsigned collects;
    uint64_t wanted;  /* bytes of the block that BLOCK_SLOW was about */
    uint64_t taken;   /* granule of a block that PIN_NEW_ENTRY names and nobody uses yet, 0 */
    bool use_reserve; /* this operation makes room: it may use the reserve */
    /* per class: the slab that blocks are taken from, and where to look next in it */
    uint32_t current_slab[CLASS_END];
    uint32_t current_index[CLASS_END];
    uint32_t scan_slab[CLASS_END]; /* where the search for a slab with room goes on */
    unsigned stale_slabs;          /* that were offered and had none, in this search */
    /* the slot that holds the epoch back, and since when */
    unsigned lag_slot;
    uint64_t lag_section;
    int64_t lag_since_ms;
    unsigned limbo_first, limbo_count;
    struct tks_block_ref limbo[LIMBO_BLOCKS];
    struct tks_ready ready[CLASS_COUNT];
};

#define NO_SLAB UINT32_MAX

static inline unsigned member_tag(const struct tks_member *member)
{
    return member->index;
}

/** A version number that nothing in this store ever had or will have. */
static inline uint64_t member_new_version(struct tks_member *member)
{
    if (tks_unlikely(member->next_version == member->version_end)) {
        member->next_version = fetch_add(&member->segment->header->versions.next, VERSION_CHUNK);
        member->version_end = member->next_version + VERSION_CHUNK;
    }
    return member->next_version++;
}

static inline void pin_store(struct tks_member *member, enum pin pin, uint64_t word)
{
    store_release(&member->slot->words[pin], word);
}

#endif
