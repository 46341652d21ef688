/* SPDX-License-Identifier: MIT */
/*
 * The memory:// backend's stores and states.
 *
 * Every plugin has a table of its own (cds_lfht) of immutable entries. Readers look up in an RCU
 * section and wait for nobody; a tick is one section, so what it borrows stays. Writers take the
 * store's lock for the time of one change: that makes versions, counters and set_if exact, and what
 * an export collects under the lock a state that existed. Nobody waits for a grace period
 * but the store's keeper thread, and it holds no lock then; so a tick may write, and be as long as
 * it likes: what was unlinked meanwhile stays.
 */
#ifndef TKS_LOCAL_LOCAL_H
#define TKS_LOCAL_LOCAL_H

#include "base/backend.h"
#include "base/clock.h"
#include "base/key.h"
#include "base/version.h"
#include "local/section.h"

/* A key and its value; never changed once it is in a table. */
struct local_entry {
    struct cds_lfht_node node;
    struct local_entry *next; /* of the retired */
    uint64_t published;       /* see tks_local_find() */
    uint64_t version;
    int64_t deadline; /* store clock, ms; 0: none */
    size_t value_len;
    uint32_t key_len;
    uint32_t type;
    _Alignas(16) char bytes[]; /* the value, then the key and a NUL */
};
_Static_assert(!offsetof(struct local_entry, node), "a node is its entry");

/* A plugin seen once stays as long as its store. */
struct local_plugin {
    struct cds_lfht *table;
    uint64_t entries; /* expired ones included */
    unsigned long buckets;
    struct local_plugin *next;
    size_t len;
    char name[TKS_NAME_MAX + 1];
};

struct local_store {
    struct tks_store base;
    int64_t clock_offset_ms; /* store clock minus milliseconds since boot */
    int64_t created_ms;
    uint64_t sweep_ms;

    pthread_mutex_t lock; /* guards what follows */
    struct local_plugin *plugins;
    uint64_t references; /* the handle and every state */
    uint64_t states;
    struct tks_versions versions;
    uint64_t entries, entry_bytes; /* linked and retired */
    uint64_t freed;                /* entries, since the store was opened */
    struct local_entry *retired;
    uint64_t retired_entries, retired_bytes; /* those that wait for readers included */

    pthread_t keeper;
    pthread_cond_t wanted; /* the keeper has something to do */
    pthread_cond_t done;   /* it has freed something */
    bool hurry, stop;
};

struct local_state {
    struct tks_state base;
    struct tks_owner owner;
    struct local_store *store;
    struct local_plugin *plugin;
    bool in_tick;
    bool now_known;
    bool caller_clock; /* now_ms is the caller's */
    int64_t now_ms;
    unsigned borrows;
};

static inline struct local_store *local_store_of(tks_store *store)
{
    return (struct local_store *)(void *)store;
}

static inline struct local_state *local_state_of(tks_state *state)
{
    return (struct local_state *)(void *)state;
}

static inline const char *local_entry_key(const struct local_entry *entry)
{
    return entry->bytes + entry->value_len;
}

/** Bytes of an entry that begins with @p value_len bytes of value. */
static inline size_t local_entry_bytes(size_t value_len, size_t key_len)
{
    return (sizeof(struct local_entry) + value_len + key_len + 1 + 15) & ~(size_t)15;
}

static inline int64_t local_store_now(const struct local_store *store)
{
    return add_clamped(tks_boot_ms(), store->clock_offset_ms);
}

/** What makes a time of that clock one of the wall clock, as that is now. */
static inline int64_t local_store_to_wall(const struct local_store *store)
{
    return tks_boot_to_wall_ms() - store->clock_offset_ms;
}

static inline bool local_past(int64_t deadline, int64_t now_ms)
{
    return deadline && deadline <= now_ms;
}

/** This state's now; one per tick, read when the first deadline is met. */
int64_t tks_local_now(struct local_state *state);

/** Visit the entries of a plugin in a section, under the lock or not. Not 0: stop and return it. */
int tks_local_each(struct local_plugin *plugin, int (*visit)(void *arg, struct local_entry *entry),
                   void *arg);

/** Remove the entry of @p version that was seen expired, unless the key has changed. In a section.
 * True: it was there. */
bool tks_local_purge(struct local_store *store, struct local_plugin *plugin, const char *key,
                     size_t len, uint64_t version);

/** Free what is in no table and in nobody's sight any more. */
void tks_local_free_entries(struct local_store *store, struct local_entry *entries);

int tks_local_read(tks_state *state, const char *key, tks_key *prepared,
                   struct tks_reading *reading);
int tks_local_has(tks_state *state, const char *key, tks_key *prepared);
int tks_local_set(tks_state *state, const char *key, tks_key *prepared, unsigned type,
                  const void *value, size_t len);
int tks_local_write(tks_state *state, const char *key, tks_key *prepared,
                    struct tks_writing *writing);
int tks_local_borrow(tks_state *state, const char *key, tks_key *prepared, const void **value,
                     size_t *len);
int tks_local_key_prepare(tks_state *state, const char *key, size_t len, tks_key *prepared);

int tks_local_keys(tks_state *state, int (*visit)(void *arg, const char *key, size_t key_len),
                   void *arg);
int tks_local_stats(tks_store *store, struct tks_stats *stats);
int tks_local_sweep(tks_store *store, uint64_t *purged);
int tks_local_check(tks_store *store, struct tks_check *check);
int tks_local_plugins(tks_store *store,
                      int (*visit)(void *arg, const char *plugin, size_t plugin_len, uint64_t keys),
                      void *arg);
int tks_local_export(tks_store *store, const char *plugin_glob,
                     int (*visit)(void *arg, const struct tks_record *record), void *arg);

/** Drop what is expired, by a thread that may open sections. */
uint64_t tks_local_sweep_all(struct local_store *store);

/** Start the thread that frees what readers no longer see, and sweeps. 0 or an errno. */
int tks_local_keeper_start(struct local_store *store);

/** Under the lock: something was retired. */
void tks_local_keeper_wake(struct local_store *store);

/** Wait, a moment at most, until all that is retired now is freed. Under the lock. */
void tks_local_keeper_flush(struct local_store *store);

/** Nobody uses the store any more: have the keeper free it. */
void tks_local_keeper_end(struct local_store *store);

#endif
