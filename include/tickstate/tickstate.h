/* SPDX-License-Identifier: MIT */
/**
 * @file tickstate.h
 * tickstate: plugin state that survives its process.
 *
 * A **store** is one opened backend. A **state** is one plugin's key-value space inside it: the
 * seven operations get, get_or_default, set, set_with_ttl, delete, has and keys, every key scoped
 * to the plugin's name.
 *
 * @code
 *   tks_store *store;
 *   tks_state *state;
 *   tks_store_open("shm://desk?size=64M", NULL, &store);
 *   tks_state_open(store, "scalper-btc", &state);
 *   tks_set_with_ttl(state, "cooldown", "1", 1, 250);         // gone after 250 ms
 *   if (tks_has(state, "cooldown") == 1) return;              // still cooling down
 *   tks_state_close(state);
 *   tks_store_close(store);
 * @endcode
 *
 * ## Rules that hold for every call
 *
 * - **Result.** `TKS_OK` (0) or one of the negative statuses below. A failed call changes nothing.
 *   tks_last_error() has this thread's last failure as a sentence.
 * - **Names.** Keys and plugin names are 1 to 255 bytes of UTF-8 without a NUL byte. Values are 0
 *   bytes to `TKS_VALUE_MAX`.
 * - **Time.** `ttl_ms` and `now_ms` are milliseconds, `now_ms` since the Unix epoch.
 * - **Threads.** A store may be used by every thread of the process that opened it. A state belongs to the
 *   thread that opened it; another thread's call is `TKS_INVALID`. A thread may have several
 *   states, of one or of several plugins. Threads may end in any order; a thread that ends
 *   without closing its states is cleaned up after.
 * - **Processes.** Any number of processes may open one store, and the same plugin in it, at once:
 *   they share its keys. A write is visible to everybody when its call returns.
 * - **Fork.** A child opens its own store. In the child every inherited handle answers
 *   `TKS_INVALID`; the parent's are unharmed.
 * - **Progress (`shm://`).** Every operation is lock-free: whatever other processes are killed or
 *   stopped, at whatever instruction, the rest go on.
 * - **Cost (`shm://`).** get, has, set, set_with_ttl, set_if, add and delete make no system call in
 *   steady state. (A call that must commit fresh memory to a growing segment makes one.) Outside
 *   a tick each call pays one full memory barrier; inside a tick reads pay none, writes and
 *   borrows one.
 * - **Pointers.** Nothing a caller passes is kept after the call returns. Pointers the library gives out
 *   say below how long they live.
 * - The library never prints, aborts, or changes signals, locale or working directory.
 */
#ifndef TICKSTATE_H
#define TICKSTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TKS_API __attribute__((visibility("default")))
#else
#define TKS_API
#endif

/** Version of this header; tks_version() is that of the library linked. */
#define TKS_VERSION "0.1.0"

/** Longest key or plugin name, bytes. */
#define TKS_NAME_MAX 255
/** Longest value, bytes (16 MiB). A segment must be large enough to hold it. */
#define TKS_VALUE_MAX ((size_t)16 << 20)
/** Most borrows in one tick. */
#define TKS_BORROW_MAX 8

/** Every status: X(name, number, sentence). The numbers are part of the ABI. */
#define TKS_STATUS_LIST(X)                                                                            \
    X(TKS_OK, 0, "success")                                                                        \
    X(TKS_NOT_FOUND, -1, "not found: never set, deleted or expired")                               \
    X(TKS_INVALID, -2, "invalid argument or a call in the wrong place")                            \
    X(TKS_RANGE, -3, "the counter would overflow")                                                 \
    X(TKS_TOO_SMALL, -4, "the buffer is too small")                                                \
    X(TKS_NO_SPACE, -5, "no space left in the store")                                              \
    X(TKS_TYPE, -6, "the value has another type")                                                  \
    X(TKS_CONFLICT, -7, "the value has another version")                                           \
    X(TKS_EVICTED, -8, "the read section was expelled again and again")                            \
    X(TKS_MISMATCH, -9, "made by another layout, version or byte order")                           \
    X(TKS_CORRUPT, -10, "the stored data is damaged")                                              \
    X(TKS_IO, -11, "input or output failed")                                                       \
    X(TKS_DENIED, -12, "permission denied")                                                        \
    X(TKS_BUSY, -13, "in use, or tried too often")                                                 \
    X(TKS_UNSUPPORTED, -14, "not supported by this backend or build")

