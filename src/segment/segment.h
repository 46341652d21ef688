/* SPDX-License-Identifier: MIT */
/*
 * A mapped segment: making it, finding it, checking it, removing its name.
 *
 * Creation happens in a file without a name (O_TMPFILE) that is linked under NAME when it is
 * complete: of any number of racing creators linkat(2) lets one win, and one that is killed or
 * stopped half-way leaves nothing. Removal moves the name aside before it unlinks; what a remover
 * that was killed in between leaves there goes when somebody looks for the name in vain.
 */
#ifndef TKS_SEGMENT_SEGMENT_H
#define TKS_SEGMENT_SEGMENT_H

#include "base/atomic.h"
#include "base/point.h"
#include "segment/layout.h"

#include <sys/types.h>

struct tks_segment;

/** What a shm:// URI asks for. */
struct tks_segment_options {
    char name[204];
    uint64_t size_bytes;
    uint64_t slots; /* 0: from the size */
    mode_t mode;
    bool has_group;
    gid_t group;
    bool prefault;
    bool lock;
    bool huge;
    bool existing; /* do not create */
    /**
     * Called, if it is set, on a new segment that is complete but for its name: nobody else has it,
     * so nobody sees it half filled, and a creator that is killed meanwhile leaves nothing. Members
     * that join it leave it before the return. A status other than TKS_OK: nothing is created, and
     * it is what tks_segment_open() returns. Another creator may win the name nevertheless.
     */
    int (*fill)(struct tks_segment *segment, void *arg);
    void *fill_arg;
};

/** One mapping per segment and process, counted. */
struct tks_segment {
    char *base;
    char *end; /* of the last slab */
    struct header *header;
    struct geometry geometry; /* as checked at attach; others can write the header's */
    struct slot *slots;
    struct slab *slabs;
    uint64_t *states;
    uint64_t slot_count;
    uint64_t slab_count;
    uint64_t first_granule; /* of slab 0 */
    uint64_t end_granule;
    uint64_t size_bytes;
    uint64_t
        levels; /* index levels that could have memory behind them: bounds what damage can cost */
    uint64_t process_token;
    int fd;
    dev_t device;
    ino_t inode;
    uint64_t references;
    struct tks_segment *next;
    uint32_t calls, sleepers; /* of this process's keepers: an event count */
    bool prefaulted, locked;
    uint64_t huge;  /* 1: what this process commits is to be huge pages */
    char name[204]; /* as in the options */
};

/** Wake this process's keepers: there is something to do. (One of another process may be stopped.)
 */
void tks_segment_call_keepers(struct tks_segment *segment);

/** How often keepers were called: to be read before looking for work. */
uint32_t tks_segment_calls(const struct tks_segment *segment);

/**
 * Sleep until keepers are called more than @p calls times or @p until_ns (CLOCK_MONOTONIC; 0: no
 * end) has come. May return early. A @p nap is not disturbed: so whoever calls pays for no system
 * call while keepers look around on their own anyway.
 */
void tks_segment_keeper_sleep(struct tks_segment *segment, uint32_t calls, int64_t until_ns,
                              bool nap);

/** Find or make, check and map. The caller holds tks_process->lock. */
int tks_segment_open(const struct tks_segment_options *options, struct tks_segment **segment);

/** Let go of one reference; the last one unmaps. The caller holds tks_process->lock. */
void tks_segment_release(struct tks_segment *segment);

/**
 * Remove the segment's name if it still names this segment; idempotent, so that whoever finds a
 * segment in LIFE_DESTROYED may finish what its destroyer did not.
 */
int tks_segment_unlink(const struct tks_segment *segment);

/** Commit memory behind the slabs [first, first + count). TKS_OK, TKS_NO_SPACE, TKS_IO. */
int tks_segment_commit(struct tks_segment *segment, uint64_t first, uint64_t count);

/** Milliseconds since 1970 on the clock that does not step while the segment lives. */
int64_t tks_segment_now_ms(const struct tks_segment *segment);

/** What makes a time of that clock one of the wall clock, as that is now. */
int64_t tks_segment_to_wall_ms(const struct tks_segment *segment);

static inline uint64_t *granule_words(const struct tks_segment *segment, uint64_t granule)
{
    return (uint64_t *)(void *)(segment->base + granule * GRANULE_BYTES);
}

/** Whether @p bytes starting at @p granule lie inside the slabs. */
static inline bool granule_in_range(const struct tks_segment *segment, uint64_t granule,
                                    uint64_t bytes)
{
    return granule >= segment->first_granule && granule < segment->end_granule &&
           bytes <= (segment->end_granule - granule) * GRANULE_BYTES;
}

#endif
