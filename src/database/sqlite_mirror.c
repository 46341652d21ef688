/* SPDX-License-Identifier: MIT */
/*
 * A segment's mirror in SQLite. Whoever writes holds the file's only write lock, so a transaction
 * that begins with it and then looks whose the table is cannot be overtaken; a mirror that is
 * stopped inside one keeps everybody from writing until it goes on or dies, which is how SQLite
 * works, and why a transaction here is some thousand rows at most.
 */
#include "database/sqlite.h"

#include "base/clock.h"
#include "base/error.h"
#include "json/value.h"

#include <string.h>

#define MAKE_MIRROR                                                                                \
    "CREATE TABLE IF NOT EXISTS plugin_state_mirror(id INTEGER PRIMARY KEY CHECK(id = 1), "        \
    "segment TEXT NOT NULL, generation BIGINT NOT NULL, batches BIGINT NOT NULL DEFAULT 0)"
#define ADD_HASH "ALTER TABLE plugin_state ADD COLUMN mirror_hash BIGINT DEFAULT NULL"
#define MAKE_INDEXES                                                                               \
    "CREATE INDEX IF NOT EXISTS plugin_state_mirror_hash ON plugin_state(plugin, mirror_hash) "    \
    "WHERE mirror_hash IS NOT NULL;"                                                               \
    "CREATE INDEX IF NOT EXISTS plugin_state_mirror_expiry ON plugin_state(expires_at) "           \
    "WHERE mirror_hash IS NOT NULL AND expires_at IS NOT NULL"

/* ---- Transactions -------------------------------------------------------------------------- */

struct transaction {
    struct tks_connection *connection;
    struct tks_mirror_holder *holder;
    int64_t batches;                      /* counted when it is over */
    const struct tks_mirror_batch *batch; /* of an apply */
    bool take;                            /* of a claim */
    int64_t now, *next;                   /* of an expiry */
};

static int mirror_fail(const struct tks_connection *connection, int status, const char *reason)
{
    return tks_fail(status, "%s: table %s", connection->database->path, reason);
}

static int64_t sooner(int64_t a_ns, int64_t b_ns)
{
    return a_ns < b_ns ? a_ns : b_ns;
}

static int run_transaction(struct transaction *transaction, int (*body)(struct transaction *))
{
    struct tks_connection *connection = transaction->connection;
    const int64_t patience = (int64_t)connection->database->timeout_ms * 1000000;
    connection->give_up_ns =
        sooner(clock_ns(CLOCK_MONOTONIC) + patience, transaction->holder->until_ns);
    int status = tks_sqlite_run(connection, "BEGIN IMMEDIATE");
    if (status)
        return status;
    status = body(transaction);
    if (!status)
        status = tks_sqlite_run(connection, "COMMIT");
    if (status)
        sqlite3_exec(connection->sqlite, "ROLLBACK", NULL, NULL, NULL);
    else
        transaction->holder->batches = transaction->batches;
    return status;
}

/* Step a statement that gives no rows, ready for other parameters afterwards. */
static int step(struct tks_connection *connection, sqlite3_stmt *statement)
{
    const int result = sqlite3_step(statement);
    int status = result == SQLITE_DONE ? TKS_OK : tks_sqlite_fail(connection, result);
    sqlite3_reset(statement);
    return status;
}

static void bind_text(sqlite3_stmt *statement, int parameter, const char *text, size_t len)
{
    sqlite3_bind_text(statement, parameter, text, (int)len, SQLITE_STATIC);
}

/* ---- Whose it is --------------------------------------------------------------------------- */

static void take_owner(sqlite3_stmt *statement, struct tks_mirror_owner *owner)
{
    const char *segment = (const char *)sqlite3_column_text(statement, 0);
    strncpy(owner->segment, segment ? segment : "?", sizeof(owner->segment) - 1);
    owner->generation = sqlite3_column_int64(statement, 1);
    owner->batches = sqlite3_column_int64(statement, 2);
}

