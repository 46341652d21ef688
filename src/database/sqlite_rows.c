/* SPDX-License-Identifier: MIT */
/*
 * Rows of plugin_state. Each call is one statement in a transaction of its own, prepared once per
 * connection and reset before the call returns: a statement that is not reset would hold its
 * snapshot, and with it the WAL's growth.
 */
#include "database/sqlite.h"

#include "base/backend.h"
#include "base/clock.h"
#include "base/error.h"
#include "json/value.h"

#include <stdio.h>
#include <string.h>

/* How many versions a connection takes at once. */
#define VERSIONS_AT_ONCE 4096
/* How many rows a sweep deletes while it keeps others from writing. */
#define PURGES_AT_ONCE 256
#define CLAIM_TRIES 8

/* Whether a row has expired; what is no number never does. */
#define EXPIRED_AT(now) "(expires_at <= " now ") IS TRUE"
#define ALIVE_AT(now) "(expires_at <= " now ") IS NOT TRUE"
#define THE_ROW " WHERE plugin = ?1 AND key = ?2"
#define INSERT_ROW                                                                                 \
    "INSERT INTO plugin_state(plugin, key, value, expires_at, version) "                           \
    "VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(plugin, key) DO UPDATE SET "

static const char *const texts[STATEMENTS] = {
    [STATEMENT_READ] = "SELECT value, expires_at, version FROM plugin_state" THE_ROW,
    [STATEMENT_LOOK] = "SELECT NULL, expires_at, version FROM plugin_state" THE_ROW,
    [STATEMENT_WRITE] = INSERT_ROW "value = excluded.value, expires_at = excluded.expires_at, "
                                   "version = excluded.version",
    [STATEMENT_CREATE] = INSERT_ROW "value = excluded.value, expires_at = excluded.expires_at, "
                                    "version = excluded.version WHERE " EXPIRED_AT("?6"),
    [STATEMENT_REPLACE] =
        "UPDATE plugin_state SET value = ?3, expires_at = ?4, version = ?5" THE_ROW
        " AND version = ?7 AND " ALIVE_AT("?6"),
    [STATEMENT_ADD] = INSERT_ROW "value = CASE WHEN " EXPIRED_AT(
        "?6") " THEN excluded.value "
              "ELSE tickstate_add(plugin_state.value, ?7) END, "
              "expires_at = CASE WHEN " EXPIRED_AT("?6") " THEN NULL ELSE expires_at END, "
                                                         "version = excluded.version",
    [STATEMENT_REMOVE] = "DELETE FROM plugin_state" THE_ROW,
    [STATEMENT_PURGE] =
        "DELETE FROM plugin_state" THE_ROW " AND version = ?5 AND " EXPIRED_AT("?6"),
    [STATEMENT_TAKE_VERSIONS] =
        "UPDATE plugin_state_version SET next = max(next, ?1) + ?2 RETURNING next",
    [STATEMENT_KEYS] = "SELECT key FROM plugin_state WHERE plugin = ?1 AND " ALIVE_AT("?6"),
};

/* The numbers of the parameters above. */
enum parameter {
    PARAMETER_PLUGIN = 1,
    PARAMETER_KEY,
    PARAMETER_VALUE,
    PARAMETER_EXPIRES,
    PARAMETER_VERSION,
    PARAMETER_NOW,
    PARAMETER_EXPECTED,
    PARAMETER_DELTA = PARAMETER_EXPECTED
};

/* ---- Statements ---------------------------------------------------------------------------- */

static int prepare(struct tks_connection *connection, enum sqlite_statement which)
{
    int result = sqlite3_prepare_v3(connection->sqlite, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                                    &connection->statements[which], NULL);
    return result == SQLITE_OK ? TKS_OK : tks_sqlite_fail(connection, result);
}

/* A statement, and nothing of the last call left in it. */
static int statement_of(struct tks_connection *connection, enum sqlite_statement which,
                        sqlite3_stmt **statement)
{
    sqlite_begin(connection);
    int status = connection->statements[which] ? TKS_OK : prepare(connection, which);
    *statement = connection->statements[which];
    return status;
}

