/* SPDX-License-Identifier: MIT */
/* The parts of the sqlite:// driver: one connection per state on one file, in WAL mode. */
#ifndef TKS_DATABASE_SQLITE_H
#define TKS_DATABASE_SQLITE_H

#include "base/buffer.h"
#include "database/driver.h"

#include <sqlite3.h>

struct tks_database {
    char path[4096];
    uint64_t timeout_ms;
    char synchronous[8];
    struct tks_connection *spare; /* the one that opened, for the first who connects */
};

enum sqlite_statement {
    STATEMENT_READ,
    STATEMENT_LOOK,
    STATEMENT_WRITE,
    STATEMENT_CREATE,  /* only if absent or expired */
    STATEMENT_REPLACE, /* only if it has a version */
    STATEMENT_ADD,
    STATEMENT_REMOVE,
    STATEMENT_PURGE,
    STATEMENT_TAKE_VERSIONS,
    STATEMENT_KEYS,
    STATEMENTS
};

struct open_file;

struct tks_connection {
    struct tks_database *database;
    sqlite3 *sqlite;
    struct open_file *file;               /* sqlite_fork.c's note of it */
    sqlite3_stmt *statements[STATEMENTS]; /* prepared at first use */
    uint64_t next_version, versions_end;  /* taken from the counter, not used yet */
    struct tks_buffer text;               /* what was read last */
    int64_t give_up_ns; /* of the call that waits for a lock; 0: it does not yet */
    int64_t sum;        /* add: result, and why there is none */
    int sum_status;
};

/** The status of an SQLite result, and a sentence with the path and SQLite's own words. */
int tks_sqlite_fail(const struct tks_connection *connection, int result);

/** Let others go on for a moment. False: the call's time is over. */
bool tks_sqlite_wait(struct tks_connection *connection, int tries);

/**
 * Around the opening of a connection (see sqlite_fork.c): before anything is opened; when its -shm
 * file is there; after it was closed (NULL is allowed).
 */
int tks_sqlite_before_open(struct tks_connection *connection);
int tks_sqlite_after_open(struct tks_connection *connection);
void tks_sqlite_closed(struct open_file *file);

/** Run statements that give no rows. */
int tks_sqlite_run(struct tks_connection *connection, const char *sql);

/** Prepare a statement that is used once. */
int tks_sqlite_prepare(struct tks_connection *connection, const char *sql,
                       sqlite3_stmt **statement);

/** A call begins: it may wait for others for as long as timeout_ms= says. */
static inline void sqlite_begin(struct tks_connection *connection)
{
    connection->give_up_ns = 0;
}

/** Check the table, and make or complete it; TKS_NOT_FOUND instead of making one with @p existing.
 */
int tks_sqlite_schema(struct tks_connection *connection, bool existing);

/** tickstate_add(), the SQL function that STATEMENT_ADD uses. An SQLite result. */
int tks_sqlite_add_function(struct tks_connection *connection);

/** What the driver does with rows: the functions of the same names in driver.h. */
int tks_sqlite_read(struct tks_connection *connection, const struct tks_row_name *name,
                    struct tks_row *row);
int tks_sqlite_look(struct tks_connection *connection, const struct tks_row_name *name,
                    struct tks_row *row);
int tks_sqlite_write(struct tks_connection *connection, const struct tks_row_name *name,
                     const struct tks_row *row);
int tks_sqlite_write_if(struct tks_connection *connection, const struct tks_row_name *name,
                        const struct tks_row *row, uint64_t expected, int64_t now);
int tks_sqlite_add(struct tks_connection *connection, const struct tks_row_name *name,
                   int64_t delta, int64_t now, int64_t *result);
int tks_sqlite_remove(struct tks_connection *connection, const struct tks_row_name *name);
int tks_sqlite_purge(struct tks_connection *connection, const struct tks_row_name *name,
                     uint64_t version, int64_t now);
int tks_sqlite_claim(struct tks_connection *connection, uint64_t version, bool *may_keep);
int tks_sqlite_keys(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                    int64_t now, tks_row_visitor *visit, void *arg);
int tks_sqlite_rows(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                    tks_row_visitor *visit, void *arg);
int tks_sqlite_plugins(struct tks_connection *connection, int64_t now, tks_plugin_visitor *visit,
                       void *arg);
int tks_sqlite_sweep(struct tks_connection *connection, int64_t now, uint64_t *purged);
int tks_sqlite_check(struct tks_connection *connection);
int tks_sqlite_size(struct tks_connection *connection, uint64_t *size_bytes, uint64_t *used_bytes);

#endif
