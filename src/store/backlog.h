/* SPDX-License-Identifier: MIT */
/*
 * What of a segment is not in a database yet, in batches.
 *
 * Nothing is queued. The marks of the index say what changed since an era (table/changes.h), and a
 * snapshot what is there now; so the backlog is the segment itself: a key that was set a thousand
 * times while the database was away is one row, and memory is what one batch takes.
 *
 * A *cycle* walks all ranges that changed since the stamp of the last one. Each *batch* of it takes
 * a snapshot of its own, copies some thousand rows at most, with the ranges that they are all of,
 * and ends the snapshot before anybody talks to a database: however slow that is, the segment
 * retains nothing for it. When the last batch is in the database, the next cycle looks for changes
 * since the first snapshot of this one; what changed in the meantime is thus seen again.
 *
 * A cycle of one batch, the usual case, puts into the database a state that existed. In a larger
 * one every row is as it was at its batch's snapshot, so between its first and its last batch the
 * database may have a later change without an earlier one of another range; from the end of the
 * first cycle of one batch on it is exact again.
 */
#ifndef TKS_STORE_BACKLOG_H
#define TKS_STORE_BACKLOG_H

#include "base/buffer.h"
#include "database/driver.h"
#include "table/changes.h"
#include "table/walk.h"

#define BACKLOG_ROWS_MOST 2048u

/** A plugin, and hashes of it. */
struct tks_backlog_place {
    struct plugin *plugin;
    struct tks_run run;
    size_t name_len;
    char name[TKS_NAME_MAX + 1];
};

/** How far a cycle has come. */
struct tks_backlog_cursor {
    size_t stopped, plugin; /* taken from the lists */
    const struct tks_backlog_place *place;
    struct tks_run run; /* of it, not walked yet; first > last: nothing */
    struct tks_changes changes;
};

/** All zero but for the member at first: nothing is known of the database. */
struct tks_backlog {
    struct tks_member *member;
    uint64_t since;   /* stamp of a snapshot that the database has; 0: unknown */
    size_t most_rows; /* in a batch, about; 0: BACKLOG_ROWS_MOST */
    /* The cycle. */
    bool begun;
    bool names_due;   /* its first batch, which tells what plugins there are, is not over */
    uint64_t stamp;   /* of its first snapshot */
    int64_t began_ms; /* store clock, before it */
    struct tks_buffer plugins; /* struct tks_backlog_place: that changed, whole */
    struct tks_buffer stopped; /* ranges of those who are stopped while they settle */
    struct tks_backlog_cursor carried, collected;
    /* The batch. */
    struct tks_batch items;
    struct tks_buffer ranges, rows, names, texts, offsets;
    int64_t to_wall_ms; /* what the store clock is behind the wall clock */
};

/**
 * The next batch of the cycle, which is begun if there is none. It lives until the next call.
 * TKS_OK; TKS_BUSY (no snapshot could be completed), TKS_NO_SPACE (process memory), TKS_CORRUPT,
 * TKS_EVICTED.
 */
int tks_backlog_collect(struct tks_backlog *backlog, struct tks_mirror_batch *batch);

/** The batch is in the database; one that is not is collected again, as it is by then. True: the
 * cycle has ended. */
bool tks_backlog_carried(struct tks_backlog *backlog);

/** What the database has is unknown again. */
void tks_backlog_forget(struct tks_backlog *backlog);

void tks_backlog_release(struct tks_backlog *backlog);

#endif