static int statement_for(struct tks_connection *connection, enum sqlite_statement which,
                         const struct tks_row_name *name, sqlite3_stmt **statement)
{
    int status = statement_of(connection, which, statement);
    if (status)
        return status;
    sqlite3_bind_text(*statement, PARAMETER_PLUGIN, name->plugin, (int)name->plugin_len,
                      SQLITE_STATIC);
    sqlite3_bind_text(*statement, PARAMETER_KEY, name->key, (int)name->key_len, SQLITE_STATIC);
    return TKS_OK;
}

/* Step a statement that changes; *changed: the number of rows. */
static int run(struct tks_connection *connection, sqlite3_stmt *statement, int *changed)
{
    int result = sqlite3_step(statement);
    int status = result == SQLITE_DONE ? TKS_OK : tks_sqlite_fail(connection, result);
    if (changed)
        *changed = sqlite3_changes(connection->sqlite);
    sqlite3_reset(statement);
    return status;
}

/* The end of a walk: the visitor's result, or the database's. */
static int end_walk(struct tks_connection *connection, sqlite3_stmt *statement, int visited,
                    int result)
{
    if (!visited && result != SQLITE_DONE)
        visited = tks_sqlite_fail(connection, result);
    sqlite3_reset(statement);
    return visited;
}

/* ---- Versions ------------------------------------------------------------------------------ */

static int take_versions(struct tks_connection *connection)
{
    sqlite3_stmt *statement;
    int status = statement_of(connection, STATEMENT_TAKE_VERSIONS, &statement);
    if (status)
        return status;
    sqlite3_bind_int64(statement, 1, clock_ns(CLOCK_REALTIME));
    sqlite3_bind_int64(statement, 2, VERSIONS_AT_ONCE);
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        connection->versions_end = (uint64_t)sqlite3_column_int64(statement, 0);
        connection->next_version = connection->versions_end - VERSIONS_AT_ONCE;
        result = sqlite3_step(statement);
    } else if (result == SQLITE_DONE) {
        status = tks_fail(TKS_CORRUPT, "%s: table plugin_state_version has lost its row",
                          connection->database->path);
    }
    if (!status && result != SQLITE_DONE) {
        connection->next_version = connection->versions_end = 0;
        status = tks_sqlite_fail(connection, result);
    }
    sqlite3_reset(statement);
    return status;
}

static int new_version(struct tks_connection *connection, uint64_t *version)
{
    if (connection->next_version == connection->versions_end) {
        int status = take_versions(connection);
        if (status)
            return status;
    }
    *version = connection->next_version++;
    return TKS_OK;
}

struct counter {
    uint64_t first, next, gap_first, gap_end;
};

static int read_counter(struct tks_connection *connection, struct counter *counter)
{
    sqlite3_stmt *statement;
    int status = tks_sqlite_prepare(
        connection, "SELECT first, next, gap_first, gap_end FROM plugin_state_version", &statement);
    if (status)
        return status;
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *counter = (struct counter){.first = (uint64_t)sqlite3_column_int64(statement, 0),
                                    .next = (uint64_t)sqlite3_column_int64(statement, 1),
                                    .gap_first = (uint64_t)sqlite3_column_int64(statement, 2),
                                    .gap_end = (uint64_t)sqlite3_column_int64(statement, 3)};
    else
        status = result == SQLITE_DONE
                     ? tks_fail(TKS_CORRUPT, "%s: table plugin_state_version has lost its row",
                                connection->database->path)
                     : tks_sqlite_fail(connection, result);
    sqlite3_finalize(statement);
    return status;
}

/* Jump over a version that is at the counter or above, if the counter is still where it was. */
static int jump(struct tks_connection *connection, const struct counter *counter, uint64_t version,
                bool *jumped)
{
    sqlite3_stmt *statement;
    uint64_t wall = (uint64_t)clock_ns(CLOCK_REALTIME);
    uint64_t to = version + COPY_VERSION_HEADROOM;
    int status = tks_sqlite_prepare(connection,
                                    "UPDATE plugin_state_version SET gap_first = next, gap_end = "
                                    "?1, next = ?1 WHERE next = ?2",
                                    &statement);
    if (status)
        return status;
    sqlite3_bind_int64(statement, 1, (int64_t)(to > wall ? to : wall));
    sqlite3_bind_int64(statement, 2, (int64_t)counter->next);
    int changed;
    status = run(connection, statement, &changed);
    *jumped = !status && changed == 1;
    sqlite3_finalize(statement);
    return status;
}

