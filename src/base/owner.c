/* SPDX-License-Identifier: MIT */
#include "base/owner.h"

#include "base/error.h"

/* This thread's states, so that they can be given back when it ends. */
static _Thread_local struct tks_owner *mine;
static pthread_key_t thread_end;
static pthread_once_t thread_end_once = PTHREAD_ONCE_INIT;
static bool thread_end_works;
static uint64_t next_serial = 1;

/* A child of fork inherits this thread's list, wiped, and nothing that its states held. */
static void forget_inherited(void)
{
    if (mine && !mine->thread)
        mine = NULL;
}

/* By the owning thread only. The handle stays valid memory. */
static void finish(struct tks_owner *owner)
{
    if (owner->finished)
        return;
    owner->finished = true;
    owner->finish(owner->state);
}

static void unlist(const struct tks_owner *owner)
{
    struct tks_owner **link = &mine;
    while (*link && *link != owner)
        link = &(*link)->next;
    if (*link)
        *link = owner->next;
}

/* Note one of the two that must have happened before the memory is freed. */
static void leave(struct tks_owner *owner, uint64_t mark)
{
    const uint64_t both = OWNER_CLOSED | OWNER_GONE;
    if ((__atomic_fetch_or(&owner->closing, mark, __ATOMIC_ACQ_REL) | mark) == both)
        tks_wiped_free(owner->state, owner->bytes);
}

static void at_thread_end(void *unused)
{
    (void)unused;
    forget_inherited();
    while (mine) {
        struct tks_owner *owner = mine;
        mine = owner->next;
        finish(owner);
        leave(owner, OWNER_GONE);
    }
}

static void make_thread_end(void)
{
    thread_end_works = !pthread_key_create(&thread_end, at_thread_end);
}

void tks_owner_add(struct tks_owner *owner, void *state, size_t bytes,
                   void (*finish_state)(void *state))
{
    pthread_once(&thread_end_once, make_thread_end);
    forget_inherited();
    owner->serial = fetch_add(&next_serial, 1);
    owner->thread = tks_thread_enter();
    owner->state = state;
    owner->bytes = bytes;
    owner->finish = finish_state;
    owner->next = mine;
    mine = owner;
    if (thread_end_works)
        pthread_setspecific(thread_end, &mine);
}

bool tks_owner_is_here(const struct tks_owner *owner)
{
    return owner->thread == tks_thread_id && !(load_acquire(&owner->closing) & OWNER_GONE);
}

int tks_owner_guard(struct tks_owner *owner)
{
    if (load_acquire(&owner->closing) & OWNER_GONE)
        return tks_fail(TKS_INVALID, "the state's thread has ended");
    if (owner->thread != tks_thread_id)
        return tks_fail(TKS_INVALID, "the state belongs to another thread");
    if (load_acquire(&owner->closing) & OWNER_CLOSED) {
        finish(owner);
        return tks_fail(TKS_INVALID, "the state was closed by another thread");
    }
    return TKS_OK;
}

void tks_owner_close(struct tks_owner *owner)
{
    if (!tks_owner_is_here(owner)) {
        leave(owner, OWNER_CLOSED);
        return;
    }
    finish(owner);
    unlist(owner);
    tks_wiped_free(owner->state, owner->bytes);
}