enum tks_status {
#define TKS_STATUS_ENUM(name, number, sentence) name = number,
    TKS_STATUS_LIST(TKS_STATUS_ENUM)
#undef TKS_STATUS_ENUM
};

/** Value types, as tks_type() reports them. */
enum tks_value_type {
    TKS_TYPE_BYTES = 0,  /**< what tks_set() writes */
    TKS_TYPE_I64 = 1,    /**< 8 host-order bytes */
    TKS_TYPE_F64 = 2,    /**< 8 host-order bytes, finite */
    TKS_TYPE_BOOL = 3,   /**< 1 byte, 0 or 1 */
    TKS_TYPE_STRING = 4, /**< UTF-8 text, no terminating NUL */
    TKS_TYPE_JSON = 5    /**< UTF-8 text of an object, an array, a string-free scalar's null */
};

typedef struct tks_store tks_store;
typedef struct tks_state tks_state;

/**
 * A prepared key: the caller's storage, opaque content. No release call; may be copied or moved as
 * bytes. It belongs to the state that prepared it (`TKS_INVALID` with another) and stays right
 * whatever happens to the key. One thread at a time.
 */
typedef struct tks_key {
    uint64_t opaque[48];
} tks_key;

/** How to open a store. Zeroed fields mean "default". */
struct tks_options {
    uint32_t size;  /**< sizeof(struct tks_options), set by the caller */
    uint32_t flags; /**< TKS_OPEN_… */
};

/** Attach only: `TKS_NOT_FOUND` instead of creating a store that is not there. */
#define TKS_OPEN_EXISTING 1u
/**
 * Never write the file that `checkpoint=` names, nor feed the database of `mirror=`: read the file, if the store is made
 * from it, and leave the writing to others. For whoever only looks. tks_store_checkpoint() is `TKS_UNSUPPORTED` on such a store.
 */
#define TKS_OPEN_PASSIVE 2u

/* ---- The library ------------------------------------------------------------------------- */

/** Name and sentence of a status, e.g. "TKS_NOT_FOUND: not found: …". Static; never NULL. */
TKS_API const char *tks_strerror(int status);

/**
 * This thread's last failure in a sentence (which file, key, errno). Composed when asked for. The
 * string lives until this thread's next tks_ call. "" when nothing failed yet. Expected outcomes
 * (`TKS_NOT_FOUND`, `TKS_TOO_SMALL`, `TKS_CONFLICT` of a data call) are named without detail.
 */
TKS_API const char *tks_last_error(void);

/** Version of the library, "MAJOR.MINOR.PATCH". Static. */
TKS_API const char *tks_version(void);

/* ---- Opening and closing ----------------------------------------------------------------- */

