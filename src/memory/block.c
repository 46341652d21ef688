/* SPDX-License-Identifier: MIT */
#include "memory/block.h"

#include "base/error.h"
#include "memory/epoch.h"
#include "memory/reclaim.h"

/* Slabs looked at in one ordinary search; the rest only under pressure. */
#define SEARCH_SLABS 256u
#define RECENT_SLABS 32u
#define STALE_SLABS 8u /* of these, whose every block was looked at for nothing */
/* Looked through for strays by one refill: words of slabs, and of these, whole slabs. */
#define STRAY_SLABS 64u
#define STRAY_USED_SLABS 4u
/* Committed ahead of need: an eighth of what is in use, at most 768 KiB: some milliseconds of
 * inserts. With huge pages it takes longer, and comes in portions of 2 MiB. */
#define AHEAD_PART 8u
#define AHEAD_SLABS 12u
#define AHEAD_HUGE_SLABS 32u
/* Passes of reclaiming everything, while snapshots keep coming in between. */
#define HARD_ATTEMPTS 16

static const uint16_t class_granules[CLASS_END] = {
#define CLASS_GRANULES(size) (size) / GRANULE_BYTES,
    BLOCK_SIZES(CLASS_GRANULES)
#ifndef TKS_TEST_TINY
        BLOCK_SIZES_LARGE(CLASS_GRANULES)
#endif
#undef CLASS_GRANULES
            RESERVE_BLOCK_BYTES /
    GRANULE_BYTES};

/* A number of granules below SLAB_GRANULES, divided by the class's, without a division: exact, as
 * the product of the two is below 2^22. */
static const uint32_t class_reciprocal[CLASS_END] = {
#define CLASS_RECIPROCAL(size) (1u << 22) / ((size) / GRANULE_BYTES) + 1,
    BLOCK_SIZES(CLASS_RECIPROCAL)
#ifndef TKS_TEST_TINY
            BLOCK_SIZES_LARGE(CLASS_RECIPROCAL)
#endif
#undef CLASS_RECIPROCAL
                (1u << 22) /
        (RESERVE_BLOCK_BYTES / GRANULE_BYTES) +
    1};
_Static_assert((uint64_t)SLAB_GRANULES *(BLOCK_BYTES_MAX / GRANULE_BYTES) < 1u << 22, "exact");

uint64_t tks_class_bytes(unsigned class)
{
    return class < CLASS_END ? class_granules[class] * (uint64_t)GRANULE_BYTES : SLAB_BYTES;
}

unsigned tks_class_of(uint64_t bytes)
{
    unsigned class = 0;
    while (class < CLASS_COUNT && class_granules[class] * (uint64_t)GRANULE_BYTES < bytes)
        class ++;
    return class;
}

static unsigned blocks_of_class(unsigned class)
{
    return class < CLASS_END ? SLAB_GRANULES / class_granules[class] : 0;
}

static uint64_t granule_of(const struct tks_segment *segment, uint64_t slab, unsigned class,
                           unsigned index)
{
    return segment->first_granule + slab * SLAB_GRANULES + (uint64_t)index * class_granules[class];
}

bool tks_block_find(const struct tks_segment *segment, uint64_t granule, struct tks_block_ref *ref)
{
    if (granule < segment->first_granule || granule >= segment->end_granule)
        return false;
    uint64_t from = granule - segment->first_granule;
    uint64_t slab = from / SLAB_GRANULES;
    unsigned inside = (unsigned)(from % SLAB_GRANULES);
    uint64_t word = load_acquire(&segment->slabs[slab].word);
    unsigned index = 0;
    if (slab_has_blocks(word) && slab_class(word) < CLASS_END) {
        unsigned step = class_granules[slab_class(word)];
        index = (unsigned)((uint64_t)inside * class_reciprocal[slab_class(word)] >> 22);
        if (index * step != inside || inside + step > SLAB_GRANULES)
            return false;
    } else if (slab_kind(word) != SLAB_RUN || inside) {
        return false;
    }
    *ref = (struct tks_block_ref){granule, (uint32_t)slab, index,
                                  load_acquire(block_word(segment, slab, index))};
    return true;
}

