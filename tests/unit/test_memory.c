/* SPDX-License-Identifier: MIT */
/* memory/: the way of a block from FREE to FREE, sections and epochs, slabs and runs. */
#include "unit.h"

#include "base/process.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "memory/reclaim.h"
#include "recovery/recover.h"

#include <tickstate/tickstate.h>

#include <unistd.h>

/* Enough for every block of 64 bytes in 1 MiB. */
#define BLOCKS_MAX 20000u

struct memory {
    struct tks_segment *segment;
    struct tks_member *one, *two;
    uint64_t blocks[BLOCKS_MAX];
};

static int open_memory(void **state)
{
    struct memory *memory = calloc(1, sizeof(*memory));
    memory->segment = unit_open(1u << 20, 8);
    assert_int_equal(tks_member_join(memory->segment, SLOT_STATE, &memory->one), TKS_OK);
    assert_int_equal(tks_member_join(memory->segment, SLOT_STATE, &memory->two), TKS_OK);
    *state = memory;
    return 0;
}

static int close_memory(void **state)
{
    struct memory *memory = *state;
    if (memory->two)
        tks_member_leave(memory->two);
    tks_member_leave(memory->one);
    unit_release(memory->segment);
    unit_remove();
    free(memory);
    return 0;
}

static uint64_t state_of(struct memory *memory, uint64_t granule)
{
    struct tks_block_ref ref;
    assert_true(tks_block_find(memory->segment, granule, &ref));
    return ref.state;
}

/* As an operation does: take, and when that is slow refill and try again. */
static int try_take(struct tks_member *member, uint64_t bytes, bool hard, uint64_t *granule)
{
    for (int i = 0; i < 10; i++) {
        if (!tks_block_take(member, bytes, 0, PIN_NEW_ENTRY, granule)) {
            /* Published, as far as the log goes. */
            pin_store(member, PIN_NEW_ENTRY, 0);
            return TKS_OK;
        }
        int status = tks_block_refill(member, bytes, hard);
        if (status)
            return status;
    }
    return TKS_BUSY;
}

static uint64_t take(struct tks_member *member, uint64_t bytes)
{
    uint64_t granule = 0;
    assert_int_equal(try_take(member, bytes, false, &granule), TKS_OK);
    return granule;
}

static unsigned take_all(struct memory *memory, struct tks_member *member, uint64_t bytes)
{
    unsigned count = 0;
    while (count < BLOCKS_MAX && !try_take(member, bytes, false, &memory->blocks[count]))
        count++;
    while (count < BLOCKS_MAX && !try_take(member, bytes, true, &memory->blocks[count]))
        count++;
    assert_true(count && count < BLOCKS_MAX);
    return count;
}

/* As many calls as move the epoch on once, when nothing holds it back. */
static void collect_turn(struct tks_member *member)
{
    for (unsigned i = 0; i < ADVANCE_EVERY; i++)
        tks_collect(member);
}

/* ---- Blocks -------------------------------------------------------------------------------- */

static void a_class_is_the_smallest_that_holds_the_bytes(void **unused)
{
    (void)unused;
    for (uint64_t bytes = 1; bytes <= BLOCK_BYTES_MAX; bytes++) {
        unsigned class = tks_class_of(bytes);
        assert_true(class < CLASS_COUNT && tks_class_bytes(class) >= bytes);
        if (class)
            assert_true(tks_class_bytes(class - 1) < bytes);
    }
    assert_int_equal(tks_class_of(BLOCK_BYTES_MAX + 1), CLASS_COUNT);
}

static void a_taken_block_is_logged_and_allocated_to_its_taker(void **state)
{
    struct memory *memory = *state;
    uint64_t granule;
    assert_int_equal(tks_block_take(memory->one, 100, 0, PIN_NEW_ENTRY, &granule), BLOCK_SLOW);
    assert_int_equal(memory->one->slot->words[PIN_NEW_ENTRY], 0);
    assert_int_equal(tks_block_refill(memory->one, 100, false), TKS_OK);
    assert_int_equal(tks_block_take(memory->one, 100, 0, PIN_NEW_ENTRY, &granule), TKS_OK);
    assert_int_equal(pin_granule(memory->one->slot->words[PIN_NEW_ENTRY]), granule);
    assert_true(state_of(memory, granule) ==
                block_state(BLOCK_ALLOCATED, 0, memory->one->index, 0));
    assert_int_equal(tks_block_bytes(memory->segment, granule), 128);
    tks_block_discard(memory->one, PIN_NEW_ENTRY);
    assert_int_equal(memory->one->slot->words[PIN_NEW_ENTRY], 0);
}

