/* SPDX-License-Identifier: MIT */
/*
 * What a backend is. The public functions (api/) check arguments that every backend would check,
 * and jump through this table; a store and a state begin with what the table needs.
 *
 * A key comes as a name or as a prepared key: exactly one of the two is not NULL.
 */
#ifndef TKS_BASE_BACKEND_H
#define TKS_BASE_BACKEND_H

#include "base/uri.h"

#include <tickstate/tickstate.h>

#include <stdbool.h>

/** What a read wants; in: buf, cap, peek. */
struct tks_reading {
    void *buf;
    size_t cap;
    bool peek; /* not the value: whether it is there, its length, type and version */
    size_t len;
    uint64_t version;
    int type;
};

enum tks_write_kind { WRITE_SET, WRITE_SET_IF, WRITE_ADD, WRITE_DELETE, WRITE_COPY };

enum tks_expiry { EXPIRY_NONE, EXPIRY_TTL, EXPIRY_WALL };

/*
 * WRITE_COPY, what tks_copy_record() comes to: a set of a value that another store gave `version`
 * (0: none is known), with expiry EXPIRY_NONE or EXPIRY_WALL.
 *
 * - If the key is present with this type, these bytes and this expiry (none on both sides, or
 *   within COPY_SLACK_MS: clocks are converted on the way), and its version is `version` or
 *   `version` may not be kept here: nothing is written, TKS_COPY_SAME.
 * - Else it is written, with `version` if that may be kept (TKS_COPY_KEPT), else with a new one of
 *   this store's (TKS_COPY_RENEWED). What was there, whatever its version, is overwritten.
 * - If the key has `version` already, but another type or other bytes, then two writes have it,
 *   and this one may not keep it. (Another expiry under one version comes of clocks alone.)
 *
 * A version may be kept if this store has not given it out and never will. So a store knows which
 * numbers it has given out: those from the first one of its life to its counter, less the gaps that
 * the counter has jumped over. A version at the counter or above is kept after the counter was
 * raised, first and for good, so that a writer that dies after that has only lost numbers. The
 * counter is raised well past the version, to the wall clock in ns at least: records come in no
 * order of versions, and what was jumped over stays free for the next ones (and the next run). A
 * version of COPY_VERSION_LIMIT or more is not kept: one bad record shall not use the numbers up.
 *
 * A version that was kept is the entry's in every way: reads, set_if, export and checkpoints.
 */
#define COPY_SLACK_MS 5
#define COPY_VERSION_LIMIT (1ull << 62)
/* How far the counter is raised past a version, unless the wall clock is further. */
#define COPY_VERSION_HEADROOM (1ull << 42)

struct tks_writing {
    enum tks_write_kind kind;
    unsigned type;
    const void *value;
    size_t len;
    enum tks_expiry expiry;
    int64_t expiry_ms; /* TTL, or ms since 1970 */
    uint64_t version;  /* SET_IF, COPY */
    int64_t delta;     /* ADD */
    int64_t result;    /* ADD, out */
    int copied;        /* COPY, out: enum tks_copy_outcome, but for TKS_COPY_EXPIRED */
};

struct tks_backend {
    const char *scheme;
    /* Whether name and parameters are right, nothing touched; NULL: only opening can tell. */
    int (*uri_check)(const struct tks_uri *uri);
    int (*store_open)(const struct tks_uri *uri, const struct tks_options *options,
                      tks_store **store);
    void (*store_close)(tks_store *store);
    int (*store_destroy)(const struct tks_uri *uri);
    int (*store_stats)(tks_store *store, struct tks_stats *stats);
    int (*store_checkpoint)(tks_store *store);
    int (*store_sweep)(tks_store *store, uint64_t *purged);
    int (*store_check)(tks_store *store, struct tks_check *check);
    int (*store_plugins)(tks_store *store,
                         int (*visit)(void *arg, const char *plugin, size_t plugin_len,
                                      uint64_t keys),
                         void *arg);
    int (*store_export)(tks_store *store, const char *plugin_glob,
                        int (*visit)(void *arg, const struct tks_record *record), void *arg);
    int (*state_open)(tks_store *store, const char *plugin, size_t len, tks_state **state);
    void (*state_close)(tks_state *state);

    int (*get)(tks_state *state, const char *key, void *buf, size_t cap, size_t *len);
    int (*get_k)(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len);
    int (*read)(tks_state *state, const char *key, tks_key *prepared, struct tks_reading *reading);
    int (*has)(tks_state *state, const char *key, tks_key *prepared);
    /* A set without expiry, of checked arguments; the others go through write. */
    int (*set)(tks_state *state, const char *key, tks_key *prepared, unsigned type,
               const void *value, size_t len);
    int (*write)(tks_state *state, const char *key, tks_key *prepared, struct tks_writing *writing);
    int (*borrow)(tks_state *state, const char *key, tks_key *prepared, const void **value,
                  size_t *len);
    int (*keys)(tks_state *state, int (*visit)(void *arg, const char *key, size_t key_len),
                void *arg);
    int (*key_prepare)(tks_state *state, const char *key, size_t len, tks_key *prepared);
    int (*tick_begin)(tks_state *state, const int64_t *now_ms);
    int (*tick_end)(tks_state *state);
};

struct tks_store {
    const struct tks_backend *backend;
    uint64_t process_token;
};

/* In memory that fork wipes (base/process.h): a backend that reads NULL says "inherited". */
struct tks_state {
    const struct tks_backend *backend;
};

extern const struct tks_backend tks_shm_backend;
extern const struct tks_backend tks_local_backend;
extern const struct tks_backend tks_sqlite_backend;
extern const struct tks_backend tks_postgres_backend;
extern const struct tks_backend tks_postgresql_backend;

/** `get` and `get_k` of a backend that has no quicker way than its `read`. */
int tks_get_by_read(tks_state *state, const char *key, void *buf, size_t cap, size_t *len);
int tks_get_k_by_read(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len);

/** A visitor of plugins that counts them and their keys into @p arg, a struct tks_stats. */
int tks_count_plugin(void *arg, const char *plugin, size_t plugin_len, uint64_t keys);

#endif