/**
 * Open the store that @p uri names, creating it when it is missing.
 *
 * `shm://NAME?size=256M&…`: POSIX shared memory `/NAME`. NAME is 1 to 200 bytes without '/', not beginning with '.'.
 * Parameters, each optional:
 * - `size=` bytes with K, M, G (powers of 1024), 1M to 512G, default 256M. Counts at creation. The
 *   space is reserved sparse and committed as it fills.
 * - `slots=` most states and stores open at once, 8 to 4096, default about size/16K, at most 1024. Counts at creation.
 * - `mode=` octal permissions at creation, default 0600; never world-writable. `group=` name or number of the group at creation.
 * - `prefault=1` commits the whole segment and fills this process's page tables at open.
 * - `lock=1` keeps the pages of this process's mapping in RAM (mlock).
 * - `huge=1` puts what this process commits under huge pages of 2 MiB, by MADV_COLLAPSE (Linux 6.1), which needs no
 *   administrator: 2 MiB are committed at a time, and all attached processes profit. What the segment holds already is
 *   moved at open, which interrupts those who use it for up to a millisecond per 2 MiB: ask for it at creation.
 *   tks_store_stats() says what took effect of these three.
 * - `sweep_ms=` run tks_store_sweep() every so many ms in a background thread of this process, 0: never (default).
 * - `checkpoint=` full path of the file the store is kept in (mode 0600; files beside it begin with its name). One of the
 *   attached processes that gave it writes, in a thread of low priority, what changed; the others take over when it
 *   dies, closes the store or is stopped. When there is no segment it is made from the file, if there is one; a segment that
 *   is there always wins. Closing writes a last time. Two segments cannot feed one file.
 * - `interval_ms=` write so often if something changed, 1 to 86,400,000 (default 100): what a power cut may lose.
 * - `mirror=` a `sqlite://` or `postgres://` URI, its '&', '?' and '%' written %26, %3F and %25: table `plugin_state` there
 *   follows the store, `interval_ms=` (100 at least) behind it, so that SQL can look at it and another host can start from it.
 *   One of the attached processes that gave it feeds the table, in a thread of low priority; the others take over. A
 *   database that is slow or away delays no call here: opening does not wait for it, and what changed meanwhile is carried over
 *   when it is back, each key once. Closing carries over what is left, for as long as the database's `timeout_ms=`; a last
 *   attempt to connect may take as long again. The store is the master: what others write to its keys in the table is
 *   overwritten, their other rows stay. A table belongs to one store. One that was mirrored from another store is left alone
 *   (`mirror_error` of tks_store_stats() says so) unless this store began with that one's checkpoint: import the rows first,
 *   and then open once with `mirror_take=1`, which deletes mirrored rows that this store does not have.
 * - `snapshot_cpu=` CPU for this process's background threads: off the plugins' cores (default: where the opener may run).
 *
 * `sqlite:///FOLDER/FILE`: table `plugin_state` in an SQLite database, which is made (file mode 0600) or completed when need be.
 * The full path of the file, %XX decoded. Each state is a connection; several processes may use one file, in WAL
 * mode, on a local disk. Every call is a transaction of its own, so a tick is no transaction, and a power cut may lose the last
 * of them (the file stays whole). The clock is the wall clock. No borrow and no checkpoint: `TKS_UNSUPPORTED`. Call nothing in another
 * thread while the process forks. Parameters, each optional:
 * - `timeout_ms=` how long a call waits for others who hold the file locked, 1 to 3,600,000, default 2000; then `TKS_BUSY`.
 * - `synchronous=` off, normal (default), full (a call that returned survives a power cut), extra: as SQLite's PRAGMA.
 *
 * @return `TKS_OK`; `TKS_INVALID` a bad URI or option; `TKS_NOT_FOUND` with TKS_OPEN_EXISTING; `TKS_MISMATCH`, `TKS_CORRUPT` the
 *   segment is another layout or damaged; `TKS_DENIED` permissions, another user's segment or a
 *   world-writable one; `TKS_NO_SPACE` the tmpfs is full; `TKS_BUSY` all slots are taken; `TKS_IO`;
 *   `TKS_UNSUPPORTED` another scheme, or a mirror in a database that this build does not have.
 * *store is NULL on failure. Cost: system calls; one mapping per segment and process however often it is opened.
 */
TKS_API int tks_store_open(const char *uri, const struct tks_options *options, tks_store **store);

/**
 * Whether @p uri could be opened, as far as that can be told without opening it: its scheme is one of this build, its name
 * and parameters are right. Nothing is touched, so a database that is away is no error.
 * @return `TKS_OK`; `TKS_INVALID`; `TKS_UNSUPPORTED` another scheme or a parameter this build does not know yet.
 */
TKS_API int tks_uri_check(const char *uri);

/**
 * Close a store; NULL is allowed. States opened from it stay usable until they are closed. In a
 * forked child it only forgets. The segment stays.
 */
TKS_API void tks_store_close(tks_store *store);

/**
 * Open plugin @p plugin's state for the calling thread.
 * @return `TKS_OK`; `TKS_INVALID` a bad name; `TKS_BUSY` all slots are taken; `TKS_NO_SPACE`; `TKS_CORRUPT`.
 * Cost: a few microseconds, no system call beyond malloc's unless memory must be committed.
 */
