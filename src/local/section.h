/* SPDX-License-Identifier: MIT */
/*
 * Who reads memory://, and when what was unlinked may be freed: liburcu's memb flavour.
 *
 * memb and not QSBR, because a library cannot ask its caller's threads for quiescent states: under
 * QSBR they would be offline between sections, which costs two full fences per section, and a
 * thread that uses QSBR itself would be taken offline under its own feet. Measured (bench-flavours,
 * 2 CPUs AMD EPYC): a get takes 14 ns under memb and 78 under QSBR, a tick of eight 91 and 150.
 * What memb pays instead is a membarrier() in the grace period (34 us against 3), and that is the
 * keeper's: at most one in 10 ms. It is MEMBARRIER_CMD_PRIVATE_EXPEDITED, which interrupts CPUs
 * that run threads of this process and no others, so that no plugin of another process feels it; a
 * kernel that lacks it has liburcu use the one that waits and interrupts nobody.
 *
 * Registration is per thread and process-wide. A thread that the application has registered with
 * memb is used as it is; otherwise it is registered while it has a state of memory://, and an
 * application that wants memb in such a thread must register before it opens one (liburcu refuses a
 * second time).
 */
#ifndef TKS_LOCAL_SECTION_H
#define TKS_LOCAL_SECTION_H

#define _LGPL_SOURCE
#include "base/atomic.h"

#include <urcu/urcu-memb.h>
#include <urcu/rculfhash.h>

#ifdef TKS_THREAD_SANITIZER
/* The functions instead of the inlined ones: TSan does not understand liburcu's atomics. */
#undef urcu_memb_read_lock
#undef urcu_memb_read_unlock
extern void urcu_memb_read_lock(void);
extern void urcu_memb_read_unlock(void);
#endif

/** Let the calling thread open sections; once for each tks_section_quit(). A public status. */
int tks_section_join(void);
void tks_section_quit(void);

/** Note that a section of the calling thread stays open between calls (a tick), or no longer does.
 */
void tks_section_kept(int change);

/** Whether the calling thread is in any section, one of the application's own included. */
bool tks_section_inside(void);

/** Wait for all sections that are open now. By the keeper only: who is in a section waits forever.
 */
void tks_section_wait(void);

/** A table of @p buckets; NULL without memory. */
struct cds_lfht *tks_section_table(unsigned long buckets);

/** Grow it to @p buckets, if there is memory. Inside a section, too. */
bool tks_section_grow(struct cds_lfht *table, unsigned long buckets);

static inline void local_enter(void)
{
    urcu_memb_read_lock();
}

static inline void local_leave(void)
{
#ifdef TKS_THREAD_SANITIZER
    fence_full(); /* for TSan, with the one in tks_section_wait(): what liburcu orders */
#endif
    urcu_memb_read_unlock();
}

#endif
