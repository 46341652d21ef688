/* SPDX-License-Identifier: MIT */
#include "store/lease.h"

#include "segment/slot.h"

#define STALE_NS 2000000000ll

const struct slot *tks_lease_holder(const struct tks_segment *segment, uint64_t word)
{
    const unsigned slot = lease_slot_and_1(word);
    if (!slot || slot > segment->slot_count || !tks_slot_alive(&segment->slots[slot - 1]))
        return NULL;
    return &segment->slots[slot - 1];
}

/* Whether the holder showed a sign of life within the time it is given. */
static bool is_fresh(struct tks_lease *lease, uint64_t word, int64_t now_ns)
{
    const uint64_t beat = load_ordered(lease->beat);
    if (word != lease->seen_word || beat != lease->seen_beat || !lease->seen_ns) {
        lease->seen_word = word;
        lease->seen_beat = beat;
        lease->seen_ns = now_ns;
    }
    return now_ns - lease->seen_ns < STALE_NS;
}

static void set_generation(struct tks_lease *lease, uint64_t generation)
{
    __atomic_store_n(&lease->generation, generation, __ATOMIC_SEQ_CST);
}

bool tks_lease_look(struct tks_lease *lease, const struct tks_member *keeper, int64_t now_ns)
{
    const unsigned mine = keeper->index + 1;
    const uint64_t word = load_ordered(lease->word);
    store_relaxed(&lease->slot_and_1, mine);
    const uint64_t generation = lease_elected(lease);
    if (generation && word == lease_word(generation, mine)) {
        fetch_add(lease->beat, 1);
        return false;
    }
    if (generation)
        set_generation(lease, 0);
    if (tks_lease_holder(lease->segment, word) && is_fresh(lease, word, now_ns))
        return generation != 0;
    const uint64_t next = lease_generation(word) + 1;
    const bool elected = compare_and_swap(lease->word, word, lease_word(next, mine));
    if (elected)
        set_generation(lease, next);
    return elected || generation;
}

void tks_lease_release(struct tks_lease *lease, const struct tks_member *keeper)
{
    const uint64_t generation = lease_elected(lease);
    if (generation)
        compare_and_swap(lease->word, lease_word(generation, keeper->index + 1),
                         lease_word(generation, 0));
}