static int read_owner(struct tks_connection *connection, struct tks_mirror_owner *owner)
{
    sqlite3_stmt *statement;
    *owner = (struct tks_mirror_owner){.segment = ""};
    int status = tks_sqlite_prepare(
        connection, "SELECT segment, generation, batches FROM plugin_state_mirror", &statement);
    if (status)
        return status;
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW) {
        take_owner(statement, owner);
        result = sqlite3_step(statement);
    }
    if (result != SQLITE_DONE)
        status = tks_sqlite_fail(connection, result);
    sqlite3_finalize(statement);
    return status;
}

static int check_owner(struct transaction *transaction)
{
    struct tks_mirror_owner owner;
    int status = read_owner(transaction->connection, &owner), reason;
    if (status)
        return status;
    const char *objection = tks_mirror_objection(transaction->holder, &owner, &reason);
    if (objection)
        return mirror_fail(transaction->connection, reason, objection);
    transaction->batches = owner.batches;
    return TKS_OK;
}

/* By the transaction that is going on, which its holder remembers when it is over. */
static int count_batch(struct transaction *transaction)
{
    transaction->batches++;
    return tks_sqlite_run(transaction->connection,
                          "UPDATE plugin_state_mirror SET batches = batches + 1");
}

static int has_rows(struct tks_connection *connection, bool *rows)
{
    sqlite3_stmt *statement;
    int status = tks_sqlite_prepare(
        connection, "SELECT 1 FROM plugin_state WHERE mirror_hash IS NOT NULL LIMIT 1", &statement);
    if (status)
        return status;
    const int result = sqlite3_step(statement);
    *rows = result == SQLITE_ROW;
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        status = tks_sqlite_fail(connection, result);
    sqlite3_finalize(statement);
    return status;
}

static int complete_schema(struct tks_connection *connection)
{
    const char *declared;
    const bool column =
        !sqlite3_table_column_metadata(connection->sqlite, "main", "plugin_state", "mirror_hash",
                                       &declared, NULL, NULL, NULL, NULL);
    const bool table = !sqlite3_table_column_metadata(
        connection->sqlite, "main", "plugin_state_mirror", "segment", NULL, NULL, NULL, NULL, NULL);
    if (column && !table)
        return mirror_fail(connection, TKS_MISMATCH,
                           "plugin_state has a column mirror_hash of another program");
    if (column && table)
        return TKS_OK;
    int status = tks_sqlite_run(connection, MAKE_MIRROR);
    if (!status && !column)
        status = tks_sqlite_run(connection, ADD_HASH);
    return status ? status : tks_sqlite_run(connection, MAKE_INDEXES);
}

static int take_over(struct transaction *transaction)
{
    sqlite3_stmt *statement;
    int status = tks_sqlite_prepare(transaction->connection,
                                    "INSERT INTO plugin_state_mirror(id, segment, generation) "
                                    "VALUES(1, ?1, ?2) ON CONFLICT(id) DO UPDATE SET "
                                    "segment = excluded.segment, generation = excluded.generation",
                                    &statement);
    if (status)
        return status;
    bind_text(statement, 1, transaction->holder->segment, strlen(transaction->holder->segment));
    sqlite3_bind_int64(statement, 2, transaction->holder->generation);
    status = step(transaction->connection, statement);
    sqlite3_finalize(statement);
    return status;
}

static int claim(struct transaction *transaction)
{
    const struct tks_mirror_holder *holder = transaction->holder;
    struct tks_mirror_owner owner;
    bool rows = true;
    int status = complete_schema(transaction->connection);
    if (!status)
        status = read_owner(transaction->connection, &owner);
    if (!status)
        status = has_rows(transaction->connection, &rows);
    if (status)
        return status;
    const bool foreign = strcmp(owner.segment, holder->segment) != 0;
    const bool may = foreign ? !*owner.segment || !rows || transaction->take ||
                                   (*holder->parent && !strcmp(owner.segment, holder->parent))
                             : owner.generation <= holder->generation;
    transaction->batches = owner.batches;
    return may ? take_over(transaction) : check_owner(transaction);
}