int tks_sqlite_claim(struct tks_connection *connection, uint64_t version, bool *may_keep)
{
    struct counter counter = {.first = 0};
    *may_keep = false;
    sqlite_begin(connection);
    for (int i = 0; i < CLAIM_TRIES; i++) {
        int status = read_counter(connection, &counter);
        if (status)
            return status;
        *may_keep =
            version < counter.first || (version >= counter.gap_first && version < counter.gap_end);
        if (*may_keep || version < counter.next)
            return TKS_OK;
        status = jump(connection, &counter, version, may_keep);
        if (status || *may_keep)
            return status;
    }
    return tks_fail(TKS_BUSY, "%s: others write too much to keep a version",
                    connection->database->path);
}

/* ---- Reads --------------------------------------------------------------------------------- */

static int64_t column_expiry(sqlite3_stmt *statement, int column)
{
    int type = sqlite3_column_type(statement, column);
    if (type != SQLITE_INTEGER && type != SQLITE_FLOAT)
        return 0;
    int64_t expires_at = sqlite3_column_int64(statement, column);
    return expires_at > 0 ? expires_at : 1;
}

/* Value, expires_at and version, from column @p first on. */
static struct tks_row column_row(sqlite3_stmt *statement, int first)
{
    struct tks_row row = {.text = (const char *)sqlite3_column_text(statement, first)};
    row.len = row.text ? (size_t)sqlite3_column_bytes(statement, first) : 0;
    row.expires_at = column_expiry(statement, first + 1);
    row.version = (uint64_t)sqlite3_column_int64(statement, first + 2);
    return row;
}

/* SQLite's text ends with the reset, so it moves to the connection's buffer. */
static int keep_row(struct tks_connection *connection, sqlite3_stmt *statement, struct tks_row *row)
{
    *row = column_row(statement, 0);
    if (!row->text && sqlite3_column_type(statement, 0) != SQLITE_NULL)
        return tks_fail(TKS_NO_SPACE, "%s: no memory for a value", connection->database->path);
    connection->text.len = 0;
    if (!tks_buffer_append(&connection->text, row->text, row->len))
        return tks_fail(TKS_NO_SPACE, "%s: no memory for a value of %zu bytes",
                        connection->database->path, row->len);
    if (row->text)
        row->text = connection->text.bytes;
    return TKS_OK;
}

static int read_row(struct tks_connection *connection, enum sqlite_statement which,
                    const struct tks_row_name *name, struct tks_row *row)
{
    sqlite3_stmt *statement;
    int status = statement_for(connection, which, name, &statement);
    if (status)
        return status;
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        status = keep_row(connection, statement, row);
    else
        status = result == SQLITE_DONE ? TKS_NOT_FOUND : tks_sqlite_fail(connection, result);
    sqlite3_reset(statement);
    return status;
}

int tks_sqlite_read(struct tks_connection *connection, const struct tks_row_name *name,
                    struct tks_row *row)
{
    return read_row(connection, STATEMENT_READ, name, row);
}

int tks_sqlite_look(struct tks_connection *connection, const struct tks_row_name *name,
                    struct tks_row *row)
{
    return read_row(connection, STATEMENT_LOOK, name, row);
}

/* ---- Writes -------------------------------------------------------------------------------- */

static void bind_expiry(sqlite3_stmt *statement, int64_t expires_at)
{
    if (expires_at)
        sqlite3_bind_int64(statement, PARAMETER_EXPIRES, expires_at);
    else
        sqlite3_bind_null(statement, PARAMETER_EXPIRES);
}

/* The version comes first: taking some may be a statement of its own. */
static int write_statement(struct tks_connection *connection, enum sqlite_statement which,
                           const struct tks_row_name *name, const struct tks_row *row,
                           uint64_t version, sqlite3_stmt **statement)
{
    int status = version ? TKS_OK : new_version(connection, &version);
    if (!status)
        status = statement_for(connection, which, name, statement);
    if (status)
        return status;
    sqlite3_bind_text(*statement, PARAMETER_VALUE, row->text, (int)row->len, SQLITE_STATIC);
    bind_expiry(*statement, row->expires_at);
    sqlite3_bind_int64(*statement, PARAMETER_VERSION, (int64_t)version);
    return TKS_OK;
}