uint64_t tks_block_bytes(const struct tks_segment *segment, uint64_t granule)
{
    struct tks_block_ref ref;
    if (!tks_block_find(segment, granule, &ref))
        return 0;
    uint64_t word = load_relaxed(&segment->slabs[ref.slab].word);
    return slab_kind(word) == SLAB_RUN ? slab_number(word) * SLAB_BYTES
                                       : tks_class_bytes(slab_class(word));
}

/* ---- Taking -------------------------------------------------------------------------------- */

/* Log, then take. The release fence D pairs with C: what is written into the block from here on
 * cannot be seen by a reader that does not see its eviction. */
static bool take(struct tks_member *member, const struct tks_block_ref *ref, uint64_t plain,
                 enum pin pin)
{
    /* A stale hint may name a block that we published since: only what is still as it says may be
     * logged as new. From here on nobody but us can make it ALLOCATED{us}. */
    if (load_acquire(block_word(member->segment, ref->slab, ref->index)) != ref->state)
        return false;
    tks_point(POINT_TAKE_FOUND);
    pin_store(member, pin, pin_word(ref->granule, ref->index));
    tks_point(POINT_TAKE_LOGGED);
    if (!compare_and_swap(block_word(member->segment, ref->slab, ref->index), ref->state,
                          block_state(BLOCK_ALLOCATED, plain, member_tag(member), 0)))
        return false;
    tks_point(POINT_TAKE_TAKEN);
    fence_release(); /* D */
    return true;
}

static void untake(struct tks_member *member, const struct tks_block_ref *ref, uint64_t plain)
{
    compare_and_swap(block_word(member->segment, ref->slab, ref->index),
                     block_state(BLOCK_ALLOCATED, plain, member_tag(member), 0),
                     block_state(BLOCK_FREE, 0, 0, 0));
    tks_point(POINT_TAKE_PUT_BACK);
}

/* Whether the ref's granule is that of its state word, in a slab of the class. */
static bool names_its_block(const struct tks_segment *segment, const struct tks_block_ref *ref,
                            unsigned class)
{
    struct tks_block_ref now;
    return slab_class(load_ordered(&segment->slabs[ref->slab].word)) == class &&
           tks_block_find(segment, ref->granule, &now) && now.index == ref->index &&
           slab_kind(load_ordered(&segment->slabs[ref->slab].word)) != SLAB_RUN;
}

static bool take_ready(struct tks_member *member, unsigned class, uint64_t plain, enum pin pin,
                       uint64_t *granule)
{
    struct tks_ready *ready = &member->ready[class];
    while (ready->count) {
        struct tks_block_ref ref = ready->blocks[--ready->count];
        if (!take(member, &ref, plain, pin))
            continue;
        /* Discarded blocks all look alike: such a one may be another class's by now. Others have
         * been as they are, RETIRED by us in that epoch, since they were listed. */
        if (block_epoch(ref.state) || names_its_block(member->segment, &ref, class)) {
            *granule = ref.granule;
            return true;
        }
        untake(member, &ref, plain);
    }
    return false;
}

/* Take the first free block at or after *index of a slab, if its blocks still have room for @p
 * bytes: since we chose the slab it may have been emptied and become another class's. */
static bool take_in_slab(struct tks_member *member, uint64_t slab, uint64_t bytes, uint32_t *index,
                         uint64_t plain, enum pin pin, uint64_t *granule)
{
    const struct tks_segment *segment = member->segment;
    uint64_t word = load_acquire(&segment->slabs[slab].word);
    unsigned class = slab_class(word), count = blocks_of_class(class);
    if (slab_kind(word) != SLAB_CLASSED || tks_class_bytes(class) < bytes)
        return false;
    for (; *index < count; ++*index) {
        uint64_t state = load_relaxed(block_word(segment, slab, *index));
        struct tks_block_ref ref = {granule_of(segment, slab, class, *index), (uint32_t)slab,
                                    *index, state};
        if (block_kind(state) != BLOCK_FREE || !take(member, &ref, plain, pin))
            continue;
        if (load_ordered(&segment->slabs[slab].word) != word) {
            untake(member, &ref, plain);
            return false;
        }
        ++*index;
        *granule = ref.granule;
        return true;
    }
    return false;
}