static void only_the_start_of_a_block_is_a_block(void **state)
{
    struct memory *memory = *state;
    uint64_t granule = take(memory->one, 256);
    struct tks_block_ref ref;
    assert_true(tks_block_find(memory->segment, granule, &ref));
    for (uint64_t i = 1; i < 4; i++)
        assert_false(tks_block_find(memory->segment, granule + i, &ref));
    assert_false(tks_block_find(memory->segment, 0, &ref));
    assert_false(tks_block_find(memory->segment, memory->segment->first_granule - 1, &ref));
    assert_false(tks_block_find(memory->segment, memory->segment->end_granule, &ref));
    assert_false(tks_block_find(memory->segment, UINT64_MAX, &ref));
    /* A slab without a class has no blocks. */
    assert_false(
        tks_block_find(memory->segment, memory->segment->end_granule - SLAB_GRANULES, &ref));
}

static void no_block_is_taken_twice(void **state)
{
    struct memory *memory = *state;
    char *seen = calloc(1, memory->segment->end_granule);
    uint64_t granule;
    for (unsigned i = 0; !try_take(i & 1 ? memory->one : memory->two, 64, true, &granule); i++) {
        assert_true(granule < memory->segment->end_granule && !seen[granule]);
        seen[granule] = 1;
    }
    free(seen);
}

static void a_discarded_block_is_taken_again_at_once(void **state)
{
    struct memory *memory = *state;
    uint64_t granule, again;
    take(memory->one, 64);
    assert_int_equal(tks_block_take(memory->one, 64, 0, PIN_NEW_ENTRY, &granule), TKS_OK);
    tks_block_discard(memory->one, PIN_NEW_ENTRY);
    assert_int_equal(tks_block_take(memory->one, 64, 0, PIN_NEW_ENTRY, &again), TKS_OK);
    assert_int_equal(granule, again);
    pin_store(memory->one, PIN_NEW_ENTRY, 0);
}

static void a_block_is_retired_by_one_winner(void **state)
{
    struct memory *memory = *state;
    uint64_t granule = take(memory->one, 64);
    assert_true(tks_retire(memory->two, granule));
    assert_false(tks_retire(memory->one, granule));
    assert_true(state_of(memory, granule) ==
                block_state(BLOCK_RETIRED, 0, memory->two->index, memory->segment->header->epoch));
}

static void a_free_needs_the_exact_state(void **state)
{
    struct memory *memory = *state;
    struct tks_block_ref ref;
    uint64_t granule = take(memory->one, 64);
    assert_true(tks_retire(memory->one, granule));
    assert_true(tks_block_find(memory->segment, granule, &ref));
    ref.state ^= 1ull << 20;
    assert_false(tks_block_free(memory->one, &ref));
    ref.state ^= 1ull << 20;
    assert_true(tks_block_free(memory->one, &ref));
    assert_int_equal(state_of(memory, granule), 0);
    assert_false(tks_block_free(memory->one, &ref));
}

/* ---- Grace periods and pins ---------------------------------------------------------------- */

/* Whether @p member gets @p granule among its next @p tries blocks, all of which it retires. */
static bool is_reused(struct memory *memory, struct tks_member *member, uint64_t granule,
                      unsigned tries)
{
    bool found = false;
    unsigned count = 0;
    for (; !found && count < tries; count++) {
        memory->blocks[count] = take(member, 64);
        found = memory->blocks[count] == granule;
    }
    for (unsigned i = 0; i < count; i++)
        tks_retire(member, memory->blocks[i]);
    return found;
}

