/* SPDX-License-Identifier: MIT */
/*
 * The keeper: a thread that holds a slot for as long as its store is open, so that "attached" does
 * not depend on which thread opened the store or still lives. It sleeps, and does what nobody
 * should wait for: it commits memory ahead of need while the segment fills, and with sweep_ms= it
 * sweeps. All signals are blocked in it.
 */
#include "base/clock.h"
#include "base/error.h"
#include "memory/block.h"
#include "recovery/recover.h"
#include "store/shm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

/* While the segment fills a keeper looks around on its own, and for a while after. */
#define NAP_NS 1000000
#define NAPS 64u

struct shm_keeper {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct tks_segment *segment;
    uint64_t sweep_ms;
    bool started, stop;
    int status; /* of joining */
    char reason[256];
};

static void answer(struct shm_keeper *keeper, int status)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->status = status;
    if (status)
        strncpy(keeper->reason, tks_last_error(), sizeof(keeper->reason) - 1);
    keeper->started = true;
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
}

static bool told_to_stop(struct shm_keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    bool stop = keeper->stop;
    pthread_mutex_unlock(&keeper->lock);
    return stop;
}

/* How many naps to take before lying down: as many as it takes to say that nothing grows any more.
 */
static unsigned commit_ahead(struct tks_member *member, unsigned naps)
{
    bool some = false;
    while (tks_commit_ahead(member)) /* ends with the segment at the latest */
        some = true;
    return some ? NAPS : naps ? naps - 1 : 0;
}

/* What there is to do, until told to stop. */
static void work(struct shm_keeper *keeper, struct tks_member *member)
{
    const int64_t interval = (int64_t)keeper->sweep_ms * 1000000;
    int64_t sweep_at = interval ? clock_ns(CLOCK_MONOTONIC) + interval : 0;
    unsigned naps = 0;
    for (;;) {
        const uint32_t calls = tks_segment_calls(keeper->segment);
        if (told_to_stop(keeper))
            return;
        naps = commit_ahead(member, naps);
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (sweep_at && now >= sweep_at) {
            tks_sweep_segment(member, NULL);
            sweep_at = now + interval;
        }
        tks_segment_keeper_sleep(keeper->segment, calls, naps ? now + NAP_NS : sweep_at, naps != 0);
    }
}

static void *keep(void *arg)
{
    struct shm_keeper *keeper = arg;
    struct tks_member *member = NULL;
    tks_thread_enter();
    int status = tks_member_join(keeper->segment, SLOT_KEEPER, &member);
    tks_point(POINT_KEEPER_JOINED);
    answer(keeper, status);
    if (status)
        return NULL;
    work(keeper, member);
    tks_point(POINT_KEEPER_STOPS);
    tks_member_leave(member);
    tks_point(POINT_KEEPER_LEFT);
    return NULL;
}

static int start_thread(struct shm_keeper *keeper)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigfillset(&all);
    int error = pthread_attr_init(&attributes);
    if (error)
        return error;
    /* Room for the deepest call plus the caller's TLS, which lies on the same mapping. */
    error = pthread_attr_setstacksize(&attributes, 512 << 10);
    if (!error)
        error = pthread_attr_setsigmask_np(&attributes, &all);
    if (!error)
        error = pthread_create(&keeper->thread, &attributes, keep, keeper);
    pthread_attr_destroy(&attributes);
    return error;
}

static void free_keeper(struct shm_keeper *keeper)
{
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

int tks_keeper_start(struct tks_segment *segment, uint64_t sweep_ms, struct shm_keeper **result)
{
    struct shm_keeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return tks_fail(TKS_NO_SPACE, "no memory to open segment \"%s\"", segment->name);
    keeper->segment = segment;
    keeper->sweep_ms = sweep_ms;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    int error = start_thread(keeper);
    if (error) {
        free(keeper);
        return tks_fail_errno(error, "cannot start a thread for segment \"%s\"", segment->name);
    }
    pthread_mutex_lock(&keeper->lock);
    while (!keeper->started)
        pthread_cond_wait(&keeper->changed, &keeper->lock);
    int status = keeper->status;
    pthread_mutex_unlock(&keeper->lock);
    if (status) {
        pthread_join(keeper->thread, NULL);
        status = tks_fail(status, "%s", keeper->reason);
        free_keeper(keeper);
        return status;
    }
    *result = keeper;
    return TKS_OK;
}

void tks_keeper_stop(struct shm_keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    keeper->stop = true;
    pthread_mutex_unlock(&keeper->lock);
    tks_segment_call_keepers(keeper->segment);
    pthread_join(keeper->thread, NULL);
    free_keeper(keeper);
}
