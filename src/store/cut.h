/* SPDX-License-Identifier: MIT */
/*
 * Taking a cut: what a snapshot sees of a segment, or what of it changed since the last one, handed
 * to a checkpoint writer.
 */
#ifndef TKS_STORE_CUT_H
#define TKS_STORE_CUT_H

#include "checkpoint/checkpoint.h"
#include "memory/member.h"

/** How often whoever takes snapshots for a living tries to complete one. */
#define CUT_TRIES 16

/** When tombstones were last cleared away, and the header's count then. */
struct tks_tidier {
    uint64_t tombstones;
    int64_t tidied_ns;
};

/** What one host knows about the file it writes. */
struct tks_cutter {
    struct tks_member *member;
    struct tks_writer *writer;
    uint64_t since; /* stamp of the snapshot of the last cut written */
    struct tks_tidier tidier;
    uint64_t image_nodes; /* bytes of nodes when the full image was taken */
    int64_t measured_ns;
    uint64_t nodes;          /* bytes of nodes when last measured */
    uint64_t measured_bytes; /* of the file then */
};

/** Whether the next cut should be a full image: none yet, or the increments have outgrown it. */
bool tks_cut_wants_full(struct tks_cutter *cutter);

/**
 * Take a cut and make it durable. Outside any section. TKS_OK, TKS_REPLACED, TKS_BUSY (no snapshot
 * could be completed), a status of the writer, TKS_CORRUPT.
 */
int tks_cut_take(struct tks_cutter *cutter, bool full);

/** Now and then, outside any section: remove the empty nodes that deletions leave which a snapshot
 * saw; nothing else does. */
void tks_cut_tidy(struct tks_member *member, struct tks_tidier *tidier);

/** Whether a snapshot that came to @p status is worth another attempt; then after a short pause. */
bool tks_cut_try_again(int status);

#endif