int tks_sqlite_write(struct tks_connection *connection, const struct tks_row_name *name,
                     const struct tks_row *row)
{
    sqlite3_stmt *statement;
    int status = write_statement(connection, STATEMENT_WRITE, name, row, row->version, &statement);
    return status ? status : run(connection, statement, NULL);
}

int tks_sqlite_write_if(struct tks_connection *connection, const struct tks_row_name *name,
                        const struct tks_row *row, uint64_t expected, int64_t now)
{
    sqlite3_stmt *statement;
    int changed;
    int status = write_statement(connection, expected ? STATEMENT_REPLACE : STATEMENT_CREATE, name,
                                 row, 0, &statement);
    if (status)
        return status;
    sqlite3_bind_int64(statement, PARAMETER_NOW, now);
    if (expected)
        sqlite3_bind_int64(statement, PARAMETER_EXPECTED, (int64_t)expected);
    status = run(connection, statement, &changed);
    return status || changed ? status : TKS_CONFLICT;
}

int tks_sqlite_remove(struct tks_connection *connection, const struct tks_row_name *name)
{
    sqlite3_stmt *statement;
    int status = statement_for(connection, STATEMENT_REMOVE, name, &statement);
    return status ? status : run(connection, statement, NULL);
}

static int purge_row(struct tks_connection *connection, const struct tks_row_name *name,
                     uint64_t version, int64_t now, int *purged)
{
    sqlite3_stmt *statement;
    int status = statement_for(connection, STATEMENT_PURGE, name, &statement);
    if (status)
        return status;
    sqlite3_bind_int64(statement, PARAMETER_VERSION, (int64_t)version);
    sqlite3_bind_int64(statement, PARAMETER_NOW, now);
    return run(connection, statement, purged);
}

int tks_sqlite_purge(struct tks_connection *connection, const struct tks_row_name *name,
                     uint64_t version, int64_t now)
{
    return purge_row(connection, name, version, now, NULL);
}

/* ---- Counters ------------------------------------------------------------------------------ */

/*
 * tickstate_add(value, delta): SQL has no exact test for "the text of an i64", and its own addition
 * turns into floating point where it should overflow. The outcome is left in the connection; an
 * error ends the statement without a change.
 */
static void add_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    struct tks_connection *connection = sqlite3_user_data(context);
    const char *text = (const char *)sqlite3_value_text(values[0]);
    size_t len = text ? (size_t)sqlite3_value_bytes(values[0]) : 0;
    int64_t old;
    char sum[24];
    (void)count;
    if (!text || !tks_integer_read(text, len, &old))
        connection->sum_status = TKS_TYPE;
    else if (__builtin_add_overflow(old, sqlite3_value_int64(values[1]), &connection->sum))
        connection->sum_status = TKS_RANGE;
    if (connection->sum_status) {
        sqlite3_result_error(context, "not an integer that can be added to", -1);
        return;
    }
    int sum_len = snprintf(sum, sizeof(sum), "%lld", (long long)connection->sum);
    sqlite3_result_text(context, sum, sum_len, SQLITE_TRANSIENT);
}

int tks_sqlite_add_function(struct tks_connection *connection)
{
    return sqlite3_create_function_v2(connection->sqlite, "tickstate_add", 2,
                                      SQLITE_UTF8 | SQLITE_DIRECTONLY, connection, add_function,
                                      NULL, NULL, NULL);
}

int tks_sqlite_add(struct tks_connection *connection, const struct tks_row_name *name,
                   int64_t delta, int64_t now, int64_t *result)
{
    sqlite3_stmt *statement;
    char text[24];
    int len = snprintf(text, sizeof(text), "%lld", (long long)delta);
    const struct tks_row row = {.text = text, .len = (size_t)len};
    int status = write_statement(connection, STATEMENT_ADD, name, &row, 0, &statement);
    if (status)
        return status;
    sqlite3_bind_int64(statement, PARAMETER_NOW, now);
    sqlite3_bind_int64(statement, PARAMETER_DELTA, delta);
    connection->sum = delta;
    connection->sum_status = TKS_OK;
    status = run(connection, statement, NULL);
    if (connection->sum_status)
        return connection->sum_status;
    *result = connection->sum;
    return status;
}

