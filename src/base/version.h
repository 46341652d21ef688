/* SPDX-License-Identifier: MIT */
/*
 * Version numbers: which a store gives out, and which of other stores it may keep.
 *
 * Its own come from a counter. It began at `first`, so the numbers below were never given out, nor
 * those in the gaps that the counter jumped over, and none of these ever will be: a copy may keep
 * them. A version at the counter or above becomes one by a jump past it. The jump is far, to the
 * wall clock at least, because the records of a copy come in no order of versions: whatever a store
 * gave out that was made before the jump is then below.
 *
 * That versions of different stores differ rests on where they begin: at the wall clock in ns, and
 * nobody writes once per ns.
 *
 * The jump comes before its gap is written down and before the entry is written. Whoever dies in
 * between has lost the gap: what would have been kept in it gets new versions.
 */
#ifndef TKS_BASE_VERSION_H
#define TKS_BASE_VERSION_H

#include <stdbool.h>
#include <stdint.h>

/* Claimed by CAS of the first word, valid with the second, never changed again. */
struct tks_version_gap {
    uint64_t from; /* 0: nobody's yet */
    uint64_t to;   /* exclusive */
};

#define VERSION_GAPS 8u

/* May lie in shared memory. */
struct tks_versions {
    uint64_t next;
    uint64_t
        first; /* none given out by this store, or those it goes on from, is lower; 0: unknown */
    uint64_t pad[6];
    struct tks_version_gap gaps[VERSION_GAPS];
};

/** Where a store made now begins. */
uint64_t tks_versions_begin(void);

/** Whether an entry may have this version of another store's. Raises the counter if need be. */
bool tks_version_keep(struct tks_versions *versions, uint64_t version);

#endif
