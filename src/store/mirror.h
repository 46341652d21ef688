/* SPDX-License-Identifier: MIT */
/*
 * The mirror: a table `plugin_state` in a database that follows the segment.
 *
 * One of the attached processes that gave mirror= feeds it, in a thread of its own (a database that
 * is away must not hold up a durability barrier), under a lease of its own (store/lease.h). What is
 * to be carried over is store/backlog.h; how a batch becomes one transaction, and whose a table is,
 * database/driver.h.
 *
 * **The segment is the master.** A key of its that another program changes or deletes in the table
 * is what the segment says as soon as the range of hashes that it lies in changes again. Rows of
 * other programs whose keys the segment does not have are left alone. Rows carry the segment's
 * versions.
 *
 * **Who feeds.** What a feeder knows of the database (since) is its own: one that was elected
 * begins with everything, and so repairs whatever a restored backup of the database has lost. Rows
 * that are there already are not written again. A feeder that is stopped, replaced and resumed is
 * kept out by the database: its transactions begin with locking the row that says whose the table
 * is, by segment and generation of the lease. What it had committed before it was stopped is older
 * than all that its successor reads.
 *
 * **Whose the table is.** A segment that was made anew, and is empty, must not wipe what the table
 * still has of an earlier one. So a table belongs to one segment; another gets it if it has no
 * mirrored row, if the segment began with a checkpoint of the one that has it, or when somebody
 * opens it with mirror_take=1, once. Until then the refusal is the mirror's last error.
 *
 * **When the database is away** the feeder tries again, ten milliseconds later at first and a
 * second at last. A batch that failed is collected anew, as the segment is by then, and with half
 * as many rows, so that a database that is too slow for a batch within its timeout is not for ever.
 *
 * **Expiry.** Nothing in the segment changes when a deadline passes, so the feeder deletes what has
 * expired when the time has come that the database named last, or that was carried over since.
 */
#ifndef TKS_STORE_MIRROR_H
#define TKS_STORE_MIRROR_H

#include "memory/member.h"

struct tks_mirror;

#define MIRROR_URI_ROOM 1024u

/** What a URI says about the mirror; no uri: none. */
struct mirror_options {
    char uri[MIRROR_URI_ROOM];
    uint64_t interval_ms;
    int cpu;
    bool take;
};

/** Check mirror=. TKS_OK; TKS_INVALID; TKS_UNSUPPORTED: no such database in this build. */
int tks_mirror_check(const char *uri);

/** Start the thread that feeds when it is our turn. */
int tks_mirror_start(struct tks_segment *segment, const struct mirror_options *options,
                     struct tks_mirror **mirror);

/** By the keeper's thread: stand for election, or say that we live. When to look again, ns. */
int64_t tks_mirror_look(struct tks_mirror *mirror, const struct tks_member *keeper, int64_t now_ns);

/** By the keeper's thread, last (NULL: there never was one): a last cycle if we feed, for as long
 * as the database's timeout_ms=, and the lease is free. */
void tks_mirror_stop(struct tks_mirror *mirror, const struct tks_member *keeper);

#endif