static int take_reserve(struct tks_member *member, uint64_t bytes, enum pin pin, uint64_t *granule)
{
    uint32_t index = 0;
    tks_point(POINT_TAKE_RESERVE);
    return bytes <= RESERVE_BLOCK_BYTES && take_in_slab(member, 0, bytes, &index, 0, pin, granule)
               ? TKS_OK
               : BLOCK_SLOW;
}

bool tks_block_take_ready(struct tks_member *member, uint64_t bytes, enum pin pin,
                          uint64_t *granule)
{
    unsigned class = tks_class_of(bytes);
    if (tks_unlikely(class == CLASS_COUNT))
        return false;
    if (!take_ready(member, class, 0, pin, granule)) {
        /* It may log one that somebody else took first, while the caller believes the log. */
        pin_store(member, pin, 0);
        return false;
    }
    fence_full_after_swap();
    return true;
}

int tks_block_take(struct tks_member *member, uint64_t bytes, uint64_t plain, enum pin pin,
                   uint64_t *granule)
{
    unsigned class = tks_class_of(bytes);
    member->wanted = bytes;
    if (tks_unlikely(class == CLASS_COUNT))
        return BLOCK_SLOW;
    if (take_ready(member, class, plain, pin, granule))
        return TKS_OK;
    uint32_t slab = member->current_slab[class];
    if (slab != NO_SLAB &&
        take_in_slab(member, slab, bytes, &member->current_index[class], plain, pin, granule))
        return TKS_OK;
    member->current_slab[class] = NO_SLAB;
    if (member->use_reserve && !plain && !take_reserve(member, bytes, pin, granule))
        return TKS_OK;
    tks_point(POINT_TAKE_SLOW);
    pin_store(member, pin, 0);
    return BLOCK_SLOW;
}

/* Hints may be too high, as their updates may be lost: pressure looks everywhere. */
static void lower_hint(uint64_t *hint, uint64_t slab)
{
    if (load_relaxed(hint) > slab)
        store_relaxed(hint, slab);
}

void tks_slab_give_back(struct tks_member *member, unsigned class)
{
    uint32_t slab = member->current_slab[class];
    if (slab != NO_SLAB)
        store_relaxed(&member->segment->slabs[slab].has_free, 1);
    member->current_slab[class] = NO_SLAB;
}

/* ---- Freeing ------------------------------------------------------------------------------- */

static void free_run(struct tks_member *member, uint64_t slab)
{
    struct tks_segment *segment = member->segment;
    uint64_t count = slab_number(load_acquire(&segment->slabs[slab].word));
    store_release(&segment->slabs[slab].word,
                  slab_word(SLAB_CLAIMED, 0, member_tag(member), count));
    tks_point(POINT_FREE_RUN_CLAIMED);
    tks_slab_recover(member, member_tag(member), slab);
}

bool tks_block_free(struct tks_member *member, const struct tks_block_ref *ref)
{
    struct tks_segment *segment = member->segment;
    struct slab *slab = &segment->slabs[ref->slab];
    uint64_t *word = block_word(segment, ref->slab, ref->index);
    if (slab_kind(load_relaxed(&slab->word)) == SLAB_RUN && ref->index == 0) {
        pin_store(member, LOG_SLAB, (uint64_t)ref->slab + 1);
        tks_point(POINT_FREE_RUN_LOGGED);
        bool won =
            compare_and_swap(word, ref->state, block_state(BLOCK_TAKEN, 0, member_tag(member), 0));
        tks_point(POINT_FREE_RUN_TAKEN);
        if (won)
            free_run(member, ref->slab);
        tks_point(POINT_FREE_RUN_RELEASED);
        pin_store(member, LOG_SLAB, 0);
        return won;
    }
    tks_point(POINT_FREE_BEFORE);
    if (!compare_and_swap(word, ref->state, block_state(BLOCK_FREE, 0, 0, 0)))
        return false;
    tks_point(POINT_FREE_FREED);
    if (!load_relaxed(&slab->has_free))
        store_relaxed(&slab->has_free, 1);
    return true;
}