int tks_sqlite_mirror_claim(struct tks_connection *connection, struct tks_mirror_holder *holder,
                            bool take)
{
    struct transaction transaction = {.connection = connection, .holder = holder, .take = take};
    return run_transaction(&transaction, claim);
}

/* ---- Batches ------------------------------------------------------------------------------- */

/* Names as a JSON array, which SQL can look into. */
static int add_name(struct tks_buffer *list, const char *name, size_t len)
{
    if (!tks_buffer_append(list, list->len ? "," : "[", 1) ||
        tks_value_write(TKS_TYPE_STRING, name, len, list))
        return tks_fail(TKS_NO_SPACE, "no memory for a batch of the mirror");
    return TKS_OK;
}

static int end_list(struct tks_buffer *list)
{
    return tks_buffer_append(list, list->len ? "]" : "[]", list->len ? 1 : 2)
               ? TKS_OK
               : tks_fail(TKS_NO_SPACE, "no memory for a batch of the mirror");
}

/* What is mirrored in the range and no longer there. */
static int drop_missing(const struct transaction *transaction, sqlite3_stmt *drop,
                        const struct tks_mirror_range *range, struct tks_buffer *list)
{
    int status = TKS_OK;
    list->len = 0;
    for (size_t i = range->row_begin; !status && i < range->row_end; i++) {
        const struct tks_row_name *name = &transaction->batch->rows[i].name;
        status = add_name(list, name->key, name->key_len);
    }
    if (!status)
        status = end_list(list);
    if (status)
        return status;
    bind_text(drop, 1, range->plugin, range->plugin_len);
    sqlite3_bind_int64(drop, 2, range->first);
    sqlite3_bind_int64(drop, 3, range->last);
    bind_text(drop, 4, list->bytes, list->len);
    return step(transaction->connection, drop);
}

static int drop_all_missing(const struct transaction *transaction)
{
    const struct tks_mirror_batch *batch = transaction->batch;
    struct tks_buffer list = {.bytes = NULL};
    sqlite3_stmt *drop;
    int status = tks_sqlite_prepare(
        transaction->connection,
        "DELETE FROM plugin_state WHERE plugin = ?1 AND mirror_hash >= ?2 AND mirror_hash <= ?3 "
        "AND key NOT IN (SELECT value FROM json_each(?4))",
        &drop);
    for (size_t i = 0; !status && i < batch->range_count; i++)
        status = drop_missing(transaction, drop, &batch->ranges[i], &list);
    sqlite3_finalize(drop);
    tks_buffer_release(&list);
    return status;
}

static int drop_other_plugins(const struct transaction *transaction)
{
    const struct tks_mirror_batch *batch = transaction->batch;
    struct tks_buffer list = {.bytes = NULL};
    sqlite3_stmt *drop;
    int status = tks_sqlite_prepare(
        transaction->connection,
        "DELETE FROM plugin_state WHERE mirror_hash IS NOT NULL AND plugin NOT IN "
        "(SELECT value FROM json_each(?1))",
        &drop);
    for (size_t i = 0; !status && i < batch->plugin_count; i++)
        status = add_name(&list, batch->plugins[i].plugin, batch->plugins[i].plugin_len);
    if (!status)
        status = end_list(&list);
    if (!status) {
        bind_text(drop, 1, list.bytes, list.len);
        status = step(transaction->connection, drop);
    }
    sqlite3_finalize(drop);
    tks_buffer_release(&list);
    return status;
}

static void bind_row(sqlite3_stmt *statement, const struct tks_mirror_row *row)
{
    bind_text(statement, 1, row->name.plugin, row->name.plugin_len);
    bind_text(statement, 2, row->name.key, row->name.key_len);
    bind_text(statement, 3, row->row.text, row->row.len);
    if (row->row.expires_at)
        sqlite3_bind_int64(statement, 4, row->row.expires_at);
    else
        sqlite3_bind_null(statement, 4);
    sqlite3_bind_int64(statement, 5, (int64_t)row->row.version);
    sqlite3_bind_int64(statement, 6, row->hash);
}

