/* SPDX-License-Identifier: MIT */
#include "memory/reclaim.h"

#include "memory/block.h"
#include "memory/epoch.h"

#define PIN_FILTER_BITS 1024u

/* Which blocks are pinned, as a filter without false negatives. */
struct pin_filter {
    bool some; /* no pin at all: the rest is not filled in */
    uint64_t words[PIN_FILTER_BITS / 64];
};

static unsigned filter_bit(uint64_t granule)
{
    return (unsigned)(granule * 0x9e3779b97f4a7c15ull >> 48) % PIN_FILTER_BITS;
}

/* Where a slot's words are pins: from, to before. */
static const struct {
    unsigned from, to;
} pin_ranges[] = {
    {PIN_PIECE, PIN_NEW_VECTOR + 1}, {PIN_MOVE_PIECE, PIN_MOVE_NEW + 1}, {PIN_BORROW, SLOT_WORDS}};
#define PIN_RANGES (sizeof(pin_ranges) / sizeof(pin_ranges[0]))

/* Most have none at most times: one look without branches before the one that takes each apart. */
static bool has_pins(const struct slot *slot)
{
    uint64_t pins = 0;
#pragma GCC unroll 3
    for (unsigned range = 0; range < PIN_RANGES; range++)
#pragma GCC unroll 8
        for (unsigned i = pin_ranges[range].from; i < pin_ranges[range].to; i++)
            pins |= load_acquire(&slot->words[i]);
    return pins != 0;
}

static void filter_pin(struct pin_filter *filter, uint64_t pin)
{
    if (!filter->some)
        memset(filter->words, 0, sizeof(filter->words));
    filter->some = true;
    const unsigned bit = filter_bit(pin_granule(pin));
    filter->words[bit / 64] |= 1ull << bit % 64;
}

/* An idle slot's pins, if any, were stored before fence G of a section that we do not see: its
 * owner will look again and find the block unlinked. */
static void filter_slot(struct pin_filter *filter, const struct slot *slot)
{
    if (load_acquire(&slot->section) == SECTION_IDLE || !has_pins(slot))
        return;
    for (unsigned range = 0; range < PIN_RANGES; range++)
        for (unsigned i = pin_ranges[range].from; i < pin_ranges[range].to; i++) {
            const uint64_t pin = load_acquire(&slot->words[i]);
            if (pin)
                filter_pin(filter, pin);
        }
}

/* After fence H: the candidates were seen RETIRED, or made so, before it. */
static void filter_load(const struct tks_segment *segment, struct pin_filter *filter)
{
    filter->some = false;
#ifdef TKS_PLANT_NO_PINS
    return;
#endif
    uint64_t high_water = load_acquire(&segment->header->slot_high_water);
    for (uint64_t i = 0; i < high_water && i < segment->slot_count; i++)
        if (use_kind(load_acquire(&segment->slots[i].use)) != SLOT_UNUSED)
            filter_slot(filter, &segment->slots[i]);
    tks_point(POINT_RECLAIM_FILTERED);
}

static bool filter_has(const struct pin_filter *filter, uint64_t granule)
{
    if (!filter->some)
        return false;
    unsigned bit = filter_bit(granule);
    return filter->words[bit / 64] >> bit % 64 & 1;
}

/* What a snapshot that is pending or active keeps; none: nothing. */
struct kept {
    bool some;
    uint64_t epoch; /* blocks retired before it began were never linked to for it */
    uint64_t stamp;
};

static struct kept kept_now(const struct header *header)
{
    uint64_t word = load_ordered(&header->snapshot);
    return (struct kept){snapshot_phase(word) != SNAPSHOT_NONE,
                         snapshot_epoch_of(word, load_ordered(&header->epoch)),
                         snapshot_stamp_of(word, load_ordered(&header->era))};
}

