/* SPDX-License-Identifier: MIT */
#include "table/snapshot.h"

#include "base/clock.h"
#include "base/error.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "segment/slot.h"

/* A holder that shows no progress for this long has its snapshot given up by the next who wants
 * one. */
#define STALE_MS 1500
/* Others' that do move are waited for so long: one that walks a large store takes seconds. */
#define PATIENCE_MS 30000
#define GRACE_ROUNDS 100000

void tks_settle_bucket(struct tks_member *member, struct plugin *plugin,
                       const struct tks_place *place, uint64_t word, uint64_t hash)
{
    struct tks_segment *segment = member->segment;
    struct tks_block_ref ref = {0};
    if (head_names_block(word) && !tks_block_find(segment, head_granule(word), &ref))
        return;
    /* For whoever takes a cut while we are stopped in here (store/cut.c). */
    pin_store(member, LOG_PLUGIN, (uint64_t)((const char *)plugin - segment->base) / GRANULE_BYTES);
    pin_store(member, LOG_HASH, hash);
    pin_store(member, PIN_PIECE, place->piece ? pin_word(place->piece, 0) : 0);
    pin_store(member, PIN_BLOCK, ref.granule ? pin_word(ref.granule, ref.index) : 0);
    tks_point(POINT_BUCKET_PINNED);
    fence_full(); /* G, pairs with H */
    if (load_acquire(&plugin->base) <= place->level && load_acquire(place->head) == word &&
        section_intact(member)) {
        uint64_t *mark = mark_of(segment, plugin, place->piece, place->level, place->head);
        if (ref.granule)
            node_settle(segment, plugin, mark, granule_words(segment, ref.granule));
        else if (head_kind(word) == HEAD_EMPTY_NEW)
            empty_settle(segment, plugin, mark, place->head, word);
    }
    tks_point(POINT_BUCKET_SETTLED);
    pin_store(member, PIN_PIECE, 0);
    pin_store(member, PIN_BLOCK, 0);
    tks_point(POINT_BUCKET_UNPINNED);
}

uint64_t tks_snapshot_link(const struct tks_segment *segment, uint64_t word)
{
    uint64_t snapshot = load_ordered(&segment->header->snapshot);
    if (tks_likely(snapshot_phase(snapshot) == SNAPSHOT_NONE))
        return 0;
    uint64_t stamp = snapshot_stamp_of(snapshot, load_ordered(&segment->header->era));
    uint64_t tag = snapshot_tag(stamp);
    if (head_kind(word) == HEAD_EMPTY)
        return head_stamp(word) <= stamp ? head_word(HEAD_EMPTY, 0, tag) : 0;
    if (!head_names_block(word))
        return 0;
    const uint64_t *node = granule_words(segment, head_granule(word));
    if (load_acquire(node + NODE_STAMP) <= stamp)
        return head_word(head_kind(word), head_granule(word), tag);
    uint64_t prev = load_relaxed(node + NODE_PREV);
    return prev && head_fingerprint(prev) == tag ? prev : 0;
}

static bool holder_lives(const struct tks_segment *segment, uint64_t word)
{
    return snapshot_slot(word) < segment->slot_count &&
           tks_slot_alive(&segment->slots[snapshot_slot(word)]);
}

/*
 * Wait for another's snapshot to end, and give it up when its holder is dead or does not move. True
 * when the word was free.
 */
static bool displace(struct tks_member *member)
{
    struct header *header = member->segment->header;
    const int64_t began = clock_ns(CLOCK_MONOTONIC);
    int64_t moved = began;
    uint64_t seen = 0, beat = 0;
    for (int64_t now = began; now - began < PATIENCE_MS * 1000000ll;
         now = clock_ns(CLOCK_MONOTONIC)) {
        const uint64_t word = load_ordered(&header->snapshot);
        if (snapshot_phase(word) == SNAPSHOT_NONE)
            return true;
        if (word != seen || load_ordered(&header->snapshot_beat) != beat) {
            seen = word;
            beat = load_ordered(&header->snapshot_beat);
            moved = now;
        }
        if (now - moved >= STALE_MS * 1000000ll || !holder_lives(member->segment, word))
            return compare_and_swap(&header->snapshot, word, 0);
        const struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    return false;
}

/* Two epochs on, every section open at the call has ended or was evicted. */
static bool grace_period(struct tks_member *member, uint64_t word)
{
    struct header *header = member->segment->header;
    uint64_t target = load_ordered(&header->epoch) + 2;
    for (int round = 0; round < GRACE_ROUNDS; round++) {
        if (load_ordered(&header->epoch) >= target)
            return true;
        if (load_ordered(&header->snapshot) != word)
            return false;
        tks_point(POINT_SNAPSHOT_GRACE);
        tks_epoch_push(member, false);
        if (load_ordered(&header->epoch) < target && round % 16 == 15) {
            const struct timespec pause = {0, 200000};
            snapshot_beat(member->segment);
            nanosleep(&pause, NULL);
        }
    }
    return false;
}

int tks_snapshot_begin(struct tks_member *member, struct tks_snapshot *snapshot)
{
    struct header *header = member->segment->header;
    unsigned tag = member_tag(member);
    if (!displace(member))
        return TKS_BUSY;
    tks_point(POINT_SNAPSHOT_FREE);
    snapshot->stamp = fetch_add(&header->era, 1) + 1;
    tks_point(POINT_SNAPSHOT_ERA_RAISED);
    snapshot->epoch = load_ordered(&header->epoch);
    snapshot->word = snapshot_word(SNAPSHOT_ACTIVE, tag, snapshot->epoch, snapshot->stamp);
    uint64_t pending = snapshot_word(SNAPSHOT_PENDING, tag, snapshot->epoch, snapshot->stamp);
    tks_point(POINT_SNAPSHOT_BEFORE_PENDING);
    if (!compare_and_swap(&header->snapshot, 0, pending))
        return TKS_BUSY;
    tks_point(POINT_SNAPSHOT_PENDING);
    if (!grace_period(member, pending)) {
        tks_point(POINT_SNAPSHOT_LOST);
        compare_and_swap(&header->snapshot, pending, 0);
        return TKS_BUSY;
    }
    tks_point(POINT_SNAPSHOT_GRACE_OVER);
    /* If somebody else moved the era meanwhile, nodes above `stamp` may lack links: lost, not
     * wrong. */
    compare_and_swap(&header->era, snapshot->stamp, snapshot->stamp + 1);
    tks_point(POINT_SNAPSHOT_ERA_CLOSED);
    return compare_and_swap(&header->snapshot, pending, snapshot->word) ? TKS_OK : TKS_BUSY;
}

void tks_snapshot_end(struct tks_member *member, const struct tks_snapshot *snapshot)
{
    tks_point(POINT_SNAPSHOT_ENDS);
    compare_and_swap(&member->segment->header->snapshot, snapshot->word, 0);
    tks_point(POINT_SNAPSHOT_ENDED);
}
