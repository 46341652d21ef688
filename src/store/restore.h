/* SPDX-License-Identifier: MIT */
/*
 * A new segment begins with what its checkpoint holds.
 *
 * It is filled before it has a name (tks_segment_options.fill), so there is no half restored
 * segment to be seen, to be used or to be left behind; of creators that race one wins the name. A
 * segment that exists wins over the file, which is then not even opened.
 *
 * No file: an empty store. A file that cannot be loaded, or that does not fit: no store, and the
 * same again at the next attempt, until somebody does something about the file or the size; it is
 * never replaced by an empty one. A file that is damaged but holds an older cut: that cut, a
 * warning (in tks_last_error() after an open that succeeds, and in the header for stats), and a
 * second link to the file, as the first full image of the new segment takes its name.
 *
 * Between reading the file and taking the name another process may create the segment, have writes
 * acknowledged, and remove it; so the file is looked at again last of all, and if it is another one
 * or longer everything is done again. (What is left is a creator that is stopped between that look
 * and linkat(2) for as long as all that takes.)
 *
 * Versions. None that was given out may come again, not even those given out after the last cut.
 * If nobody sets the clock back the wall clock in ns is beyond them all: the counter began at the
 * wall clock and nobody writes once per ns. For clocks that were set back there is a margin beyond
 * the highest version of the last cut: VERSION_MARGIN is 73 minutes of a write every ns, or
 * twelve hours of a hundred million writes a second, without any cut in that time; cuts come every
 * interval_ms. When it is not known how much was lost after the cut that was loaded, it may be all
 * that was written for as long as the file was appended to: UNCERTAIN_MARGIN is a year and more of
 * a hundred million writes a second. Of the versions there are, four million restores use up all
 * with the one, four thousand with the other, if the clock does not catch up in between.
 */
#ifndef TKS_STORE_RESTORE_H
#define TKS_STORE_RESTORE_H

#include "segment/segment.h"

#define VERSION_MARGIN (1ull << 42)
#define UNCERTAIN_MARGIN (1ull << 52)

/** One open; all zero at first but for the path. */
struct tks_restore {
    const char *path;
    unsigned thrift;   /* see table/bulk.h */
    unsigned attempts; /* that found the file changed */
    bool again;        /* the fill failed, and may do better */
    bool filled;       /* the last one did not */
    char warning[480]; /* "" or a sentence */
};

/** The segment's fill; @p arg is a struct tks_restore. */
int tks_restore_fill(struct tks_segment *segment, void *arg);

/** After an open that succeeded: leave the warning as the last error, if there is one. */
void tks_restore_tell(const struct tks_restore *restore);

#endif
