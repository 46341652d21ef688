/* SPDX-License-Identifier: MIT */
/*
 * SQLite on tmpfs: WAL, synchronous off, prepared statements, the table mapped. A tick is a read
 * transaction; a write ends it first, since a transaction that read an older state cannot write
 * (SQLITE_BUSY_SNAPSHOT), and commits on its own.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "peer.h"

struct sqlite {
    sqlite3 *db;
    sqlite3_stmt *get;
    sqlite3_stmt *set;
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    bool in_tick;
};

static void sqlite_check(struct sqlite *sqlite, int status, const char *what)
{
    if (status != SQLITE_OK) {
        die("SQLite: %s: %s", what, sqlite3_errmsg(sqlite->db));
    }
}

static void sqlite_run(struct sqlite *sqlite, const char *sql)
{
    sqlite_check(sqlite, sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL), sql);
}

static void sqlite_compile(struct sqlite *sqlite, const char *sql, sqlite3_stmt **statement)
{
    sqlite_check(
        sqlite, sqlite3_prepare_v3(sqlite->db, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL),
        sql);
}

/* Busy waiting by yielding at once is the fastest a contended SQLite gets. */
static int sqlite_busy(void *arg, int count)
{
    (void)arg;
    (void)count;
    return 1;
}

static void *sqlite_open(const struct peer_config *config)
{
    struct sqlite *sqlite = allocate(sizeof(*sqlite));
    char path[128];

    snprintf(path, sizeof(path), "/dev/shm/%s.db", config->name);
    if (!config->attach) {
        temp_register(config->name, ".db");
        temp_register(config->name, ".db-wal");
        temp_register(config->name, ".db-shm");
    }
    sqlite_check(sqlite, sqlite3_open(path, &sqlite->db), path);
    sqlite_check(sqlite, sqlite3_busy_handler(sqlite->db, sqlite_busy, NULL), "busy handler");
    sqlite_run(sqlite,
               "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA mmap_size=4000000000;"
               "PRAGMA cache_size=-65536;");
    sqlite_run(sqlite,
               "CREATE TABLE IF NOT EXISTS state(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID");
    sqlite_compile(sqlite, "SELECT v FROM state WHERE k=?1", &sqlite->get);
    sqlite_compile(sqlite,
                   "INSERT INTO state VALUES(?1, ?2) ON CONFLICT(k) DO UPDATE SET v=excluded.v",
                   &sqlite->set);
    sqlite_compile(sqlite, "BEGIN", &sqlite->begin);
    sqlite_compile(sqlite, "COMMIT", &sqlite->commit);
    return sqlite;
}

static void sqlite_close(void *handle)
{
    struct sqlite *sqlite = handle;

    sqlite3_finalize(sqlite->get);
    sqlite3_finalize(sqlite->set);
    sqlite3_finalize(sqlite->begin);
    sqlite3_finalize(sqlite->commit);
    sqlite3_close(sqlite->db);
    free(sqlite);
}

static int sqlite_step_once(sqlite3_stmt *statement)
{
    int status = sqlite3_step(statement);

    sqlite3_reset(statement);
    return status == SQLITE_DONE ? 0 : -1;
}

static int sqlite_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    struct sqlite *sqlite = handle;
    int status = -1;

    sqlite3_bind_text(sqlite->get, 1, key, -1, SQLITE_STATIC);
    if (sqlite3_step(sqlite->get) == SQLITE_ROW) {
        size_t size = (size_t)sqlite3_column_bytes(sqlite->get, 0);
        if (size <= cap) {
            memcpy(buf, sqlite3_column_blob(sqlite->get, 0), size);
            *len = size;
            status = 0;
        }
    }
    sqlite3_reset(sqlite->get);
    return status;
}

static int sqlite_tick_begin(void *handle)
{
    struct sqlite *sqlite = handle;

    sqlite->in_tick = true;
    return sqlite_step_once(sqlite->begin);
}

static int sqlite_tick_end(void *handle)
{
    struct sqlite *sqlite = handle;

    if (!sqlite->in_tick) {
        return 0;
    }
    sqlite->in_tick = false;
    return sqlite_step_once(sqlite->commit);
}

static int sqlite_set(void *handle, const char *key, const void *value, size_t len)
{
    struct sqlite *sqlite = handle;

    if (sqlite_tick_end(sqlite) != 0) {
        return -1;
    }
    sqlite3_bind_text(sqlite->set, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_blob(sqlite->set, 2, value, (int)len, SQLITE_STATIC);
    return sqlite_step_once(sqlite->set);
}

static int sqlite_bulk_begin(void *handle)
{
    struct sqlite *sqlite = handle;

    return sqlite_step_once(sqlite->begin);
}

static int sqlite_bulk_end(void *handle)
{
    struct sqlite *sqlite = handle;

    return sqlite_step_once(sqlite->commit);
}

static uint64_t sqlite_file_bytes(const struct peer_config *config)
{
    return temp_bytes(config->name, ".db") + temp_bytes(config->name, ".db-wal");
}

const struct peer peer_sqlite = {
    .name = "sqlite",
    .label = "SQLite (WAL tmpfs)",
    .traits = PEER_PROCESSES | PEER_SLOW,
    .insert_max = 200000,
    .open = sqlite_open,
    .close = sqlite_close,
    .get = sqlite_get,
    .set = sqlite_set,
    .tick_begin = sqlite_tick_begin,
    .tick_end = sqlite_tick_end,
    .bulk_begin = sqlite_bulk_begin,
    .bulk_end = sqlite_bulk_end,
    .bytes = sqlite_file_bytes,
};
