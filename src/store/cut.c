/* SPDX-License-Identifier: MIT */
#include "store/cut.h"

#include "base/clock.h"
#include "base/error.h"
#include "store/shm.h"
#include "table/changes.h"
#include "table/registry.h"
#include "table/walk.h"

#include <stdlib.h>

#define BUSY_NS 5000000
/* Looking for tombstones is looking at every bucket. */
#define TIDY_NS 1000000000ll
#define BATCH_ENOUGH (64u << 10)
/* How large a file may be: so many times what a full image would take, and something. With the
 * increment that comes next it stays below three times. */
#define OUTGROWN_TIMES 1.5
#define SMALL_FILE (16u << 10)
/* Looking at every block's state costs a few milliseconds for a million: now and then, and when the
 * file has grown by a part of what it could be. */
#define MEASURE_NS 1000000000ll
#define GROWN_PART 16
#define BYTES_PER_NODE_BYTE 0.75 /* of a file; what it is is known after the first image */

/* ---- When ---------------------------------------------------------------------------------- */

static void measured(struct tks_cutter *cutter, uint64_t nodes)
{
    cutter->nodes = nodes;
    cutter->measured_ns = clock_ns(CLOCK_MONOTONIC);
    cutter->measured_bytes = tks_writer_file_bytes(cutter->writer);
}

/* What a full image would take now, from the memory of nodes then and now. */
static double image_estimate(struct tks_cutter *cutter)
{
    const uint64_t grown = cutter->measured_bytes + cutter->nodes / GROWN_PART + SMALL_FILE / 4;
    if (!cutter->measured_ns || tks_writer_file_bytes(cutter->writer) > grown ||
        clock_ns(CLOCK_MONOTONIC) - cutter->measured_ns >= MEASURE_NS)
        measured(cutter, tks_node_bytes(cutter->member->segment));
    double factor =
        cutter->image_nodes >= SMALL_FILE
            ? (double)tks_writer_image_bytes(cutter->writer) / (double)cutter->image_nodes
            : BYTES_PER_NODE_BYTE;
    return (double)cutter->nodes * factor;
}

bool tks_cut_wants_full(struct tks_cutter *cutter)
{
    if (tks_writer_wants_full(cutter->writer))
        return true;
    const uint64_t bytes = tks_writer_file_bytes(cutter->writer);
    return bytes > SMALL_FILE &&
           (double)bytes > OUTGROWN_TIMES * image_estimate(cutter) + SMALL_FILE;
}

/* ---- What ---------------------------------------------------------------------------------- */

struct collection {
    struct tks_cutter *cutter;
    const struct tks_snapshot *snapshot;
    bool full;
    int64_t now_ms, to_wall_ms;
    struct tks_batch batch;
    char name[TKS_NAME_MAX + 1];
    size_t name_len;
};

static int write_batch(struct collection *collection)
{
    const struct tks_item *item;
    for (size_t offset = 0; (item = tks_batch_next(&collection->batch, &offset, true));) {
        struct tks_record record = {
            .plugin = collection->name,
            .plugin_len = collection->name_len,
        };
        if (!tks_item_record(item, collection->now_ms, collection->to_wall_ms, &record))
            continue;
        int status = tks_cut_entry(collection->cutter->writer, &record);
        if (status)
            return status;
    }
    return TKS_OK;
}

/* All that the plugin has in the hashes from first to last. */
static int write_range(struct collection *collection, struct plugin *plugin, uint64_t first,
                       uint64_t last)
{
    struct tks_walk walk = {.member = collection->cutter->member,
                            .plugin = plugin,
                            .position = first,
                            .last = last == UINT64_MAX ? 0 : last,
                            .snapshot = collection->snapshot,
                            .values = true};
    int status = TKS_OK;
    while (!status && !walk.ended) {
        collection->batch.used = 0;
        status = tks_walk_next(&walk, &collection->batch, BATCH_ENOUGH);
        if (!status)
            status = write_batch(collection);
    }
    return status;
}