static void a_retired_block_is_reused_two_epochs_later(void **state)
{
    struct memory *memory = *state;
    uint64_t granule = take(memory->one, 64), epoch = memory->segment->header->epoch;
    assert_true(tks_retire(memory->one, granule));
    collect_turn(memory->one);
    assert_int_equal(memory->segment->header->epoch, epoch + 1);
    assert_int_equal(memory->one->ready[0].count, 0);
    collect_turn(memory->one);
    assert_int_equal(memory->segment->header->epoch, epoch + 2);
    assert_int_equal(memory->one->ready[0].count, 0);
    tks_collect(memory->one);
    assert_int_equal(memory->one->ready[0].count, 1);
    assert_true(is_reused(memory, memory->one, granule, 4));
}

static void a_block_is_not_reused_while_an_older_section_is_open(void **state)
{
    struct memory *memory = *state;
    uint64_t granule = take(memory->one, 64), epoch = memory->segment->header->epoch;
    assert_true(section_enter(memory->two));
    assert_true(tks_retire(memory->one, granule));
    uint64_t retired = state_of(memory, granule);
    for (int i = 0; i < 20; i++) {
        collect_turn(memory->one);
        tks_reclaim_slabs(memory->one, 0, memory->segment->slab_count);
        assert_true(memory->segment->header->epoch <= epoch + 1);
        assert_true(state_of(memory, granule) == retired);
        assert_false(is_reused(memory, memory->one, granule, 4));
    }
    assert_true(section_intact(memory->two));
    section_leave(memory->two);
    collect_turn(memory->one);
    collect_turn(memory->one);
    /* It went back first, so it comes out of the stack of ready blocks last. */
    assert_true(is_reused(memory, memory->one, granule, READY_BLOCKS + LIMBO_BLOCKS));
}

static void a_section_of_ones_own_does_not_hold_ones_memory_back(void **state)
{
    struct memory *memory = *state;
    uint64_t granule = take(memory->one, 64);
    assert_true(section_enter(memory->one));
    assert_true(tks_retire(memory->one, granule));
    for (int i = 0; i < 3; i++)
        collect_turn(memory->one);
    assert_true(section_intact(memory->one));
    assert_true(is_reused(memory, memory->one, granule, 4));
    section_leave(memory->one);
}

static void a_pinned_block_is_not_reused(void **state)
{
    static const enum pin pins[] = {
        PIN_PIECE,      PIN_BLOCK,        PIN_ENTRY,    PIN_MOVE_PIECE, PIN_MOVE_BLOCK,
        PIN_MOVE_CHILD, PIN_MOVE_CHILD_2, PIN_MOVE_NEW, PIN_BORROW,     PIN_BORROW + 7};
    static const uint64_t states[] = {SECTION_EVICTED, SECTION_DEAD, SECTION_PAUSED};
    struct memory *memory = *state;
    for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
        uint64_t granule = take(memory->one, 64);
        struct tks_block_ref ref;
        assert_true(tks_block_find(memory->segment, granule, &ref));
        pin_store(memory->two, pins[i], pin_word(granule, ref.index));
        store_release(&memory->two->slot->section, states[i % 3]);
        assert_true(tks_retire(memory->one, granule));
        uint64_t retired = state_of(memory, granule);
        for (int round = 0; round < 5; round++) {
            collect_turn(memory->one);
            tks_reclaim_slabs(memory->one, 0, memory->segment->slab_count);
            assert_false(is_reused(memory, memory->one, granule, 4));
        }
        assert_int_equal(tks_block_refill(memory->one, 64, true), TKS_OK);
        assert_true(state_of(memory, granule) == retired);
        /* Nothing is pinned by a slot that is in no section: it would look again. */
        store_release(&memory->two->slot->section, i % 2 ? SECTION_IDLE : states[i % 3]);
        pin_store(memory->two, pins[i], i % 2 ? pin_word(granule, ref.index) : 0);
        tks_reclaim_slabs(memory->one, 0, memory->segment->slab_count);
        assert_int_equal(state_of(memory, granule), 0);
        pin_store(memory->two, pins[i], 0);
    }
    store_release(&memory->two->slot->section, SECTION_IDLE);
}

static void an_up_to_date_section_is_never_expelled(void **state)
{
    struct memory *memory = *state;
    assert_true(section_enter(memory->two));
    assert_int_equal(tks_epoch_advance(memory->one), NO_SLOT);
    assert_true(section_intact(memory->two));
    assert_int_equal(tks_epoch_advance(memory->one), memory->two->index);
    assert_true(section_intact(memory->two));
    section_leave(memory->two);
    assert_int_equal(tks_epoch_advance(memory->one), NO_SLOT);
}

