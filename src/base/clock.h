/* SPDX-License-Identifier: MIT */
/* Clocks. The store clock is CLOCK_BOOTTIME plus an offset fixed when the segment was created. */
#ifndef TKS_BASE_CLOCK_H
#define TKS_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t wall_ms(void)
{
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

/** a + b, or "as far as time goes". */
static inline int64_t add_clamped(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

/** a - b, as far as time goes in either direction: what a segment says may be damaged. */
static inline int64_t sub_clamped(int64_t a, int64_t b)
{
    int64_t difference;
    if (!__builtin_sub_overflow(a, b, &difference))
        return difference == INT64_MIN ? -INT64_MAX : difference;
    return a < b ? -INT64_MAX : INT64_MAX;
}

/** Milliseconds since boot as the initial time namespace counts them. */
int64_t tks_boot_ms(void);

/** What makes a time of tks_boot_ms() one of the wall clock, as both are now. Three clock reads, more if the thread was
 * held up between them. */
int64_t tks_boot_to_wall_ms(void);

#endif
