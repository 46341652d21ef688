/* SPDX-License-Identifier: MIT */
#include "base/version.h"

#include "base/atomic.h"
#include "base/backend.h"
#include "base/clock.h"

uint64_t tks_versions_begin(void)
{
    return (uint64_t)clock_ns(CLOCK_REALTIME);
}

static bool in_gap(const struct tks_versions *versions, uint64_t version)
{
    for (unsigned i = 0; i < VERSION_GAPS; i++) {
        const struct tks_version_gap *gap = &versions->gaps[i];
        uint64_t to = load_acquire(&gap->to);
        if (version < to && version >= load_relaxed(&gap->from))
            return true;
    }
    return false;
}

static bool has_room(const struct tks_versions *versions)
{
    return !load_relaxed(&versions->gaps[VERSION_GAPS - 1].from);
}

/* Without room, which a race for the last place may find, the gap is forgotten. */
static void note_gap(struct tks_versions *versions, uint64_t from, uint64_t to)
{
    for (unsigned i = 0; i < VERSION_GAPS; i++) {
        struct tks_version_gap *gap = &versions->gaps[i];
        if (load_relaxed(&gap->from) || !compare_and_swap(&gap->from, 0, from))
            continue;
        store_release(&gap->to, to);
        return;
    }
}

static uint64_t jump_target(uint64_t version)
{
    const uint64_t past = version + COPY_VERSION_HEADROOM, now = tks_versions_begin();
    return now > past ? now : past;
}

bool tks_version_keep(struct tks_versions *versions, uint64_t version)
{
    if (!version || version >= COPY_VERSION_LIMIT)
        return false;
    if (version < versions->first)
        return true;
    for (;;) { /* every lost race raised the counter, and the version stays the same */
        const uint64_t next = load_ordered(&versions->next);
        if (version < next || !has_room(versions))
            return in_gap(versions, version);
        const uint64_t target = jump_target(version);
        if (compare_and_swap(&versions->next, next, target)) {
            note_gap(versions, next, target);
            return true;
        }
    }
}
