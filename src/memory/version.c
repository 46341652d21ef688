/* SPDX-License-Identifier: MIT */
#include "memory/version.h"

#include "base/backend.h"
#include "base/clock.h"

static bool in_gap(const struct header *header, uint64_t version)
{
    for (unsigned i = 0; i < VERSION_GAPS; i++) {
        const struct version_gap *gap = &header->gaps[i];
        uint64_t to = load_acquire(&gap->to);
        if (version < to && version >= load_relaxed(&gap->from))
            return true;
    }
    return false;
}

static bool has_room(const struct header *header)
{
    return !load_relaxed(&header->gaps[VERSION_GAPS - 1].from);
}

/* Without room, which a race for the last place may find, the gap is forgotten. */
static void note_gap(struct header *header, uint64_t from, uint64_t to)
{
    for (unsigned i = 0; i < VERSION_GAPS; i++) {
        struct version_gap *gap = &header->gaps[i];
        if (load_relaxed(&gap->from) || !compare_and_swap(&gap->from, 0, from))
            continue;
        store_release(&gap->to, to);
        return;
    }
}

static uint64_t jump_target(uint64_t version)
{
    const uint64_t past = version + COPY_VERSION_HEADROOM, now = (uint64_t)clock_ns(CLOCK_REALTIME);
    return now > past ? now : past;
}

bool tks_version_keep(struct tks_segment *segment, uint64_t version)
{
    struct header *header = segment->header;
    if (!version || version >= COPY_VERSION_LIMIT)
        return false;
    if (version < header->first_version)
        return true;
    for (;;) { /* every lost race raised the counter, and the version stays the same */
        const uint64_t next = load_ordered(&header->next_version);
        if (version < next || !has_room(header))
            return in_gap(header, version);
        const uint64_t target = jump_target(version);
        if (compare_and_swap(&header->next_version, next, target)) {
            note_gap(header, next, target);
            return true;
        }
    }
}
