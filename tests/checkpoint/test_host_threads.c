/* SPDX-License-Identifier: MIT */
/*
 * Writers, readers, barriers and the host's own threads in one process: what ThreadSanitizer can
 * follow (it starts no threads after a fork, as the other tests of the host do).
 */
#include "host_support.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define THREADS 4u
#define ROUNDS 120u
#define KEYS 64u

struct worker {
    const struct place *place;
    tks_store *store;
    unsigned number;
};

/* Every round leaves the same number in all of this worker's keys, then asks for a barrier. */
static void *write_and_ask(void *arg)
{
    const struct worker *worker = arg;
    tks_state *state = open_state(worker->store, "threads");
    char key[32];
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            snprintf(key, sizeof(key), "w%u-%u", worker->number, i);
            NEED_OK(tks_set(state, key, &round, sizeof(round)));
            if (i % 16 == 15 && round % 4 == 0)
                NEED_OK(tks_delete(state, key));
        }
        NEED_OK(tks_store_checkpoint(worker->store));
    }
    tks_state_close(state);
    return NULL;
}

static int count_record(void *arg, const struct tks_record *record)
{
    (void)record;
    ++*(uint64_t *)arg;
    return 0;
}

/* Another snapshot's holder, and a host that stands by and is let in at the end of every turn. */
static void *export_and_attach(void *arg)
{
    const struct worker *worker = arg;
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        uint64_t records = 0;
        tks_store *store = open_store(worker->place);
        int status = tks_store_export(store, NULL, count_record, &records);
        NEED(status == TKS_OK || status == TKS_BUSY);
        tks_store_close(store);
    }
    return NULL;
}

int main(void)
{
    struct place place;
    struct worker workers[THREADS];
    pthread_t threads[THREADS], other;
    place_make(&place, "size=16M&interval_ms=5");
    tks_store *store = open_store(&place);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){&place, store, i};
        NEED(!pthread_create(&threads[i], NULL, write_and_ask, &workers[i]));
    }
    NEED(!pthread_create(&other, NULL, export_and_attach, &workers[0]));
    for (unsigned i = 0; i < THREADS; i++)
        NEED(!pthread_join(threads[i], NULL));
    NEED(!pthread_join(other, NULL));
    NEED_OK(tks_store_checkpoint(store));
    need_same(store, &place);
    tks_store_close(store);
    place_drop(&place, false);
    store = open_store(&place); /* from the file */
    need_same(store, &place);
    uint64_t records = 0;
    NEED_OK(tks_store_export(store, NULL, count_record, &records));
    NEED(records == THREADS * (KEYS - KEYS / 16));
    tks_store_close(store);
    place_drop(&place, true);
    return 0;
}