static void an_expelled_section_notices_and_may_begin_again(void **state)
{
    struct memory *memory = *state;
    struct header *header = memory->segment->header;
    assert_true(section_enter(memory->two));
    uint64_t epoch = header->epoch, evicted = header->evicted;
    tks_epoch_push(memory->one, true);
    assert_true(section_intact(memory->two));
    tks_epoch_push(memory->one, true);
    assert_false(section_intact(memory->two));
    assert_int_equal(header->evicted, evicted + 1);
    assert_true(header->epoch > epoch + 1);
    assert_true(section_enter(memory->two));
    assert_true(section_intact(memory->two));
    section_leave(memory->two);
}

static void an_eviction_of_an_older_section_misses_the_next(void **state)
{
    struct memory *memory = *state;
    assert_true(section_enter(memory->two));
    uint64_t old = memory->two->section;
    assert_int_equal(tks_epoch_advance(memory->one), NO_SLOT);
    section_leave(memory->two);
    assert_true(section_enter(memory->two));
    tks_epoch_evict(memory->one, memory->two->index, old);
    assert_true(section_intact(memory->two));
    section_leave(memory->two);
}

static void a_member_whose_slot_was_inherited_cannot_enter(void **state)
{
    struct memory *memory = *state;
    fetch_add(&memory->two->slot->generation, 1);
    assert_false(section_enter(memory->two));
    memory->two->generation++;
    assert_true(section_enter(memory->two));
    section_leave(memory->two);
}

/* ---- Slabs and runs ------------------------------------------------------------------------ */

static void slabs_change_class_after_being_emptied(void **state)
{
    struct memory *memory = *state;
    const uint64_t sizes[] = {64, 2048, 192, BLOCK_BYTES_MAX, 64};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned count = take_all(memory, memory->one, sizes[i]);
        /* Every slab but the reserve serves this class now. */
        assert_int_equal(count, (memory->segment->slab_count - 1) * (SLAB_BYTES / sizes[i]));
        for (unsigned k = 0; k < count; k++)
            assert_true(tks_retire(memory->one, memory->blocks[k]));
    }
}

static void a_slab_with_one_block_in_use_keeps_its_class(void **state)
{
    struct memory *memory = *state;
    unsigned count = take_all(memory, memory->one, 64);
    for (unsigned i = 1; i < count; i++)
        assert_true(tks_retire(memory->one, memory->blocks[i]));
    uint64_t kept = memory->blocks[0];
    count = take_all(memory, memory->one, 2048);
    assert_int_equal(tks_block_bytes(memory->segment, kept), 64);
    for (unsigned i = 0; i < count; i++)
        assert_true((memory->blocks[i] - memory->segment->first_granule) / SLAB_GRANULES !=
                        (kept - memory->segment->first_granule) / SLAB_GRANULES ||
                    tks_block_bytes(memory->segment, memory->blocks[i]) == 64);
}

static void refill_hard_reclaims_what_an_idle_member_retired(void **state)
{
    struct memory *memory = *state;
    uint64_t granule;
    unsigned count = take_all(memory, memory->two, 64);
    for (unsigned i = 0; i < count; i++)
        assert_true(tks_retire(memory->two, memory->blocks[i]));
    /* `two` never calls again. Any size is to be had. */
    assert_int_equal(try_take(memory->one, 1024, true, &granule), TKS_OK);
    assert_true(take_all(memory, memory->one, 64) >=
                (memory->segment->slab_count - 2) * (SLAB_BYTES / 64));
}

static void refill_hard_expels_a_stalled_section(void **state)
{
    struct memory *memory = *state;
    uint64_t granule;
    unsigned count = take_all(memory, memory->one, 64);
    assert_true(section_enter(memory->two));
    for (unsigned i = 0; i < count; i++)
        assert_true(tks_retire(memory->one, memory->blocks[i]));
    assert_int_equal(try_take(memory->one, 64, true, &granule), TKS_OK);
    assert_false(section_intact(memory->two));
    section_leave(memory->two);
}

