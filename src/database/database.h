/* SPDX-License-Identifier: MIT */
/*
 * The backend of every database: what a state, a tick, a type and an expiry mean over rows that a
 * driver (driver.h) reads and writes.
 *
 * - A state has a connection of its own, used by its thread only; the store has one more for what
 * looks at all plugins, under a mutex.
 * - A tick is a frozen clock, not a transaction: every write is visible when its call returns.
 * - The clock is the wall clock, as other programs that write expires_at have no other. A row is
 * purged only when the wall clock calls it expired, whatever the tick's clock says.
 * - Rows whose plugin or key cannot be a name here (empty, too long) are nobody's: walks leave them
 * out, and tks_store_check() reports them.
 */
#ifndef TKS_DATABASE_DATABASE_H
#define TKS_DATABASE_DATABASE_H

#include "base/backend.h"
#include "base/buffer.h"
#include "base/key.h"
#include "database/driver.h"
#include "json/value.h"

struct database_store {
    struct tks_store base;
    const struct tks_driver *driver;
    struct tks_database *database;
    struct tks_connection *connection; /* under lock */
    pthread_mutex_t lock;
    uint64_t references; /* the handle and every state */
    uint64_t states;     /* open now, of this store */
};

struct database_state {
    struct tks_state base;
    struct tks_owner owner;
    struct database_store *store;
    struct tks_connection *connection;
    bool in_tick;
    int64_t tick_now_ms;
    struct tks_buffer text;    /* what is written, as JSON */
    struct tks_buffer scratch; /* what was read, decoded */
    size_t plugin_len;
    char plugin[TKS_NAME_MAX + 1];
};

static inline struct database_store *database_store_of(tks_store *store)
{
    return (struct database_store *)(void *)store;
}

static inline struct database_state *database_state_of(tks_state *state)
{
    return (struct database_state *)(void *)state;
}

/** Whether a row's names can be names here. */
bool tks_database_names_valid(const struct tks_row_name *name);

/** Read a row's text; TKS_CORRUPT names the row. */
int tks_database_value(const struct tks_row_name *name, const struct tks_row *row,
                       struct tks_buffer *scratch, struct tks_value *value);

int tks_database_read(tks_state *state, const char *key, tks_key *prepared,
                      struct tks_reading *reading);
int tks_database_has(tks_state *state, const char *key, tks_key *prepared);
int tks_database_set(tks_state *state, const char *key, tks_key *prepared, unsigned type,
                     const void *value, size_t len);
int tks_database_write(tks_state *state, const char *key, tks_key *prepared,
                       struct tks_writing *writing);
int tks_database_borrow(tks_state *state, const char *key, tks_key *prepared, const void **value,
                        size_t *len);
int tks_database_keys(tks_state *state, int (*visit)(void *arg, const char *key, size_t key_len),
                      void *arg);
int tks_database_key_prepare(tks_state *state, const char *key, size_t len, tks_key *prepared);
int tks_database_tick_begin(tks_state *state, const int64_t *now_ms);
int tks_database_tick_end(tks_state *state);

int tks_database_stats(tks_store *store, struct tks_stats *stats);
int tks_database_sweep(tks_store *store, uint64_t *purged);
int tks_database_check(tks_store *store, struct tks_check *check);
int tks_database_plugins(tks_store *store,
                         int (*visit)(void *arg, const char *plugin, size_t plugin_len,
                                      uint64_t keys),
                         void *arg);
int tks_database_export(tks_store *store, const char *plugin_glob,
                        int (*visit)(void *arg, const struct tks_record *record), void *arg);

#endif
