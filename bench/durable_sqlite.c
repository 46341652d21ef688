/* SPDX-License-Identifier: MIT */
/*
 * SQLite on a disk, WAL with synchronous=NORMAL: a commit is safe against a crash of the process,
 * and synced only when the log is moved to the database (every 1,000 pages by default), so a power
 * cut may take back the last commits. Less than a checkpoint promises; it is what people use.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "durable.h"

struct sqlite {
    sqlite3 *db;
    sqlite3_stmt *set;
};

static void require(struct sqlite *sqlite, int status, const char *what)
{
    if (status != SQLITE_OK) {
        die("SQLite: %s: %s", what, sqlite3_errmsg(sqlite->db));
    }
}

static void sqlite_run(struct sqlite *sqlite, const char *sql)
{
    require(sqlite, sqlite3_exec(sqlite->db, sql, NULL, NULL, NULL), sql);
}

static void *sqlite_open(const char *folder)
{
    struct sqlite *sqlite = allocate(sizeof(*sqlite));
    char path[256];

    snprintf(path, sizeof(path), "%s/peer.db", folder);
    require(sqlite, sqlite3_open(path, &sqlite->db), path);
    sqlite_run(sqlite, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                       "PRAGMA mmap_size=4000000000; PRAGMA cache_size=-65536;");
    sqlite_run(sqlite,
               "CREATE TABLE IF NOT EXISTS state(k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID");
    require(sqlite,
            sqlite3_prepare_v3(sqlite->db,
                               "INSERT INTO state VALUES(?1, ?2) ON CONFLICT(k) DO UPDATE "
                               "SET v=excluded.v",
                               -1, SQLITE_PREPARE_PERSISTENT, &sqlite->set, NULL),
            "prepare");
    return sqlite;
}

static void sqlite_close(void *handle)
{
    struct sqlite *sqlite = handle;

    sqlite3_finalize(sqlite->set);
    sqlite3_close(sqlite->db);
    free(sqlite);
}

static int sqlite_begin(void *handle)
{
    struct sqlite *sqlite = handle;

    return sqlite3_exec(sqlite->db, "BEGIN", NULL, NULL, NULL);
}

static int sqlite_put(void *handle, const char *key, const void *value, size_t len)
{
    struct sqlite *sqlite = handle;
    int status;

    sqlite3_bind_text(sqlite->set, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_blob(sqlite->set, 2, value, (int)len, SQLITE_STATIC);
    status = sqlite3_step(sqlite->set);
    sqlite3_reset(sqlite->set);
    return status == SQLITE_DONE ? 0 : status;
}

static int sqlite_commit(void *handle)
{
    struct sqlite *sqlite = handle;

    return sqlite3_exec(sqlite->db, "COMMIT", NULL, NULL, NULL);
}

static uint64_t sqlite_scan(void *handle)
{
    struct sqlite *sqlite = handle;
    sqlite3_stmt *all;
    unsigned char copy[VALUE_CAP];
    uint64_t n = 0;

    require(sqlite, sqlite3_prepare_v2(sqlite->db, "SELECT k, v FROM state", -1, &all, NULL),
            "prepare");
    while (sqlite3_step(all) == SQLITE_ROW) {
        size_t len = (size_t)sqlite3_column_bytes(all, 1);
        USE_VALUE(sqlite3_column_text(all, 0));
        memcpy(copy, sqlite3_column_blob(all, 1), len < VALUE_CAP ? len : VALUE_CAP);
        USE_VALUE(copy);
        n++;
    }
    require(sqlite, sqlite3_finalize(all), "scan");
    return n;
}

extern const struct durable durable_sqlite;
const struct durable durable_sqlite = {
    .name = "sqlite",
    .label = "SQLite (WAL normal)",
    .open = sqlite_open,
    .close = sqlite_close,
    .begin = sqlite_begin,
    .put = sqlite_put,
    .commit = sqlite_commit,
    .scan = sqlite_scan,
};
