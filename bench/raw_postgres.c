/* SPDX-License-Identifier: MIT */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "raw.h"

/* A text column holds no bytes: the value's length in letters, which is as much to carry. */
static char letters[VALUE_LEN + 1];

static void check(PGconn *connection, PGresult *result, ExecStatusType want)
{
    if (PQresultStatus(result) != want) {
        die("libpq: %s", PQerrorMessage(connection));
    }
    PQclear(result);
}

static void *raw_open(const struct peer_config *config)
{
    PGconn *connection = PQconnectdb(config->name);

    if (PQstatus(connection) != CONNECTION_OK) {
        die("libpq: %s", PQerrorMessage(connection));
    }
    check(connection,
          PQprepare(connection, "get",
                    "SELECT value, expires_at, version FROM plugin_state WHERE plugin = $1 AND key "
                    "= $2",
                    2, NULL),
          PGRES_COMMAND_OK);
    check(connection,
          PQprepare(connection, "set",
                    "INSERT INTO plugin_state(plugin, key, value, expires_at) VALUES($1, $2, $3, "
                    "NULL) ON CONFLICT(plugin, key) DO UPDATE SET value = excluded.value, "
                    "expires_at = excluded.expires_at, version = excluded.version",
                    3, NULL),
          PGRES_COMMAND_OK);
    memset(letters, 'x', VALUE_LEN);
    return connection;
}

static void raw_close(void *handle)
{
    PQfinish(handle);
}

static int raw_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    const char *const values[] = {RAW_PLUGIN, key};
    PGresult *result = PQexecPrepared(handle, "get", 2, values, NULL, NULL, 1);
    int status = -1;

    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        *len = (size_t)PQgetlength(result, 0, 0);
        if (*len <= cap && PQgetisnull(result, 0, 1)) {
            memcpy(buf, PQgetvalue(result, 0, 0), *len);
            status = 0;
        }
    }
    PQclear(result);
    return status;
}

static int raw_set(void *handle, const char *key, const void *value, size_t len)
{
    const char *const values[] = {RAW_PLUGIN, key, letters};
    PGresult *result = PQexecPrepared(handle, "set", 3, values, NULL, NULL, 1);
    int status = PQresultStatus(result) == PGRES_COMMAND_OK ? 0 : -1;

    (void)value;
    (void)len;
    PQclear(result);
    return status;
}

const struct peer raw_postgres = {
    .name = "libpq",
    .label = "libpq by hand",
    .open = raw_open,
    .close = raw_close,
    .get = raw_get,
    .set = raw_set,
    .tick_begin = peer_tick_nothing,
    .tick_end = peer_tick_nothing,
};
