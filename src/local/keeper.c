/* SPDX-License-Identifier: MIT */
/*
 * The keeper: the one thread of a store that waits for readers. It frees what was retired, a batch
 * per grace period, sweeps with sweep_ms=, and frees the store when nobody uses it any more.
 */
#include "local/local.h"

#include <stdlib.h>

/* What is retired waits so long for company, unless it is much: a grace period interrupts the
 * process's other threads. */
#define NAP_NS 10000000
#define NAP_BYTES (4u << 20)
/* How long a flush and the last close wait for other threads' sections. */
#define FLUSH_NS 200000000
#define CLOSE_NS 1000000000

static struct timespec timespec_of(int64_t ns)
{
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

/* Under the lock, which is given back meanwhile; 0: for as long as it takes. */
static void sleep_until(struct local_store *store, pthread_cond_t *condition, int64_t at_ns)
{
    const struct timespec until = timespec_of(at_ns);
    if (at_ns)
        pthread_cond_timedwait(condition, &store->lock, &until);
    else
        pthread_cond_wait(condition, &store->lock);
}

/* Under the lock, which is given back meanwhile. */
static void free_retired(struct local_store *store, bool wait)
{
    struct local_entry *batch = store->retired;
    store->retired = NULL;
    store->hurry = false;
    pthread_mutex_unlock(&store->lock);
    if (wait)
        tks_section_wait();
    tks_local_free_entries(store, batch);
    pthread_mutex_lock(&store->lock);
    pthread_cond_broadcast(&store->done);
}

/* The same; the keeper opens sections only for this. */
static void sweep(struct local_store *store)
{
    pthread_mutex_unlock(&store->lock);
    if (!tks_section_join()) {
        tks_local_sweep_all(store);
        tks_section_quit();
    }
    pthread_mutex_lock(&store->lock);
}

static int64_t sooner(int64_t a_ns, int64_t b_ns)
{
    return a_ns && (!b_ns || a_ns < b_ns) ? a_ns : b_ns;
}

/* Under the lock, until told to stop. */
static void work(struct local_store *store)
{
    const int64_t interval = (int64_t)store->sweep_ms * 1000000;
    int64_t sweep_at = interval ? clock_ns(CLOCK_MONOTONIC) + interval : 0;
    int64_t free_at = 0;
    while (!store->stop) {
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (store->retired && !free_at)
            free_at = now + NAP_NS;
        if (sweep_at && now >= sweep_at) {
            sweep(store);
            sweep_at = now + interval;
        } else if (free_at && (now >= free_at || store->hurry)) {
            free_retired(store, true);
            free_at = 0;
        } else {
            sleep_until(store, &store->wanted, sooner(sweep_at, free_at));
        }
    }
}

/* There are no readers left, and the walk is past the entry. */
static int free_entry(void *plugin, struct local_entry *entry)
{
    cds_lfht_del(((struct local_plugin *)plugin)->table, &entry->node);
    free(entry);
    return 0;
}

static void free_plugin(struct local_plugin *plugin)
{
    (void)tks_local_each(plugin, free_entry, plugin);
    cds_lfht_destroy(plugin->table, NULL);
    free(plugin);
}

static void free_store(struct local_store *store)
{
    while (store->plugins) {
        struct local_plugin *plugin = store->plugins;
        store->plugins = plugin->next;
        free_plugin(plugin);
    }
    pthread_cond_destroy(&store->wanted);
    pthread_cond_destroy(&store->done);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static void *keep(void *arg)
{
    struct local_store *store = arg;
    pthread_mutex_lock(&store->lock);
    work(store);
    /* No state is open, so nothing that was retired is in anybody's sight. */
    free_retired(store, false);
    pthread_mutex_unlock(&store->lock);
    free_store(store);
    return NULL;
}

int tks_local_keeper_start(struct local_store *store)
{
    return tks_thread_start(&store->keeper, -1, keep, store);
}

void tks_local_keeper_wake(struct local_store *store)
{
    bool first = store->retired && !store->retired->next;
    bool much = store->retired_bytes >= NAP_BYTES && !store->hurry;
    if (much)
        store->hurry = true;
    if (first || much)
        pthread_cond_signal(&store->wanted);
}

void tks_local_keeper_flush(struct local_store *store)
{
    const int64_t until = clock_ns(CLOCK_MONOTONIC) + FLUSH_NS;
    const uint64_t goal = store->freed + store->retired_entries;
    while (store->freed < goal && clock_ns(CLOCK_MONOTONIC) < until) {
        if (store->retired) {
            store->hurry = true;
            pthread_cond_signal(&store->wanted);
        }
        sleep_until(store, &store->done, until);
    }
}

void tks_local_keeper_end(struct local_store *store)
{
    const pthread_t keeper = store->keeper;
    /* The one clock for a timed join that ThreadSanitizer knows; should it step, we wait shorter.
     */
    const struct timespec until = timespec_of(clock_ns(CLOCK_REALTIME) + CLOSE_NS);
    pthread_mutex_lock(&store->lock);
    store->stop = true;
    pthread_cond_signal(&store->wanted);
    pthread_mutex_unlock(&store->lock);
    /* It may be waiting for a section of this very thread, in another store. */
    if (tks_section_inside() || pthread_timedjoin_np(keeper, NULL, &until))
        pthread_detach(keeper);
}
