/* SPDX-License-Identifier: MIT */
/*
 * Joining and leaving a segment, and acting for the dead.
 *
 * A dead slot's log is its words: blocks it had taken and not published (PIN_NEW_…), blocks it was
 * replacing (PIN_VALIDATED), a slab it was reshaping (LOG_SLAB). Its heir, elected by the slot's
 * robust mutex, decides for each block by looking at the index, never by guessing how far the
 * dead got:
 *
 *   ALLOCATED and the index does not name it -> retire it (CAS: if a living writer that replaced it
 *   is about to do the same, one of the two wins); anything else -> nothing to do.
 *
 * Only validated pins count: one that was written and never validated may name a block that was
 * somebody else's before the pin could be seen. The dead slot's pins protect until its words
 * are cleared, which is the last step; an heir that dies, or is expelled too often to decide,
 * leaves everything as it was for the next. A death is counted by the store that ends its recovery.
 */
#ifndef TKS_RECOVERY_RECOVER_H
#define TKS_RECOVERY_RECOVER_H

#include "memory/member.h"

/** Take a slot of the segment for the calling thread. TKS_OK, TKS_BUSY, TKS_NO_SPACE (memory). */
int tks_member_join(struct tks_segment *segment, enum slot_use use, struct tks_member **member);

/** Give the slot back. Only by the thread that joined. */
void tks_member_leave(struct tks_member *member);

/** Clean up after every dead owner. Outside any section. How many. */
unsigned tks_recover_dead(struct tks_member *member);

#endif
