/* SPDX-License-Identifier: MIT */
/* LMDB on a disk with its default flags: mdb_txn_commit() returns when the data is synced. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "lmdb_value.h"
#include "durable.h"

#define MAP_BYTES ((size_t)4 << 30)

struct lmdb {
    MDB_env *env;
    MDB_dbi table;
    MDB_txn *txn;
};

static void require(int status, const char *call)
{
    if (status != 0) {
        die("%s: %s", call, mdb_strerror(status));
    }
}

static void *lmdb_open(const char *folder)
{
    struct lmdb *lmdb = allocate(sizeof(*lmdb));
    MDB_txn *txn;
    char path[256];

    snprintf(path, sizeof(path), "%s/peer.mdb", folder);
    require(mdb_env_create(&lmdb->env), "mdb_env_create");
    require(mdb_env_set_mapsize(lmdb->env, MAP_BYTES), "mdb_env_set_mapsize");
    require(mdb_env_open(lmdb->env, path, MDB_NOSUBDIR, 0600), "mdb_env_open");
    require(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "mdb_txn_begin");
    require(mdb_dbi_open(txn, NULL, 0, &lmdb->table), "mdb_dbi_open");
    require(mdb_txn_commit(txn), "mdb_txn_commit");
    return lmdb;
}

static void lmdb_close(void *handle)
{
    struct lmdb *lmdb = handle;

    mdb_env_close(lmdb->env);
    free(lmdb);
}

static int lmdb_begin(void *handle)
{
    struct lmdb *lmdb = handle;

    return mdb_txn_begin(lmdb->env, NULL, 0, &lmdb->txn);
}

static int lmdb_put(void *handle, const char *key, const void *value, size_t len)
{
    struct lmdb *lmdb = handle;
    MDB_val name = lmdb_bytes(key, strlen(key));
    MDB_val data = lmdb_bytes(value, len);

    return mdb_put(lmdb->txn, lmdb->table, &name, &data, 0);
}

static int lmdb_commit(void *handle)
{
    struct lmdb *lmdb = handle;

    return mdb_txn_commit(lmdb->txn);
}

static uint64_t lmdb_scan(void *handle)
{
    struct lmdb *lmdb = handle;
    MDB_cursor *cursor;
    MDB_txn *txn;
    MDB_val key, value;
    unsigned char copy[VALUE_CAP];
    uint64_t n = 0;
    int status;

    require(mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
    require(mdb_cursor_open(txn, lmdb->table, &cursor), "mdb_cursor_open");
    while ((status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        memcpy(copy, value.mv_data, value.mv_size < VALUE_CAP ? value.mv_size : VALUE_CAP);
        USE_VALUE(copy);
        n++;
    }
    require(status == MDB_NOTFOUND ? 0 : status, "mdb_cursor_get");
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return n;
}

extern const struct durable durable_lmdb;
const struct durable durable_lmdb = {
    .name = "lmdb",
    .label = "LMDB (commit synced)",
    .open = lmdb_open,
    .close = lmdb_close,
    .begin = lmdb_begin,
    .put = lmdb_put,
    .commit = lmdb_commit,
    .scan = lmdb_scan,
};