void tks_block_discard(struct tks_member *member, enum pin pin)
{
    uint64_t log = load_relaxed(&member->slot->words[pin]);
    if (!log)
        return;
    struct tks_block_ref ref;
    /* Nobody saw it, so no grace period: retired in an epoch long past. */
    if (tks_block_find(member->segment, pin_granule(log), &ref) &&
        block_kind(ref.state) == BLOCK_ALLOCATED && block_slot(ref.state) == member_tag(member)) {
        uint64_t retired = block_state(BLOCK_RETIRED, 0, member_tag(member), 0);
        tks_point(POINT_DISCARD_BEFORE);
        if (compare_and_swap(block_word(member->segment, ref.slab, ref.index), ref.state,
                             retired)) {
            ref.state = retired;
            tks_point(POINT_DISCARD_MARKED);
            block_make_ready(member, &ref);
            tks_point(POINT_DISCARD_READY);
        }
    }
    pin_store(member, pin, 0);
}

/* ---- Slabs --------------------------------------------------------------------------------- */

/* Give back the words a drainer took. */
static void release_words(struct tks_segment *segment, uint64_t slab, unsigned slot)
{
    const uint64_t taken = block_state(BLOCK_TAKEN, 0, slot, 0);
    for (unsigned i = 0; i < SLAB_STATES; i++)
        if (load_acquire(block_word(segment, slab, i)) == taken) {
            compare_and_swap(block_word(segment, slab, i), taken, block_state(BLOCK_FREE, 0, 0, 0));
            tks_point(POINT_WORD_RELEASED);
        }
}

/* Make the slabs of a claim or a run taken apart EMPTY again, the first one last. */
static void release_claim(struct tks_segment *segment, unsigned slot, uint64_t first,
                          uint64_t count)
{
    for (uint64_t i = first + 1; i < first + count && i < segment->slab_count; i++) {
        uint64_t word = load_acquire(&segment->slabs[i].word);
        bool ours = (slab_kind(word) == SLAB_CLAIMED && slab_slot(word) == slot) ||
                    (slab_kind(word) == SLAB_BODY && slab_number(word) == first);
        if (ours)
            compare_and_swap(&segment->slabs[i].word, word, slab_word(SLAB_EMPTY, 0, 0, 0));
        tks_point(POINT_CLAIM_BODY_RELEASED);
    }
    tks_point(POINT_CLAIM_BODIES_RELEASED);
    uint64_t state = load_acquire(block_word(segment, first, 0));
    if (block_kind(state) != BLOCK_FREE && block_slot(state) == slot)
        compare_and_swap(block_word(segment, first, 0), state, block_state(BLOCK_FREE, 0, 0, 0));
    tks_point(POINT_CLAIM_STATE_RELEASED);
    store_release(&segment->slabs[first].word, slab_word(SLAB_EMPTY, 0, 0, 0));
    tks_point(POINT_CLAIM_RELEASED);
    lower_hint(&segment->header->empty_hint, first);
}

void tks_slab_recover(struct tks_member *member, unsigned dead, uint64_t slab)
{
    struct tks_segment *segment = member->segment;
    if (slab >= segment->slab_count)
        return;
    uint64_t word = load_acquire(&segment->slabs[slab].word);
    if (slab_kind(word) == SLAB_DRAINING && slab_slot(word) == dead) {
        tks_point(POINT_SLAB_RECOVER_DRAINING);
        release_words(segment, slab, dead);
        tks_point(POINT_SLAB_RECOVER_WORDS_BACK);
        store_release(&segment->slabs[slab].word, slab_word(SLAB_CLASSED, slab_class(word), 0, 0));
    } else if (slab_kind(word) == SLAB_CLAIMED && slab_slot(word) == dead) {
        tks_point(POINT_SLAB_RECOVER_CLAIMED);
        release_claim(segment, dead, slab, slab_number(word));
    } else if (slab_kind(word) != SLAB_RUN) {
        tks_point(POINT_SLAB_RECOVER_DRAINED);
        release_words(segment, slab, dead); /* drained, and killed before it gave them back */
    } else if (load_acquire(block_word(segment, slab, 0)) == block_state(BLOCK_TAKEN, 0, dead, 0)) {
        tks_point(POINT_SLAB_RECOVER_RUN);
        uint64_t count = slab_number(word);
        store_release(&segment->slabs[slab].word, slab_word(SLAB_CLAIMED, 0, dead, count));
        release_claim(segment, dead, slab, count);
    }
}