TKS_API int tks_state_open(tks_store *store, const char *plugin, tks_state **state);

/**
 * Close a state; NULL is allowed. An open tick is ended; borrowed pointers end. From
 * another thread the state is marked and finished at its owner's next call (which returns
 * `TKS_INVALID`) or end; the handle must not be used by anybody else after this.
 */
TKS_API void tks_state_close(tks_state *state);

/* ---- The seven operations ---------------------------------------------------------------- */

/**
 * Copy the value of @p key to @p buf.
 * @param cap size of buf, bytes; buf may be NULL when cap is 0.
 * @param len receives the value's length, also with `TKS_TOO_SMALL`; 0 with `TKS_NOT_FOUND`; may be NULL.
 * @return `TKS_OK`, `TKS_NOT_FOUND` (an expired entry is purged), `TKS_TOO_SMALL` (nothing copied), `TKS_INVALID`, `TKS_EVICTED`, `TKS_CORRUPT`.
 */
TKS_API int tks_get(tks_state *state, const char *key, void *buf, size_t cap, size_t *len);

/** tks_get(), and `TKS_OK` with a copy of @p fallback when absent. Stores nothing. */
TKS_API int tks_get_or_default(tks_state *state, const char *key, const void *fallback,
                               size_t fallback_len, void *buf, size_t cap, size_t *len);

/**
 * Store a value of type bytes; clears a TTL. @p value may be NULL when len is 0.
 * @return `TKS_OK`, `TKS_INVALID`, `TKS_NO_SPACE`, `TKS_BUSY`, `TKS_CORRUPT`.
 */
TKS_API int tks_set(tks_state *state, const char *key, const void *value, size_t len);

/**
 * tks_set() with an expiry @p ttl_ms from now (the tick's now inside a tick). ttl_ms >= 1; a huge
 * one means "as far as time goes". The clock does not step with the wall clock.
 */
TKS_API int tks_set_with_ttl(tks_state *state, const char *key, const void *value, size_t len,
                             int64_t ttl_ms);

/** Remove a key. Idempotent: `TKS_OK` when absent. Works in a full store. */
TKS_API int tks_delete(tks_state *state, const char *key);

/** 1 when present, 0 when absent (an expired entry is purged), or a negative status. */
TKS_API int tks_has(tks_state *state, const char *key);

/**
 * Visit every key of the plugin, NUL-terminated, in no order. @p visit returns 0 to go on; another
 * value stops the walk and is what tks_keys() returns. It may read and write the store; the key
 * pointer lives until visit returns. A key present during the whole walk is visited exactly once,
 * also while the table grows. Costs what the plugin holds. Allocates a small buffer: `TKS_NO_SPACE` without memory.
 */
TKS_API int tks_keys(tks_state *state, int (*visit)(void *arg, const char *key, size_t key_len),
                     void *arg);

/* ---- Versions and counters --------------------------------------------------------------- */

/** tks_get(), and the entry's version (0 with `TKS_NOT_FOUND`) for tks_set_if(). */
TKS_API int tks_get_versioned(tks_state *state, const char *key, void *buf, size_t cap, size_t *len,
                              uint64_t *version);

/**
 * Compare and set: store only when the key's version is @p version; 0: only if absent. Clears a TTL.
 * Versions are unique, never 0, not ordered, never used again. Never fails without a reason.
 * @return tks_set()'s, and `TKS_CONFLICT`.
 */
TKS_API int tks_set_if(tks_state *state, const char *key, const void *value, size_t len,
                       uint64_t version);

/**
 * Add to an i64 atomically; an absent key counts as 0; a live TTL is kept.
 * @return tks_set()'s, `TKS_TYPE` when it is not an i64, `TKS_RANGE` on overflow (unchanged).
 */
TKS_API int tks_add_i64(tks_state *state, const char *key, int64_t delta, int64_t *result);

/* ---- Typed values ------------------------------------------------------------------------ */

