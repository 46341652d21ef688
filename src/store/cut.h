/* SPDX-License-Identifier: MIT */
/*
 * Taking a cut: what a snapshot sees of a segment, or what of it changed since the last one, handed
 * to a checkpoint writer.
 */
#ifndef TKS_STORE_CUT_H
#define TKS_STORE_CUT_H

#include "checkpoint/checkpoint.h"
#include "memory/member.h"

/** What one host knows about the file it writes. */
struct tks_cutter {
    struct tks_member *member;
    struct tks_writer *writer;
    uint64_t since;       /* stamp of the snapshot of the last cut written */
    uint64_t tombstones;  /* the header's count when tombstones were last cleared away */
    uint64_t image_nodes; /* bytes of nodes when the full image was taken */
    int64_t measured_ns;
    uint64_t nodes; /* bytes of nodes when last measured */
};

/** Whether the next cut should be a full image: none yet, or the increments have outgrown it. */
bool tks_cut_wants_full(struct tks_cutter *cutter);

/** Whether anything was written since the snapshot of stamp @p since, or may have been. */
bool tks_cut_is_due(const struct tks_cutter *cutter, uint64_t since);

/**
 * Take a cut and make it durable. Outside any section. TKS_OK, TKS_REPLACED, TKS_BUSY (no snapshot
 * could be completed), a status of the writer, TKS_CORRUPT.
 */
int tks_cut_take(struct tks_cutter *cutter, bool full);

#endif