/* Make a wholly free slab EMPTY, or leave it as it was. */
static bool drain_slab(struct tks_member *member, uint64_t slab)
{
    struct tks_segment *segment = member->segment;
    uint64_t word = load_acquire(&segment->slabs[slab].word);
    if (slab_kind(word) != SLAB_CLASSED || slab_class(word) == CLASS_RESERVE)
        return false;
    unsigned count = blocks_of_class(slab_class(word));
    for (unsigned i = 0; i < count; i++)
        if (load_relaxed(block_word(segment, slab, i)))
            return false;
    tks_point(POINT_DRAIN_FOUND_FREE);
    unsigned tag = member_tag(member);
    pin_store(member, LOG_SLAB, slab + 1);
    tks_point(POINT_DRAIN_LOGGED);
    bool drained = compare_and_swap(&segment->slabs[slab].word, word,
                                    slab_word(SLAB_DRAINING, slab_class(word), tag, 0));
    tks_point(POINT_DRAIN_MARKED);
    for (unsigned i = 0; drained && i < count; i++) {
        drained = compare_and_swap(block_word(segment, slab, i), block_state(BLOCK_FREE, 0, 0, 0),
                                   block_state(BLOCK_TAKEN, 0, tag, 0));
        tks_point(POINT_DRAIN_WORD);
    }
    if (drained) {
        tks_point(POINT_DRAIN_WORDS_TAKEN);
        /* EMPTY first: a late taker that finds a word free must not take the class for valid. */
        store_release(&segment->slabs[slab].word, slab_word(SLAB_EMPTY, 0, 0, 0));
        tks_point(POINT_DRAIN_EMPTY);
        release_words(segment, slab, tag);
        tks_point(POINT_DRAIN_WORDS_BACK);
        lower_hint(&segment->header->empty_hint, slab);
    } else {
        tks_point(POINT_DRAIN_GIVES_UP);
        tks_slab_recover(member, tag, slab);
    }
    pin_store(member, LOG_SLAB, 0);
    tks_point(POINT_DRAIN_ENDED);
    return drained;
}

/* ---- Refilling ----------------------------------------------------------------------------- */

static bool slab_has_free(const struct tks_segment *segment, uint64_t slab, unsigned class)
{
    for (unsigned i = 0; i < blocks_of_class(class); i++)
        if (block_kind(load_relaxed(block_word(segment, slab, i))) == BLOCK_FREE)
            return true;
    return false;
}

static void use_slab(struct tks_member *member, unsigned class, uint64_t slab)
{
    tks_point(POINT_SLAB_CHOSEN);
    store_relaxed(&member->segment->slabs[slab].has_free, 0);
    member->current_slab[class] = (uint32_t)slab;
    member->current_index[class] = 0;
}

enum search {
    SEARCH_SOME,    /* of the committed slabs that are offered: part of somebody's insert */
    SEARCH_OFFERED, /* all of these */
    SEARCH_WHOLE,   /* under pressure: every block of every slab */
};

/* Whether the slab, of class @p of, has room, and is ours now. What is offered is only a hint: a
 * caller that is sent to full slabs again and again would take the store for full. */
static bool use_if_room(struct tks_member *member, unsigned class, unsigned of, uint64_t slab,
                        bool offered)
{
    struct tks_segment *segment = member->segment;
    uint64_t word = load_relaxed(&segment->slabs[slab].word);
    if (slab_kind(word) != SLAB_CLASSED || slab_class(word) != of ||
        (offered && !load_relaxed(&segment->slabs[slab].has_free)))
        return false;
    if (slab_has_free(segment, slab, of)) {
        use_slab(member, class, slab);
        return true;
    }
    store_relaxed(&segment->slabs[slab].has_free, 0);
    member->stale_slabs++;
    return false;
}

/* Whoever came for one write left a nearly empty slab, and it is one of the last that were chosen.
 * Without this look behind the hint each such would take a new one, in a segment whose first slabs
 * are full. */
static bool find_recent(struct tks_member *member, unsigned class)
{
    const uint64_t hint = load_relaxed(&member->segment->header->empty_hint);
    const bool sane = hint <= member->segment->slab_count;
    member->stale_slabs = 0;
    for (uint64_t i = 1; sane && i <= RECENT_SLABS && i <= hint; i++)
        if (member->stale_slabs < STALE_SLABS && use_if_room(member, class, class, hint - i, true))
            return true;
    return false;
}

