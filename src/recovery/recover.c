/* SPDX-License-Identifier: MIT */
#include "recovery/recover.h"

#include "base/error.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "memory/reclaim.h"
#include "segment/slot.h"
#include "table/index.h"
#include "table/registry.h"

#include <stdlib.h>
#include <unistd.h>

/* The kernel walks at most 2048 robust mutexes of a dead thread (ROBUST_LIST_LIMIT). */
#define SLOTS_PER_THREAD 1024u
#define RECOVER_TRIES 1000

/* Slots this thread holds in this process: a forked child begins with none, whatever it inherits.
 */
static unsigned *slots_held(const struct tks_segment *segment)
{
    static _Thread_local struct {
        uint64_t process;
        unsigned count;
    } held;
    if (held.process != segment->process_token) {
        held.process = segment->process_token;
        held.count = 0;
    }
    return &held.count;
}

/* ---- One dead slot ------------------------------------------------------------------------- */

struct estate {
    struct tks_member *heir;
    unsigned dead;
    struct slot *slot;
    struct plugin *plugin;
};

static bool named_by_move(const struct estate *estate, uint64_t granule)
{
    const struct tks_segment *segment = estate->heir->segment;
    uint64_t log = load_acquire(&estate->slot->words[LOG_MOVE_HASH]);
    unsigned level = (unsigned)(log & 63);
    if (level >= LEVELS)
        return true;
    uint64_t hash = log & ~63ull, second = hash | 1ull << (63 - level_bits(level));
    return tks_index_names_node(segment, estate->plugin, hash, granule) ||
           tks_index_names_node(segment, estate->plugin, second, granule);
}

static bool named(const struct estate *estate, enum pin pin, const struct tks_block_ref *ref)
{
    const struct tks_segment *segment = estate->heir->segment;
    if (block_plain(ref->state) && tks_registry_names(segment, ref->granule))
        return true;
    if (!estate->plugin)
        return false;
    if (block_plain(ref->state))
        return tks_index_names_piece(segment, estate->plugin, ref->granule);
    if (pin >= PIN_MOVE_PIECE)
        return named_by_move(estate, ref->granule);
    return tks_index_names_node(segment, estate->plugin,
                                load_acquire(&estate->slot->words[LOG_HASH]), ref->granule);
}

/* Retire the block a pin of the dead names if nothing else does. False: expelled again and again,
 * nothing is decided. */
static bool settle_block(struct estate *estate, enum pin pin, bool is_new)
{
    struct tks_member *heir = estate->heir;
    uint64_t word = load_acquire(&estate->slot->words[pin]);
    uint64_t granule = pin_granule(word);
#ifdef TKS_PLANT_NO_RECOVERY
    return true;
#endif
    if (!word || !(is_new || (word & PIN_VALIDATED)) ||
        !granule_in_range(heir->segment, granule, GRANULE_BYTES) || pin_index(word) >= SLAB_STATES)
        return true;
    uint64_t slab = (granule - heir->segment->first_granule) / SLAB_GRANULES;
    struct tks_block_ref ref = {granule, (uint32_t)slab, pin_index(word),
                                load_acquire(block_word(heir->segment, slab, pin_index(word)))};
    struct tks_block_ref now;
    tks_point(POINT_RECOVER_BLOCK);
    if (block_kind(ref.state) != BLOCK_ALLOCATED ||
        (is_new && block_slot(ref.state) != estate->dead))
        return true;
    if (!tks_block_find(heir->segment, granule, &now) || now.index != ref.index) {
        /* Taken after the slab had changed its class; its taker would have put it back. */
        if (is_new)
            compare_and_swap(block_word(heir->segment, slab, ref.index), ref.state,
                             block_state(BLOCK_FREE, 0, 0, 0));
        return true;
    }
    for (int i = 0; i < RECOVER_TRIES; i++) {
        if (!section_enter(heir))
            continue;
        bool keep = named(estate, pin, &ref);
        tks_point(POINT_RECOVER_NAMED);
        bool intact = section_intact(heir);
        section_leave(heir);
        if (!intact)
            continue;
        tks_point(POINT_RECOVER_DECIDED);
        if (!keep)
            tks_retire_exact(heir, &ref);
        tks_point(POINT_RECOVER_BLOCK_SETTLED);
        return true;
    }
    return false;
}