/* Whether a snapshot may still come for this retired block. */
static bool snapshot_needs(const struct tks_segment *segment, const struct kept *kept,
                           uint64_t state, uint64_t granule)
{
    if (!kept->some || block_plain(state) || block_epoch(state) < kept->epoch)
        return false;
    uint64_t stamp = load_relaxed(granule_words(segment, granule) + NODE_STAMP);
    return stamp == 0 || stamp <= kept->stamp;
}

/* Retired two epochs ago: every section that could have seen it linked is closed or evicted. */
static bool grace_over(const struct tks_block_ref *ref, uint64_t epoch)
{
    return block_epoch(ref->state) + 2 <= epoch;
}

static void limbo_push(struct tks_member *member, const struct tks_block_ref *ref)
{
    member->limbo[(member->limbo_first + member->limbo_count++) % LIMBO_BLOCKS] = *ref;
}

static const struct tks_block_ref *oldest(const struct tks_member *member)
{
    return &member->limbo[member->limbo_first % LIMBO_BLOCKS];
}

static void drop_oldest(struct tks_member *member)
{
    member->limbo_first++;
    member->limbo_count--;
}

bool tks_retire_exact(struct tks_member *member, const struct tks_block_ref *ref)
{
    struct header *header = member->segment->header;
    if (tks_unlikely(block_kind(ref->state) != BLOCK_ALLOCATED))
        return false;
    /* Read after the unlinking CAS: sections that saw the block linked are of this epoch or older.
     */
    uint64_t retired = block_state(BLOCK_RETIRED, block_plain(ref->state), member_tag(member),
                                   load_ordered(&header->epoch));
    tks_point(POINT_RETIRE_BEFORE);
    if (!compare_and_swap(block_word(member->segment, ref->slab, ref->index), ref->state, retired))
        return false;
    tks_point(POINT_RETIRE_MARKED);
    member->retired_since_collect++;
    if (member->limbo_count == LIMBO_BLOCKS) {
        /* A list can be dropped, a block cannot be lost: a scan of the state table finds it. */
        drop_oldest(member);
        store_relaxed(&header->stray_retired, 1);
    }
    struct tks_block_ref listed = *ref;
    listed.state = retired;
    limbo_push(member, &listed);
    tks_point(POINT_RETIRE_LISTED);
    return true;
}

bool tks_retire(struct tks_member *member, uint64_t granule)
{
    struct tks_block_ref ref;
#ifdef TKS_PLANT_NO_RETIRE
    return false;
#endif
    if (!tks_block_find(member->segment, granule, &ref) || block_kind(ref.state) != BLOCK_ALLOCATED)
        return false;
    return tks_retire_exact(member, &ref);
}

/* Make the oldest blocks reusable, @p budget at most and at most one pass through the list. */
static void drain_limbo(struct tks_member *member, unsigned budget)
{
    const struct tks_segment *segment = member->segment;
    const uint64_t epoch = load_ordered(&segment->header->epoch);
    if (budget > member->limbo_count)
        budget = member->limbo_count;
    if (!budget || !grace_over(oldest(member), epoch))
        return;
    struct pin_filter filter;
    fence_full_after_swap(); /* H, pairs with G: each was retired by a swap of ours */
    filter_load(segment, &filter);
    const struct kept kept = kept_now(segment->header);
    tks_point(POINT_RECLAIM_DUE);
    for (; budget && grace_over(oldest(member), epoch); budget--) {
        const struct tks_block_ref ref = *oldest(member);
        drop_oldest(member);
        if (filter_has(&filter, ref.granule) ||
            snapshot_needs(segment, &kept, ref.state, ref.granule))
            limbo_push(member, &ref);
        else
            block_make_ready(member, &ref);
    }
}

/* Our own section must not be what holds our own memory back. */
static void renew_section(struct tks_member *member)
{
    uint64_t epoch = load_relaxed(&member->segment->header->epoch);
    if (member->section && member->section != section_word(epoch)) {
        section_leave(member);
        section_enter(member);
    }
}

