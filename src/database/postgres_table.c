/* SPDX-License-Identifier: MIT */
/*
 * The table in PostgreSQL, and what keeps its versions right:
 *
 * - sequence plugin_state_version: the counter. It begins at the wall clock in ns, and every
 * connection moves it there again if it is behind: a backup that was restored does not know what
 * was given out after it was made, but a counter never overtakes the clock (a write takes longer
 * than a ns). A role without UPDATE on the sequence leaves that to others. Everybody may take
 * numbers (USAGE), or programs that know nothing of us could not insert any more.
 * - column version: its default takes a number, so what others insert has one; ours say "version =
 * default" or take what the insert would have had.
 * - trigger plugin_state_version: an update that leaves the version as it was, as others' do, gets
 * a new one.
 * - table plugin_state_gap: numbers that the counter has jumped over, so free for rows of copies
 * (base/backend.h, WRITE_COPY).
 *
 * All is made in one transaction under an advisory lock, because CREATE … IF NOT EXISTS of two
 * sessions at once may fail.
 */
#include "database/postgres.h"

#include "base/backend.h"

#include <stdio.h>
#include <stdlib.h>

/* Any number; the same in every release, or two of them would not exclude each other. */
#define LOCK "SELECT pg_advisory_xact_lock(7239301840526117633);"

#define WALL_NS "(extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"

/* The counter, beside the table that the search path finds. */
#define COUNTER                                                                                    \
    "(SELECT s.oid FROM pg_class t JOIN pg_class s ON s.relnamespace = t.relnamespace "            \
    "WHERE t.oid = to_regclass('plugin_state') AND s.relname = 'plugin_state_version' "            \
    "AND s.relkind = 'S')"

/* A second behind: what could be given out while this runs does not reach that far. */
const char postgres_table_wake[] =
    LOCK "SELECT CASE WHEN current_setting('transaction_read_only') = 'off' "
         "AND has_sequence_privilege(counter, 'UPDATE') THEN "
         "CASE WHEN coalesce(pg_sequence_last_value(counter), 0) < now - 1000000000 "
         "THEN setval(counter, now) END END "
         "FROM (SELECT " COUNTER " AS counter, " WALL_NS " AS now) AS wake "
         "WHERE counter IS NOT NULL";

static const char make[] = LOCK
    "DO $tickstate$ "
    "DECLARE home text; "
    "BEGIN "
    "IF to_regclass('plugin_state') IS NULL THEN "
    "  CREATE TABLE plugin_state (plugin text NOT NULL, key text NOT NULL, value text NOT NULL, "
    "    expires_at bigint, PRIMARY KEY (plugin, key)); "
    "END IF; "
    "SELECT quote_ident(n.nspname) INTO home FROM pg_class c "
    "  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('plugin_state'); "
    "IF " COUNTER " IS NULL THEN "
    "  EXECUTE format('CREATE SEQUENCE %s.plugin_state_version START %s', home, " WALL_NS "); "
    "  EXECUTE format('GRANT USAGE ON SEQUENCE %s.plugin_state_version TO PUBLIC', home); "
    "END IF; "
    "IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('plugin_state') "
    "    AND attname = 'version' AND NOT attisdropped) THEN "
    "  EXECUTE format('ALTER TABLE %s.plugin_state ADD COLUMN version bigint NOT NULL "
    "    DEFAULT nextval(%L)', home, home || '.plugin_state_version'); "
    "END IF; "
    "EXECUTE format('CREATE TABLE IF NOT EXISTS %s.plugin_state_gap "
    "  (low bigint PRIMARY KEY, high bigint NOT NULL)', home); "
    "EXECUTE format($make$CREATE OR REPLACE FUNCTION %s.plugin_state_new_version() "
    "  RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN "
    "  NEW.version := pg_catalog.nextval("
    "    pg_catalog.format('%%I.plugin_state_version', TG_TABLE_SCHEMA)::pg_catalog.regclass); "
    "  RETURN NEW; END $body$ $make$, home); "
    "IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('plugin_state') "
    "    AND tgname = 'plugin_state_version') THEN "
    "  EXECUTE format('CREATE TRIGGER plugin_state_version BEFORE UPDATE ON %s.plugin_state "
    "    FOR EACH ROW WHEN (NEW.version = OLD.version) "
    "    EXECUTE FUNCTION %s.plugin_state_new_version()', home, home); "
    "END IF; "
    "END $tickstate$";

