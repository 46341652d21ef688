/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <pthread.h>
#include <stdio.h>

/* A time namespace shifts CLOCK_BOOTTIME; what other processes store is on the initial one. */
static int64_t namespace_offset_ms;
static pthread_once_t namespace_once = PTHREAD_ONCE_INIT;

static void read_namespace_offset(void)
{
    FILE *file = fopen("/proc/self/timens_offsets", "re");
    if (!file)
        return;
    char line[128];
    while (fgets(line, sizeof(line), file)) {
        long long seconds, nanoseconds;
        if (sscanf(line, "boottime %lld %lld", &seconds, &nanoseconds) == 2)
            namespace_offset_ms = seconds * 1000 + nanoseconds / 1000000;
    }
    fclose(file);
}

int64_t tks_boot_ms(void)
{
    pthread_once(&namespace_once, read_namespace_offset);
    return clock_ns(CLOCK_BOOTTIME) / 1000000 - namespace_offset_ms;
}

/* Clocks are read one after the other, and a thread that loses its core in between would shift every
 * deadline it converts by as long as it was away: so the other clock is read between two readings of
 * the first, which say how long that took, and again if it was too long. */
#define PAIR_TRIES 8
#define PAIR_NS 100000

int64_t tks_boot_to_wall_ms(void)
{
    int64_t closest = INT64_MAX, difference = 0;
    pthread_once(&namespace_once, read_namespace_offset);
    for (int i = 0; i < PAIR_TRIES && closest > PAIR_NS; i++) {
        const int64_t before = clock_ns(CLOCK_BOOTTIME);
        const int64_t wall = clock_ns(CLOCK_REALTIME);
        const int64_t took = clock_ns(CLOCK_BOOTTIME) - before;
        if (took >= closest)
            continue;
        closest = took;
        difference = wall - (before + took / 2);
    }
    return difference / 1000000 + namespace_offset_ms;
}
