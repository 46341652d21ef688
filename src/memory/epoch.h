/* SPDX-License-Identifier: MIT */
/*
 * Read sections and epochs (Fraser, "Practical lock-freedom", 2004, section 5.2.3; the eviction is
 * ours). A block retired in epoch r may be reused in epoch r + 2 when no pin names it: every
 * section that could have seen it linked was opened in epoch <= r, and the epoch cannot pass
 * r + 1 while such a section is open.
 *
 *   enter   S: store section            |  advance  fence B
 *           fence A (pairs with B)      |           load every section; one is older: stop
 *           reload epoch, again if moved|           CAS epoch
 *           loads                       |
 *   check   acquire fence C (pairs with D)
 *           load section: still ours?
 *
 *   evict   CAS section -> EVICTED, then advance, then reuse after release fence D
 *
 * A-B: either the advancer sees the section, or the section sees the new epoch.
 * C-D: a reader that copied a byte of a reused block sees its eviction. So a section that was
 * stopped for long costs nobody anything: it is evicted, notices, and starts again.
 *
 * Nobody waits inside a section. What may take long closes it first (operations re-open it).
 */
#ifndef TKS_MEMORY_EPOCH_H
#define TKS_MEMORY_EPOCH_H

#include "memory/member.h"

#define SECTION_TRIES 64
/* What no slot's section word reads: after a failed entry nothing counts as intact. */
#define SECTION_NOT_OURS UINT64_MAX

static inline uint64_t section_word(uint64_t epoch)
{
    return epoch << 1 | 1;
}

/** Say that a section is opening; nothing is protected before a full fence and section_confirm().
 */
static inline void section_announce(struct tks_member *member)
{
    member->section = section_word(load_relaxed(&member->segment->header->epoch));
    store_relaxed(&member->slot->section, member->section);
    tks_point(POINT_SECTION_STORED);
}

/** After the fence: false when the epoch has moved or the slot was taken from us. */
static inline bool section_confirm(struct tks_member *member)
{
    if (tks_likely(section_word(load_acquire(&member->segment->header->epoch)) == member->section &&
                   load_relaxed(&member->slot->generation) == member->generation)) {
        tks_point(POINT_SECTION_ENTERED);
        return true;
    }
    member->section = SECTION_NOT_OURS;
    return false;
}

/**
 * Publish an open section and everything stored before (pins), with one fence. False when the
 * epoch kept moving or the slot was taken from us.
 */
static inline bool section_enter(struct tks_member *member)
{
    for (int i = 0; i < SECTION_TRIES; i++) {
        section_announce(member);
        fence_full(); /* A, pairs with B in tks_epoch_advance(); G, pairs with H in reclaim.c */
        if (tks_likely(section_confirm(member)))
            return true;
        tks_point(POINT_SECTION_MOVED);
        if (load_relaxed(&member->slot->generation) != member->generation)
            return false;
    }
    store_release(&member->slot->section, member->closed);
    return false;
}

/** Whether nothing read in this section so far can have been reused. */
static inline bool section_intact(const struct tks_member *member)
{
#ifdef TKS_PLANT_NO_EVICTION_CHECK
    return true;
#endif
    fence_acquire(); /* C, pairs with D in block allocation */
    return tks_likely(load_relaxed(&member->slot->section) == member->section);
}

static inline void section_leave(struct tks_member *member)
{
    member->section = 0;
    store_release(&member->slot->section, member->closed);
    tks_point(POINT_SECTION_LEFT);
}

#define NO_SLOT UINT32_MAX

/** Move the epoch on if every open section has seen it. NO_SLOT, or a slot that has not. */
unsigned tks_epoch_advance(struct tks_member *member);

/** Expel the section of slot @p index if it still is @p section. */
void tks_epoch_evict(struct tks_member *member, unsigned index, uint64_t section);

/** Expel whoever holds the epoch back, if it has for long enough (or @p now), and move it on. */
void tks_epoch_push(struct tks_member *member, bool now);

#endif