static const struct {
    enum pin pin;
    bool is_new;
} logged_blocks[] = {{PIN_NEW_ENTRY, true},  {PIN_NEW_VECTOR, true}, {PIN_MOVE_NEW, true},
                     {PIN_BLOCK, false},     {PIN_ENTRY, false},     {PIN_MOVE_PIECE, false},
                     {PIN_MOVE_BLOCK, false}};

/* False: not all could be decided; the log stands as it was, for a later heir. */
static bool recover_slot(struct tks_member *heir, unsigned index)
{
    struct tks_segment *segment = heir->segment;
    struct slot *slot = &segment->slots[index];
    struct estate estate = {heir, index, slot, NULL};
    tks_point(POINT_RECOVER_BEGUN);
    /* A false death would show here: the owner checks both words. */
    fetch_add(&slot->generation, 1);
    if (heir->slot == slot)
        heir->generation = load_relaxed(&slot->generation);
    tks_point(POINT_RECOVER_NUMBERED);
    store_release(&slot->section, SECTION_DEAD);
    tks_point(POINT_RECOVER_MARKED_DEAD);
    /* An heir to its own slot opens sections in it: the pins there count until the end. */
    const uint64_t closed = heir->closed;
    if (heir->slot == slot)
        heir->closed = SECTION_DEAD;
    uint64_t snapshot = load_ordered(&segment->header->snapshot);
    if (snapshot_phase(snapshot) != SNAPSHOT_NONE && snapshot_slot(snapshot) == index)
        compare_and_swap(&segment->header->snapshot, snapshot, 0);
    uint64_t lease = load_ordered(&segment->header->lease);
    if (lease_slot_and_1(lease) == index + 1)
        compare_and_swap(&segment->header->lease, lease, lease_word(lease_generation(lease), 0));
    tks_point(POINT_RECOVER_SNAPSHOT_CLEARED);
    uint64_t slab = load_acquire(&slot->words[LOG_SLAB]);
    if (slab)
        tks_slab_recover(heir, index, slab - 1);
    tks_point(POINT_RECOVER_SLAB_DONE);
    uint64_t plugin = load_acquire(&slot->words[LOG_PLUGIN]);
    if (plugin)
        estate.plugin = tks_registry_plugin(segment, plugin);
    tks_point(POINT_RECOVER_PLUGIN_FOUND);
    for (size_t i = 0; i < sizeof(logged_blocks) / sizeof(logged_blocks[0]); i++)
        if (!settle_block(&estate, logged_blocks[i].pin, logged_blocks[i].is_new)) {
            heir->closed = closed;
            return false; /* the slot still reads SECTION_DEAD: its pins count */
        }
    tks_point(POINT_RECOVER_BLOCKS_DONE);
    /* What it had retired itself only its own list named. */
    store_relaxed(&segment->header->stray_retired, 1);
    for (unsigned i = 0; i < SLOT_WORDS; i++) {
        store_release(&slot->words[i], 0);
        tks_point(POINT_RECOVER_WORD_CLEARED);
    }
    heir->closed = closed;
    store_release(&slot->section, SECTION_IDLE);
    tks_point(POINT_RECOVER_SECTION_CLEARED);
    tks_slot_recovered(slot);
    tks_point(POINT_RECOVER_COUNTED);
    return true;
}

unsigned tks_recover_dead(struct tks_member *member)
{
    struct tks_segment *segment = member->segment;
    uint64_t high_water = load_acquire(&segment->header->slot_high_water);
    unsigned recovered = 0;
    for (uint64_t i = 0; i < high_water && i < segment->slot_count; i++) {
        if (i == member->index || !tks_slot_dead(&segment->slots[i]))
            continue;
        enum tks_slot_claim claim = tks_slot_claim(segment, (unsigned)i);
        if (claim == SLOT_TAKEN)
            continue;
        if (claim == SLOT_INHERITED && !recover_slot(member, (unsigned)i)) {
            tks_slot_abandon(segment, (unsigned)i);
            continue;
        }
        recovered += claim == SLOT_INHERITED;
        tks_slot_release(segment, (unsigned)i);
        tks_point(POINT_RECOVER_RELEASED);
    }
    return recovered;
}

