/* SPDX-License-Identifier: MIT */
/*
 * Version numbers: which this store gives out, and which of others it may keep.
 *
 * Those of its own come from a counter (memory/member.h). It began at header.first_version, so the
 * numbers below were never given out, nor those in the gaps that the counter jumped over, and none
 * of these ever will be: a copy may keep them. A version at the counter or above becomes one by a
 * jump past it. The jump is far, to the wall clock at least, because the records of a copy come in
 * no order of versions: whatever a store gave out that was made before the jump is then below.
 *
 * A segment made from a checkpoint goes on from those before it. Its file says where
 * these began, not what they jumped over; one of an older library says nothing (first_version is
 * 0), and then any number below the counter may have been given out.
 *
 * The jump comes before its gap is written down and before the entry is written. Whoever dies in
 * between has lost the gap: what would have been kept in it gets new versions.
 */
#ifndef TKS_MEMORY_VERSION_H
#define TKS_MEMORY_VERSION_H

#include "segment/segment.h"

/** Whether an entry may have this version of another store's. Raises the counter if need be. */
bool tks_version_keep(struct tks_segment *segment, uint64_t version);

#endif
