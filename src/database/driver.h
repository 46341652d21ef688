/* SPDX-License-Identifier: MIT */
/*
 * What a database does with rows of `plugin_state`, and nothing of their meaning: types, ticks,
 * typed reads and who owns a state are database.c's, which is the same for every driver.
 *
 * Rules for every function here:
 *
 * - **Result.** TKS_OK or a negative status with its sentence made by tks_fail(), which names the
 *   database (its path, its host and name) and never a password. Expected outcomes (TKS_NOT_FOUND,
 *   TKS_CONFLICT, TKS_TYPE, TKS_RANGE) are returned as they are, without a sentence. A failed call
 *   has changed nothing, unless its sentence says that the outcome is unknown.
 * - **Time.** Every call is bounded by the URI's timeout_ms=, or by that much silence where the
 *   answer is long (rows, check). What is away is TKS_IO, what others hold too long is TKS_BUSY.
 *   `now` is always the caller's clock, ms since 1970: a row has expired when expires_at <= now.
 * - **One statement.** write, write_if and add are one atomic statement each, exact among all
 *   processes and foreign programs. A change is visible to everybody when its call returns.
 * - **Threads.** A database is used by any thread at once; a connection by one at a time.
 * - **Processes.** None of these is called in a child of the process that opened.
 * - **Foreign programs.** They write the four columns (plugin, key, value, expires_at) as they
 * like. Columns that are not ours keep their content in every operation. What a foreign program
 * writes has a new version too.
 * - **Versions** are never 0 and never used again for a key, whatever is deleted or restored.
 */
#ifndef TKS_DATABASE_DRIVER_H
#define TKS_DATABASE_DRIVER_H

#include "base/uri.h"

#include <tickstate/tickstate.h>

#include <stdbool.h>

/** A driver's own: what a URI names, and one session with it. */
struct tks_database;
struct tks_connection;

/** Which row. Names that tks_name_valid() likes; NUL-terminated where a driver gives them out. */
struct tks_row_name {
    const char *plugin, *key;
    size_t plugin_len, key_len;
};

/** What is in it. */
struct tks_row {
    const char *text; /* the column `value`; NULL: the column is null */
    size_t len;
    int64_t expires_at; /* ms since 1970, 0: null, never; drivers read a stored number < 1 as 1 */
    uint64_t version;
};

/** Visit one row; name and row live until it returns. Not 0 stops the walk and is its result. It
 * does not call the driver. */
typedef int tks_row_visitor(void *arg, const struct tks_row_name *name, const struct tks_row *row);

/** Visit one plugin that has a row. As above. */
typedef int tks_plugin_visitor(void *arg, const char *plugin, size_t plugin_len, uint64_t rows);

struct tks_driver {
    /**
     * Open what @p uri names (uri->text is all of it), parse its parameters (an unknown one is
     * TKS_INVALID and named) and make or complete the table, unless options has TKS_OPEN_EXISTING:
     * then a missing database or table is TKS_NOT_FOUND. TKS_DENIED without the rights,
     * TKS_MISMATCH when the table is not what the contract says. options may be NULL.
     */
    int (*open)(const struct tks_uri *uri, const struct tks_options *options,
                struct tks_database **database);
    /** What open() would say about the text of the URI alone. NULL: the driver does not tell. */
    int (*check_uri)(const struct tks_uri *uri);
    /** After the last disconnect. */
    void (*close)(struct tks_database *database);

    /** From any thread; `disconnect` too. */
    int (*connect)(struct tks_database *database, struct tks_connection **connection);
    void (*disconnect)(struct tks_connection *connection);

    /** Read a row, expired or not. TKS_NOT_FOUND: there is none. row->text lives until the next
     * call on the connection. */
    int (*read)(struct tks_connection *connection, const struct tks_row_name *name,
                struct tks_row *row);
    /** read() without the value: row->text is NULL. */
    int (*look)(struct tks_connection *connection, const struct tks_row_name *name,
                struct tks_row *row);

    /**
     * Store row->text and row->expires_at, whatever was there. row->version 0: with a new version;
     * else with this one, which claim() allowed. The columns of others keep what they hold (no
     * delete and insert).
     */
    int (*write)(struct tks_connection *connection, const struct tks_row_name *name,
                 const struct tks_row *row);
    /**
     * The same with a new version if the row has version @p expected and has not expired at @p now;
     * expected 0: if there is no row or it has expired. Else TKS_CONFLICT. row->version is not
     * looked at.
     */
    int (*write_if)(struct tks_connection *connection, const struct tks_row_name *name,
                    const struct tks_row *row, uint64_t expected, int64_t now);
    /**
     * Add to an integer. No row, or an expired one: the result is delta, and null its expires_at. A
     * live row keeps its expires_at. TKS_TYPE: its text is no integer of i64 (white space around it
     * is allowed, as in any JSON text; 1.0 and 1e3 are no integers); TKS_RANGE: the sum is none.
     */
    int (*add)(struct tks_connection *connection, const struct tks_row_name *name, int64_t delta,
               int64_t now, int64_t *result);
    /** Delete the row; TKS_OK also when there is none. */
    int (*remove)(struct tks_connection *connection, const struct tks_row_name *name);
    /** Delete the row if it still has this version and has expired at @p now. TKS_OK either way. */
    int (*purge)(struct tks_connection *connection, const struct tks_row_name *name,
                 uint64_t version, int64_t now);
    /**
     * May this store use @p version, which another one gave out, for a row? (base/backend.h,
     * WRITE_COPY.) If so, it never gives it out itself: the counter is raised past it, for good,
     * before this returns.
     */
    int (*claim)(struct tks_connection *connection, uint64_t version, bool *may_keep);

    /** Visit the rows of a plugin that have not expired at @p now; row->text may be NULL. */
    int (*keys)(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                int64_t now, tks_row_visitor *visit, void *arg);
    /** Visit all rows, expired ones too, of @p plugin or (NULL) of all, as of one instant, ordered
     * by plugin. */
    int (*rows)(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                tks_row_visitor *visit, void *arg);
    /** Visit the plugins that have rows which have not expired at @p now, with their number. */
    int (*plugins)(struct tks_connection *connection, int64_t now, tks_plugin_visitor *visit,
                   void *arg);
    /** Delete what has expired at @p now. *purged: how many. Holds others up only for short. */
    int (*sweep)(struct tks_connection *connection, int64_t now, uint64_t *purged);
    /** The database's own audit of what it stores; TKS_CORRUPT with its first complaint. NULL: it
     * has none. */
    int (*check)(struct tks_connection *connection);
    /** Bytes of the table or file, and of these in use; 0 where the database cannot say. */
    int (*size)(struct tks_connection *connection, uint64_t *size_bytes, uint64_t *used_bytes);
};

/* Each is there when its library was found at build time (TKS_HAVE_SQLITE, TKS_HAVE_POSTGRES). */
extern const struct tks_driver tks_sqlite_driver;
extern const struct tks_driver tks_postgres_driver;

#endif
