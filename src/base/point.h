/* SPDX-License-Identifier: MIT */
/*
 * The steps of the protocols by name, so that tests can kill or stop a process at any of them.
 *
 * A point stands between two steps that others can tell apart. Product builds have nothing there;
 * a build with the tiny pool calls a hook that the test program defines, or does not. The hook runs
 * in the middle of the library: it may count, kill, stop, or use another state of its thread.
 */
#ifndef TKS_BASE_POINT_H
#define TKS_BASE_POINT_H

/* clang-format off */
#define TKS_POINTS(X)                                                                             \
    /* One change of a key (store/operation.c) */                                                 \
    X(OP_TAKEN) X(OP_BUILT) X(OP_VECTOR_TAKEN) X(OP_FOUND) X(OP_FROZEN) X(OP_PINNED)              \
    X(OP_ENTERED) X(OP_VALIDATED) X(OP_OLD_SETTLED) X(OP_BLOCK_RETIRED) X(OP_ENTRY_RETIRED)       \
    X(OP_NEW_CLEARED) X(OP_DECIDED) X(OP_LINKED) X(OP_TOMBSTONE_NEEDED) X(OP_NODES_READY)         \
    X(OP_BEFORE_PUBLISH) X(OP_PUBLISHED) X(OP_NEW_SETTLED) X(OP_SHORT) X(OP_SHORT_HARD)           \
    X(OP_AGAIN) X(OP_MEMORY_FOUND) X(OP_GROWTH) X(OP_LOGGED) X(OP_UNPINNED) X(OP_LEFT)            \
    X(OP_ENDED) X(SETTLE_BEFORE) X(SETTLE_MARKED) X(SETTLE_AFTER)                                                  \
    /* A plain overwrite (store/overwrite.c) */                                                    \
    X(PLAIN_PREDICTED) X(PLAIN_PINNED) X(PLAIN_TAKEN) X(PLAIN_VALIDATED) X(PLAIN_BUILT)           \
    X(PLAIN_BEFORE_PUBLISH) X(PLAIN_PUBLISHED) X(PLAIN_SETTLED) X(PLAIN_RETIRED)                  \
    X(PLAIN_NEW_CLEARED) X(PLAIN_DECIDED) X(PLAIN_LET_GO)                                         \
    /* Reads, ticks, borrows (store/access.c) */                                                  \
    X(READ_LOOKED) X(READ_COPIED) X(TICK_BEGUN) X(TICK_LEFT) X(TICK_RETURNED) X(BORROW_PINNED)    \
    X(BORROW_AGAIN) X(BORROWED)                                                                   \
    /* Sections and epochs (memory/epoch.*) */                                                    \
    X(SECTION_STORED) X(SECTION_ENTERED) X(SECTION_MOVED) X(SECTION_LEFT) X(EPOCH_READ)           \
    X(EPOCH_CHECKED) X(EPOCH_ADVANCED) X(EPOCH_EVICTS) X(EPOCH_EVICTED) X(EPOCH_LAGGING)          \
    /* Retiring and reclaiming (memory/reclaim.c) */                                              \
    X(RECLAIM_FILTERED) X(RETIRE_BEFORE) X(RETIRE_MARKED) X(RETIRE_LISTED) X(RECLAIM_DUE)         \
    X(COLLECT_BEGUN) X(COLLECT_DRAINS) X(COLLECT_DRAINED) X(RECLAIM_SCANNED) X(FLUSH_BEGUN)       \
    X(FLUSH_DRAINED) X(FLUSH_CLASS) X(FLUSH_ENDED)                                                \
    /* Blocks: taking, freeing, throwing away (memory/block.c) */                                 \
    X(TAKE_FOUND) X(TAKE_LOGGED) X(TAKE_TAKEN) X(TAKE_PUT_BACK) X(TAKE_RESERVE) X(TAKE_SLOW)      \
    X(FREE_RUN_CLAIMED) X(FREE_RUN_LOGGED) X(FREE_RUN_TAKEN) X(FREE_RUN_RELEASED) X(FREE_BEFORE)  \
    X(FREE_FREED) X(DISCARD_BEFORE) X(DISCARD_MARKED) X(DISCARD_READY)                            \
    /* Slabs: draining, choosing, committing; what is short (memory/block.c, segment.c) */        \
    X(WORD_RELEASED) X(DRAIN_FOUND_FREE) X(DRAIN_LOGGED) X(DRAIN_MARKED) X(DRAIN_WORD)            \
    X(DRAIN_WORDS_TAKEN) X(DRAIN_EMPTY) X(DRAIN_WORDS_BACK) X(DRAIN_GIVES_UP) X(DRAIN_ENDED)      \
    X(SLAB_CHOSEN) X(SLAB_CLASSED) X(COMMIT_BEGUN) X(COMMIT_ENDED) X(STRAYS_SCANNED)              \
    X(HARD_PUSHED) X(HARD_FLUSHED) X(HARD_RECLAIMED) X(REFILL_HARD) X(HARD_NO_SNAPSHOT)           \
    X(COMMIT_MEMORY) X(COMMIT_POPULATED)                                                          \
    /* Runs of slabs; taking a claim apart (memory/block.c) */                                    \
    X(CLAIM_BODY_RELEASED) X(CLAIM_BODIES_RELEASED) X(CLAIM_STATE_RELEASED) X(CLAIM_RELEASED)     \
    X(RUN_SLAB_CLAIMED) X(RUN_CLAIM_LOST) X(RUN_TAKEN) X(RUN_BODY) X(RUN_BUILT) X(RUN_FOUND)      \
    X(RUN_COMMITTED) X(RUN_PINNED) X(RUN_LOGGED) X(RUN_DONE)                                      \
    /* Growth (table/index.c) */                                                                  \
    X(GROW_ZEROED) X(GROW_INSTALLED) X(GROW_CROWDED) X(GROW_DIRECTORY_PINNED)                     \
    X(GROW_PIECE_MISSING) X(GROW_PIECES_PINNED) X(GROW_BLOCK_PINNED) X(GROW_BLOCK_VALIDATED)      \
    X(GROW_HEAD_SETTLED) X(GROW_CHILD_BEFORE) X(GROW_CHILD_SET) X(GROW_SECOND_SHARE)              \
    X(GROW_FIRST_SHARE) X(GROW_VECTOR_BEFORE_DONE) X(GROW_VECTOR_DONE)   \
    X(GROW_CHILDREN_BEFORE) X(GROW_FIRST_CHILD) X(GROW_SECOND_CHILD) X(GROW_DONE) X(GROW_LOGGED)  \
    X(GROW_FROZEN) X(GROW_BEFORE_FREEZE) X(GROW_CURSOR_BEFORE) X(GROW_CURSOR_MOVED)               \
    X(GROW_BASE_BEFORE) X(GROW_GROUP_ENDED) X(GROW_CURSOR_LEVEL) X(GROW_FINISHED)                 \
    X(PIECE_PINNED) X(PIECE_VALIDATED) X(PIECE_RETIRED) X(PIECE_UNPINNED) X(LEVEL_PINNED)         \
    X(LEVEL_UNPINNED)                                                                             \
    /* Plugins, snapshots, walks (table/) */                                                      \
    X(PLUGIN_LOG_CLEARED) X(PLUGIN_TAKEN) X(PLUGIN_FOUND_LATE) X(PLUGIN_FILLED)                   \
    X(PLUGIN_INSERTED) X(PLUGIN_UNPINNED) X(BUCKET_PINNED) X(BUCKET_SETTLED) X(BUCKET_UNPINNED)   \
    X(SNAPSHOT_GRACE) X(SNAPSHOT_FREE) X(SNAPSHOT_ERA_RAISED) X(SNAPSHOT_BEFORE_PENDING)          \
    X(SNAPSHOT_PENDING) X(SNAPSHOT_LOST) X(SNAPSHOT_GRACE_OVER) X(SNAPSHOT_ERA_CLOSED)            \
    X(SNAPSHOT_ENDS) X(SNAPSHOT_ENDED) X(WALK_COPIED) X(WALK_SECTION_ENDED)                       \
    /* Slots, joining and leaving (segment/slot.c, recovery/recover.c) */                         \
    X(SLOT_LOOKED_FREE) X(SLOT_LOCKED) X(SLOT_CLAIMED) X(SLOT_UNUSED) X(SLOT_RELEASED) X(SLOT_ABANDONED)            \
    X(JOIN_CLAIMED) X(JOIN_SEEN) X(JOIN_INHERITED) X(JOIN_ADOPTED) X(LEAVE_BEGUN)                 \
    X(LEAVE_WORDS_CLEARED) X(LEAVE_FLUSHED) X(LEAVE_LEFT)                                         \
    /* Acting for the dead (recovery/recover.c, memory/block.c) */                                \
    X(SLAB_RECOVER_DRAINING) X(SLAB_RECOVER_WORDS_BACK) X(SLAB_RECOVER_CLAIMED)                   \
    X(SLAB_RECOVER_DRAINED) X(SLAB_RECOVER_RUN) X(RECOVER_BLOCK) X(RECOVER_NAMED)                 \
    X(RECOVER_DECIDED) X(RECOVER_BLOCK_SETTLED) X(RECOVER_BEGUN) X(RECOVER_NUMBERED)              \
    X(RECOVER_MARKED_DEAD) X(RECOVER_SNAPSHOT_CLEARED) X(RECOVER_SLAB_DONE)                       \
    X(RECOVER_PLUGIN_FOUND) X(RECOVER_BLOCKS_DONE) X(RECOVER_WORD_CLEARED)                        \
    X(RECOVER_SECTION_CLEARED) X(RECOVER_COUNTED) X(RECOVER_RELEASED)                             \
    /* Segments (segment/segment.c) */                                                            \
    X(CREATE_COMMITTED) X(CREATE_HEADER) X(CREATE_SLOTS) X(CREATE_FILE) X(CREATE_SIZED)           \
    X(CREATE_FILLED) X(CREATE_BEFORE_LINK) X(CREATE_LINKED) X(ATTACH_MAPPED) X(ATTACH_CHECKED)    \
    X(ATTACH_OPENED) X(UNLINK_FOUND) X(UNLINK_ASIDE) X(UNLINK_BEFORE) X(UNLINK_DONE)              \
    /* Stores and states (store/shm.c, keeper.c) */                                               \
    X(STORE_LIFE_SEEN) X(STORE_LIFE_RESTORED) X(STORE_KEPT) X(STORE_REMOVED) X(STORE_CLOSED)      \
    X(DESTROY_JOINED) X(DESTROY_BEFORE) X(DESTROY_MARKED) X(DESTROY_LOOKED) X(DESTROY_REFUSED)    \
    X(DESTROY_FINAL) X(STATE_JOINED) X(STATE_RECOVERED) X(STATE_PLUGIN) X(STATE_CLOSES)           \
    X(STATE_CLOSED) X(KEEPER_JOINED) X(KEEPER_STOPS) X(KEEPER_LEFT)                               \
    /* Whole stores (store/housekeeping.c) */                                                     \
    X(VISIT_JOINED) X(PURGE_BEFORE) X(PURGE_AFTER) X(PRUNE_BEFORE) X(SWEEP_ENDS) X(CHECK_LOGGED)  \
    X(CHECK_TIDIED) X(CHECK_PASS) X(EXPORT_BEGUN) X(EXPORT_COPIED) X(EXPORT_LOST)
/* clang-format on */

enum tks_point {
#define POINT_NUMBER(name) POINT_##name,
    TKS_POINTS(POINT_NUMBER)
#undef POINT_NUMBER
        POINT_COUNT
};

#ifdef TKS_TEST_TINY
/** The test program's; weak, as most programs have none. */
void tks_point_reached(enum tks_point point) __attribute__((weak));

static inline void tks_point(enum tks_point point)
{
    if (tks_point_reached)
        tks_point_reached(point);
}
#else
/* Not even an inline function: the compiler's output is the same to the byte. */
#define tks_point(point) ((void)(point))
#endif

#endif