/* A run in aligned ranges, as the format wants them: each as large as its beginning allows. */
static int write_run(struct collection *collection, struct plugin *plugin, struct tks_run run)
{
    for (uint64_t first = run.first;;) { /* at most two for each bit of a hash */
        uint64_t mask = first ? (first & -first) - 1 : UINT64_MAX;
        while (mask > run.last - first)
            mask >>= 1;
        int status = tks_cut_range(collection->cutter->writer, collection->name,
                                   collection->name_len, first, first + mask);
        if (!status)
            status = write_range(collection, plugin, first, first + mask);
        if (status || first + mask == run.last)
            return status;
        first += mask + 1;
    }
}

static int collect_plugin(void *arg, struct plugin *plugin, uint64_t granule)
{
    struct collection *collection = arg;
    (void)granule;
    collection->name_len = tks_registry_name(plugin, collection->name);
    if (collection->full)
        return write_range(collection, plugin, 0, UINT64_MAX);
    struct tks_changes changes = {
        .member = collection->cutter->member, .plugin = plugin, .since = collection->cutter->since};
    int status = TKS_OK;
    while (!status && !changes.ended) {
        struct tks_run run;
        status = tks_changes_next(&changes, &run);
        if (!status && run.first <= run.last)
            status = write_run(collection, plugin, run);
    }
    return status;
}

static int collect_stopped(void *arg, struct plugin *plugin, struct tks_run run)
{
    struct collection *collection = arg;
    collection->name_len = tks_registry_name(plugin, collection->name);
    return write_run(collection, plugin, run);
}

/* ---- Taking -------------------------------------------------------------------------------- */

static int collect(struct tks_cutter *cutter, const struct tks_snapshot *snapshot, bool full,
                   struct tks_cut_info *info)
{
    struct header *header = cutter->member->segment->header;
    struct collection collection = {.cutter = cutter, .snapshot = snapshot, .full = full};
    collection.now_ms = tks_segment_now_ms(cutter->member->segment);
    info->wall_ms = wall_ms();
    info->stamp = snapshot->stamp;
    collection.to_wall_ms = tks_segment_to_wall_ms(cutter->member->segment);
    int status = tks_cut_begin(cutter->writer, full);
    if (!status && !full)
        status = tks_changes_stopped(cutter->member->segment, collect_stopped, &collection);
    if (!status)
        status = tks_registry_each(cutter->member->segment, collect_plugin, &collection);
    free(collection.batch.bytes);
    info->highest_version = load_ordered(&header->versions.next);
    return status;
}

void tks_cut_tidy(struct tks_member *member, struct tks_tidier *tidier)
{
    const uint64_t made = load_relaxed(&member->segment->header->tombstones);
    const int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (made == tidier->tombstones || (tidier->tidied_ns && now - tidier->tidied_ns < TIDY_NS))
        return;
    tidier->tombstones = made;
    tidier->tidied_ns = now;
    tks_prune_segment(member);
}

static int try_cut(struct tks_cutter *cutter, bool full)
{
    struct tks_snapshot snapshot;
    struct tks_cut_info info;
    const uint64_t nodes = full ? tks_node_bytes(cutter->member->segment) : 0;
    int status = tks_snapshot_begin(cutter->member, &snapshot);
    if (status)
        return status;
    status = collect(cutter, &snapshot, full, &info);
    /* Marks were looked at, too, that no walk came after: they mean what they say only as long as
     * no bucket moves, and nobody moves one while the snapshot is held. */
    if (!status && !snapshot_held(cutter->member->segment, &snapshot))
        status = WALK_LOST;
    tks_snapshot_end(cutter->member, &snapshot);
    if (status) {
        tks_cut_abort(cutter->writer);
        return status;
    }
    status = tks_cut_commit(cutter->writer, &info);
    if (status)
        return status;
    cutter->since = snapshot.stamp;
    if (full) {
        cutter->image_nodes = nodes;
        measured(cutter, nodes);
    }
    return TKS_OK;
}

bool tks_cut_try_again(int status)
{
    const struct timespec pause = {0, BUSY_NS};
    if (status != TKS_BUSY && status != WALK_LOST && status != TKS_EVICTED)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

int tks_cut_take(struct tks_cutter *cutter, bool full)
{
    for (int i = 0; i < CUT_TRIES; i++) {
        int status = try_cut(cutter, full || tks_writer_wants_full(cutter->writer));
        if (!tks_cut_try_again(status))
            return status;
    }
    return tks_fail(TKS_BUSY, "segment \"%s\": no consistent cut in %d attempts",
                    cutter->member->segment->name, CUT_TRIES);
}