/** Store a value of the named type; like tks_set() otherwise. f64: finite, else `TKS_INVALID`. */
TKS_API int tks_set_i64(tks_state *state, const char *key, int64_t value);
TKS_API int tks_set_f64(tks_state *state, const char *key, double value);
TKS_API int tks_set_bool(tks_state *state, const char *key, bool value);
/** UTF-8 text of @p len bytes, NUL bytes allowed; `TKS_INVALID` when it is not UTF-8. */
TKS_API int tks_set_str(tks_state *state, const char *key, const char *text, size_t len);
/**
 * A JSON document of @p len bytes (RFC 8259; duplicate member names and \u0000 in strings
 * are accepted, \u0000 in member names is not). A scalar
 * is stored as that scalar's type: true as bool, "text" as string, 17 as i64, 1.5 as f64 (also an
 * integer beyond i64); null stays json. `TKS_INVALID` when the text is not JSON.
 */
TKS_API int tks_set_json(tks_state *state, const char *key, const char *text, size_t len);

/** Read a typed value. `TKS_TYPE` when it is something else; get_f64 also reads an i64 that a double holds exactly. */
TKS_API int tks_get_i64(tks_state *state, const char *key, int64_t *value);
TKS_API int tks_get_f64(tks_state *state, const char *key, double *value);
TKS_API int tks_get_bool(tks_state *state, const char *key, bool *value);
/** The value's `enum tks_value_type`. */
TKS_API int tks_type(tks_state *state, const char *key, int *type);

/* ---- Prepared keys ----------------------------------------------------------------------- */

/**
 * Hash and check a key once. The `_k` calls below are the calls above without that work, and a read
 * inside a tick of a key that did not change since the last read is a few loads.
 */
TKS_API int tks_key_prepare(tks_state *state, const char *key, tks_key *prepared);
/** The same for a name without a terminating NUL. */
TKS_API int tks_key_prepare_n(tks_state *state, const char *key, size_t key_len, tks_key *prepared);

TKS_API int tks_get_k(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len);
TKS_API int tks_get_or_default_k(tks_state *state, tks_key *key, const void *fallback,
                                 size_t fallback_len, void *buf, size_t cap, size_t *len);
TKS_API int tks_set_k(tks_state *state, tks_key *key, const void *value, size_t len);
TKS_API int tks_set_with_ttl_k(tks_state *state, tks_key *key, const void *value, size_t len,
                               int64_t ttl_ms);
TKS_API int tks_delete_k(tks_state *state, tks_key *key);
TKS_API int tks_has_k(tks_state *state, tks_key *key);
TKS_API int tks_borrow_k(tks_state *state, tks_key *key, const void **value, size_t *len);
TKS_API int tks_get_versioned_k(tks_state *state, tks_key *key, void *buf, size_t cap, size_t *len,
                                uint64_t *version);
TKS_API int tks_set_if_k(tks_state *state, tks_key *key, const void *value, size_t len,
                         uint64_t version);
TKS_API int tks_add_i64_k(tks_state *state, tks_key *key, int64_t delta, int64_t *result);
TKS_API int tks_set_i64_k(tks_state *state, tks_key *key, int64_t value);
TKS_API int tks_set_f64_k(tks_state *state, tks_key *key, double value);
TKS_API int tks_set_bool_k(tks_state *state, tks_key *key, bool value);
TKS_API int tks_set_str_k(tks_state *state, tks_key *key, const char *text, size_t len);
TKS_API int tks_set_json_k(tks_state *state, tks_key *key, const char *text, size_t len);
TKS_API int tks_get_i64_k(tks_state *state, tks_key *key, int64_t *value);
TKS_API int tks_get_f64_k(tks_state *state, tks_key *key, double *value);
TKS_API int tks_get_bool_k(tks_state *state, tks_key *key, bool *value);
TKS_API int tks_type_k(tks_state *state, tks_key *key, int *type);

/* ---- Ticks ------------------------------------------------------------------------------- */

/**
 * Open a read-side section: one memory barrier now, none for the reads until tks_tick_end(). One tick
 * sees one `now`. Writes inside are visible to all at once, call by call. Not nested: `TKS_INVALID`.
 * Keep it as short as a tick: a section stopped for very long may be expelled and is then re-opened
 * inside the library, at the next call, without the caller's notice.
 */
