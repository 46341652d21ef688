/* SPDX-License-Identifier: MIT */
/*
 * The pages under a segment: mapped where huge ones fit, committed before anybody touches them,
 * made huge while there is nothing in them yet.
 *
 * huge=1 does not wait for the kernel's daemon, nor for an administrator: on Debian the kernel's
 * setting for shared memory is "never", and madvise(MADV_HUGEPAGE) succeeds without any effect.
 * MADV_COLLAPSE (Linux 6.1) does it now, whatever the setting. It unmaps what it collapses from
 * every process for a moment, so whole windows are committed and collapsed before their slabs are
 * given out; only what a segment holds already when somebody first opens it with huge=1 is moved in
 * use.
 */
#ifndef TKS_SEGMENT_PAGES_H
#define TKS_SEGMENT_PAGES_H

#include <stdbool.h>
#include <stdint.h>

/* What a huge page holds, where the page size is 4 KiB. Elsewhere collapsing fails, and says so. */
#define WINDOW_BYTES (UINT64_C(2) << 20)

/** fallocate(2), so that a full tmpfs is an error here and not SIGBUS at the first touch: 0 or
 * errno. */
int tks_pages_commit(int fd, uint64_t offset, uint64_t bytes);

/** Map the file, shared, offset 0 at a multiple of WINDOW_BYTES if that can be; NULL with errno. */
char *tks_pages_map(int fd, uint64_t bytes);

/** Fill page tables in one go instead of a fault per page; a kernel without it faults them in. */
bool tks_pages_populate(char *base, uint64_t offset, uint64_t bytes);

/** Windows that became huge of those that overlap [from, from + bytes) and end within @p size. */
uint64_t tks_pages_make_huge(char *base, uint64_t size, uint64_t from, uint64_t bytes,
                             uint64_t *windows);

#endif