/* ---- Walks --------------------------------------------------------------------------------- */

static const char *column_name(sqlite3_stmt *statement, int column, size_t *len)
{
    const char *name = (const char *)sqlite3_column_text(statement, column);
    *len = name ? (size_t)sqlite3_column_bytes(statement, column) : 0;
    return name ? name : "";
}

int tks_sqlite_keys(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                    int64_t now, tks_row_visitor *visit, void *arg)
{
    struct tks_row_name name = {.plugin = plugin, .plugin_len = plugin_len};
    const struct tks_row row = {.text = NULL};
    sqlite3_stmt *statement;
    int visited = TKS_OK, result;
    int status = statement_of(connection, STATEMENT_KEYS, &statement);
    if (status)
        return status;
    sqlite3_bind_text(statement, PARAMETER_PLUGIN, plugin, (int)plugin_len, SQLITE_STATIC);
    sqlite3_bind_int64(statement, PARAMETER_NOW, now);
    while ((result = sqlite3_step(statement)) == SQLITE_ROW && !visited) {
        name.key = column_name(statement, 0, &name.key_len);
        visited = visit(arg, &name, &row);
    }
    return end_walk(connection, statement, visited, result);
}

#define THE_NAMES "SELECT plugin, key, "
#define THE_ROWS ", expires_at, version FROM plugin_state "

/* Visit what a prepared statement of those five columns finds, and finalize it. */
static int walk(struct tks_connection *connection, sqlite3_stmt *statement, tks_row_visitor *visit,
                void *arg)
{
    int visited = TKS_OK, result;
    while ((result = sqlite3_step(statement)) == SQLITE_ROW && !visited) {
        struct tks_row_name name;
        name.plugin = column_name(statement, 0, &name.plugin_len);
        name.key = column_name(statement, 1, &name.key_len);
        const struct tks_row row = column_row(statement, 2);
        visited = visit(arg, &name, &row);
    }
    visited = end_walk(connection, statement, visited, result);
    sqlite3_finalize(statement);
    return visited;
}

int tks_sqlite_rows(struct tks_connection *connection, const char *plugin, size_t plugin_len,
                    tks_row_visitor *visit, void *arg)
{
    sqlite3_stmt *statement;
    sqlite_begin(connection);
    int status = tks_sqlite_prepare(connection,
                                    plugin ? THE_NAMES "value" THE_ROWS "WHERE plugin = ?1"
                                           : THE_NAMES "value" THE_ROWS "ORDER BY plugin",
                                    &statement);
    if (status)
        return status;
    if (plugin)
        sqlite3_bind_text(statement, 1, plugin, (int)plugin_len, SQLITE_STATIC);
    return walk(connection, statement, visit, arg);
}

int tks_sqlite_plugins(struct tks_connection *connection, int64_t now, tks_plugin_visitor *visit,
                       void *arg)
{
    sqlite3_stmt *statement;
    int visited = TKS_OK, result;
    sqlite_begin(connection);
    int status = tks_sqlite_prepare(
        connection,
        "SELECT plugin, count(*) FROM plugin_state WHERE " ALIVE_AT("?1") " GROUP BY plugin",
        &statement);
    if (status)
        return status;
    sqlite3_bind_int64(statement, 1, now);
    while ((result = sqlite3_step(statement)) == SQLITE_ROW && !visited) {
        size_t len;
        const char *plugin = column_name(statement, 0, &len);
        visited = visit(arg, plugin, len, (uint64_t)sqlite3_column_int64(statement, 1));
    }
    visited = end_walk(connection, statement, visited, result);
    sqlite3_finalize(statement);
    return visited;
}

/* ---- Housekeeping -------------------------------------------------------------------------- */

/* A row that a sweep has found; plugin and key, each with a NUL, follow. */
struct found {
    size_t plugin_len, key_len;
    uint64_t version;
};