TKS_API int tks_tick_begin(tks_state *state);

/**
 * The same under the caller's clock (replay, backtest): expiry is judged at @p now_ms, deadlines of
 * set_with_ttl are now_ms + ttl. Nothing is purged that the store's own clock does not call expired too. now_ms >= 0.
 */
TKS_API int tks_tick_begin_at(tks_state *state, int64_t now_ms);

/** Close the section and release all borrows. `TKS_INVALID` without a begin. */
TKS_API int tks_tick_end(tks_state *state);

/**
 * Zero-copy read, inside a tick only. The bytes at *value (aligned to 16 at least, read-only) stay as
 * they are until tks_tick_end(), whatever others do and however long this process is stopped.
 * @return `TKS_OK`, `TKS_NOT_FOUND`, `TKS_BUSY` after TKS_BORROW_MAX borrows, `TKS_INVALID` outside a tick, `TKS_UNSUPPORTED`.
 */
TKS_API int tks_borrow(tks_state *state, const char *key, const void **value, size_t *len);

/* ---- Housekeeping ------------------------------------------------------------------------ */

/** What a store holds. Zeroed where the backend has no such thing. */
struct tks_stats {
    uint32_t size;            /**< sizeof(struct tks_stats), set by the caller; nothing is written past it */
    uint32_t reserved;
    uint64_t size_bytes;      /**< reserved size of the segment */
    uint64_t committed_bytes; /**< of these, backed by memory */
    uint64_t used_bytes;      /**< in blocks that are not free, retired ones included */
    uint64_t retired_bytes;   /**< unlinked, waiting for readers */
    uint64_t keys;            /**< present now, expired ones left out */
    uint64_t plugins;         /**< plugin names that have at least one key */
    uint64_t states;          /**< open now */
    uint64_t stores;          /**< attached now: open stores of all processes */
    uint64_t slots;           /**< most states and stores at once */
    uint64_t recovered;       /**< dead owners cleaned up since creation */
    uint64_t evicted;         /**< stalled read sections expelled since creation */
    uint64_t epoch;           /**< reclamation epoch */
    uint64_t snapshot_era;    /**< snapshots begun since creation */
    int64_t created_ms;       /**< wall clock at creation, ms since 1970 */
    int64_t clock_skew_ms;    /**< store clock minus wall clock now, ms */
    uint32_t prefaulted;      /**< 1: prefault= took effect in this process */
    uint32_t locked;          /**< 1: lock= took effect */
    uint32_t huge;            /**< 1: huge= took effect, whoever asked for it */
    uint32_t mode;            /**< permission bits */
    uint64_t checkpoint_host;   /**< process that writes checkpoints, 0: nobody does now */
    uint64_t checkpoint_cuts;   /**< cuts written since creation */
    int64_t checkpoint_at_ms;   /**< wall clock of the last one, ms since 1970; 0: none yet */
    uint64_t checkpoint_ns;     /**< how long it took */
    uint64_t checkpoint_bytes;  /**< of the file after it */
    uint64_t checkpoint_errors; /**< cuts that failed */
    int64_t restored_at_ms;     /**< wall clock of the cut the store was made from; 0: made empty */
    uint64_t restored_entries;  /**< of it, expired ones left out */
    uint64_t restored_damaged;  /**< 1: the file was damaged; an intact cut was lost, or may have been */
    char checkpoint_error[256]; /**< the last failure in a sentence, "": none */
    char restored_warning[256]; /**< what was wrong with the file, "": nothing */
    uint64_t mirror_host;       /**< process that feeds the mirror, 0: nobody does now */
    uint64_t mirror_batches;    /**< transactions carried over since creation */
    uint64_t mirror_rows;       /**< rows in them */
    uint64_t mirror_errors;     /**< attempts that failed */
    uint64_t mirror_lag_ms;     /**< age of the state that the database has; 0: it has all, or there never was a mirror */
    char mirror_error[256];     /**< the last failure in a sentence, "": none */
};