/*
 * Rows that are there already are not written again. The second statement sees to it that the
 * version is the store's whatever the first one's triggers made of it, and names none of the
 * columns that they look at.
 */
static int write_rows(const struct transaction *transaction)
{
    struct tks_connection *connection = transaction->connection;
    const struct tks_mirror_batch *batch = transaction->batch;
    sqlite3_stmt *write, *settle = NULL;
    int status = tks_sqlite_prepare(
        connection,
        "INSERT INTO plugin_state(plugin, key, value, expires_at, version, mirror_hash) "
        "VALUES(?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT(plugin, key) DO UPDATE SET "
        "value = excluded.value, expires_at = excluded.expires_at, version = excluded.version "
        "WHERE version <> excluded.version OR value <> excluded.value OR "
        "expires_at IS NOT excluded.expires_at",
        &write);
    if (!status)
        status = tks_sqlite_prepare(
            connection,
            "UPDATE plugin_state SET version = ?5, mirror_hash = ?6 WHERE plugin = ?1 AND "
            "key = ?2 AND (version <> ?5 OR mirror_hash IS NOT ?6)",
            &settle);
    for (size_t i = 0; !status && i < batch->row_count; i++) {
        bind_row(write, &batch->rows[i]);
        status = step(connection, write);
        if (!status) {
            bind_row(settle, &batch->rows[i]);
            status = step(connection, settle);
        }
    }
    sqlite3_finalize(write);
    sqlite3_finalize(settle);
    return status;
}

static int apply(struct transaction *transaction)
{
    int status = check_owner(transaction);
    if (!status)
        status = count_batch(transaction);
    if (!status && transaction->batch->plugins)
        status = drop_other_plugins(transaction);
    if (!status)
        status = drop_all_missing(transaction);
    return status ? status : write_rows(transaction);
}

int tks_sqlite_mirror_apply(struct tks_connection *connection, struct tks_mirror_holder *holder,
                            const struct tks_mirror_batch *batch)
{
    struct transaction transaction = {.connection = connection, .holder = holder, .batch = batch};
    return run_transaction(&transaction, apply);
}

/* ---- Expiry -------------------------------------------------------------------------------- */

static int drop_expired(const struct transaction *transaction)
{
    sqlite3_stmt *drop;
    int status = tks_sqlite_prepare(
        transaction->connection,
        "DELETE FROM plugin_state WHERE mirror_hash IS NOT NULL AND expires_at <= ?1", &drop);
    if (status)
        return status;
    sqlite3_bind_int64(drop, 1, transaction->now);
    status = step(transaction->connection, drop);
    sqlite3_finalize(drop);
    return status;
}

static int find_next_expiry(const struct transaction *transaction)
{
    sqlite3_stmt *find;
    int status = tks_sqlite_prepare(transaction->connection,
                                    "SELECT min(expires_at) FROM plugin_state WHERE "
                                    "mirror_hash IS NOT NULL AND expires_at IS NOT NULL",
                                    &find);
    if (status)
        return status;
    const int result = sqlite3_step(find);
    if (result != SQLITE_ROW)
        status = tks_sqlite_fail(transaction->connection, result);
    else
        *transaction->next =
            sqlite3_column_type(find, 0) == SQLITE_NULL ? INT64_MAX : sqlite3_column_int64(find, 0);
    sqlite3_finalize(find);
    return status;
}

static int expire(struct transaction *transaction)
{
    int status = check_owner(transaction);
    if (!status)
        status = drop_expired(transaction);
    return status ? status : find_next_expiry(transaction);
}

int tks_sqlite_mirror_expire(struct tks_connection *connection, struct tks_mirror_holder *holder,
                             int64_t now, int64_t *next)
{
    struct transaction transaction = {
        .connection = connection, .holder = holder, .now = now, .next = next};
    return run_transaction(&transaction, expire);
}
