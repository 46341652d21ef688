/* SPDX-License-Identifier: MIT */
#include "memory/epoch.h"

#include "base/clock.h"

/* A section this long holds memory of others back. Only a tuning knob: correctness is the check. */
#define LAG_MS 10

unsigned tks_epoch_advance(struct tks_member *member)
{
    struct tks_segment *segment = member->segment;
    struct header *header = segment->header;
    uint64_t epoch = load_ordered(&header->epoch);
    tks_point(POINT_EPOCH_READ);
    fence_full(); /* B, pairs with A in section_enter() */
    uint64_t high_water = load_acquire(&header->slot_high_water);
    for (uint64_t i = 0; i < high_water && i < segment->slot_count; i++) {
        uint64_t section = load_acquire(&segment->slots[i].section);
        if ((section & 1) && section != section_word(epoch))
            return (unsigned)i;
    }
    tks_point(POINT_EPOCH_CHECKED);
    compare_and_swap(&header->epoch, epoch, epoch + 1);
    tks_point(POINT_EPOCH_ADVANCED);
    return NO_SLOT;
}

void tks_epoch_evict(struct tks_member *member, unsigned index, uint64_t section)
{
    if (!(section & 1))
        return;
    tks_point(POINT_EPOCH_EVICTS);
    if (compare_and_swap(&member->segment->slots[index].section, section, SECTION_EVICTED))
        fetch_add(&member->segment->header->evicted, 1);
    tks_point(POINT_EPOCH_EVICTED);
}

void tks_epoch_push(struct tks_member *member, bool now)
{
    /* At most every slot lags once; each round expels one or moves the epoch on. */
    for (uint64_t i = 0; i <= member->segment->slot_count; i++) {
        unsigned lagging = tks_epoch_advance(member);
        if (lagging == NO_SLOT)
            return;
        uint64_t section = load_acquire(&member->segment->slots[lagging].section);
        tks_point(POINT_EPOCH_LAGGING);
        if (!now) {
            int64_t ms = clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000;
            if (member->lag_slot != lagging || member->lag_section != section) {
                member->lag_slot = lagging;
                member->lag_section = section;
                member->lag_since_ms = ms;
            }
            if (ms - member->lag_since_ms < LAG_MS)
                return;
        }
        if (section != section_word(load_ordered(&member->segment->header->epoch)))
            tks_epoch_evict(member, lagging, section);
    }
}
