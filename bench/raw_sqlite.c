/* SPDX-License-Identifier: MIT */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "raw.h"

struct raw {
    sqlite3 *sqlite;
    sqlite3_stmt *get, *set;
    int64_t version;
};

static void compile(struct raw *raw, const char *sql, sqlite3_stmt **statement)
{
    if (sqlite3_prepare_v3(raw->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) !=
        SQLITE_OK) {
        die("libsqlite3: %s", sqlite3_errmsg(raw->sqlite));
    }
    sqlite3_bind_text(*statement, 1, RAW_PLUGIN, -1, SQLITE_STATIC);
}

static void *raw_open(const struct peer_config *config)
{
    struct raw *raw = allocate(sizeof(*raw));

    if (sqlite3_open_v2(config->name, &raw->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK ||
        /* As tickstate sets it: what a commit sometimes does for the file is not what is compared.
         */
        sqlite3_exec(raw->sqlite, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000", NULL,
                     NULL, NULL) != SQLITE_OK) {
        die("%s: %s", config->name, sqlite3_errmsg(raw->sqlite));
    }
    sqlite3_busy_timeout(raw->sqlite, 2000);
    compile(raw,
            "SELECT value, expires_at, version FROM plugin_state WHERE plugin = ?1 AND key = ?2",
            &raw->get);
    compile(raw,
            "INSERT INTO plugin_state(plugin, key, value, expires_at, version) VALUES(?1, ?2, ?3, "
            "NULL, ?4) ON CONFLICT(plugin, key) DO UPDATE SET value = excluded.value, expires_at = "
            "excluded.expires_at, version = excluded.version",
            &raw->set);
    raw->version = RAW_FIRST_VERSION;
    return raw;
}

static void raw_close(void *handle)
{
    struct raw *raw = handle;

    sqlite3_finalize(raw->get);
    sqlite3_finalize(raw->set);
    sqlite3_close(raw->sqlite);
    free(raw);
}

static int raw_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    struct raw *raw = handle;
    int status = -1;

    sqlite3_bind_text(raw->get, 2, key, -1, SQLITE_STATIC);
    if (sqlite3_step(raw->get) == SQLITE_ROW) {
        *len = (size_t)sqlite3_column_bytes(raw->get, 0);
        if (*len <= cap && sqlite3_column_type(raw->get, 1) == SQLITE_NULL) {
            memcpy(buf, sqlite3_column_blob(raw->get, 0), *len);
            status = 0;
        }
    }
    sqlite3_reset(raw->get);
    return status;
}

static int raw_set(void *handle, const char *key, const void *value, size_t len)
{
    struct raw *raw = handle;
    int status;

    sqlite3_bind_text(raw->set, 2, key, -1, SQLITE_STATIC);
    sqlite3_bind_blob(raw->set, 3, value, (int)len, SQLITE_STATIC);
    sqlite3_bind_int64(raw->set, 4, raw->version++);
    status = sqlite3_step(raw->set);
    sqlite3_reset(raw->set);
    return status == SQLITE_DONE ? 0 : -1;
}

const struct peer raw_sqlite = {
    .name = "libsqlite3",
    .label = "libsqlite3 by hand",
    .open = raw_open,
    .close = raw_close,
    .get = raw_get,
    .set = raw_set,
    .tick_begin = peer_tick_nothing,
    .tick_end = peer_tick_nothing,
};
