/* SPDX-License-Identifier: MIT */
/* How fast is an overwrite, 16 hot keys, visible to everybody when the call returns? */
#include <stdlib.h>

#include "common.h"
#include "peer.h"
#include "report.h"
#include "subject.h"
#include "targets.h"

#define KEYS 16

struct variant {
    const char *label;
    block_fn *block;
    const char *target;
};

static const struct variant tickstate_variants[] = {
    {"tickstate by string", block_set, "overwrite-string-16"},
    {"tickstate by string in tick", block_set_in_tick, NULL},
    {"tickstate prepared", block_set_prepared, NULL},
    {"tickstate prepared in tick", block_set_prepared_in_tick, NULL},
};

#define VARIANTS (sizeof(tickstate_variants) / sizeof(tickstate_variants[0]))

static void *open_store(const struct peer *peer, const char *keys)
{
    char name[64];
    struct peer_config config = {.name = name, .keys = KEYS, .prefault = true};
    void *handle;

    temp_name(name, sizeof(name), peer->name);
    handle = peer->open(&config);
    peer_fill(peer, handle, keys, KEYS);
    return handle;
}

static size_t add_tickstate(struct subject *subjects, void *handle, const struct work *work)
{
    for (size_t i = 0; i < VARIANTS; i++) {
        const struct variant *variant = &tickstate_variants[i];
        subjects[i] = (struct subject){.peer = &peer_tickstate,
                                       .handle = handle,
                                       .label = variant->label,
                                       .block = variant->block,
                                       .target = variant->target};
        if (i >= 2) {
            subject_prepare(&subjects[i], work);
        }
    }
    return VARIANTS;
}

static size_t make_subjects(struct subject *subjects, const struct work *work)
{
    const struct peer *const *peers = peers_available();
    size_t n = 0;

    for (size_t i = 0; peers[i] != NULL; i++) {
        void *handle = open_store(peers[i], work->keys);
        if (peers[i] == &peer_tickstate) {
            n += add_tickstate(subjects + n, handle, work);
        } else {
            subjects[n++] = (struct subject){
                .peer = peers[i], .handle = handle, .label = peers[i]->label, .block = block_set};
        }
    }
    return n;
}

/* "Ahead of every multi-process peer": the ratio to the fastest of them. */
static void report_versus_processes(const struct subject *subjects, size_t n)
{
    static const char *const metrics[] = {METRIC_NS, METRIC_VERSUS, NULL};
    const struct subject *own = &subjects[1];
    const struct subject *best = NULL;

    for (size_t i = 0; i < n; i++) {
        const struct subject *other = &subjects[i];
        if (other->peer == own->peer || !(other->peer->traits & PEER_PROCESSES)) {
            continue;
        }
        if (best == NULL || subject_ns(other) < subject_ns(best)) {
            best = other;
        }
    }
    if (best == NULL) {
        report_note("no other multi-process peer in this build");
        return;
    }
    report_section("against the fastest multi-process peer", metrics);
    report_row("overwrite 16 keys", best->label, (double[]){subject_ns(best), 1.0}, NULL);
    report_row("overwrite 16 keys", own->label,
               (double[]){subject_ns(own), subject_ratio(own, best)}, "overwrite-versus-processes");
}

int main(int argc, char **argv)
{
    struct subject subjects[SUBJECTS_MAX];
    struct work work = {
        .name = "overwrite 16 keys", .key_count = KEYS, .mode = PICK_IN_PLACE, .ops = 4096};
    size_t n;

    bench_start(argc, argv, "overwrite", "an overwrite of one of 16 hot keys");
    peers_note_missing();
    report_note("outside a tick unless the row says so; tickstate prefaulted (prefault=1)");
    work.keys = keys_make(KEYS);
    work.reps = options.quick ? 1 : 20;
    n = make_subjects(subjects, &work);
    subjects_measure(subjects, n, &work);
    report_section("overwrite", subject_metrics);
    subjects_report(subjects, n, &work);
    report_versus_processes(subjects, n);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || subjects[i].handle != subjects[i - 1].handle) {
            subjects[i].peer->close(subjects[i].handle);
        }
    }
    return bench_finish();
}
