/* SPDX-License-Identifier: MIT */
/*
 * LMDB on tmpfs, NOSYNC and WRITEMAP: a reader is a renewed read transaction, a write a transaction
 * of its own, since it is to be visible to everybody when its call returns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "lmdb_value.h"
#include "peer.h"

/* Sparse, and needed: while a reader sits in a transaction, no page is used again. */
#define MAP_BYTES ((size_t)2 << 30)

struct lmdb {
    MDB_env *env;
    MDB_dbi table;
    MDB_txn *reader;
    MDB_txn *bulk; /* NULL outside a bulk fill */
    bool in_tick;
};

static void lmdb_check(int status, const char *call)
{
    if (status != 0) {
        die("%s: %s", call, mdb_strerror(status));
    }
}

static void lmdb_open_table(struct lmdb *lmdb)
{
    MDB_txn *txn;

    lmdb_check(mdb_txn_begin(lmdb->env, NULL, 0, &txn), "mdb_txn_begin");
    lmdb_check(mdb_dbi_open(txn, NULL, 0, &lmdb->table), "mdb_dbi_open");
    lmdb_check(mdb_txn_commit(txn), "mdb_txn_commit");
    lmdb_check(mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->reader), "mdb_txn_begin");
    mdb_txn_reset(lmdb->reader);
}

static void *lmdb_open(const struct peer_config *config)
{
    struct lmdb *lmdb = allocate(sizeof(*lmdb));
    char path[128];

    snprintf(path, sizeof(path), "/dev/shm/%s.mdb", config->name);
    if (!config->attach) {
        temp_register(config->name, ".mdb");
        temp_register(config->name, ".mdb-lock");
    }
    lmdb_check(mdb_env_create(&lmdb->env), "mdb_env_create");
    lmdb_check(mdb_env_set_mapsize(lmdb->env, MAP_BYTES + config->keys * 1024),
               "mdb_env_set_mapsize");
    lmdb_check(
        mdb_env_open(lmdb->env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_WRITEMAP | MDB_NOTLS, 0600),
        "mdb_env_open");
    lmdb_open_table(lmdb);
    return lmdb;
}

static void lmdb_close(void *handle)
{
    struct lmdb *lmdb = handle;

    mdb_txn_abort(lmdb->reader);
    mdb_env_close(lmdb->env);
    free(lmdb);
}

static int lmdb_get_in(struct lmdb *lmdb, MDB_txn *txn, const char *key, void *buf, size_t cap,
                       size_t *len)
{
    MDB_val name = lmdb_bytes(key, strlen(key));
    MDB_val value;
    int status = mdb_get(txn, lmdb->table, &name, &value);

    if (status != 0 || value.mv_size > cap) {
        return status != 0 ? status : -1;
    }
    memcpy(buf, value.mv_data, value.mv_size);
    *len = value.mv_size;
    return 0;
}

static int lmdb_tick_begin(void *handle)
{
    struct lmdb *lmdb = handle;

    lmdb->in_tick = true;
    return mdb_txn_renew(lmdb->reader);
}

static int lmdb_tick_end(void *handle)
{
    struct lmdb *lmdb = handle;

    mdb_txn_reset(lmdb->reader);
    lmdb->in_tick = false;
    return 0;
}

static int lmdb_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    struct lmdb *lmdb = handle;
    int status;

    if (lmdb->in_tick) {
        return lmdb_get_in(lmdb, lmdb->reader, key, buf, cap, len);
    }
    status = mdb_txn_renew(lmdb->reader);
    if (status == 0) {
        status = lmdb_get_in(lmdb, lmdb->reader, key, buf, cap, len);
        mdb_txn_reset(lmdb->reader);
    }
    return status;
}

static int lmdb_set(void *handle, const char *key, const void *value, size_t len)
{
    struct lmdb *lmdb = handle;
    MDB_val name = lmdb_bytes(key, strlen(key));
    MDB_val data = lmdb_bytes(value, len);
    MDB_txn *txn = lmdb->bulk;
    int status = txn == NULL ? mdb_txn_begin(lmdb->env, NULL, 0, &txn) : 0;

    if (status != 0) {
        return status;
    }
    status = mdb_put(txn, lmdb->table, &name, &data, 0);
    if (lmdb->bulk != NULL) {
        return status;
    }
    if (status != 0) {
        mdb_txn_abort(txn);
        return status;
    }
    return mdb_txn_commit(txn);
}

static int lmdb_bulk_begin(void *handle)
{
    struct lmdb *lmdb = handle;

    return mdb_txn_begin(lmdb->env, NULL, 0, &lmdb->bulk);
}

static int lmdb_bulk_end(void *handle)
{
    struct lmdb *lmdb = handle;
    int status = mdb_txn_commit(lmdb->bulk);

    lmdb->bulk = NULL;
    return status;
}

static uint64_t lmdb_file_bytes(const struct peer_config *config)
{
    return temp_bytes(config->name, ".mdb");
}

const struct peer peer_lmdb = {
    .name = "lmdb",
    .label = "LMDB (nosync tmpfs)",
    .traits = PEER_PROCESSES,
    .insert_max = 1000000,
    .open = lmdb_open,
    .close = lmdb_close,
    .get = lmdb_get,
    .set = lmdb_set,
    .tick_begin = lmdb_tick_begin,
    .tick_end = lmdb_tick_end,
    .bulk_begin = lmdb_bulk_begin,
    .bulk_end = lmdb_bulk_end,
    .bytes = lmdb_file_bytes,
};