/* ---- Joining and leaving ------------------------------------------------------------------- */

/* Members that come for one write each must not all look at the same part of a large segment: what
 * room they leave elsewhere would never be found. Each that writes takes versions, so the next one
 * starts elsewhere; steps of the golden ratio (Knuth, TAOCP 3, 6.4) spread them. */
static void spread_searches(struct tks_member *member)
{
    const uint64_t came =
        load_relaxed(&member->segment->header->versions.next) / VERSION_CHUNK + member->index;
    const uint32_t start = (uint32_t)(came * 0x9e3779b97f4a7c15ull >> 32);
    for (unsigned class = 0; class < CLASS_END; class ++)
        member->scan_slab[class] = start;
}

/* False: what its dead owner left could not be settled; the slot is left to others. */
static bool adopt(struct tks_member *member, unsigned index, enum slot_use use, bool inherited)
{
    struct tks_segment *segment = member->segment;
    member->index = index;
    member->slot = &segment->slots[index];
    member->closed = SECTION_IDLE;
    tks_point(POINT_JOIN_CLAIMED);
    raise_word(&segment->header->slot_high_water, (uint64_t)index + 1);
    tks_point(POINT_JOIN_SEEN);
    if (inherited && !recover_slot(member, index)) {
        tks_slot_abandon(segment, index);
        return false;
    }
    tks_point(POINT_JOIN_INHERITED);
    member->generation = load_acquire(&member->slot->generation);
    spread_searches(member);
    store_release(&member->slot->owner_pid, (uint64_t)getpid());
    tks_slot_use(member->slot, use);
    tks_point(POINT_JOIN_ADOPTED);
    return true;
}

int tks_member_join(struct tks_segment *segment, enum slot_use use, struct tks_member **result)
{
    unsigned *held = slots_held(segment);
    if (*held >= SLOTS_PER_THREAD)
        return tks_fail(TKS_BUSY, "this thread has %u states open already", *held);
    struct tks_member *member = calloc(1, sizeof(*member));
    if (!member)
        return tks_fail(TKS_NO_SPACE, "no memory for a state of segment \"%s\"", segment->name);
    member->segment = segment;
    for (unsigned class = 0; class < CLASS_END; class ++)
        member->current_slab[class] = NO_SLAB;
    uint64_t usable = segment->slot_count - (use == SLOT_VISITOR ? 0 : VISITOR_SLOTS);
    for (uint64_t i = 0; i < usable; i++) {
        enum tks_slot_claim claim = tks_slot_claim(segment, (unsigned)i);
        if (claim == SLOT_TAKEN || !adopt(member, (unsigned)i, use, claim == SLOT_INHERITED))
            continue;
        ++*held;
        *result = member;
        return TKS_OK;
    }
    free(member);
    return tks_fail(TKS_BUSY, "all %llu slots of segment \"%s\" are taken (slots= at creation)",
                    (unsigned long long)usable, segment->name);
}

void tks_member_leave(struct tks_member *member)
{
    struct slot *slot = member->slot;
    if (member->section)
        section_leave(member);
    tks_point(POINT_LEAVE_BEGUN);
    /* Borrows and pins end first: they may be what holds our own blocks back. */
    for (unsigned i = 0; i < SLOT_WORDS; i++)
        store_release(&slot->words[i], 0);
    tks_point(POINT_LEAVE_WORDS_CLEARED);
    tks_limbo_flush(member);
    tks_point(POINT_LEAVE_FLUSHED);
    store_release(&slot->section, 0);
    tks_slot_release(member->segment, member->index);
    tks_point(POINT_LEAVE_LEFT);
    --*slots_held(member->segment);
    free(member);
}
