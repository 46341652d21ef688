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
#include "base/process.h"
#include "recovery/recover.h"
#include "store/host.h"
#include "store/mirror.h"
#include "store/shm.h"

#include <errno.h>
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
    struct tks_host *host;     /* with checkpoint= */
    struct tks_mirror *mirror; /* with mirror= */
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

/* Committed in one go at most: then there may be other things to do. */
#define COMMIT_PIECES 64u

/* How many naps to take before lying down: as many as it takes to say that nothing grows any more.
 */
static unsigned commit_ahead(struct tks_member *member, unsigned naps)
{
    unsigned pieces = 0;
    while (pieces < COMMIT_PIECES && tks_commit_ahead(member))
        pieces++;
    return pieces ? NAPS : naps ? naps - 1 : 0;
}

static int64_t sooner(int64_t a_ns, int64_t b_ns)
{
    return a_ns && (!b_ns || a_ns < b_ns) ? a_ns : b_ns;
}

/* What there is to do, until told to stop. */
static void work(struct shm_keeper *keeper, struct tks_member *member)
{
    const int64_t interval = (int64_t)keeper->sweep_ms * 1000000;
    int64_t sweep_at = interval ? clock_ns(CLOCK_MONOTONIC) + interval : 0;
    int64_t look_at = 0, look_at_mirror = 0;
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
        if (keeper->host && now >= look_at)
            look_at = tks_host_look(keeper->host, member, now);
        if (keeper->mirror && now >= look_at_mirror)
            look_at_mirror = tks_mirror_look(keeper->mirror, member, now);
        const int64_t next = sooner(sweep_at, sooner(look_at, look_at_mirror));
        tks_segment_keeper_sleep(keeper->segment, calls, naps ? now + NAP_NS : next, naps != 0);
    }
}

/* Who was here too shortly for a look may be the only one to write what it changed. */
static void stop_writing(struct shm_keeper *keeper, const struct tks_member *member)
{
    const int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (keeper->host) {
        tks_host_look(keeper->host, member, now);
        tks_host_stop(keeper->host, member);
    }
    if (keeper->mirror) {
        tks_mirror_look(keeper->mirror, member, now);
        tks_mirror_stop(keeper->mirror, member);
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
    stop_writing(keeper, member);
    tks_member_leave(member);
    tks_point(POINT_KEEPER_LEFT);
    return NULL;
}

static void free_keeper(struct shm_keeper *keeper)
{
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

static void wait_until_joined(struct shm_keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    while (!keeper->started)
        pthread_cond_wait(&keeper->changed, &keeper->lock);
    pthread_mutex_unlock(&keeper->lock);
}

static int start_writers(struct shm_keeper *keeper, const struct checkpoint_options *checkpoint,
                         const struct mirror_options *mirror)
{
    int status = TKS_OK;
    if (checkpoint->path[0])
        status = tks_host_start(keeper->segment, checkpoint, &keeper->host);
    if (!status && mirror->uri[0])
        status = tks_mirror_start(keeper->segment, mirror, &keeper->mirror);
    return status;
}

static int start_keeper(struct shm_keeper *keeper, int cpu)
{
    int error = tks_thread_start(&keeper->thread, cpu, keep, keeper);
    if (error)
        return tks_fail_errno(error, "cannot start a thread for segment \"%s\"",
                              keeper->segment->name);
    wait_until_joined(keeper);
    if (!keeper->status)
        return TKS_OK;
    pthread_join(keeper->thread, NULL);
    return tks_fail(keeper->status, "%s", keeper->reason);
}

int tks_keeper_start(struct tks_segment *segment, uint64_t sweep_ms,
                     const struct checkpoint_options *checkpoint,
                     const struct mirror_options *mirror, struct shm_keeper **result)
{
    struct shm_keeper *keeper = calloc(1, sizeof(*keeper));
    if (!keeper)
        return tks_fail(TKS_NO_SPACE, "no memory to open segment \"%s\"", segment->name);
    keeper->segment = segment;
    keeper->sweep_ms = sweep_ms;
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    int status = start_writers(keeper, checkpoint, mirror);
    if (!status)
        status = start_keeper(keeper, checkpoint->cpu);
    if (!status) {
        *result = keeper;
        return TKS_OK;
    }
    if (keeper->mirror)
        tks_mirror_stop(keeper->mirror, NULL);
    if (keeper->host)
        tks_host_stop(keeper->host, NULL);
    free_keeper(keeper);
    return status;
}

int tks_keeper_barrier(struct shm_keeper *keeper)
{
    return keeper->host ? tks_host_barrier(keeper->host)
                        : tks_fail(TKS_UNSUPPORTED, "the store was opened without checkpoint=");
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
