/* SPDX-License-Identifier: MIT */
/*
 * The table, the version column and the counter.
 *
 * `plugin_state_version` is one row that deletes do not touch: `next` is the first version not
 * given out yet. A connection takes some thousands at a time, so that a set is one statement, and
 * raises `next` to the wall clock in ns first: so a file that was restored from a copy, or that a
 * power cut threw back, continues above everything it has ever given out. `first` is where the
 * counter began and gap_first to gap_end what it jumped over for tks_copy_record(): numbers that
 * this file has not given out and never will.
 *
 * Two triggers give a version to what other programs write, who do not name the column: an insert
 * leaves its default of 0, an update the version that was there. Our own statements bring a new
 * version, and pay the comparison only.
 */
#include "database/sqlite.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define MAKE_TABLE                                                                                 \
    "CREATE TABLE plugin_state(plugin TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, "     \
    "expires_at BIGINT, version BIGINT NOT NULL DEFAULT 0, PRIMARY KEY(plugin, key)) WITHOUT "     \
    "ROWID"
#define ADD_VERSION "ALTER TABLE plugin_state ADD COLUMN version BIGINT NOT NULL DEFAULT 0"
#define MAKE_COUNTER                                                                               \
    "CREATE TABLE plugin_state_version(id INTEGER PRIMARY KEY CHECK(id = 1), first BIGINT NOT "    \
    "NULL, next BIGINT NOT NULL, gap_first BIGINT NOT NULL DEFAULT 0, gap_end BIGINT NOT NULL "    \
    "DEFAULT 0)"
#define WALL_NS "CAST(strftime('%s', 'now') AS INTEGER) * 1000000000"
#define START_COUNTER                                                                              \
    "INSERT INTO plugin_state_version(id, first, next) SELECT 1, start, start FROM (SELECT "       \
    "max(" WALL_NS ", (SELECT coalesce(max(version), 0) + 1 FROM plugin_state)) AS start)"
#define NEW_VERSION                                                                                \
    "BEGIN UPDATE plugin_state_version SET next = max(next, " WALL_NS ") + 1; "                    \
    "UPDATE plugin_state SET version = (SELECT next - 1 FROM plugin_state_version) "               \
    "WHERE plugin = NEW.plugin AND key = NEW.key; END"
#define MAKE_INSERTED                                                                              \
    "CREATE TRIGGER plugin_state_inserted AFTER INSERT ON plugin_state "                           \
    "WHEN NEW.version = 0 " NEW_VERSION
#define MAKE_UPDATED                                                                               \
    "CREATE TRIGGER plugin_state_updated AFTER UPDATE OF plugin, key, value, expires_at "          \
    "ON plugin_state WHEN NEW.version = OLD.version " NEW_VERSION
/* Rows of before there was a version; the trigger does it. */
#define FILL_VERSIONS "UPDATE plugin_state SET value = value WHERE version = 0"

static int mismatch(const struct tks_connection *connection, const char *what, const char *which)
{
    return tks_fail(TKS_MISMATCH, "%s: table plugin_state %s%s%s", connection->database->path, what,
                    *which ? " " : "", which);
}

/* ---- Looking ------------------------------------------------------------------------------- */

/* What the database's catalogue has under a name: the number of entries of that text, or of any. */
static int count_entries(struct tks_connection *connection, const char *type, const char *name,
                         const char *sql, int *count)
{
    sqlite3_stmt *statement;
    int status = tks_sqlite_prepare(connection,
                                    "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND "
                                    "lower(name) = ?2 AND (?3 IS NULL OR sql = ?3)",
                                    &statement);
    if (status)
        return status;
    sqlite3_bind_text(statement, 1, type, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
    if (sql)
        sqlite3_bind_text(statement, 3, sql, -1, SQLITE_STATIC);
    int result = sqlite3_step(statement);
    *count = result == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
    result = sqlite3_finalize(statement);
    return result == SQLITE_OK ? TKS_OK : tks_sqlite_fail(connection, result);
}

/* How a column of this declared type keeps what is stored (SQLite's rules of affinity). */
enum affinity { AFFINITY_TEXT, AFFINITY_INTEGER, AFFINITY_OTHER };

static enum affinity affinity_of(const char *declared)
{
    static const char *const texts[] = {"%char%", "%clob%", "%text%"};
    if (!declared)
        return AFFINITY_OTHER;
    if (!sqlite3_strlike("%int%", declared, 0))
        return AFFINITY_INTEGER;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (!sqlite3_strlike(texts[i], declared, 0))
            return AFFINITY_TEXT;
    return AFFINITY_OTHER;
}

struct column {
    const char *name;
    enum affinity affinity;
    bool key;
};

static int check_column(struct tks_connection *connection, const struct column *column)
{
    const char *declared, *collation;
    int not_null, primary, automatic;
    char what[300];
    if (sqlite3_table_column_metadata(connection->sqlite, "main", "plugin_state", column->name,
                                      &declared, &collation, &not_null, &primary, &automatic))
        return mismatch(connection, "has no column", column->name);
    if (affinity_of(declared) != column->affinity) {
        snprintf(what, sizeof(what), "has a column %s of type \"%.40s\", not %s", column->name,
                 declared ? declared : "", column->affinity == AFFINITY_TEXT ? "text" : "bigint");
        return mismatch(connection, what, "");
    }
    if (column->key && !primary)
        return mismatch(connection, "has a primary key without", column->name);
    if (column->key && sqlite3_stricmp(collation, "BINARY") != 0)
        return mismatch(connection, "takes different names for the same in column", column->name);
    return TKS_OK;
}

/* A column of another program that our inserts cannot leave out, or one that makes the key longer.
 */
static int check_others(struct tks_connection *connection)
{
    sqlite3_stmt *statement;
    char what[300] = "";
    int status = tks_sqlite_prepare(
        connection,
        "SELECT name, pk FROM pragma_table_info('plugin_state') WHERE lower(name) NOT IN "
        "('plugin', 'key', 'value', 'expires_at', 'version') AND "
        "(pk > 0 OR (\"notnull\" AND dflt_value IS NULL)) UNION ALL "
        "SELECT name, pk FROM pragma_table_info('plugin_state') WHERE pk > 0 AND lower(name) IN "
        "('value', 'expires_at', 'version')",
        &statement);
    if (status)
        return status;
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        snprintf(what, sizeof(what), "has the column \"%.60s\", %s",
                 (const char *)sqlite3_column_text(statement, 0),
                 sqlite3_column_int(statement, 1) ? "which belongs to its primary key too"
                                                  : "which is not null and has no default");
    result = sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        return tks_sqlite_fail(connection, result);
    return *what ? mismatch(connection, what, "") : TKS_OK;
}

static int check_table(struct tks_connection *connection)
{
    static const struct column columns[] = {{"plugin", AFFINITY_TEXT, true},
                                            {"key", AFFINITY_TEXT, true},
                                            {"value", AFFINITY_TEXT, false},
                                            {"expires_at", AFFINITY_INTEGER, false}};
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        int status = check_column(connection, &columns[i]);
        if (status)
            return status;
    }
    return check_others(connection);
}