static void nothing_is_taken_from_a_full_segment_but_the_reserve(void **state)
{
    struct memory *memory = *state;
    uint64_t granule;
    take_all(memory, memory->one, 64);
    assert_int_equal(try_take(memory->two, 64, true, &granule), TKS_NO_SPACE);
    memory->two->use_reserve = true;
    for (unsigned i = 0; i < SLAB_BYTES / RESERVE_BLOCK_BYTES; i++) {
        assert_int_equal(tks_block_take(memory->two, 64, 0, PIN_NEW_ENTRY, &granule), TKS_OK);
        assert_int_equal((granule - memory->segment->first_granule) / SLAB_GRANULES, 0);
    }
    assert_int_equal(tks_block_take(memory->two, 64, 0, PIN_NEW_ENTRY, &granule), BLOCK_SLOW);
}

static void a_run_is_whole_slabs_and_goes_back_to_them(void **state)
{
    struct memory *memory = *state;
    struct tks_segment *segment = memory->segment;
    struct tks_block_ref ref;
    uint64_t granule;
    for (int round = 0; round < 5; round++) {
        assert_int_equal(tks_run_take(memory->one, 2 * SLAB_BYTES + 1, 0, PIN_NEW_ENTRY, &granule),
                         TKS_OK);
        assert_int_equal(pin_granule(memory->one->slot->words[PIN_NEW_ENTRY]), granule);
        assert_int_equal(memory->one->slot->words[LOG_SLAB], 0);
        pin_store(memory->one, PIN_NEW_ENTRY, 0);
        uint64_t slab = (granule - segment->first_granule) / SLAB_GRANULES;
        assert_int_equal((granule - segment->first_granule) % SLAB_GRANULES, 0);
        assert_int_equal(tks_block_bytes(segment, granule), 3 * SLAB_BYTES);
        assert_false(tks_block_find(segment, granule + 1, &ref));
        assert_false(tks_block_find(segment, granule + SLAB_GRANULES, &ref));
        memset(granule_words(segment, granule), 0xab, 3 * SLAB_BYTES);
        assert_true(tks_retire(memory->one, granule));
        assert_false(tks_retire(memory->one, granule));
        for (int i = 0; i < 3; i++)
            collect_turn(memory->one);
        for (uint64_t i = 0; i < 3; i++)
            assert_int_equal(slab_kind(segment->slabs[slab + i].word), SLAB_EMPTY);
        assert_int_equal(*block_word(segment, slab, 0), 0);
    }
}

static void a_pinned_run_stays(void **state)
{
    struct memory *memory = *state;
    uint64_t granule;
    assert_int_equal(tks_run_take(memory->one, SLAB_BYTES, 0, PIN_NEW_ENTRY, &granule), TKS_OK);
    pin_store(memory->two, PIN_BORROW, pin_word(granule, 0));
    store_release(&memory->two->slot->section, SECTION_PAUSED);
    pin_store(memory->one, PIN_NEW_ENTRY, 0);
    assert_true(tks_retire(memory->one, granule));
    for (int i = 0; i < 5; i++) {
        collect_turn(memory->one);
        assert_int_equal(tks_block_refill(memory->one, SLAB_BYTES, true), TKS_OK);
    }
    assert_int_equal(tks_block_bytes(memory->segment, granule), SLAB_BYTES);
    pin_store(memory->two, PIN_BORROW, 0);
    store_release(&memory->two->slot->section, SECTION_IDLE);
    assert_int_equal(tks_block_refill(memory->one, SLAB_BYTES, true), TKS_OK);
    assert_int_equal(tks_block_bytes(memory->segment, granule), 0);
}

static void a_run_needs_neighbours_and_fails_without(void **state)
{
    struct memory *memory = *state;
    uint64_t granule, slabs = memory->segment->slab_count;
    assert_int_equal(tks_run_take(memory->one, slabs * SLAB_BYTES, 0, PIN_NEW_ENTRY, &granule),
                     TKS_NO_SPACE);
    assert_int_equal(
        tks_run_take(memory->one, (slabs - 1) * SLAB_BYTES, 0, PIN_NEW_ENTRY, &granule), TKS_OK);
    uint64_t other;
    assert_int_equal(tks_run_take(memory->two, 1, 0, PIN_NEW_ENTRY, &other), TKS_NO_SPACE);
    assert_int_equal(try_take(memory->two, 64, true, &other), TKS_NO_SPACE);
    tks_block_discard(memory->one, PIN_NEW_ENTRY);
    assert_int_equal(try_take(memory->two, 64, true, &other), TKS_OK);
}

