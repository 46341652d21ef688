/* SPDX-License-Identifier: MIT */
/*
 * Whose a state is. Every backend's state embeds one of these, in memory that fork wipes
 * (tks_wiped_alloc), and asks tks_owner_usable() before it does anything.
 *
 * What a state holds (a slot, an RCU registration, a connection) is given back by `finish`, which
 * runs exactly once and always in the thread that opened the state: when that thread closes it,
 * when it calls again after another thread has closed it, or when it ends. The memory is freed by
 * the second of two: the owner's end and a close.
 */
#ifndef TKS_BASE_OWNER_H
#define TKS_BASE_OWNER_H

#include "base/process.h"

/* Closed by another thread; its own thread has ended; what it held was given back. */
#define OWNER_CLOSED 1u
#define OWNER_GONE 2u

struct tks_owner {
    uint64_t serial;  /* never 0, never reused: ties prepared keys to this state */
    uint64_t thread;  /* 0 in a forked child */
    uint64_t closing; /* OWNER_… */
    bool finished;
    void *state; /* what this is embedded in, and its size */
    size_t bytes;
    void (*finish)(void *state);
    struct tks_owner *next; /* of this thread's states */
};

/**
 * Make the calling thread the owner of @p state, @p bytes of tks_wiped_alloc() memory that @p owner
 * lies in. @p finish gives back what the state holds; from now on the memory is the owner's to
 * free.
 */
void tks_owner_add(struct tks_owner *owner, void *state, size_t bytes, void (*finish)(void *state));

/** Why the call may not go on: another thread's state, or a closed one. TKS_OK: it may. */
int tks_owner_guard(struct tks_owner *owner);

/** Whether the calling thread is the owner; another thread's close may have marked the state. */
bool tks_owner_is_here(const struct tks_owner *owner);

/** Close, from any thread. The state's memory is gone after the owner's own close. */
void tks_owner_close(struct tks_owner *owner);

/** The quick form of !tks_owner_guard(): two comparisons. */
static inline bool tks_owner_usable(const struct tks_owner *owner)
{
    return tks_likely(owner->thread == tks_thread_id && !load_relaxed(&owner->closing));
}

#endif
