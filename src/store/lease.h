/* SPDX-License-Identifier: MIT */
/*
 * A lease: which of the attached processes does a job that only one may do.
 *
 * One word in the header is {generation, slot of the holder's keeper}. Every change is a CAS that
 * raises the generation or gives the slot up. The keeper of the holder moves the beat on; every
 * other candidate's keeper looks at the lease a few times a second and takes it over
 *
 *   when nobody holds it, or its slot is not held by a living thread      (at once)
 *   when the beat has stood still for two seconds                         (the holder is stopped)
 *
 * The beat is the keeper's, the job is another thread's: that it is slow is no reason to be
 * replaced. A holder that is stopped, replaced and resumed learns it from the word; what it may do
 * before it looks is for the job to make harmless.
 */
#ifndef TKS_STORE_LEASE_H
#define TKS_STORE_LEASE_H

#include "memory/member.h"

#define LEASE_LOOK_NS 200000000ll

/** One candidate; it names the words it stands for, the rest is zero at first. */
struct tks_lease {
    const struct tks_segment *segment;
    uint64_t *word; /* in the header */
    uint64_t *beat;
    /* From the keeper's thread to the one that does the job. */
    uint64_t generation; /* of the lease we hold, 0: none */
    uint64_t slot_and_1; /* the keeper's */
    /* The keeper's: the word and the beat as last seen to move. */
    uint64_t seen_word, seen_beat;
    int64_t seen_ns;
};

/** By the keeper's thread, every LEASE_LOOK_NS: stand for election, or say that we live. True: the
 * generation is another one now. */
bool tks_lease_look(struct tks_lease *lease, const struct tks_member *keeper, int64_t now_ns);

/** By the keeper's thread: give it up if we hold it. */
void tks_lease_release(struct tks_lease *lease, const struct tks_member *keeper);

/** The generation that we were elected for, 0: none. By any thread. */
static inline uint64_t lease_elected(const struct tks_lease *lease)
{
    return load_ordered(&lease->generation);
}

/** Whether nobody has replaced us since we were elected for @p generation. */
static inline bool lease_held(const struct tks_lease *lease, uint64_t generation)
{
    return load_ordered(lease->word) ==
           lease_word(generation, (unsigned)load_relaxed(&lease->slot_and_1));
}

/** Told that we were replaced: the keeper may have found out already. */
static inline void lease_lost(struct tks_lease *lease, uint64_t generation)
{
    compare_and_swap(&lease->generation, generation, 0);
}

/** The slot of a word's holder, if its thread lives, else NULL. */
const struct slot *tks_lease_holder(const struct tks_segment *segment, uint64_t word);

#endif
