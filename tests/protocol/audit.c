/* SPDX-License-Identifier: MIT */
#include "audit.h"

#include "segment/slot.h"
#include "store/shm.h"
#include "support.h"

/* Slabs in the hands of the dead are no blocks, so tks_store_check() does not count them. */
static void check_slabs(const struct tks_segment *segment)
{
    for (uint64_t i = 0; i < segment->slab_count; i++) {
        uint64_t word = segment->slabs[i].word;
        enum slab_kind kind = slab_kind(word);
        if (kind == SLAB_CLAIMED || kind == SLAB_DRAINING)
            test_fail("slab %llu is left %s by slot %u", (unsigned long long)i,
                      kind == SLAB_CLAIMED ? "claimed" : "draining", slab_slot(word));
        if (kind != SLAB_BODY)
            continue;
        uint64_t first = slab_number(word);
        uint64_t head = first < i ? segment->slabs[first].word : 0;
        if (slab_kind(head) != SLAB_RUN || first + slab_number(head) <= i)
            test_fail("slab %llu is the body of no run (slab %llu is %#llx)", (unsigned long long)i,
                      (unsigned long long)first, (unsigned long long)head);
    }
}

static void check_slots(const struct tks_segment *segment)
{
    for (uint64_t i = 0; i < segment->slot_count; i++)
        /* One that died before it used its slot has left nothing to clean up. */
        if (tks_slot_dead(&segment->slots[i]) && use_kind(segment->slots[i].use) != SLOT_UNUSED)
            test_fail("slot %llu is dead and nobody cleaned up", (unsigned long long)i);
}

void audit_store(tks_store *store, unsigned states, unsigned stores)
{
    const struct tks_segment *segment = ((struct shm_store *)(void *)store)->segment;
    struct tks_check check = {.size = sizeof(check)};
    struct tks_stats stats = {.size = sizeof(stats)};
    int status = tks_store_check(store, &check);
    if (status)
        test_fail("check: %s", tks_last_error());
    if (check.leaked_blocks || check.retired_blocks || check.held_blocks)
        test_fail("check: %llu leaked, %llu retired, %llu held, %llu reachable, %llu free",
                  (unsigned long long)check.leaked_blocks, (unsigned long long)check.retired_blocks,
                  (unsigned long long)check.held_blocks, (unsigned long long)check.reachable_blocks,
                  (unsigned long long)check.free_blocks);
    if (tks_store_stats(store, &stats))
        test_fail("stats: %s", tks_last_error());
    if (stats.states != states || stats.stores != stores)
        test_fail("stats: %llu states, %llu stores", (unsigned long long)stats.states,
                  (unsigned long long)stats.stores);
    check_slabs(segment);
    check_slots(segment);
}
