/* SPDX-License-Identifier: MIT */
/*
 * The keeper: a thread that holds a slot for as long as its store is open, so that "attached" does
 * not depend on which thread opened the store or still lives. It sleeps; with sweep_ms= it also
 * sweeps. All signals are blocked in it.
 */
#include "base/clock.h"
#include "base/error.h"
#include "recovery/recover.h"
#include "store/shm.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

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

/* Until told to stop (true) or until it is time to sweep. */
static bool wait_for_stop(struct shm_keeper *keeper)
{
    int64_t until = clock_ns(CLOCK_MONOTONIC) + (int64_t)keeper->sweep_ms * 1000000;
    struct timespec deadline = {until / 1000000000, until % 1000000000};
    pthread_mutex_lock(&keeper->lock);
    int error = 0;
    while (!keeper->stop && error != ETIMEDOUT)
        error = keeper->sweep_ms
                    ? pthread_cond_timedwait(&keeper->changed, &keeper->lock, &deadline)
                    : pthread_cond_wait(&keeper->changed, &keeper->lock);
    bool stop = keeper->stop;
    pthread_mutex_unlock(&keeper->lock);
    return stop;
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
    while (!wait_for_stop(keeper))
        tks_sweep_segment(member, NULL);
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

static int init_sync(struct shm_keeper *keeper)
{
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error)
        return error;
    error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (!error)
        error = pthread_cond_init(&keeper->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return error ? error : pthread_mutex_init(&keeper->lock, NULL);
}

int tks_keeper_start(struct tks_segment *segment, uint64_t sweep_ms, struct shm_keeper **result)
{
    struct shm_keeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return tks_fail(TKS_NO_SPACE, "no memory to open segment \"%s\"", segment->name);
    keeper->segment = segment;
    keeper->sweep_ms = sweep_ms;
    int error = init_sync(keeper);
    if (!error)
        error = start_thread(keeper);
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
    pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    free_keeper(keeper);
}