/* What there is of ours. */
struct schema {
    int table, counter, inserted, updated;
    bool version;
};

static bool complete(const struct schema *schema)
{
    return schema->table && schema->counter && schema->inserted && schema->updated &&
           schema->version;
}

static int look(struct tks_connection *connection, struct schema *schema)
{
    static const struct column version = {"version", AFFINITY_INTEGER, false};
    int views;
    memset(schema, 0, sizeof(*schema));
    int status = count_entries(connection, "table", "plugin_state", NULL, &schema->table);
    if (!status)
        status = count_entries(connection, "view", "plugin_state", NULL, &views);
    if (!status && views)
        return mismatch(connection, "is a view", "");
    if (status || !schema->table)
        return status;
    status = count_entries(connection, "table", "plugin_state_version", NULL, &schema->counter);
    if (!status)
        status = count_entries(connection, "trigger", "plugin_state_inserted", MAKE_INSERTED,
                               &schema->inserted);
    if (!status)
        status = count_entries(connection, "trigger", "plugin_state_updated", MAKE_UPDATED,
                               &schema->updated);
    if (!status)
        status = check_table(connection);
    if (status)
        return status;
    schema->version = !sqlite3_table_column_metadata(connection->sqlite, "main", "plugin_state",
                                                     version.name, NULL, NULL, NULL, NULL, NULL);
    if (!schema->version)
        return TKS_OK;
    if (!schema->counter)
        return mismatch(connection, "has a column \"version\" of another program", "");
    return check_column(connection, &version);
}

/* ---- Making -------------------------------------------------------------------------------- */

static int run_unless(struct tks_connection *connection, bool there, const char *sql)
{
    return there ? TKS_OK : tks_sqlite_run(connection, sql);
}

static int complete_schema(struct tks_connection *connection)
{
    struct schema schema;
    int status = look(connection, &schema);
    if (!status)
        status = run_unless(connection, schema.table, MAKE_TABLE);
    if (!status)
        status = run_unless(connection, schema.version || !schema.table, ADD_VERSION);
    if (!status)
        status = run_unless(connection, schema.counter, MAKE_COUNTER ";" START_COUNTER);
    if (!status)
        status = run_unless(connection, schema.inserted,
                            "DROP TRIGGER IF EXISTS plugin_state_inserted;" MAKE_INSERTED);
    if (!status)
        status = run_unless(connection, schema.updated,
                            "DROP TRIGGER IF EXISTS plugin_state_updated;" MAKE_UPDATED);
    return status ? status : tks_sqlite_run(connection, FILL_VERSIONS);
}

int tks_sqlite_schema(struct tks_connection *connection, bool existing)
{
    struct schema schema;
    sqlite_begin(connection);
    int status = look(connection, &schema);
    if (status || complete(&schema))
        return status;
    if (existing && !schema.table)
        return tks_fail(TKS_NOT_FOUND, "%s: it has no table plugin_state",
                        connection->database->path);
    /* Of racing creators one makes it, and the others look again when they have the lock. */
    status = tks_sqlite_run(connection, "BEGIN IMMEDIATE");
    if (status)
        return status;
    status = complete_schema(connection);
    if (!status)
        status = tks_sqlite_run(connection, "COMMIT");
    if (status)
        sqlite3_exec(connection->sqlite, "ROLLBACK", NULL, NULL, NULL);
    return status;
}