void tks_collect(struct tks_member *member)
{
    member->retired_since_collect = 0;
    tks_point(POINT_COLLECT_BEGUN);
    renew_section(member);
    if (member->limbo_count >= LIMBO_HIGH) {
        tks_epoch_push(member, false);
    } else if (++member->collects % ADVANCE_EVERY == 0) {
        tks_epoch_advance(member);
        return;
    }
    tks_point(POINT_COLLECT_DRAINS);
    drain_limbo(member, COLLECT_BLOCKS);
    tks_point(POINT_COLLECT_DRAINED);
}

static bool reclaimable(const struct tks_segment *segment, const struct pin_filter *filter,
                        const struct kept *kept, uint64_t epoch, const struct tks_block_ref *ref)
{
    return block_kind(ref->state) == BLOCK_RETIRED && grace_over(ref, epoch) &&
           !filter_has(filter, ref->granule) &&
           !snapshot_needs(segment, kept, ref->state, ref->granule);
}

#define SCAN_BATCH 128u

static uint64_t free_batch(struct tks_member *member, const struct tks_block_ref *batch,
                           unsigned count)
{
    const struct tks_segment *segment = member->segment;
    struct pin_filter filter;
    fence_full(); /* H, pairs with G */
    filter_load(segment, &filter);
    const struct kept kept = kept_now(segment->header);
    uint64_t epoch = load_ordered(&segment->header->epoch);
    tks_point(POINT_RECLAIM_SCANNED);
    uint64_t freed = 0;
    for (unsigned i = 0; i < count; i++)
        if (reclaimable(segment, &filter, &kept, epoch, &batch[i]))
            freed += tks_block_free(member, &batch[i]);
    return freed;
}

uint64_t tks_reclaim_slabs(struct tks_member *member, uint64_t first, uint64_t count)
{
    const struct tks_segment *segment = member->segment;
    struct tks_block_ref batch[SCAN_BATCH];
    unsigned used = 0;
    uint64_t freed = 0;
    for (uint64_t slab = first; slab < first + count && slab < segment->slab_count; slab++) {
        uint64_t word = load_acquire(&segment->slabs[slab].word);
        unsigned blocks = slab_kind(word) == SLAB_CLASSED
                              ? (unsigned)(SLAB_BYTES / tks_class_bytes(slab_class(word)))
                          : slab_kind(word) == SLAB_RUN ? 1
                                                        : 0;
        uint64_t step =
            slab_kind(word) == SLAB_CLASSED ? tks_class_bytes(slab_class(word)) / GRANULE_BYTES : 0;
        for (unsigned i = 0; i < blocks; i++) {
            uint64_t state = load_acquire(block_word(segment, slab, i));
            if (block_kind(state) != BLOCK_RETIRED)
                continue;
            /* A class changes only while every block is free: the same word after the state means
             * that the state, which the freeing CAS compares exactly, is of this class's block. */
            if (load_ordered(&segment->slabs[slab].word) != word)
                break;
            batch[used++] = (struct tks_block_ref){
                segment->first_granule + slab * SLAB_GRANULES + i * step, (uint32_t)slab, i, state};
            if (used == SCAN_BATCH) {
                freed += free_batch(member, batch, used);
                used = 0;
            }
        }
    }
    return used ? freed + free_batch(member, batch, used) : freed;
}

void tks_limbo_flush(struct tks_member *member)
{
    tks_point(POINT_FLUSH_BEGUN);
    for (int i = 0; i < 3; i++)
        tks_epoch_advance(member);
    drain_limbo(member, LIMBO_BLOCKS);
    tks_point(POINT_FLUSH_DRAINED);
    for (unsigned class = 0; class < CLASS_COUNT; class ++) {
        tks_slab_give_back(member, class);
        tks_point(POINT_FLUSH_CLASS);
        for (struct tks_ready *ready = &member->ready[class]; ready->count;)
            tks_block_free(member, &ready->blocks[--ready->count]);
    }
    if (member->limbo_count)
        store_relaxed(&member->segment->header->stray_retired, 1);
    member->limbo_count = 0;
    tks_point(POINT_FLUSH_ENDED);
}
