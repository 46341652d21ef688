/* SPDX-License-Identifier: MIT */
/*
 * Slots: who is there, and who is dead.
 *
 * A slot's owner holds its robust mutex for as long as it owns the slot. The kernel marks the mutex
 * when the owning thread ends in whatever way, and the next trylock elects one heir. Nobody ever
 * waits for it: trylock only, and only when the word's TID bits are 0 (glibc's trylock compares
 * TIDs, which another PID namespace may reuse).
 */
#ifndef TKS_SEGMENT_SLOT_H
#define TKS_SEGMENT_SLOT_H

#include "segment/segment.h"

enum tks_slot_claim {
    SLOT_TAKEN,    /* has a living owner, or somebody was faster */
    SLOT_CLEAN,    /* now ours, nothing left behind */
    SLOT_INHERITED /* now ours, its dead owner's log still to be worked off */
};

/** The expected `kind` of a slot's mutex. */
int tks_slot_mutex_kind(void);

/** Make a slot's mutex. 0 or an errno. */
int tks_slot_init(struct slot *slot);

/** Try to own slot @p index. Never waits. */
enum tks_slot_claim tks_slot_claim(struct tks_segment *segment, unsigned index);

/** Give the slot back. Only by the owning thread. */
void tks_slot_release(struct tks_segment *segment, unsigned index);

/** Let go of a slot whose log is not worked off: it is as dead as before, for the next heir. */
void tks_slot_abandon(struct tks_segment *segment, unsigned index);

/** Say what our slot is used for. */
void tks_slot_use(struct slot *slot, enum slot_use use);

/** End the recovery of a slot we inherited, and count it if a state died in it. */
void tks_slot_recovered(struct slot *slot);

/** States that died and were recovered, in all slots. */
uint64_t tks_slots_recovered(const struct tks_segment *segment);

/** Whether a living thread holds the slot (as of some instant during the call). */
bool tks_slot_alive(const struct slot *slot);

/** Whether the slot's owner died and nobody has inherited the slot yet. */
bool tks_slot_dead(const struct slot *slot);

#endif