/**
 * Count what the store holds; also cleans up after dead owners first. Walks every key: not for a hot path.
 * Counters of a store in use are as of slightly different instants.
 */
TKS_API int tks_store_stats(tks_store *store, struct tks_stats *stats);

/**
 * The durability barrier: returns when every write that was finished before the call, by any process, is in the
 * checkpoint file and synced. Concurrent callers share one cut. Takes a snapshot, a write and an fsync of what changed
 * since the last cut (a full image now and then), in the thread of whichever process hosts the checkpoint; waits for
 * it, so not inside a tick that must be fast (a section that is open meanwhile is expelled and re-opened). What a later
 * restore gives is a state that existed: if A was written before B, never B without A.
 * @return `TKS_OK`; `TKS_UNSUPPORTED`: the store was opened without `checkpoint=`; `TKS_IO` with the host's sentence (no
 *   space, no permission, another segment feeds the file, …): the store is unharmed and the host goes on trying.
 */
TKS_API int tks_store_checkpoint(tks_store *store);

/** Drop expired entries nobody reads again. *purged (may be NULL): how many. Blocks nobody. */
TKS_API int tks_store_sweep(tks_store *store, uint64_t *purged);

/** Result of an audit. */
struct tks_check {
    uint32_t size;             /**< sizeof(struct tks_check), set by the caller; nothing is written past it */
    uint32_t reserved;
    uint64_t reachable_blocks; /**< found from the index */
    uint64_t free_blocks;
    uint64_t retired_blocks;   /**< unlinked, waiting for readers */
    uint64_t held_blocks;      /**< in the hands of a live state */
    uint64_t leaked_blocks;    /**< none of the above: a defect */
    uint64_t keys;             /**< entries found, expired ones included */
    uint64_t plugins;          /**< plugin names known to the registry */
};

/**
 * Audit: clean up after the dead, reclaim what can be, then account for every block. May run while others work.
 * `TKS_CORRUPT` when an offset, length or type is impossible; leaked blocks are reported, not an error.
 */
TKS_API int tks_store_check(tks_store *store, struct tks_check *check);

/**
 * Remove a segment (not its checkpoint file). `TKS_BUSY` while live processes are attached,
 * `TKS_NOT_FOUND` without a segment.
 */
TKS_API int tks_store_destroy(const char *uri);

/* ---- Walking a whole store --------------------------------------------------------------- */

/** Visit plugin names that have at least one key, NUL-terminated, with their number of keys. visit as in tks_keys(). */
TKS_API int tks_store_plugins(tks_store *store,
                              int (*visit)(void *arg, const char *plugin, size_t plugin_len,
                                           uint64_t keys),
                              void *arg);

/** One entry of an export. Pointers live until the visitor returns; plugin and key are NUL-terminated. */
struct tks_record {
    uint32_t size; /**< sizeof(struct tks_record) */
    uint32_t type; /**< enum tks_value_type */
    const char *plugin;
    size_t plugin_len;
    const char *key;
    size_t key_len;
    const void *value;
    size_t value_len;
    uint64_t version;
    int64_t expires_at; /**< wall clock, ms since 1970; 0: never */
};

/**
 * Visit every live entry of every plugin that matches the shell glob @p plugin_glob (NULL: all) as of
 * **one instant**: a state that existed while writers ran (a write is never seen without the writes that were finished
 * before it began). Stops nobody; the visitor runs outside any section and may take its time and use the store.
 * Copies what it visits to process memory first.
 * @return `TKS_OK`, visit's value, `TKS_BUSY` when writers that had been stopped for long, or a full store, spoilt
 *   every attempt (8 of them) or another snapshot is running; `TKS_NO_SPACE` without memory.
 */
TKS_API int tks_store_export(tks_store *store, const char *plugin_glob,
                             int (*visit)(void *arg, const struct tks_record *record), void *arg);

/**
 * Store a record under record->key with its type, value and expiry (a new version; plugin is the state's). An expiry in
 * the past deletes the key. The value is checked against its type. What an import is made of.
 */
TKS_API int tks_put_record(tks_state *state, const struct tks_record *record);

