/* SPDX-License-Identifier: MIT */
/*
 * Stores that keep their data on a disk, as people use them for this: what a checkpoint is compared
 * with. A group of puts is made durable by one commit; what durable means there, the label says.
 */
#ifndef BENCH_DURABLE_H
#define BENCH_DURABLE_H

#include <stddef.h>
#include <stdint.h>

struct durable {
    const char *name;  /* what --only matches */
    const char *label; /* what the tables say */
    /* In this folder, where nothing of the name is yet or where close() has left its files. NULL:
     * not to be had on this machine. */
    void *(*open)(const char *folder);
    void (*close)(void *handle);
    int (*begin)(void *handle);
    int (*put)(void *handle, const char *key, const void *value, size_t len);
    int (*commit)(void *handle);
    /* Visit every key and the bytes of every value, in the store's own order; how many. NULL: it
     * has all in memory when open() returns. */
    uint64_t (*scan)(void *handle);
};

/** The stores of this build that --only lets through, NULL-terminated. */
const struct durable *const *durables_available(void);

#endif
