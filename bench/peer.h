/* SPDX-License-Identifier: MIT */
/*
 * The stores that are compared, behind one table of functions.
 *
 * Every call goes through the same kind of pointer with the same arguments: a NUL-terminated key
 * (who needs its length counts it) and the caller's buffer. tickstate sits behind its public API.
 * A "tick" is the cheapest read section a peer has: reads inside may rely on it, and a write inside
 * is visible to others when its call returns.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer_config {
    const char *name; /* unique; peers that live in a file use /dev/shm/NAME… */
    uint64_t keys;    /* how many keys will come; sizes what has to be sized */
    bool grow;        /* start small and grow: keys is a limit, not a hint */
    bool prefault;    /* tickstate: commit and map the segment at open */
    bool attach;      /* open what another process has created */
};

enum peer_trait {
    PEER_PROCESSES = 1, /* usable by several processes */
    PEER_SLOW = 2,      /* microseconds per operation: fewer of them are measured */
};

struct peer {
    const char *name;  /* what --only matches */
    const char *label; /* what the tables say */
    unsigned traits;
    uint64_t insert_max; /* the insert bench stops here (0: no limit), or it would take minutes */

    void *(*open)(const struct peer_config *config);
    void (*close)(void *handle);
    int (*get)(void *handle, const char *key, void *buf, size_t cap, size_t *len);
    int (*set)(void *handle, const char *key, const void *value, size_t len);
    int (*tick_begin)(void *handle);
    int (*tick_end)(void *handle);

    /* get() by a caller that knows the key's length (KEY_LEN): the flat table only. */
    int (*get_counted)(void *handle, const char *key, void *buf, size_t cap, size_t *len);

    /* One transaction around a fill; NULL when that changes nothing. */
    int (*bulk_begin)(void *handle);
    int (*bulk_end)(void *handle);

    /* Prepared keys: tickstate only, NULL elsewhere. */
    size_t prepared_size;
    int (*prepare)(void *handle, const char *key, void *prepared);
    int (*get_prepared)(void *handle, void *prepared, void *buf, size_t cap, size_t *len);
    int (*set_prepared)(void *handle, void *prepared, const void *value, size_t len);

    /* Bytes of memory held by the files; NULL: count the process's own memory. */
    uint64_t (*bytes)(const struct peer_config *config);
};

extern const struct peer peer_flat;
extern const struct peer peer_tickstate;
extern const struct peer peer_ck_ht;
extern const struct peer peer_lfht;
extern const struct peer peer_lmdb;
extern const struct peer peer_sqlite;

/** The peers of this build that --only lets through, flat and tickstate first; NULL-terminated. */
const struct peer *const *peers_available(void);
/** Say which peers this build lacks. */
void peers_note_missing(void);

/** Store keys 0 … n-1 with their values, then read some back; dies when a value is wrong. */
void peer_fill(const struct peer *peer, void *handle, const char *keys, uint64_t n);

/** The tick of a peer that has none. */
int peer_tick_nothing(void *handle);

#endif
