/* SPDX-License-Identifier: MIT */
#include "segment/slot.h"

#include <errno.h>
#include <linux/futex.h>

static int make_mutex(pthread_mutex_t *mutex)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error)
        return error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!error)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (!error)
        error = pthread_mutex_init(mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return error;
}

int tks_slot_mutex_kind(void)
{
    pthread_mutex_t mutex;
    if (make_mutex(&mutex))
        return -1;
    return mutex.__data.__kind;
}

int tks_slot_init(struct slot *slot)
{
    return make_mutex(&slot->mutex);
}

static unsigned lock_word(const struct slot *slot)
{
    return (unsigned)__atomic_load_n(&slot->mutex.__data.__lock, __ATOMIC_SEQ_CST);
}

bool tks_slot_alive(const struct slot *slot)
{
    unsigned word = lock_word(slot);
    return (word & FUTEX_TID_MASK) != 0 && !(word & FUTEX_OWNER_DIED);
}

bool tks_slot_dead(const struct slot *slot)
{
    unsigned word = lock_word(slot);
    if (word & FUTEX_TID_MASK)
        return false;
    return (word & FUTEX_OWNER_DIED) || use_kind(load_acquire(&slot->use)) != SLOT_UNUSED;
}

enum tks_slot_claim tks_slot_claim(struct tks_segment *segment, unsigned index)
{
    static int expected_kind;
    int kind = __atomic_load_n(&expected_kind, __ATOMIC_RELAXED);
    if (!kind) {
        kind = tks_slot_mutex_kind();
        __atomic_store_n(&expected_kind, kind, __ATOMIC_RELAXED);
    }
    struct slot *slot = &segment->slots[index];
    /* A damaged mutex could make trylock do anything; skip the slot. */
    if ((lock_word(slot) & FUTEX_TID_MASK) ||
        __atomic_load_n(&slot->mutex.__data.__kind, __ATOMIC_RELAXED) != kind)
        return SLOT_TAKEN;
    tks_point(POINT_SLOT_LOOKED_FREE);
    int error = pthread_mutex_trylock(&slot->mutex);
    tks_point(POINT_SLOT_LOCKED);
    if (error == EOWNERDEAD)
        error = pthread_mutex_consistent(&slot->mutex);
    if (error)
        return SLOT_TAKEN;
    tks_point(POINT_SLOT_CLAIMED);
    /* A use that was not cleared is a log that was not worked off, whatever the mutex says. */
    return use_kind(load_acquire(&slot->use)) == SLOT_UNUSED ? SLOT_CLEAN : SLOT_INHERITED;
}

void tks_slot_use(struct slot *slot, enum slot_use use)
{
    store_release(&slot->use, use_word(use, use_recovered(load_relaxed(&slot->use))));
}

void tks_slot_recovered(struct slot *slot)
{
    uint64_t word = load_relaxed(&slot->use);
    bool counts = use_kind(word) == SLOT_STATE;
    store_release(&slot->use, use_word(SLOT_UNUSED, use_recovered(word) + counts));
}

uint64_t tks_slots_recovered(const struct tks_segment *segment)
{
    uint64_t recovered = 0;
    for (uint64_t i = 0; i < segment->slot_count; i++)
        recovered += use_recovered(load_acquire(&segment->slots[i].use));
    return recovered;
}

void tks_slot_release(struct tks_segment *segment, unsigned index)
{
    struct slot *slot = &segment->slots[index];
    tks_slot_use(slot, SLOT_UNUSED);
    tks_point(POINT_SLOT_UNUSED);
    pthread_mutex_unlock(&slot->mutex);
    tks_point(POINT_SLOT_RELEASED);
}

void tks_slot_abandon(struct tks_segment *segment, unsigned index)
{
    pthread_mutex_unlock(&segment->slots[index].mutex);
    tks_point(POINT_SLOT_ABANDONED);
}