/** What tks_copy_record() did. */
enum tks_copy_outcome {
    TKS_COPY_KEPT = 0,    /**< stored under the record's version */
    TKS_COPY_RENEWED = 1, /**< stored under a new one: this store may have given that one out */
    TKS_COPY_SAME = 2,    /**< nothing to do: it is there already */
    TKS_COPY_EXPIRED = 3  /**< expires_at has passed: the key was deleted */
};

/**
 * tks_put_record() that keeps the record's version, so that whoever holds it can go on with
 * tks_set_if() here. A version that this store may have given out itself is not kept: versions are
 * never used again, so the value gets a new one. An entry that has this value, type and expiry
 * already, and this version (or could not get it), is left as it is, so that a copy which was
 * interrupted can be done again; any other is overwritten. What a migration is made of.
 * @param outcome receives an `enum tks_copy_outcome` with `TKS_OK`; may be NULL.
 * @return tks_put_record()'s.
 */
TKS_API int tks_copy_record(tks_state *state, const struct tks_record *record, int *outcome);

/* ---- Factory: which backend serves which plugin -------------------------------------------- */

/**
 * Rules that give each plugin its store. May be used by every thread of the process that made it; in a forked child every
 * call is `TKS_INVALID`.
 *
 * Rules are looked at in the order in which they were added, the **first** whose glob matches wins, and no match is
 * `TKS_NOT_FOUND`, never a silent default. A store is opened when the first plugin asks for it, and once: rules
 * with the same URI, letter by letter, share it (so plugins of one `memory://` are in one store). What is wrong with
 * a URI is found when its rule is added; a store that cannot be opened, such as a database that is away, fails
 * only the plugins it is for, and is tried again at their next call.
 */
typedef struct tks_factory tks_factory;

/**
 * Make a factory of the rules in a file (libconfig's syntax, at most 1 MiB, no `@include`):
 * @code
 *   plugins = (
 *       { match = "scalper-*"; store = "shm://hot?size=256M"; },   # the first match wins
 *       { match = "*";         store = "sqlite:///var/lib/desk/state.db"; }
 *   );
 * @endcode
 * Opens no store. Settings other than these are errors. Rules may be added to it with tks_factory_add().
 * @return `TKS_OK`; `TKS_INVALID` with file, line and reason in one sentence; `TKS_UNSUPPORTED` the same, for a store URI that
 *   this build has no backend for; `TKS_NOT_FOUND`, `TKS_DENIED`, `TKS_IO` the file cannot be read; `TKS_NO_SPACE`.
 * *factory is NULL on failure.
 */
TKS_API int tks_factory_open(const char *config_path, tks_factory **factory);

/** Make a factory without rules. `TKS_OK`, `TKS_INVALID`, `TKS_NO_SPACE`; *factory is NULL on failure. */
TKS_API int tks_factory_new(tks_factory **factory);

/**
 * Add a rule after those there are. @p plugin_glob is a shell glob as in fnmatch(3) that must match the whole name: `*`, `?`,
 * `[a-z]`, and `\` before a character that is meant as such. The URI is checked (tks_uri_check()), the store is not opened.
 * @return `TKS_OK`; `TKS_INVALID` an empty or unfinished glob, a bad URI; `TKS_UNSUPPORTED`; `TKS_NO_SPACE`.
 */
TKS_API int tks_factory_add(tks_factory *factory, const char *plugin_glob, const char *uri);

/**
 * Open plugin @p plugin's state, for the calling thread, in the store of the first rule that matches; the state is like one
 * of tks_state_open() and is closed by tks_state_close(). Opens the store if it is not open yet; plugins of other stores do not
 * wait for that.
 * @return tks_store_open()'s, tks_state_open()'s, and `TKS_NOT_FOUND` when no rule matches. *state is NULL on failure.
 */
TKS_API int tks_factory_state(tks_factory *factory, const char *plugin, tks_state **state);

/** Close a factory and its stores as tks_store_close() does: states stay usable until they are closed. NULL is allowed. */
TKS_API void tks_factory_close(tks_factory *factory);

#ifdef __cplusplus
}
#endif
#endif
