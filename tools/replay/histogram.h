/* SPDX-License-Identifier: MIT */
/*
 * Latencies in buckets that are at most 1/64 wide, from 1 ns to more than 18 minutes. A histogram
 * holds no pointer: it may live in memory that outlasts the process that fills it.
 */
#ifndef TICKSTATE_REPLAY_HISTOGRAM_H
#define TICKSTATE_REPLAY_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_MAX_BITS 40
#define HISTOGRAM_BUCKETS ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
/** The smallest and largest value that bucket @p index counts. */
uint64_t histogram_bucket_min(int index);
uint64_t histogram_bucket_max(int index);
/** The value that @p share (0 to 1) of all values do not exceed; 0 when there is none. */
uint64_t histogram_at(const struct histogram *histogram, double share);

#endif
