/* SPDX-License-Identifier: MIT */
#include "replay/histogram.h"

#include <math.h>

#define SUB_COUNT (1u << HISTOGRAM_SUB_BITS)

/*
 * Values below 64 have a bucket each. Above, the position of the highest bit selects a row of 64
 * buckets and the 6 bits after it the bucket in the row.
 */
static int bucket_of(uint64_t ns)
{
    int row;

    if (ns >> HISTOGRAM_MAX_BITS)
        return HISTOGRAM_BUCKETS - 1;
    if (ns < SUB_COUNT)
        return (int)ns;
    row = 63 - __builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    return (int)(((unsigned)row << HISTOGRAM_SUB_BITS) + (unsigned)(ns >> row));
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->buckets[bucket_of(ns)]++;
    histogram->count++;
    if (ns > histogram->max)
        histogram->max = ns;
}

uint64_t histogram_bucket_min(int index)
{
    unsigned row = (unsigned)index >> HISTOGRAM_SUB_BITS;

    if (row <= 1)
        return (uint64_t)index;
    return (uint64_t)(SUB_COUNT + ((unsigned)index & (SUB_COUNT - 1))) << (row - 1);
}

uint64_t histogram_bucket_max(int index)
{
    return histogram_bucket_min(index + 1) - 1;
}

uint64_t histogram_at(const struct histogram *histogram, double share)
{
    uint64_t rank = (uint64_t)ceil(share * (double)histogram->count), sum = 0;

    if (rank < 1)
        rank = 1;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum += histogram->buckets[i];
        if (sum >= rank) {
            uint64_t top = histogram_bucket_max(i);

            return top < histogram->max ? top : histogram->max;
        }
    }
    return histogram->max;
}
