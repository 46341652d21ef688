/* SPDX-License-Identifier: MIT */
#include "database/postgres.h"

#include "base/backend.h"
#include "base/error.h"
#include "database/driver.h"

#include <stdio.h>
#include <stdlib.h>

struct tks_database {
    struct postgres_target target;
    /* The connection that open made, for whoever connects first. */
    struct tks_connection *spare;
};

struct tks_connection {
    struct postgres_link link;
    PGresult *held; /* what the last read gave out */
};

/* ---- Opening ------------------------------------------------------------------------------- */

static void disconnect(struct tks_connection *connection)
{
    if (!connection)
        return;
    libpq.PQclear(connection->held);
    postgres_hang_up(&connection->link);
    free(connection);
}

static int connect_new(struct tks_database *database, struct tks_connection **connection)
{
    struct tks_connection *made = calloc(1, sizeof(*made));
    if (!made)
        return tks_fail(TKS_NO_SPACE, "no memory for a connection to PostgreSQL");
    made->link.target = &database->target;
    int status = postgres_connect(&made->link);
    if (status) {
        disconnect(made);
        return status;
    }
    *connection = made;
    return TKS_OK;
}

static int connect_any(struct tks_database *database, struct tks_connection **connection)
{
    *connection = __atomic_exchange_n(&database->spare, NULL, __ATOMIC_ACQ_REL);
    return *connection ? TKS_OK : connect_new(database, connection);
}

static void close_database(struct tks_database *database)
{
    disconnect(database->spare);
    postgres_target_release(&database->target);
    free(database);
}

static int open_database(const struct tks_uri *uri, const struct tks_options *options,
                         struct tks_database **database)
{
    int status = tks_libpq_load();
    if (status)
        return status;
    struct tks_database *made = calloc(1, sizeof(*made));
    if (!made)
        return tks_fail(TKS_NO_SPACE, "no memory for a PostgreSQL store");
    status = postgres_target_parse(uri->text, &made->target);
    if (!status)
        status = connect_new(made, &made->spare);
    if (!status)
        status =
            postgres_table_open(&made->spare->link, options && options->flags & TKS_OPEN_EXISTING);
    if (status) {
        close_database(made);
        return status;
    }
    *database = made;
    return TKS_OK;
}

/* ---- One row ------------------------------------------------------------------------------- */

static void add_name(struct postgres_parameters *parameters, const struct tks_row_name *name)
{
    postgres_add_text(parameters, name->plugin, name->plugin_len);
    postgres_add_text(parameters, name->key, name->key_len);
}

static void add_content(struct postgres_parameters *parameters, const struct tks_row *row)
{
    postgres_add_text(parameters, row->text, row->len);
    if (row->expires_at)
        postgres_add_number(parameters, row->expires_at);
    else
        postgres_add_null(parameters);
}

/* A change; *changed: how many rows. */
static int change(struct tks_connection *connection, enum postgres_statement statement,
                  const struct postgres_parameters *parameters, uint64_t *changed)
{
    PGresult *result;
    int status = postgres_run(&connection->link, statement, parameters, EFFECT_CHANGE, &result);
    if (status == TKS_RANGE)
        return postgres_fail(&connection->link, TKS_IO, "a number out of range");
    if (status)
        return status;
    *changed = strtoull(libpq.PQcmdTuples(result), NULL, 10);
    libpq.PQclear(result);
    return TKS_OK;
}

/* The columns expires_at and version, which every row we read has next to each other. */
static void take_times(const PGresult *result, int row, int column, struct tks_row *to)
{
    const int64_t expires_at = postgres_number(result, row, column);
    to->expires_at = libpq.PQgetisnull(result, row, column) ? 0 : expires_at < 1 ? 1 : expires_at;
    to->version = (uint64_t)postgres_number(result, row, column + 1);
}

static void take_text(const PGresult *result, int row, int column, struct tks_row *to)
{
    const bool null = libpq.PQgetisnull(result, row, column);
    to->text = null ? NULL : libpq.PQgetvalue(result, row, column);
    to->len = null ? 0 : (size_t)libpq.PQgetlength(result, row, column);
}

static int find(struct tks_connection *connection, enum postgres_statement statement,
                const struct tks_row_name *name, struct tks_row *row)
{
    struct postgres_parameters parameters = {.count = 0};
    libpq.PQclear(connection->held);
    connection->held = NULL;
    add_name(&parameters, name);
    int status =
        postgres_run(&connection->link, statement, &parameters, EFFECT_READ, &connection->held);
    if (status) {
        connection->held = NULL;
        return status;
    }
    if (!libpq.PQntuples(connection->held))
        return expected_outcome(TKS_NOT_FOUND);
    *row = (struct tks_row){.text = NULL};
    take_times(connection->held, 0, 0, row);
    if (statement == STATEMENT_READ)
        take_text(connection->held, 0, 2, row);
    return TKS_OK;
}

static int read_row(struct tks_connection *connection, const struct tks_row_name *name,
                    struct tks_row *row)
{
    return find(connection, STATEMENT_READ, name, row);
}