/* A slab of class @p of with room, for blocks of class @p class. */
static bool find_partial(struct tks_member *member, unsigned class, unsigned of, enum search search)
{
    struct tks_segment *segment = member->segment;
    const bool whole = search == SEARCH_WHOLE, some = search == SEARCH_SOME;
    const uint64_t committed = load_relaxed(&segment->header->commit_hint) + COMMIT_SLABS;
    const uint64_t range =
        whole || committed > segment->slab_count ? segment->slab_count : committed;
    const uint64_t limit = some && range > SEARCH_SLABS ? SEARCH_SLABS : range;
    if (some && find_recent(member, class))
        return true;
    member->stale_slabs = 0;
    for (uint64_t i = 0; i < limit && (!some || member->stale_slabs < STALE_SLABS); i++) {
        /* Reduced each time: a counter that wraps in the middle of a search would leave slabs out.
         */
        const uint64_t slab = (member->scan_slab[class] + UINT64_C(1)) % range;
        member->scan_slab[class] = (uint32_t)slab;
        if (use_if_room(member, class, of, slab, !whole))
            return true;
    }
    return false;
}

/* A committed slab without a class. */
static bool find_empty(struct tks_member *member, unsigned class, bool whole)
{
    struct tks_segment *segment = member->segment;
    uint64_t *hint = &segment->header->empty_hint;
    /* The hint may be too high, as its updates may be lost. */
    for (uint64_t slab = whole ? 0 : load_relaxed(hint); slab < segment->slab_count; slab++) {
        uint64_t word = load_relaxed(&segment->slabs[slab].word);
        if (slab_kind(word) == SLAB_UNCOMMITTED && !whole) {
            store_relaxed(hint, slab);
            return false;
        }
        if (slab_kind(word) == SLAB_EMPTY &&
            compare_and_swap(&segment->slabs[slab].word, word,
                             slab_word(SLAB_CLASSED, class, 0, 0))) {
            tks_point(POINT_SLAB_CLASSED);
            store_relaxed(hint, slab + 1);
            use_slab(member, class, slab);
            return true;
        }
    }
    return false;
}

static int commit_more(struct tks_member *member)
{
    struct tks_segment *segment = member->segment;
    uint64_t *hint = &segment->header->commit_hint;
    for (uint64_t slab = load_relaxed(hint); slab < segment->slab_count; slab++) {
        if (slab_kind(load_relaxed(&segment->slabs[slab].word)) != SLAB_UNCOMMITTED)
            continue;
        uint64_t count = segment->slab_count - slab;
        tks_point(POINT_COMMIT_BEGUN);
        int status = tks_segment_commit(segment, slab, count < COMMIT_SLABS ? count : COMMIT_SLABS);
        tks_point(POINT_COMMIT_ENDED);
        lower_hint(&segment->header->empty_hint, slab);
        /* With huge pages it was more than asked for. */
        while (!status && slab + COMMIT_SLABS < segment->slab_count &&
               slab_kind(load_relaxed(&segment->slabs[slab + COMMIT_SLABS].word)) !=
                   SLAB_UNCOMMITTED)
            slab++;
        store_relaxed(hint, slab);
        return status;
    }
    store_relaxed(hint, segment->slab_count);
    return TKS_NO_SPACE;
}

/* How many slabs should be ready beyond those in use: committing is a millisecond's work for some
 * megabytes, and a process that fills a segment uses up one or two in that time. */
static bool short_of_slabs(const struct tks_segment *segment)
{
    uint64_t used = load_relaxed(&segment->header->empty_hint);
    uint64_t committed = load_relaxed(&segment->header->commit_hint) + COMMIT_SLABS;
    uint64_t wanted = used / AHEAD_PART < AHEAD_SLABS ? used / AHEAD_PART : AHEAD_SLABS;
    if (load_relaxed(&segment->huge))
        wanted = AHEAD_HUGE_SLABS;
    return committed < segment->slab_count && committed < used + wanted;
}

bool tks_commit_ahead(struct tks_member *member)
{
    return short_of_slabs(member->segment) && commit_more(member) == TKS_OK;
}

/*
 * A portion of the pass over all slabs for blocks that no living limbo lists. All members share the
 * pass: one that comes for a single write looks at other slabs than the one before it. The mark is
 * taken before a pass begins, so what is left behind in the course of one is found by the next.
 * What is not safe yet when the pass comes by waits for another mark, or for pressure.
 */