enum { FOUND_KIND, FOUND_READABLE, FOUND_MISSING, FOUND_WRONG, FOUND_KEY, FOUND_COMPLETE };

/* One row if there is the table: what is wrong with it, in words, and whether all of ours is there.
 */
static const char inspect[] =
    "SELECT c.relkind IN ('r', 'p'), "
    "has_table_privilege(c.oid, 'SELECT'), "
    "(SELECT string_agg(quote_ident(name), ', ') "
    "  FROM unnest(ARRAY['plugin', 'key', 'value', 'expires_at']) AS name "
    "  WHERE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = name)), "
    "(SELECT string_agg(format('%I %s%s', attname, format_type(atttypid, atttypmod), "
    "    CASE WHEN attnotnull THEN ' not null' END || "
    "    CASE WHEN pg_get_expr(adbin, adrelid) IS NULL THEN ' without a default' ELSE '' END), ', "
    "') "
    "  FROM pg_attribute "
    "  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
    "  LEFT JOIN pg_collation l ON l.oid = attcollation "
    "  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND NOT CASE "
    "  WHEN attname IN ('plugin', 'key') THEN atttypid IN (25, 1043) "
    "    AND (atttypmod = -1 OR atttypmod >= 259) AND coalesce(collisdeterministic, true) "
    "  WHEN attname = 'value' THEN atttypid IN (25, 1043) AND atttypmod = -1 "
    "  WHEN attname = 'expires_at' THEN atttypid = 20 AND NOT attnotnull "
    "  WHEN attname = 'version' THEN atttypid = 20 AND attnotnull "
    "    AND pg_get_expr(adbin, adrelid) LIKE '%plugin_state_version%' "
    "  ELSE NOT attnotnull OR atthasdef OR attidentity <> '' END), "
    "EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisunique AND indisvalid "
    "  AND indimmediate AND indpred IS NULL AND indexprs IS NULL AND indnkeyatts = 2 "
    "  AND 2 = (SELECT count(*) FROM pg_attribute WHERE attrelid = c.oid "
    "    AND attname IN ('plugin', 'key') AND attnum IN (indkey[0], indkey[1]))), "
    "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'plugin_state_version' "
    "  AND tgenabled IN ('O', 'A')) "
    "AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'version' "
    "  AND NOT attisdropped) "
    "AND EXISTS (SELECT FROM pg_class g WHERE g.relnamespace = c.relnamespace "
    "  AND g.relname = 'plugin_state_gap') "
    "FROM pg_class c WHERE c.oid = to_regclass('plugin_state')";

static bool is_true(const PGresult *result, int column)
{
    return *libpq.PQgetvalue(result, 0, column) == 't';
}

/* What no one else's table may lack. */
static int judge(const struct postgres_link *link, const PGresult *found)
{
    if (!is_true(found, FOUND_KIND))
        return postgres_fail(link, TKS_MISMATCH, "plugin_state is not a table");
    if (!is_true(found, FOUND_READABLE))
        return postgres_fail(link, TKS_DENIED, "no right to read the table plugin_state");
    if (!libpq.PQgetisnull(found, 0, FOUND_MISSING))
        return postgres_fail(link, TKS_MISMATCH, "the table plugin_state has no column %s",
                             libpq.PQgetvalue(found, 0, FOUND_MISSING));
    if (!libpq.PQgetisnull(found, 0, FOUND_WRONG))
        return postgres_fail(link, TKS_MISMATCH,
                             "the table plugin_state cannot be shared because of its columns: %s",
                             libpq.PQgetvalue(found, 0, FOUND_WRONG));
    if (!is_true(found, FOUND_KEY))
        return postgres_fail(link, TKS_MISMATCH,
                             "the table plugin_state has no primary key (plugin, key)");
    return TKS_OK;
}

