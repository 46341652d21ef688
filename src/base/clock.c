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