static int look(struct tks_connection *connection, const struct tks_row_name *name,
                struct tks_row *row)
{
    return find(connection, STATEMENT_LOOK, name, row);
}

static int write_row(struct tks_connection *connection, const struct tks_row_name *name,
                     const struct tks_row *row)
{
    struct postgres_parameters parameters = {.count = 0};
    uint64_t changed = 0;
    add_name(&parameters, name);
    add_content(&parameters, row);
    if (!row->version)
        return change(connection, STATEMENT_WRITE, &parameters, &changed);
    postgres_add_number(&parameters, (int64_t)row->version);
    return change(connection, STATEMENT_WRITE_VERSION, &parameters, &changed);
}

static int write_if(struct tks_connection *connection, const struct tks_row_name *name,
                    const struct tks_row *row, uint64_t expected, int64_t now)
{
    struct postgres_parameters parameters = {.count = 0};
    uint64_t changed = 0;
    add_name(&parameters, name);
    add_content(&parameters, row);
    postgres_add_number(&parameters, now);
    if (expected)
        postgres_add_number(&parameters, (int64_t)expected);
    int status = change(connection, expected ? STATEMENT_UPDATE_IF : STATEMENT_INSERT_IF,
                        &parameters, &changed);
    if (status)
        return status;
    return changed ? TKS_OK : expected_outcome(TKS_CONFLICT);
}

static int add(struct tks_connection *connection, const struct tks_row_name *name, int64_t delta,
               int64_t now, int64_t *sum)
{
    struct postgres_parameters parameters = {.count = 0};
    PGresult *result;
    add_name(&parameters, name);
    postgres_add_number(&parameters, delta);
    postgres_add_number(&parameters, now);
    int status =
        postgres_run(&connection->link, STATEMENT_ADD, &parameters, EFFECT_CHANGE, &result);
    if (status)
        return status;
    const bool done = libpq.PQntuples(result);
    if (done)
        *sum = postgres_number(result, 0, 0);
    libpq.PQclear(result);
    return done ? TKS_OK : expected_outcome(TKS_TYPE);
}

static int remove_row(struct tks_connection *connection, const struct tks_row_name *name)
{
    struct postgres_parameters parameters = {.count = 0};
    uint64_t changed = 0;
    add_name(&parameters, name);
    return change(connection, STATEMENT_REMOVE, &parameters, &changed);
}

static int purge(struct tks_connection *connection, const struct tks_row_name *name,
                 uint64_t version, int64_t now)
{
    struct postgres_parameters parameters = {.count = 0};
    uint64_t changed = 0;
    add_name(&parameters, name);
    postgres_add_number(&parameters, (int64_t)version);
    postgres_add_number(&parameters, now);
    return change(connection, STATEMENT_PURGE, &parameters, &changed);
}

/* ---- Versions of others -------------------------------------------------------------------- */

static bool knows_free(const struct postgres_link *link, int64_t version)
{
    return version >= link->free_versions.low && version <= link->free_versions.high;
}

/* *reached: what the counter has given out last. */
static int find_free(struct postgres_link *link, int64_t version, int64_t *reached)
{
    struct postgres_parameters parameters = {.count = 0};
    PGresult *result;
    postgres_add_number(&parameters, version);
    int status = postgres_run(link, STATEMENT_FREE_VERSIONS, &parameters, EFFECT_READ, &result);
    if (status)
        return status;
    *reached = INT64_MAX;
    if (libpq.PQntuples(result)) {
        if (!libpq.PQgetisnull(result, 0, 0))
            link->free_versions = (struct postgres_range){postgres_number(result, 0, 0),
                                                          postgres_number(result, 0, 1)};
        *reached = postgres_number(result, 0, 2);
    }
    libpq.PQclear(result);
    return TKS_OK;
}

/* A role that may not look at the gaps or move the counter writes rows under new versions. */
static int claim(struct tks_connection *connection, uint64_t version, bool *may_keep)
{
    struct postgres_link *link = &connection->link;
    *may_keep = false;
    if (!version || version >= COPY_VERSION_LIMIT)
        return TKS_OK;
    const int64_t wanted = (int64_t)version;
    int64_t reached = 0;
    int status = knows_free(link, wanted) ? TKS_OK : find_free(link, wanted, &reached);
    if (!status && !knows_free(link, wanted) && wanted > reached)
        status = postgres_table_jump(link, wanted);
    if (status == TKS_DENIED)
        return TKS_OK;
    *may_keep = !status && knows_free(link, wanted);
    return status;
}

/* ---- Many rows ----------------------------------------------------------------------------- */

/* Rows per round trip: what makes some 256 KiB, judged by the last ones. */
static int next_batch(int batch, size_t bytes)
{
    enum { BYTES = 256 * 1024, MOST = 4096 };
    if (bytes > BYTES)
        return batch > 1 ? batch / 2 : 1;
    return bytes < BYTES / 2 && batch < MOST ? batch * 2 : batch;
}

