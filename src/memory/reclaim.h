/* SPDX-License-Identifier: MIT */
/*
 * Reclamation: from RETIRED to reusable.
 *
 * Pins (Michael, "Hazard pointers", 2004): whoever is about to change a head pins what the CAS
 * expects, then validates; a reclaimer looks for pins after it has seen the block RETIRED.
 *
 *   pin      store pin; fence G; head still names the block?  -> it is not retired yet
 *   reclaim  block is RETIRED; fence H; load every pin        -> sees the pin, or pin fails above
 *
 * Pins are stored before the section opens or while it is open (evicted, or paused in a tick), so
 * that a slot whose section word says idle has none that count: one load instead of 24.
 *
 * While a snapshot of stamp t is pending or active, an unlinked node with stamp <= t (or none yet)
 * is kept: the snapshot may come for it through the link of the node that replaced it.
 */
#ifndef TKS_MEMORY_RECLAIM_H
#define TKS_MEMORY_RECLAIM_H

#include "memory/member.h"

/**
 * ALLOCATED -> RETIRED by CAS; true for the one winner. The caller has the block pinned, or acts
 * for a dead slot that has.
 */
bool tks_retire(struct tks_member *member, uint64_t granule);

/** The same for a block of known state word; used by recovery, where the state must be exact. */
bool tks_retire_exact(struct tks_member *member, const struct tks_block_ref *ref);

/** Once in a while after retiring: move the epoch, make old blocks reusable. */
void tks_collect(struct tks_member *member);

static inline void collect_if_due(struct tks_member *member)
{
    if (tks_unlikely(member->retired_since_collect >= COLLECT_EVERY))
        tks_collect(member);
}

/** Free whatever is safe in slabs [first, first + count), whoever retired it. How many blocks. */
uint64_t tks_reclaim_slabs(struct tks_member *member, uint64_t first, uint64_t count);

/** Put every block of limbo and ready lists on the free lists or leave it to others: before
 * leaving. */
void tks_limbo_flush(struct tks_member *member);

#endif