/* *complete: nothing is left to make. */
static int look(struct postgres_link *link, bool existing, bool *complete)
{
    PGresult *found;
    *complete = false;
    int status = postgres_run_text(link, inspect, EFFECT_READ, &found);
    if (status)
        return status;
    if (libpq.PQntuples(found)) {
        status = judge(link, found);
        *complete = is_true(found, FOUND_COMPLETE);
    } else if (existing) {
        status = postgres_fail(link, TKS_NOT_FOUND, "there is no table plugin_state");
    }
    libpq.PQclear(found);
    return status;
}

/*
 * A program that does not know our lock may make the table at the same time; then ours is refused,
 * and finds theirs at the next look.
 */
int postgres_table_open(struct postgres_link *link, bool existing)
{
    enum { LOOKS = 4 };
    int made = TKS_OK;
    for (int i = 0; i < LOOKS; i++) {
        bool complete;
        int status = look(link, existing, &complete);
        if (status || complete)
            return status;
        made = postgres_run_text(link, make, EFFECT_READ, NULL);
        if (made == TKS_DENIED)
            return made;
    }
    return made
               ? made
               : postgres_fail(link, TKS_MISMATCH,
                               "the table plugin_state is changed all the time by another program");
}

/* The table's lock keeps out whoever would take a number for a row between the look at the counter
 * and the jump. */