static int visit_batch(const PGresult *result, tks_row_visitor *visit, void *arg, size_t *bytes)
{
    *bytes = 0;
    for (int i = 0; i < libpq.PQntuples(result); i++) {
        const struct tks_row_name name = {
            .plugin = libpq.PQgetvalue(result, i, 0),
            .key = libpq.PQgetvalue(result, i, 1),
            .plugin_len = (size_t)libpq.PQgetlength(result, i, 0),
            .key_len = (size_t)libpq.PQgetlength(result, i, 1),
        };
        struct tks_row row = {.text = NULL};
        take_times(result, i, 2, &row);
        take_text(result, i, 4, &row);
        *bytes += row.len + name.key_len + name.plugin_len;
        int status = visit(arg, &name, &row);
        if (status)
            return status;
    }
    return TKS_OK;
}

static int fetch_all(struct postgres_link *link, tks_row_visitor *visit, void *arg)
{
    int batch = 64, found = 1;
    while (found) {
        char text[64];
        PGresult *result;
        size_t bytes;
        snprintf(text, sizeof(text), "FETCH %d FROM tks_walk", batch);
        int status = postgres_run_text(link, text, EFFECT_STEP, &result);
        if (status)
            return status;
        found = libpq.PQntuples(result);
        status = visit_batch(result, visit, arg, &bytes);
        libpq.PQclear(result);
        if (status)
            return status;
        batch = next_batch(batch, bytes);
    }
    return TKS_OK;
}

/* A cursor in a transaction: one instant, and each step of it bounded in time and memory. */
static int walk(struct postgres_link *link, enum postgres_statement statement,
                const struct postgres_parameters *parameters, tks_row_visitor *visit, void *arg)
{
    PGresult *result;
    int status = postgres_run_text(link, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                                   EFFECT_READ, NULL);
    if (status)
        return status;
    status = postgres_run(link, statement, parameters, EFFECT_STEP, &result);
    if (!status) {
        libpq.PQclear(result);
        status = fetch_all(link, visit, arg);
    }
    /* Nothing was changed, so it does not matter how it ends, but the next statement shall not be
     * in it. */
    if (link->connection && postgres_run_text(link, "ROLLBACK", EFFECT_STEP, NULL))
        postgres_hang_up(link);
    return status;
}

static int keys(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                int64_t now, tks_row_visitor *visit, void *arg)
{
    struct postgres_parameters parameters = {.count = 0};
    postgres_add_text(&parameters, plugin, plugin_len);
    postgres_add_number(&parameters, now);
    return walk(&connection->link, STATEMENT_WALK_KEYS, &parameters, visit, arg);
}

static int rows(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                tks_row_visitor *visit, void *arg)
{
    struct postgres_parameters parameters = {.count = 0};
    if (plugin)
        postgres_add_text(&parameters, plugin, plugin_len);
    return walk(&connection->link, plugin ? STATEMENT_WALK_PLUGIN : STATEMENT_WALK_ALL, &parameters,
                visit, arg);
}

static int plugins(struct tks_connection *connection, int64_t now, tks_plugin_visitor *visit,
                   void *arg)
{
    struct postgres_parameters parameters = {.count = 0};
    PGresult *result;
    postgres_add_number(&parameters, now);
    int status =
        postgres_run(&connection->link, STATEMENT_PLUGINS, &parameters, EFFECT_READ, &result);
    if (status)
        return status;
    for (int i = 0; !status && i < libpq.PQntuples(result); i++)
        status = visit(arg, libpq.PQgetvalue(result, i, 0), (size_t)libpq.PQgetlength(result, i, 0),
                       (uint64_t)postgres_number(result, i, 1));
    libpq.PQclear(result);
    return status;
}

/* Page by page, each its own transaction, past rows that somebody holds. */
static int sweep(struct tks_connection *connection, int64_t now, uint64_t *purged)
{
    struct postgres_parameters parameters = {.count = 0};
    uint64_t changed = 1;
    int status = TKS_OK;
    *purged = 0;
    postgres_add_number(&parameters, now);
    while (!status && changed) {
        status = change(connection, STATEMENT_SWEEP, &parameters, &changed);
        if (!status)
            *purged += changed;
    }
    return status;
}

static int size(struct tks_connection *connection, uint64_t *size_bytes, uint64_t *used_bytes)
{
    const struct postgres_parameters parameters = {.count = 0};
    PGresult *result;
    *used_bytes = 0;
    int status = postgres_run(&connection->link, STATEMENT_SIZE, &parameters, EFFECT_READ, &result);
    if (status)
        return status;
    *size_bytes = (uint64_t)postgres_number(result, 0, 0);
    libpq.PQclear(result);
    return TKS_OK;
}

const struct tks_driver tks_postgres_driver = {
    .open = open_database,
    .close = close_database,
    .connect = connect_any,
    .disconnect = disconnect,
    .read = read_row,
    .look = look,
    .write = write_row,
    .write_if = write_if,
    .add = add,
    .remove = remove_row,
    .purge = purge,
    .claim = claim,
    .keys = keys,
    .rows = rows,
    .plugins = plugins,
    .sweep = sweep,
    .size = size,
};
