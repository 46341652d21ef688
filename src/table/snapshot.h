/* SPDX-License-Identifier: MIT */
/*
 * Snapshots: a state that existed, while writers run (after Wei, Ben-David, Blelloch, Fatourou,
 * Ruppert, Sun: "Constant-time snapshots with applications to concurrent data structures", PPoPP
 * 2021: versioned CAS).
 *
 * Every node has a stamp, the era it was published in. It is 0 at the publishing CAS and settled by
 * a second CAS, 0 -> era, by the writer, or by any reader or writer that meets it unsettled first;
 * no operation returns before what it published or read is settled. Empty buckets likewise:
 * EMPTY_NEW{unique tag} -> EMPTY{era}. The settling CAS is the point at which the write enters
 * the sequence of states.
 *
 * A snapshot of stamp t sees exactly the nodes with stamp <= t:
 *
 *   1 t = ++era                             a stamp no other snapshot has
 *   2 snapshot word: NONE -> PENDING{t}     from here writers keep links to what they replace
 *   3 grace period                          writers that saw NONE have finished or were evicted
 *   4 era: t -> t + 1, word -> ACTIVE{t}    what is settled from here on is not in the snapshot
 *   5 walk: a bucket's node with stamp > t is followed through its link
 *   6 word -> NONE
 *
 * The link (node.prev) carries the low bits of t. A writer that settles W, the word it is going to
 * replace, and then reads PENDING or ACTIVE{t} links to W if W.stamp <= t, else hands on W's own
 * link; so one step always leads to a node with stamp <= t. The reclaimer keeps such nodes
 * (reclaim.h) if they were retired in the epoch in which the snapshot began or later; what was
 * retired before was replaced by somebody who saw no snapshot. A deletion publishes a vector
 * without members, so that there is a node to hang the link on.
 *
 * What is left: a writer that saw NONE (or an earlier snapshot), was stopped, was evicted, and is
 * resumed between its last check and its CAS. Its node has no link with t's bits, and the
 * walk that meets it (stamp > t, no link for t) is *lost*: it gives the snapshot up and begins
 * another one. Never a wrong answer, at worst TKS_BUSY after several attempts.
 *
 * Buckets are not frozen for growth while a snapshot is pending or active.
 */
#ifndef TKS_TABLE_SNAPSHOT_H
#define TKS_TABLE_SNAPSHOT_H

#include "table/index.h"

static inline uint64_t snapshot_tag(uint64_t stamp)
{
    return stamp & FINGERPRINT_MASK;
}

/** Settle the stamp of a node that the caller has pinned (or built), its piece too; @p mark is its
 * head's. Returns it. */
static inline uint64_t node_settle(struct tks_segment *segment, struct plugin *plugin,
                                   uint64_t *mark, uint64_t *node)
{
    uint64_t stamp = load_acquire(node + NODE_STAMP);
    if (tks_unlikely(!stamp)) {
        const uint64_t era = load_ordered(&segment->header->era);
        tks_point(POINT_SETTLE_BEFORE);
        mark_changed(plugin, mark, era);
        tks_point(POINT_SETTLE_MARKED);
        compare_and_swap(node + NODE_STAMP, 0, era);
        stamp = load_acquire(node + NODE_STAMP);
        tks_point(POINT_SETTLE_AFTER);
    }
    return stamp;
}

/** Settle an empty bucket that reads @p word, an EMPTY_NEW: what it reads then, 0 if it changed. */
static inline uint64_t empty_settle(struct tks_segment *segment, struct plugin *plugin,
                                    uint64_t *mark, uint64_t *head, uint64_t word)
{
    const uint64_t era = load_ordered(&segment->header->era);
    mark_changed(plugin, mark, era);
    return compare_and_swap(head, word, head_empty(HEAD_EMPTY, era)) ? head_empty(HEAD_EMPTY, era)
                                                                     : 0;
}

/** Whether what a head in range reads has its stamp: an answer may depend on it only then. */
static inline bool word_settled(const struct tks_segment *segment, uint64_t word)
{
    if (!head_names_block(word))
        return head_kind(word) != HEAD_EMPTY_NEW;
    return !granule_in_range(segment, head_granule(word), GRANULE_BYTES) ||
           load_acquire(granule_words(segment, head_granule(word)) + NODE_STAMP) != 0;
}

/**
 * Settle the bucket at @p place, that of @p hash, which reads @p word, pinning what is needed.
 * Inside a section. The caller looks again afterwards, whatever came of it.
 */
void tks_settle_bucket(struct tks_member *member, struct plugin *plugin,
                       const struct tks_place *place, uint64_t word, uint64_t hash);

/** The link that a node replacing @p word must carry. @p word is settled, its block pinned. */
uint64_t tks_snapshot_link(const struct tks_segment *segment, uint64_t word);

/** A snapshot that is held. */
struct tks_snapshot {
    uint64_t stamp;
    uint64_t epoch; /* in which it began */
    uint64_t word;  /* of the header while it is active */
};

/** Begin: pending, grace period, active. TKS_OK or TKS_BUSY. Outside any section. */
int tks_snapshot_begin(struct tks_member *member, struct tks_snapshot *snapshot);

/** End the snapshot if it still is ours. */
void tks_snapshot_end(struct tks_member *member, const struct tks_snapshot *snapshot);

/** Whether nobody has given our snapshot up and it is not too old. */
static inline bool snapshot_held(const struct tks_segment *segment,
                                 const struct tks_snapshot *snapshot)
{
    return load_ordered(&segment->header->snapshot) == snapshot->word &&
           load_ordered(&segment->header->epoch) - snapshot->epoch < SNAPSHOT_EPOCHS;
}

/** Show others that the holder moves on. */
static inline void snapshot_beat(struct tks_segment *segment)
{
    fetch_add(&segment->header->snapshot_beat, 1);
}

enum tks_resolved { RESOLVED_WORD, RESOLVED_NOTHING, RESOLVED_UNSETTLED, RESOLVED_LOST };

/** What the bucket that now reads @p word was at @p stamp. Inside a section. */
static inline enum tks_resolved snapshot_resolve(const struct tks_segment *segment, uint64_t word,
                                                 uint64_t stamp, uint64_t *resolved)
{
    if (head_kind(word) == HEAD_EMPTY_NEW)
        return RESOLVED_UNSETTLED;
    if (head_kind(word) == HEAD_EMPTY)
        return head_stamp(word) <= stamp ? RESOLVED_NOTHING : RESOLVED_LOST;
    if (!head_names_block(word) || !granule_in_range(segment, head_granule(word), GRANULE_BYTES))
        return RESOLVED_LOST;
    const uint64_t *node = granule_words(segment, head_granule(word));
    uint64_t published = load_acquire(node + NODE_STAMP);
    if (!published)
        return RESOLVED_UNSETTLED;
    *resolved = word;
    if (published <= stamp)
        return RESOLVED_WORD;
    uint64_t prev = load_relaxed(node + NODE_PREV);
    if (!prev || head_fingerprint(prev) != snapshot_tag(stamp))
        return RESOLVED_LOST;
    *resolved = prev;
    return head_names_block(prev) ? RESOLVED_WORD : RESOLVED_NOTHING;
}

#endif