int postgres_table_jump(struct postgres_link *link, int64_t version)
{
    char text[1024];
    PGresult *gap;
    int used = snprintf(text, sizeof(text),
                        "LOCK TABLE plugin_state IN SHARE ROW EXCLUSIVE MODE;"
                        "INSERT INTO plugin_state_gap (low, high) "
                        "SELECT last + 1, setval(seqrelid, greatest(%lld, " WALL_NS ")) FROM "
                        "(SELECT seqrelid, "
                        "coalesce(pg_sequence_last_value(seqrelid), seqstart - 1) AS last "
                        "FROM pg_sequence WHERE seqrelid = " COUNTER ") AS counter "
                        "WHERE %lld > last RETURNING low, high",
                        (long long)version + (long long)COPY_VERSION_HEADROOM, (long long)version);
    if (used < 0 || (size_t)used >= sizeof(text))
        return postgres_fail(link, TKS_INVALID, "the jump of the counter is too long");
    int status = postgres_run_text(link, text, EFFECT_CHANGE, &gap);
    if (status)
        return status;
    if (libpq.PQntuples(gap))
        link->free_versions =
            (struct postgres_range){strtoll(libpq.PQgetvalue(gap, 0, 0), NULL, 10),
                                    strtoll(libpq.PQgetvalue(gap, 0, 1), NULL, 10)};
    libpq.PQclear(gap);
    return TKS_OK;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

#define TABLE "plugin_state"
#define THIS_ROW "plugin = $1::text AND key = $2::text"
#define LIVE(now) "(expires_at IS NULL OR expires_at > " now ")"
#define WALK "DECLARE tks_walk BINARY NO SCROLL CURSOR FOR "
#define WHITE "E' \\t\\n\\r'"

/* The text of a live row as the bigint that it is, if it is one; the cases are in order, so that no
 * cast can fail. */
#define IS_INTEGER                                                                                 \
    "CASE WHEN length(s.value) < 4000 AND "                                                        \
    "btrim(s.value, " WHITE ") ~ '^-?(0|[1-9][0-9]{0,18})$' "                                      \
    "THEN s.value::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 "                  \
    "ELSE false END"

/*
 * Each is exact under READ COMMITTED: a statement that met a row in the hands of another
 * transaction judges (WHERE) what that one has left when it goes on.
 */
const char *const postgres_statements[STATEMENTS] = {
    [STATEMENT_READ] = "SELECT expires_at, version, value FROM " TABLE " WHERE " THIS_ROW,
    [STATEMENT_LOOK] = "SELECT expires_at, version FROM " TABLE " WHERE " THIS_ROW,
    [STATEMENT_WRITE] =
        "INSERT INTO " TABLE " (plugin, key, value, expires_at) "
        "VALUES ($1::text, $2::text, $3::text, $4::bigint) ON CONFLICT (plugin, key) DO UPDATE "
        "SET value = excluded.value, expires_at = excluded.expires_at, version = excluded.version",
    [STATEMENT_WRITE_VERSION] =
        "INSERT INTO " TABLE " (plugin, key, value, expires_at, version) "
        "VALUES ($1::text, $2::text, $3::text, $4::bigint, $5::bigint) "
        "ON CONFLICT (plugin, key) DO UPDATE "
        "SET value = excluded.value, expires_at = excluded.expires_at, version = excluded.version",
    [STATEMENT_INSERT_IF] =
        "INSERT INTO " TABLE " AS s (plugin, key, value, expires_at) "
        "VALUES ($1::text, $2::text, $3::text, $4::bigint) ON CONFLICT (plugin, key) DO UPDATE "
        "SET value = excluded.value, expires_at = excluded.expires_at, version = excluded.version "
        "WHERE s.expires_at <= $5::bigint",
    [STATEMENT_UPDATE_IF] =
        "UPDATE " TABLE " SET value = $3::text, expires_at = $4::bigint, version = DEFAULT "
        "WHERE " THIS_ROW " AND " LIVE("$5::bigint") " AND version = $6::bigint",
    [STATEMENT_ADD] =
        "INSERT INTO " TABLE " AS s (plugin, key, value) "
        "VALUES ($1::text, $2::text, ($3::bigint)::text) ON CONFLICT (plugin, key) DO UPDATE "
        "SET value = CASE WHEN s.expires_at <= $4::bigint THEN excluded.value "
        "ELSE (s.value::bigint + $3::bigint)::text END, "
        "expires_at = CASE WHEN s.expires_at <= $4::bigint THEN NULL ELSE s.expires_at END, "
        "version = excluded.version "
        "WHERE s.expires_at <= $4::bigint OR " IS_INTEGER " RETURNING value::bigint",
    [STATEMENT_REMOVE] = "DELETE FROM " TABLE " WHERE " THIS_ROW,
    [STATEMENT_PURGE] = "DELETE FROM " TABLE " WHERE " THIS_ROW
                        " AND version = $3::bigint AND expires_at <= $4::bigint",
    [STATEMENT_FREE_VERSIONS] =
        "SELECT free.low, free.high, coalesce(pg_sequence_last_value(seqrelid), seqstart - 1) "
        "FROM pg_sequence LEFT JOIN LATERAL "
        "(SELECT 1::bigint AS low, seqstart - 1 AS high UNION ALL "
        "SELECT low, high FROM plugin_state_gap) AS free ON $1::bigint BETWEEN free.low AND "
        "free.high "
        "WHERE seqrelid = " COUNTER,
    [STATEMENT_WALK_KEYS] = WALK "SELECT plugin, key, expires_at, version, NULL FROM " TABLE
                                 " WHERE plugin = $1::text AND " LIVE("$2::bigint"),
    [STATEMENT_WALK_PLUGIN] = WALK "SELECT plugin, key, expires_at, version, value FROM " TABLE
                                   " WHERE plugin = $1::text",
    [STATEMENT_WALK_ALL] =
        WALK "SELECT plugin, key, expires_at, version, value FROM " TABLE " ORDER BY plugin, key",
    [STATEMENT_PLUGINS] =
        "SELECT plugin, count(*) FROM " TABLE " WHERE " LIVE("$1::bigint") " GROUP BY plugin",
    [STATEMENT_SWEEP] =
        "WITH expired AS MATERIALIZED (SELECT plugin, key FROM " TABLE
        " WHERE expires_at <= $1::bigint LIMIT 1000 FOR UPDATE SKIP LOCKED) "
        "DELETE FROM " TABLE " AS s USING expired AS e "
        "WHERE s.plugin = e.plugin AND s.key = e.key AND s.expires_at <= $1::bigint",
    [STATEMENT_SIZE] = "SELECT pg_total_relation_size(to_regclass('plugin_state'))",
};
