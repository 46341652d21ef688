/* SPDX-License-Identifier: MIT */
/*
 * How fast is a get inside a tick, prepared and by string, at 16, 10 k and 1 M keys?
 *
 * At 16 and 10 k keys the caller's key is one of its own array, which stays in the caches as the
 * table does. At 1 M keys that array would itself be a cache miss (or, with prepared keys, two):
 * the judged rows have the key at hand, in a small buffer filled before the clock starts; the rows
 * after them pick it in place, and count the caller's own miss, too.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common.h"
#include "peer.h"
#include "report.h"
#include "subject.h"

struct stage {
    uint64_t keys;
    enum pick_mode mode;
    bool no_tick; /* also outside a tick */
    unsigned ops;
    const char *string_target;
    const char *prepared_target;
};

struct opened {
    struct peer_config config;
    char name[64];
    const struct peer *peer;
    void *handle;
};

static struct opened stores[SUBJECTS_MAX];
static size_t store_count;

static void open_all(const char *keys, uint64_t n)
{
    const struct peer *const *peers = peers_available();

    for (store_count = 0; peers[store_count] != NULL; store_count++) {
        struct opened *store = &stores[store_count];
        store->peer = peers[store_count];
        temp_name(store->name, sizeof(store->name), store->peer->name);
        store->config = (struct peer_config){.name = store->name, .keys = n, .prefault = true};
        store->handle = store->peer->open(&store->config);
        peer_fill(store->peer, store->handle, keys, n);
    }
}

static void close_all(void)
{
    for (size_t i = 0; i < store_count; i++) {
        stores[i].peer->close(stores[i].handle);
    }
}

static struct subject subject_of(const struct opened *store, const char *label, block_fn *block)
{
    return (struct subject){
        .peer = store->peer, .handle = store->handle, .label = label, .block = block};
}

/* The flat table comes first: the ratios are about it. */
static size_t make_subjects(struct subject *subjects, const struct stage *stage)
{
    size_t n = 0;

    for (size_t i = 0; i < store_count; i++) {
        const struct opened *store = &stores[i];
        if (store->peer == &peer_tickstate) {
            subjects[n] = subject_of(store, "tickstate prepared", block_get_prepared);
            subjects[n++].target = stage->prepared_target;
            subjects[n] = subject_of(store, "tickstate by string", block_get);
            subjects[n++].target = stage->string_target;
        } else {
            subjects[n++] = subject_of(store, store->peer->label, block_get);
        }
        if (store->peer == &peer_flat) {
            subjects[n++] = subject_of(store, "flat, key length known", block_get_counted);
        }
        if (store->peer == &peer_tickstate && stage->no_tick) {
            subjects[n++] = subject_of(store, "tickstate, no tick", block_get_no_tick);
        }
    }
    return n;
}

static void run(const struct stage *stage, const char *keys)
{
    static const char *const moods[] = {"key in place", "key at hand"};
    struct subject subjects[SUBJECTS_MAX];
    size_t n = make_subjects(subjects, stage);
    char name[64];
    struct work work = {.name = name,
                        .keys = keys,
                        .key_count = stage->keys,
                        .mode = stage->mode,
                        .ops = stage->ops,
                        .reps = options.quick ? 1 : 12};

    snprintf(name, sizeof(name), "get %lu keys; %s", (unsigned long)stage->keys,
             moods[stage->mode]);
    for (size_t i = 0; i < n; i++) {
        if (subjects[i].block == block_get_prepared) {
            subject_prepare(&subjects[i], &work);
        }
    }
    subjects_measure(subjects, n, &work);
    subjects_report(subjects, n, &work);
    for (size_t i = 0; i < n; i++) {
        free(subjects[i].prepared);
    }
}

int main(int argc, char **argv)
{
    static const struct stage stages[] = {
        {16, PICK_IN_PLACE, true, 4096, "get-string-16", "get-prepared-16"},
        {10000, PICK_IN_PLACE, false, 4096, "get-string-10000", "get-prepared-10000"},
        {1000000, PICK_AT_HAND, false, 1024, "get-string-1000000", "get-prepared-1000000"},
        {1000000, PICK_IN_PLACE, false, 1024, NULL, NULL},
    };
    size_t count = options.quick ? 2 : sizeof(stages) / sizeof(stages[0]);

    bench_start(argc, argv, "get", "a get inside a tick, at random");
    count = options.quick ? 2 : count;
    peers_note_missing();
    report_note("tickstate and the flat table fully mapped (prefault=1); ticks of one block");
    report_section("get", subject_metrics);
    for (size_t i = 0; i < count; i++) {
        char *keys = keys_make(stages[i].keys);
        open_all(keys, stages[i].keys);
        run(&stages[i], keys);
        if (i + 1 < count && stages[i + 1].keys == stages[i].keys) {
            run(&stages[++i], keys);
        }
        close_all();
        free(keys);
    }
    return bench_finish();
}
