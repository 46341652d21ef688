/* SPDX-License-Identifier: MIT */
/*
 * The host: the process, among those that opened a segment with checkpoint=, whose thread writes
 * the file.
 *
 * It holds the lease (store/lease.h). A slow disk is no reason to be replaced. A host that was
 * replaced and is resumed asks the lease before it touches anything (checkpoint/checkpoint.h says
 * what may happen in between and why it harms nothing). What it knows of changes (since) is its
 * own: a successor begins with a full image.
 *
 * The barrier. A caller takes a ticket (++asked) after its writes; the writer reads asked, then
 * takes a snapshot, writes and syncs, then raises done to what it had read: whoever has a ticket up
 * to there has its writes on disk, and many callers share one cut. A cut that fails raises failed
 * instead. A replaced host may still raise done: its cut was collected while it was host, and lies
 * in the file or in what replaced the file. Everybody waits on the event count `calls`, a futex
 * shared by all processes; a lost wake-up costs at most WAIT_MS.
 */
#ifndef TKS_STORE_HOST_H
#define TKS_STORE_HOST_H

#include "memory/member.h"

struct checkpoint_options;
struct tks_host;

/** Start the thread that writes when it is our turn. */
int tks_host_start(struct tks_segment *segment, const struct checkpoint_options *options,
                   struct tks_host **host);

/** By the keeper's thread: stand for election, or say that we live. When to look again, ns. */
int64_t tks_host_look(struct tks_host *host, const struct tks_member *keeper, int64_t now_ns);

/** By the keeper's thread, last: a last cut if we are the host, and the lease is free. */
void tks_host_stop(struct tks_host *host, const struct tks_member *keeper);

/** Wait until every write that was finished before the call is on disk, or a cut has failed. */
int tks_host_barrier(struct tks_host *host);

#endif