static void a_member_that_leaves_leaves_its_blocks_to_all(void **state)
{
    struct memory *memory = *state;
    uint64_t granule;
    unsigned count = take_all(memory, memory->two, 64);
    for (unsigned i = 0; i < count; i++)
        assert_true(tks_retire(memory->two, memory->blocks[i]));
    tks_member_leave(memory->two);
    memory->two = NULL;
    /* Without pressure: a few ordinary searches find what was left. */
    int status = TKS_NO_SPACE;
    for (int i = 0; status && i < 10; i++)
        status = try_take(memory->one, 64, false, &granule);
    assert_int_equal(status, TKS_OK);
}

static void *take_and_end(void *arg)
{
    struct memory *memory = arg;
    struct tks_member *member;
    uint64_t granule;
    if (!tks_member_join(memory->segment, SLOT_STATE, &member)) {
        while (tks_block_take(member, 64, 0, PIN_NEW_ENTRY, &granule) &&
               !tks_block_refill(member, 64, false))
            ;
        memory->blocks[0] = granule;
        memory->blocks[1] = tks_run_take(member, SLAB_BYTES, 0, PIN_NEW_VECTOR, &memory->blocks[2]);
        free(member);
    }
    return NULL;
}

static void blocks_of_a_dead_taker_come_back(void **state)
{
    struct memory *memory = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_and_end, memory), 0);
    pthread_join(thread, NULL);
    assert_int_equal(memory->blocks[1], TKS_OK);
    assert_int_equal(block_kind(state_of(memory, memory->blocks[0])), BLOCK_ALLOCATED);
    assert_int_equal(tks_recover_dead(memory->one), 1);
    assert_int_equal(tks_recover_dead(memory->one), 0);
    assert_int_equal(tks_block_refill(memory->one, 64, true), TKS_OK);
    struct tks_block_ref ref;
    assert_true(!tks_block_find(memory->segment, memory->blocks[0], &ref) || !ref.state);
    assert_true(!tks_block_find(memory->segment, memory->blocks[2], &ref) || !ref.state);
}

#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_class_is_the_smallest_that_holds_the_bytes),
        MEMORY_TEST(a_taken_block_is_logged_and_allocated_to_its_taker),
        MEMORY_TEST(only_the_start_of_a_block_is_a_block),
        MEMORY_TEST(no_block_is_taken_twice),
        MEMORY_TEST(a_discarded_block_is_taken_again_at_once),
        MEMORY_TEST(a_block_is_retired_by_one_winner),
        MEMORY_TEST(a_free_needs_the_exact_state),
        MEMORY_TEST(a_retired_block_is_reused_two_epochs_later),
        MEMORY_TEST(a_block_is_not_reused_while_an_older_section_is_open),
        MEMORY_TEST(a_section_of_ones_own_does_not_hold_ones_memory_back),
        MEMORY_TEST(a_pinned_block_is_not_reused),
        MEMORY_TEST(an_up_to_date_section_is_never_expelled),
        MEMORY_TEST(an_expelled_section_notices_and_may_begin_again),
        MEMORY_TEST(an_eviction_of_an_older_section_misses_the_next),
        MEMORY_TEST(a_member_whose_slot_was_inherited_cannot_enter),
        MEMORY_TEST(slabs_change_class_after_being_emptied),
        MEMORY_TEST(a_slab_with_one_block_in_use_keeps_its_class),
        MEMORY_TEST(refill_hard_reclaims_what_an_idle_member_retired),
        MEMORY_TEST(refill_hard_expels_a_stalled_section),
        MEMORY_TEST(nothing_is_taken_from_a_full_segment_but_the_reserve),
        MEMORY_TEST(a_run_is_whole_slabs_and_goes_back_to_them),
        MEMORY_TEST(a_pinned_run_stays),
        MEMORY_TEST(a_run_needs_neighbours_and_fails_without),
        MEMORY_TEST(a_member_that_leaves_leaves_its_blocks_to_all),
        MEMORY_TEST(blocks_of_a_dead_taker_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