static void reclaim_strays(struct tks_member *member)
{
    struct tks_segment *segment = member->segment;
    struct header *header = segment->header;
    uint64_t left = load_relaxed(&header->stray_slabs_left);
    if (!left || left > segment->slab_count) {
        if (!load_relaxed(&header->stray_retired) ||
            !compare_and_swap(&header->stray_slabs_left, left, segment->slab_count))
            return;
        store_relaxed(&header->stray_retired, 0);
        left = segment->slab_count;
    }
    const uint64_t first = segment->slab_count - left;
    uint64_t end = first;
    for (unsigned used = 0;
         end < segment->slab_count && end < first + STRAY_SLABS && used < STRAY_USED_SLABS; end++)
        used += slab_kind(load_relaxed(&segment->slabs[end].word)) != SLAB_UNCOMMITTED;
    tks_reclaim_slabs(member, first, end - first);
    tks_point(POINT_STRAYS_SCANNED);
    /* Not over a pass that was begun meanwhile. */
    compare_and_swap(&header->stray_slabs_left, left, segment->slab_count - end);
}

/* Everything that is safe to take back, from everybody. */
static void reclaim_all(struct tks_member *member)
{
    struct tks_segment *segment = member->segment;
    for (int i = 0; i < 3; i++)
        tks_epoch_push(member, true);
    tks_point(POINT_HARD_PUSHED);
    tks_limbo_flush(member);
    tks_point(POINT_HARD_FLUSHED);
    tks_reclaim_slabs(member, 0, segment->slab_count);
    tks_point(POINT_HARD_RECLAIMED);
    for (uint64_t slab = 0; slab < segment->slab_count; slab++)
        drain_slab(member, slab);
}

/* Room for a block of @p class in a slab that has some, of the class or a larger one. */
static bool find_room_anywhere(struct tks_member *member, unsigned class)
{
    if (find_partial(member, class, class, SEARCH_WHOLE) || find_empty(member, class, true))
        return true;
    for (unsigned larger = class + 1; larger < CLASS_COUNT; larger++)
        if (find_partial(member, class, larger, SEARCH_WHOLE))
            return true;
    return false;
}

static int refill_hard(struct tks_member *member, unsigned class)
{
    uint64_t *word = &member->segment->header->snapshot;
    tks_point(POINT_REFILL_HARD);
    for (int attempt = 0; attempt < HARD_ATTEMPTS; attempt++) {
        uint64_t snapshot = load_ordered(word);
        reclaim_all(member);
        if (class == CLASS_COUNT || find_room_anywhere(member, class))
            return TKS_OK;
        /* A snapshot keeps old versions; a writer short of space goes first. Only a pass that no
         * snapshot stood in the way of says that there is nothing to reclaim. */
        if (snapshot_phase(snapshot) == SNAPSHOT_NONE)
            break;
        compare_and_swap(word, snapshot, 0);
        tks_point(POINT_HARD_NO_SNAPSHOT);
    }
    return TKS_NO_SPACE;
}

bool tks_block_search(struct tks_member *member, uint64_t bytes)
{
    const unsigned class = tks_class_of(bytes);
    return class < CLASS_COUNT && find_partial(member, class, class, SEARCH_OFFERED);
}