static int find_row(void *arg, const struct tks_row_name *name, const struct tks_row *row)
{
    struct tks_buffer *rows = arg;
    const struct found found = {name->plugin_len, name->key_len, row->version};
    return tks_buffer_append(rows, &found, sizeof(found)) &&
                   tks_buffer_append(rows, name->plugin, name->plugin_len + 1) &&
                   tks_buffer_append(rows, name->key, name->key_len + 1)
               ? 0
               : tks_fail(TKS_NO_SPACE, "no memory for a sweep");
}

/* Looking for them holds nobody up. */
static int find_expired(struct tks_connection *connection, int64_t now, struct tks_buffer *rows)
{
    sqlite3_stmt *statement;
    sqlite_begin(connection);
    int status = tks_sqlite_prepare(connection, THE_NAMES "NULL" THE_ROWS "WHERE " EXPIRED_AT("?1"),
                                    &statement);
    if (status)
        return status;
    sqlite3_bind_int64(statement, 1, now);
    return walk(connection, statement, find_row, rows);
}

/* Purge some of what was found, in one transaction; *at moves on. */
static int purge_some(struct tks_connection *connection, const struct tks_buffer *rows, int64_t now,
                      size_t *at, uint64_t *purged)
{
    int status = tks_sqlite_run(connection, "BEGIN IMMEDIATE");
    uint64_t dropped = 0;
    if (status)
        return status;
    for (int i = 0; !status && i < PURGES_AT_ONCE && *at < rows->len; i++) {
        struct found found;
        int changed = 0;
        memcpy(&found, rows->bytes + *at, sizeof(found));
        const char *plugin = rows->bytes + *at + sizeof(found);
        const char *key = plugin + found.plugin_len + 1;
        const struct tks_row_name name = {plugin, key, found.plugin_len, found.key_len};
        status = purge_row(connection, &name, found.version, now, &changed);
        dropped += (uint64_t)changed;
        *at = (size_t)(key + found.key_len + 1 - rows->bytes);
    }
    if (!status)
        status = tks_sqlite_run(connection, "COMMIT");
    if (status)
        sqlite3_exec(connection->sqlite, "ROLLBACK", NULL, NULL, NULL);
    else
        *purged += dropped;
    return status;
}

int tks_sqlite_sweep(struct tks_connection *connection, int64_t now, uint64_t *purged)
{
    struct tks_buffer rows = {.bytes = NULL};
    int status = find_expired(connection, now, &rows);
    for (size_t at = 0; !status && at < rows.len;) {
        sqlite_begin(connection);
        status = purge_some(connection, &rows, now, &at, purged);
    }
    tks_buffer_release(&rows);
    return status;
}

/* SQLite says it in several lines. */
static int fail_audit(const struct tks_connection *connection, const char *verdict)
{
    char line[256];
    snprintf(line, sizeof(line), "%s", verdict ? verdict : "the audit says nothing");
    for (char *end = strchr(line, '\n'); end; end = strchr(end, '\n'))
        *end = ' ';
    return tks_fail(TKS_CORRUPT, "%s: %s", connection->database->path, line);
}

int tks_sqlite_check(struct tks_connection *connection)
{
    sqlite3_stmt *statement;
    sqlite_begin(connection);
    int status = tks_sqlite_prepare(connection, "PRAGMA integrity_check(1)", &statement);
    if (status)
        return status;
    int result = sqlite3_step(statement);
    const char *verdict =
        result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (result != SQLITE_ROW)
        status = tks_sqlite_fail(connection, result);
    else if (!verdict || strcmp(verdict, "ok") != 0)
        status = fail_audit(connection, verdict);
    sqlite3_finalize(statement);
    return status;
}

int tks_sqlite_size(struct tks_connection *connection, uint64_t *size_bytes, uint64_t *used_bytes)
{
    sqlite3_stmt *statement;
    sqlite_begin(connection);
    int status = tks_sqlite_prepare(
        connection,
        "SELECT page_count * page_size, (page_count - freelist_count) * page_size FROM "
        "pragma_page_count(), pragma_page_size(), pragma_freelist_count()",
        &statement);
    if (status)
        return status;
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        *size_bytes = (uint64_t)sqlite3_column_int64(statement, 0);
        *used_bytes = (uint64_t)sqlite3_column_int64(statement, 1);
    } else {
        status = tks_sqlite_fail(connection, result);
    }
    sqlite3_finalize(statement);
    return status;
}
