/* SPDX-License-Identifier: MIT */
/* The shm:// backend's stores and states. */
#ifndef TKS_STORE_SHM_H
#define TKS_STORE_SHM_H

#include "base/backend.h"
#include "base/owner.h"
#include "store/session.h"
#include "table/walk.h"

struct shm_keeper;

#define CHECKPOINT_PATH_ROOM 1024u
#define NO_CPU (-1)

/** What a URI says about checkpoints; no path: none. */
struct checkpoint_options {
    char path[CHECKPOINT_PATH_ROOM];
    uint64_t interval_ms;
    int cpu; /* of the keeper's and the writer's thread, NO_CPU: any */
};

struct shm_store {
    struct tks_store base;
    struct tks_segment *segment;
    struct shm_keeper *keeper;
    uint64_t references; /* the handle and every state */
};

#define NO_SERIAL UINT64_MAX

struct shm_state {
    struct tks_state base;
    struct tks_session session;
    uint64_t tick_serial; /* the owner's serial while a tick is open, else NO_SERIAL */
    struct tks_owner owner;
    unsigned borrows;
    struct shm_store *store;
};

/** A prepared key: what the caller's tks_key holds. What a hit needs comes first: one line. */
struct shm_key {
    uint64_t serial; /* of the state */
    uint64_t base;   /* plugin->base when the look-up was made */
    uint64_t *head;
    uint64_t word;
    uint64_t *node; /* what word names */
    uint64_t version;
    const uint64_t *value;
    uint32_t value_len;
    uint32_t has_deadline;
    uint64_t deadline;
    uint64_t hash;
    uint64_t len;
    char name[256];
};
_Static_assert(sizeof(struct shm_key) <= sizeof(tks_key), "a prepared key fits");

/** The name of a key given either way; TKS_INVALID when it cannot be one. */
int tks_shm_name(struct shm_state *state, const char *key, tks_key *prepared,
                 struct tks_name *name);

int tks_shm_get(tks_state *state, const char *key, void *buf, size_t cap, size_t *len);
int tks_shm_get_k(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len);
int tks_shm_read(tks_state *state, const char *key, tks_key *prepared, struct tks_reading *reading);
int tks_shm_has(tks_state *state, const char *key, tks_key *prepared);
int tks_shm_set(tks_state *state, const char *key, tks_key *prepared, unsigned type,
                const void *value, size_t len);
int tks_shm_write(tks_state *state, const char *key, tks_key *prepared,
                  struct tks_writing *writing);
int tks_shm_borrow(tks_state *state, const char *key, tks_key *prepared, const void **value,
                   size_t *len);
int tks_shm_keys(tks_state *state, int (*visit)(void *arg, const char *key, size_t key_len),
                 void *arg);
int tks_shm_key_prepare(tks_state *state, const char *key, size_t len, tks_key *prepared);
int tks_shm_tick_begin(tks_state *state, const int64_t *now_ms);
int tks_shm_tick_end(tks_state *state);

int tks_shm_stats(tks_store *store, struct tks_stats *stats);
int tks_shm_sweep(tks_store *store, uint64_t *purged);
int tks_shm_check(tks_store *store, struct tks_check *check);
int tks_shm_plugins(tks_store *store,
                    int (*visit)(void *arg, const char *plugin, size_t plugin_len, uint64_t keys),
                    void *arg);
int tks_shm_export(tks_store *store, const char *plugin_glob,
                   int (*visit)(void *arg, const struct tks_record *record), void *arg);

/** What a copied entry says; false: it has expired. Plugin and plugin_len are the caller's to fill.
 */
bool tks_item_record(const struct tks_item *item, int64_t now_ms, int64_t to_wall_ms,
                     struct tks_record *record);

/** Bytes of the blocks in use that hold entries and vectors. Looks at every block's state. */
uint64_t tks_node_bytes(const struct tks_segment *segment);

/** Remove what deletions leave that a snapshot saw, for a member that is in no section. */
void tks_prune_segment(struct tks_member *member);

/** Drop what is expired in every plugin, for a member that is in no section. */
int tks_sweep_segment(struct tks_member *member, uint64_t *purged);

/** A thread that keeps the store attached, sweeps every @p sweep_ms (0: never), and with a path in
 * @p options stands for host of the checkpoint. */
int tks_keeper_start(struct tks_segment *segment, uint64_t sweep_ms,
                     const struct checkpoint_options *options, struct shm_keeper **keeper);

/** tks_store_checkpoint(). */
int tks_keeper_barrier(struct shm_keeper *keeper);
void tks_keeper_stop(struct shm_keeper *keeper);

#endif