int tks_block_refill(struct tks_member *member, uint64_t bytes, bool hard)
{
    unsigned class = tks_class_of(bytes);
    if (hard)
        return refill_hard(member, class);
    if (class == CLASS_COUNT)
        return TKS_OK;
    reclaim_strays(member);
    if (find_partial(member, class, class, SEARCH_SOME))
        return TKS_OK;
    bool found = find_empty(member, class, false);
    if (short_of_slabs(member->segment))
        tks_segment_call_keepers(member->segment);
    if (found)
        return TKS_OK;
    int status = commit_more(member);
    if (status)
        return status;
    /* Somebody faster may have used up what we committed: the caller comes again. */
    find_empty(member, class, false);
    return TKS_OK;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

/* First slab, at @p from or after, of @p count neighbours that are empty, committed if need be; or
 * slab_count. */
static uint64_t find_room(struct tks_member *member, uint64_t from, uint64_t count)
{
    struct tks_segment *segment = member->segment;
    uint64_t length = 0;
    for (uint64_t slab = from; slab < segment->slab_count; slab++) {
        enum slab_kind kind = slab_kind(load_relaxed(&segment->slabs[slab].word));
        length = kind == SLAB_EMPTY || kind == SLAB_UNCOMMITTED ? length + 1 : 0;
        if (length == count)
            return slab + 1 - count;
    }
    return segment->slab_count;
}

static int commit_room(struct tks_member *member, uint64_t first, uint64_t count)
{
    for (uint64_t slab = first; slab < first + count; slab++) {
        if (slab_kind(load_relaxed(&member->segment->slabs[slab].word)) != SLAB_UNCOMMITTED)
            continue;
        int status = tks_segment_commit(member->segment, slab, 1);
        if (status)
            return status;
    }
    return TKS_OK;
}

static bool claim_room(struct tks_member *member, uint64_t first, uint64_t count)
{
    struct tks_segment *segment = member->segment;
    const uint64_t empty = slab_word(SLAB_EMPTY, 0, 0, 0);
    unsigned tag = member_tag(member);
    for (uint64_t i = 0; i < count; i++) {
        if (!compare_and_swap(&segment->slabs[first + i].word, empty,
                              slab_word(SLAB_CLAIMED, 0, tag, i ? 0 : count)))
            return false;
        tks_point(POINT_RUN_SLAB_CLAIMED);
    }
    return compare_and_swap(block_word(segment, first, 0), block_state(BLOCK_FREE, 0, 0, 0),
                            block_state(BLOCK_ALLOCATED, 0, tag, 0));
}

static bool build_run(struct tks_member *member, uint64_t first, uint64_t count, uint64_t plain)
{
    struct tks_segment *segment = member->segment;
    if (!claim_room(member, first, count)) {
        tks_point(POINT_RUN_CLAIM_LOST);
        tks_slab_recover(member, member_tag(member), first);
        return false;
    }
    tks_point(POINT_RUN_TAKEN);
    if (plain)
        store_release(block_word(segment, first, 0),
                      block_state(BLOCK_ALLOCATED, plain, member_tag(member), 0));
    for (uint64_t i = count - 1; i > 0; i--) {
        store_release(&segment->slabs[first + i].word, slab_word(SLAB_BODY, 0, 0, first));
        tks_point(POINT_RUN_BODY);
    }
    store_release(&segment->slabs[first].word, slab_word(SLAB_RUN, 0, 0, count));
    tks_point(POINT_RUN_BUILT);
    fence_release(); /* D */
    return true;
}

int tks_run_take(struct tks_member *member, uint64_t bytes, uint64_t plain, enum pin pin,
                 uint64_t *granule)
{
    uint64_t from = 0;
    return tks_run_take_from(member, &from, bytes, plain, pin, granule);
}

int tks_run_take_from(struct tks_member *member, uint64_t *from, uint64_t bytes, uint64_t plain,
                      enum pin pin, uint64_t *granule)
{
    struct tks_segment *segment = member->segment;
    uint64_t count = (bytes + SLAB_BYTES - 1) / SLAB_BYTES;
    /* After a lost race on to the next place: whoever won may be stopped in the middle. */
    for (uint64_t at_slab = *from, first; at_slab < segment->slab_count; at_slab = first + 1) {
        first = find_room(member, at_slab, count);
        if (first == segment->slab_count)
            return TKS_NO_SPACE;
        tks_point(POINT_RUN_FOUND);
        int status = commit_room(member, first, count);
        if (status)
            return status;
        tks_point(POINT_RUN_COMMITTED);
        uint64_t at = segment->first_granule + first * SLAB_GRANULES;
        pin_store(member, pin, pin_word(at, 0));
        tks_point(POINT_RUN_PINNED);
        pin_store(member, LOG_SLAB, first + 1);
        tks_point(POINT_RUN_LOGGED);
        bool built = build_run(member, first, count, plain);
        pin_store(member, LOG_SLAB, 0);
        tks_point(POINT_RUN_DONE);
        if (built) {
            *granule = at;
            *from = first + count;
            return TKS_OK;
        }
        pin_store(member, pin, 0);
    }
    return TKS_NO_SPACE;
}
