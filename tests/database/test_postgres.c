/* SPDX-License-Identifier: MIT */
/* postgres:// and what others do to its table and its server. */
#include "outside.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static tks_state *open_state(const char *uri, tks_store **store)
{
    *store = api_store(uri);
    return api_state(*store, "plugin");
}

static void close_both(tks_store *store, tks_state *state)
{
    tks_state_close(state);
    tks_store_close(store);
}

static uint64_t version_of(tks_state *state, const char *key)
{
    uint64_t version = 0;
    char buf[64];

    CHECK_OK(tks_get_versioned(state, key, buf, sizeof(buf), NULL, &version));
    CHECK(version != 0);
    return version;
}

static int64_t integer_of(tks_state *state, const char *key)
{
    int64_t value = 0;

    CHECK_OK(tks_get_i64(state, key, &value));
    return value;
}

/* ---- The table --------------------------------------------------------------------------- */

static void the_table_is_as_agreed(void **fixture)
{
    struct outside *o = *fixture;

    tks_store_close(api_store(o->uri));
    CHECK_ASK(o, "plugin text NO,key text NO,value text NO,expires_at bigint YES,version bigint NO",
              "SELECT string_agg(column_name || ' ' || data_type || ' ' || is_nullable, ',' "
              "ORDER BY ordinal_position) FROM information_schema.columns "
              "WHERE table_name = 'plugin_state' AND table_schema = '%s'",
              o->schema);
    CHECK_ASK(o, "PRIMARY KEY (plugin, key)",
              "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
              "WHERE conrelid = 'plugin_state'::regclass AND contype = 'p'");
}

static void every_type_is_written_as_agreed(void **fixture)
{
    static const struct {
        const char *key, *want;
    } rows[] = {
        {"bytes", "{\"$bytes\":\"AP8=\"}"},
        {"i64", "-5"},
        {"f64", "1.0"},
        {"bool", "true"},
        {"str", "\"a\\n\""},
        {"json", "[1, 2]"},
        {"dollar", "{\"$$bytes\":\"x\"}"},
    };
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);

    CHECK_OK(tks_set(state, "bytes", "\0\377", 2));
    CHECK_OK(tks_set_i64(state, "i64", -5));
    CHECK_OK(tks_set_f64(state, "f64", 1));
    CHECK_OK(tks_set_bool(state, "bool", true));
    CHECK_OK(tks_set_str(state, "str", "a\n", 2));
    CHECK_OK(tks_set_json(state, "json", "[1, 2]", 6));
    CHECK_OK(tks_set_json(state, "dollar", "{\"$bytes\":\"x\"}", 14));
    for (size_t i = 0; i < API_ARRAY(rows); i++)
        CHECK_ASK(o, rows[i].want,
                  "SELECT value FROM plugin_state WHERE plugin = 'plugin' AND key = '%s'",
                  rows[i].key);
    CHECK_OK(tks_set_with_ttl(state, "i64", "", 0, API_HOUR_MS));
    CHECK_ASK(o, "t",
              "SELECT abs(expires_at - 3600000 - extract(epoch FROM now()) * 1000) < 60000 "
              "FROM plugin_state WHERE key = 'i64'");
    close_both(store, state);
}

static void rows_of_others_have_their_types(void **fixture)
{
    static const struct {
        const char *key, *value;
        int type;
    } rows[] = {
        {"integer", " 17\n", TKS_TYPE_I64},
        {"real", "1.5e3", TKS_TYPE_F64},
        {"truth", "false", TKS_TYPE_BOOL},
        {"text", "\"x\"", TKS_TYPE_STRING},
        {"object", "{\"a\":1}", TKS_TYPE_JSON},
        {"null", "null", TKS_TYPE_JSON},
        {"bytes", "{\"$bytes\":\"AAE=\"}", TKS_TYPE_BYTES},
    };
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);
    int type;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        outside_sql(o,
                    "INSERT INTO plugin_state (plugin, key, value, expires_at) "
                    "VALUES ('plugin', '%s', '%s', NULL)",
                    rows[i].key, rows[i].value);
        CHECK_TYPE(state, rows[i].key, rows[i].type);
    }
    CHECK_INT(integer_of(state, "integer"), 17);
    CHECK_BYTES(state, "bytes", "\0\1", 2);
    CHECK_INT(api_live_keys(store), API_ARRAY(rows));

    outside_sql(o, "INSERT INTO plugin_state VALUES ('plugin', 'broken', 'no json', NULL)");
    CHECK_SAYS(tks_type(state, "broken", &type), TKS_CORRUPT, "broken");
    CHECK_OK(tks_delete(state, "broken"));
    close_both(store, state);
}

static void what_others_let_expire_is_absent_and_purged(void **fixture)
{
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);
    uint64_t purged = 0;

    for (int i = 0; i < 3; i++)
        outside_sql(o, "INSERT INTO plugin_state VALUES ('plugin', 'old%d', '1', %d)", i, 1000 + i);
    outside_sql(o, "INSERT INTO plugin_state VALUES ('plugin', 'zero', '1', 0), "
                   "('plugin', 'far', '1', 9223372036854775807)");
    CHECK_ABSENT(state, "old0");
    CHECK_ABSENT(state, "zero");
    CHECK_ASK(o, "3", "SELECT count(*) FROM plugin_state");
    CHECK_INT(api_count_keys(state), 1);
    CHECK_INT(tks_has(state, "far"), 1);
    CHECK_OK(tks_store_sweep(store, &purged));
    CHECK_INT(purged, 2);
    CHECK_ASK(o, "far", "SELECT string_agg(key, ',') FROM plugin_state");
    close_both(store, state);
}

static void whatever_others_write_has_a_new_version(void **fixture)
{
    static const char *const changes[] = {
        "UPDATE plugin_state SET value = '2' WHERE key = 'key'",
        "UPDATE plugin_state SET expires_at = 9223372036854775807",
        "UPDATE plugin_state SET version = version",
        "INSERT INTO plugin_state (plugin, key, value) VALUES ('plugin', 'key', '3') "
        "ON CONFLICT (plugin, key) DO UPDATE SET value = excluded.value",
        "DELETE FROM plugin_state; INSERT INTO plugin_state (plugin, key, value) "
        "VALUES ('plugin', 'key', '3')",
    };
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);

    CHECK_OK(tks_set_i64(state, "key", 1));
    for (size_t i = 0; i < API_ARRAY(changes); i++) {
        uint64_t before = version_of(state, "key");

        outside_sql(o, "%s", changes[i]);
        CHECK(version_of(state, "key") != before);
        CHECK_STATUS(tks_set_if(state, "key", "x", 1, before), TKS_CONFLICT);
        CHECK_OK(tks_set_if(state, "key", "x", 1, version_of(state, "key")));
    }
    close_both(store, state);
}

static void no_version_returns_with_an_old_backup(void **fixture)
{
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);
    uint64_t given;

    CHECK_OK(tks_set_i64(state, "key", 1));
    given = version_of(state, "key");
    close_both(store, state);
    outside_sql(o, "SELECT setval('plugin_state_version', 17)");
    state = open_state(o->uri, &store);
    CHECK_OK(tks_set_i64(state, "key", 2));
    CHECK(version_of(state, "key") > given);
    close_both(store, state);
}

/* A table as an ORM may have made it, with columns of its own. */
static void make_foreign_table(const struct outside *o)
{
    outside_sql(o, "CREATE TABLE plugin_state (id serial, plugin varchar(255) NOT NULL, "
                   "key varchar(255) NOT NULL, value text NOT NULL, expires_at bigint, "
                   "note text NOT NULL DEFAULT 'new', PRIMARY KEY (plugin, key))");
    outside_sql(o, "INSERT INTO plugin_state (plugin, key, value, note) "
                   "VALUES ('plugin', 'a', '1', 'theirs'), ('plugin', 'b', '\"x\"', 'theirs')");
}

static void a_table_of_others_is_kept_as_it_is(void **fixture)
{
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state;
    char key[256];

    make_foreign_table(o);
    state = open_state(o->uri, &store);
    CHECK_INT(integer_of(state, "a"), 1);
    CHECK(version_of(state, "a") != version_of(state, "b"));
    CHECK_OK(tks_add_i64(state, "a", 1, NULL));
    CHECK_OK(tks_set_if(state, "a", "x", 1, version_of(state, "a")));
    CHECK_OK(tks_set_with_ttl(state, "a", "y", 1, API_HOUR_MS));
    CHECK_ASK(o, "1 theirs", "SELECT id || ' ' || note FROM plugin_state WHERE key = 'a'");
    CHECK_OK(tks_set_i64(state, "c", 1));
    CHECK_ASK(o, "new", "SELECT note FROM plugin_state WHERE key = 'c'");
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    CHECK_OK(tks_set(state, key, "long", 4));
    CHECK_TEXT(state, key, "long");
    close_both(store, state);
    tks_store_close(api_store(o->uri));
}

static void a_table_that_cannot_be_shared_is_refused(void **fixture)
{
    static const struct {
        const char *make, *says;
    } rows[] = {
        {"CREATE TABLE plugin_state (plugin text, key text, value jsonb, expires_at bigint, "
         "PRIMARY KEY (plugin, key))",
         "value jsonb"},
        {"CREATE TABLE plugin_state (plugin text, key varchar(20), value text, expires_at bigint, "
         "PRIMARY KEY (plugin, key))",
         "key character varying(20)"},
        {"CREATE TABLE plugin_state (plugin text, key text, value text, expires_at timestamptz, "
         "PRIMARY KEY (plugin, key))",
         "expires_at timestamp"},
        {"CREATE TABLE plugin_state (plugin text, key text, value text, "
         "PRIMARY KEY (plugin, key))",
         "no column expires_at"},
        {"CREATE TABLE plugin_state (plugin text, key text, value text, expires_at bigint)",
         "no primary key"},
        {"CREATE TABLE plugin_state (plugin text, key text, value text, expires_at bigint, "
         "at date NOT NULL, PRIMARY KEY (plugin, key))",
         "at date not null"},
        {"CREATE TABLE plugin_state (plugin text, key text, value text, expires_at bigint, "
         "version integer NOT NULL DEFAULT 1, PRIMARY KEY (plugin, key))",
         "version integer"},
        {"CREATE VIEW plugin_state AS SELECT 1 AS plugin", "not a table"},
    };
    struct outside *o = *fixture;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        tks_store *store;

        outside_sql(o, "%s", rows[i].make);
        CHECK_SAYS(tks_store_open(o->uri, NULL, &store), TKS_MISMATCH, rows[i].says);
        outside_sql(o, "DROP SCHEMA %s CASCADE; CREATE SCHEMA %s", o->schema, o->schema);
    }
}

static int open_at_once(int index, void *uri)
{
    tks_store *store;
    tks_state *state = open_state(uri, &store);

    CHECK_OK(tks_add_i64(state, "openers", 1, NULL));
    CHECK_OK(tks_set_i64(state, "last", index));
    close_both(store, state);
    return 0;
}

static void many_creators_make_one_table(void **fixture)
{
    enum { CREATORS = 12 };
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state;

    api_crew(CREATORS, open_at_once, o->uri);
    state = open_state(o->uri, &store);
    CHECK_INT(integer_of(state, "openers"), CREATORS);
    close_both(store, state);
}

static void an_existing_table_may_be_asked_for(void **fixture)
{
    const struct tks_options existing = {.size = sizeof(existing), .flags = TKS_OPEN_EXISTING};
    struct outside *o = *fixture;
    tks_store *store;

    CHECK_SAYS(tks_store_open(o->uri, &existing, &store), TKS_NOT_FOUND, "no table plugin_state");
    CHECK_ASK(o, "t", "SELECT to_regclass('plugin_state') IS NULL");
    tks_store_close(api_store(o->uri));
    CHECK_OK(tks_store_open(o->uri, &existing, &store));
    tks_store_close(store);
}

/* ---- Versions of copies ------------------------------------------------------------------ */

static int copy_integer(tks_state *state, const char *key, int64_t value, uint64_t version)
{
    const struct tks_record record = {.size = sizeof(record),
                                      .type = TKS_TYPE_I64,
                                      .plugin = "plugin",
                                      .plugin_len = 6,
                                      .key = key,
                                      .key_len = strlen(key),
                                      .value = &value,
                                      .value_len = sizeof(value),
                                      .version = version};
    int outcome = -1;

    CHECK_OK(tks_copy_record(state, &record, &outcome));
    return outcome;
}

static void copies_keep_versions_that_were_never_ours(void **fixture)
{
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);
    uint64_t ours, far;

    CHECK_OK(tks_set_i64(state, "ours", 1));
    ours = version_of(state, "ours");
    far = ours + (UINT64_C(1) << 50);
    CHECK_INT(copy_integer(state, "early", 1, 77), TKS_COPY_KEPT);
    CHECK_INT(version_of(state, "early"), 77);
    CHECK_INT(copy_integer(state, "late", 1, far), TKS_COPY_KEPT);
    CHECK_INT(version_of(state, "late"), far);
    CHECK_INT(copy_integer(state, "late", 1, far), TKS_COPY_SAME);
    CHECK_INT(copy_integer(state, "skipped", 1, far - 1), TKS_COPY_KEPT);
    CHECK_INT(copy_integer(state, "ours", 2, ours), TKS_COPY_RENEWED);
    CHECK(version_of(state, "ours") > far);
    CHECK_INT(copy_integer(state, "late", 3, version_of(state, "ours")), TKS_COPY_RENEWED);
    close_both(store, state);
    state = open_state(o->uri, &store);
    CHECK_INT(copy_integer(state, "skipped", 2, far - 2), TKS_COPY_KEPT);
    close_both(store, state);
}

/* ---- Rights ------------------------------------------------------------------------------ */

static void make_role(const struct outside *o, const char *name, const char *password)
{
    outside_sql(o,
                "DO $$ BEGIN CREATE ROLE %s LOGIN PASSWORD '%s'; "
                "EXCEPTION WHEN duplicate_object THEN NULL; END $$",
                name, password);
    outside_sql(o, "GRANT USAGE ON SCHEMA %s TO %s", o->schema, name);
}

static void rights_on_the_rows_are_enough(void **fixture)
{
    struct outside *o = *fixture;
    char uri[API_URI_MAX];
    tks_store *store;
    tks_state *state;

    tks_store_close(api_store(o->uri));
    make_role(o, "plain", "");
    outside_sql(o, "GRANT SELECT, INSERT, UPDATE, DELETE ON plugin_state TO plain");
    outside_uri(o, uri, "plain", "");
    state = open_state(uri, &store);
    CHECK_OK(tks_set_i64(state, "key", 1));
    CHECK_OK(tks_add_i64(state, "key", 1, NULL));
    CHECK_OK(tks_set_if(state, "key", "x", 1, version_of(state, "key")));
    CHECK_INT(copy_integer(state, "copy", 1, 77), TKS_COPY_RENEWED);
    CHECK_OK(tks_delete(state, "key"));
    CHECK_OK(tks_store_sweep(store, NULL));
    CHECK_INT(api_live_keys(store), 1);
    outside_sql(o, "SET ROLE plain; INSERT INTO plugin_state VALUES ('plugin', 'key', '5', NULL); "
                   "UPDATE plugin_state SET value = '6' WHERE key = 'key'; RESET ROLE");
    CHECK_INT(integer_of(state, "key"), 6);
    close_both(store, state);
}

static void missing_rights_are_denied_at_open(void **fixture)
{
    struct outside *o = *fixture;
    char uri[API_URI_MAX];
    tks_store *store;

    make_role(o, "stranger", "");
    outside_uri(o, uri, "stranger", "");
    CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_DENIED, "permission denied for schema");
    make_foreign_table(o);
    CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_DENIED, "no right to read");
    outside_sql(o, "GRANT SELECT, INSERT, UPDATE, DELETE ON plugin_state TO stranger");
    CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_DENIED, "SQLSTATE 42501");
}

static void a_reader_reads(void **fixture)
{
    struct outside *o = *fixture;
    char uri[API_URI_MAX];
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);

    CHECK_OK(tks_set_i64(state, "key", 3));
    close_both(store, state);
    make_role(o, "reader", "");
    outside_sql(o, "GRANT SELECT ON plugin_state TO reader");
    outside_uri(o, uri, "reader", "");
    state = open_state(uri, &store);
    CHECK_INT(integer_of(state, "key"), 3);
    CHECK_SAYS(tks_set_i64(state, "key", 4), TKS_DENIED, "permission denied for table");
    CHECK_INT(integer_of(state, "key"), 3);
    close_both(store, state);
}

/* ---- URIs and passwords ------------------------------------------------------------------ */

#define SECRET "sesame42"

static void check_secret(const char *uri, int want)
{
    tks_store *store;

    CHECK_STATUS(tks_store_open(uri, NULL, &store), want);
    if (strstr(tks_last_error(), "same") != NULL)
        api_fail(__FILE__, __LINE__, "a password in '%s'", tks_last_error());
}

static void no_password_is_ever_told(void **fixture)
{
    struct outside *o = *fixture;
    char uri[API_URI_MAX];
    tks_store *store;

    make_role(o, "with_password", "right");
    outside_sql(o, "GRANT CREATE ON SCHEMA %s TO with_password", o->schema);
    outside_uri(o, uri, "with_password:right", "");
    tks_store_close(api_store(uri));
    outside_uri(o, uri, "with_password:" SECRET, "");
    check_secret(uri, TKS_DENIED);
    CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_DENIED, "28P01");
    outside_uri(o, uri, "with_password", "&password=" SECRET);
    check_secret(uri, TKS_DENIED);
    CHECK(setenv("PGPASSWORD", SECRET, 1) == 0);
    outside_uri(o, uri, "with_password", "");
    check_secret(uri, TKS_DENIED);
    CHECK(unsetenv("PGPASSWORD") == 0);
}

static void no_password_is_told_of_a_bad_uri(void **fixture)
{
    static const char *const uris[] = {
        "postgres://user:" SECRET "@host:port:port/db",
        "postgres://user:" SECRET "%@/db",
        "postgres://user:" SECRET "%00@/db",
        "postgres://user:" SECRET "@[::1/db",
        "postgres://user:" SECRET "@/db?nonsense=1",
        "postgres://user:" SECRET "@/db?host",
        "postgres://user:pass/" SECRET "@host/db",
        "postgres://user:pass@" SECRET "@host/db",
        "postgres://user:pass?" SECRET "/x@host/db",
        "postgres:///db?password=" SECRET "&" SECRET "=1",
        "postgres:///db?password=" SECRET "&timeout_ms=x",
        "postgres:user:" SECRET "@host/db",
    };

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(uris); i++)
        check_secret(uris[i], TKS_INVALID);
}

static void a_bad_parameter_is_named(void **fixture)
{
    static const struct {
        const char *parameters, *says;
    } rows[] = {
        {"&timeout_ms=0", "timeout_ms=0"},        {"&timeout_ms=", "timeout_ms="},
        {"&timeout_ms=-1", "timeout_ms=-1"},      {"&timeout_ms=3600001", "timeout_ms=3600001"},
        {"&timeout_ms=2s&x=1", "timeout_ms=2s:"}, {"&nonsense=1", "nonsense"},
    };
    struct outside *o = *fixture;
    char uri[API_URI_MAX];
    tks_store *store;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        CHECK(snprintf(uri, sizeof(uri), "postgres:///postgres?host=/tmp%s", rows[i].parameters) >
              0);
        CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_INVALID, rows[i].says);
    }
    outside_uri(o, uri, "postgres", "&timeout_ms=1000&application_name=x");
    tks_store_close(api_store(uri));
    outside_uri(o, uri, "postgres", "&timeout_ms=3600000");
    tks_store_close(api_store(uri));
}

static void what_is_not_there_is_named(void **fixture)
{
    const char *folder = getenv("TKS_TEST_POSTGRES_FOLDER");
    char uri[API_URI_MAX];
    tks_store *store;

    (void)fixture;
    snprintf(uri, sizeof(uri), "postgres://postgres@/nosuchdb?host=%s", folder);
    CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_NOT_FOUND, "nosuchdb");
    snprintf(uri, sizeof(uri), "postgres:///db?host=%s/nowhere", folder);
    CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_IO, "nowhere");
}

/* ---- The server is away ------------------------------------------------------------------ */

enum { TIMEOUT_MS = 400 };
#define TIMEOUT "&timeout_ms=400"

static void dropped_connections_are_not_noticed(void **fixture)
{
    struct outside *o = *fixture;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);

    for (int i = 1; i <= 5; i++) {
        outside_sql(o, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                       "WHERE application_name = 'tickstate'");
        CHECK_OK(tks_add_i64(state, "counter", 1, NULL));
        CHECK_INT(integer_of(state, "counter"), i);
        CHECK_INT(api_live_keys(store), 1);
    }
    close_both(store, state);
}

static void a_restart_is_survived_without_opening_again(void **fixture)
{
    struct outside *o = *fixture;
    char uri[API_URI_MAX], buf[8];
    tks_store *store, *other;
    tks_state *state;
    int64_t since;

    outside_uri(o, uri, "postgres", TIMEOUT);
    state = open_state(uri, &store);
    CHECK_OK(tks_set_i64(state, "key", 1));
    outside_control("kill");
    since = outside_clock_ms();
    CHECK_SAYS(tks_get(state, "key", buf, sizeof(buf), NULL), TKS_IO, "failed: No such file");
    CHECK_STATUS(tks_set_i64(state, "key", 2), TKS_IO);
    CHECK_STATUS(tks_store_sweep(store, NULL), TKS_IO);
    CHECK_STATUS(tks_store_open(uri, NULL, &other), TKS_IO);
    CHECK_BOUNDED(since, 4, TIMEOUT_MS);
    outside_control("start");
    CHECK_INT(integer_of(state, "key"), 1);
    CHECK_OK(tks_add_i64(state, "key", 1, NULL));
    CHECK_INT(api_live_keys(store), 1);
    close_both(store, state);
}

struct tally {
    int64_t done, unknown;
};

/* Counts until it is told to stop; writes what it knows. */
static int count_on(int fd, void *uri)
{
    tks_store *store;
    tks_state *state = open_state(uri, &store);
    struct tally tally = {0, 0};
    char stop;

    api_tell(fd);
    while (recv(fd, &stop, 1, MSG_DONTWAIT) != 1) {
        int status = tks_add_i64(state, "counter", 1, NULL);

        if (status == TKS_OK)
            tally.done++;
        else if (strstr(tks_last_error(), "unknown") != NULL)
            tally.unknown++;
        else
            CHECK_INT(status, TKS_IO);
    }
    CHECK(write(fd, &tally, sizeof(tally)) == (ssize_t)sizeof(tally));
    close_both(store, state);
    return 0;
}

static void nothing_that_was_counted_is_lost_or_counted_twice(void **fixture)
{
    enum { COUNTERS = 3, CRASHES = 4 };
    struct outside *o = *fixture;
    struct api_peer peers[COUNTERS];
    struct tally sum = {0, 0};
    char uri[API_URI_MAX];
    tks_store *store;
    tks_state *state;
    int64_t counted, before = 0;

    outside_uri(o, uri, "postgres", TIMEOUT);
    state = open_state(uri, &store);
    for (int i = 0; i < COUNTERS; i++) {
        peers[i] = api_spawn(count_on, uri);
        api_hear(peers[i].fd);
    }
    for (int i = 0; i < CRASHES; i++) {
        while (tks_get_i64(state, "counter", &counted) != TKS_OK || counted < before + 200)
            ; /* they are at work */
        before = counted;
        outside_control(i % 2 == 0 ? "kill" : "stop");
        outside_control("start");
    }
    for (int i = 0; i < COUNTERS; i++) {
        struct tally tally;

        api_tell(peers[i].fd);
        CHECK(read(peers[i].fd, &tally, sizeof(tally)) == (ssize_t)sizeof(tally));
        api_join(&peers[i]);
        sum.done += tally.done;
        sum.unknown += tally.unknown;
    }
    counted = integer_of(state, "counter");
    if (counted < sum.done || counted > sum.done + sum.unknown)
        api_fail(__FILE__, __LINE__, "%lld counted, %lld done, %lld unknown", (long long)counted,
                 (long long)sum.done, (long long)sum.unknown);
    close_both(store, state);
}

static void a_stopped_server_holds_nobody_up_for_long(void **fixture)
{
    struct outside *o = *fixture;
    char uri[API_URI_MAX], buf[8];
    tks_store *store, *other;
    tks_state *state;
    int64_t since, value = 0;

    outside_uri(o, uri, "postgres", TIMEOUT);
    state = open_state(uri, &store);
    CHECK_OK(tks_add_i64(state, "key", 1, NULL));
    outside_control("pause");
    since = outside_clock_ms();
    CHECK_SAYS(tks_add_i64(state, "key", 1, NULL), TKS_IO,
               "no answer within 400 ms; whether the change took effect is unknown");
    CHECK_SAYS(tks_get(state, "key", buf, sizeof(buf), NULL), TKS_IO, "no answer within 400 ms");
    CHECK_STATUS(tks_store_open(uri, NULL, &other), TKS_IO);
    CHECK_BOUNDED(since, 3, TIMEOUT_MS);
    outside_control("resume");
    while (tks_get_i64(state, "key", &value) != TKS_OK)
        ; /* the pause between attempts */
    CHECK(value == 1 || value == 2);
    CHECK_OK(tks_set_i64(state, "key", 9));
    CHECK_INT(integer_of(state, "key"), 9);
    close_both(store, state);
}

/* A socket that takes connections. */
static void a_server_that_says_nothing_is_given_up(void **fixture)
{
    char folder[] = "/tmp/tks-silent-XXXXXX", uri[API_URI_MAX], path[64];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    tks_store *store;
    int64_t since = outside_clock_ms();

    (void)fixture;
    CHECK(mkdtemp(folder) != NULL && silent >= 0);
    snprintf(path, sizeof(path), "%s/.s.PGSQL.5432", folder);
    strcpy(address.sun_path, path);
    CHECK(bind(silent, (struct sockaddr *)&address, sizeof(address)) == 0);
    CHECK(listen(silent, 8) == 0);
    snprintf(uri, sizeof(uri), "postgres:///db?host=%s" TIMEOUT, folder);
    CHECK_SAYS(tks_store_open(uri, NULL, &store), TKS_IO, "no answer within 400 ms");
    CHECK_BOUNDED(since, 1, TIMEOUT_MS);
    close(silent);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
}

/* ---- Others at work on the same rows ----------------------------------------------------- */

static int hold_a_row(int fd, void *arg)
{
    const struct outside *o = arg;

    outside_sql(o, "BEGIN");
    outside_sql(o, "UPDATE plugin_state SET value = '100' WHERE key = 'held'");
    api_tell(fd);
    api_hear(fd);
    outside_sql(o, "COMMIT");
    return 0;
}

static void a_row_that_is_held_is_busy_and_nothing_happens_later(void **fixture)
{
    struct outside *o = *fixture;
    struct api_peer holder;
    char uri[API_URI_MAX];
    tks_store *store;
    tks_state *state;
    int64_t since;

    outside_uri(o, uri, "postgres", TIMEOUT);
    state = open_state(uri, &store);
    CHECK_OK(tks_set_i64(state, "held", 1));
    holder = api_spawn(hold_a_row, o);
    api_hear(holder.fd);
    since = outside_clock_ms();
    CHECK_INT(integer_of(state, "held"), 1);
    CHECK_SAYS(tks_add_i64(state, "held", 1, NULL), TKS_BUSY, "lock timeout");
    CHECK_STATUS(tks_delete(state, "held"), TKS_BUSY);
    CHECK_OK(tks_set_i64(state, "free", 1));
    CHECK_BOUNDED(since, 4, TIMEOUT_MS);
    api_tell(holder.fd);
    api_join(&holder);
    CHECK_INT(integer_of(state, "held"), 100);
    close_both(store, state);
}

static int add_and_lose_the_answer(int fd, void *uri)
{
    tks_store *store;
    tks_state *state = open_state(uri, &store);

    api_tell(fd);
    CHECK_SAYS(tks_add_i64(state, "held", 1, NULL), TKS_IO,
               "whether the change took effect is unknown");
    close_both(store, state);
    return 0;
}

/* Nobody but the database knows whether a change whose answer is lost was made. */
static void a_change_is_never_sent_twice(void **fixture)
{
    struct outside *o = *fixture;
    struct api_peer peer;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);
    char uri[API_URI_MAX];

    CHECK_OK(tks_set_i64(state, "held", 1));
    outside_uri(o, uri, "postgres", "&timeout_ms=20000");
    peer = api_spawn(add_and_lose_the_answer, uri);
    outside_sql(o, "BEGIN; UPDATE plugin_state SET value = value WHERE key = 'held'");
    api_hear(peer.fd);
    while (strcmp(outside_ask(o, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_get_activity"
                                 "(NULL) WHERE application_name = 'tickstate' "
                                 "AND wait_event_type = 'Lock'"),
                  "1") != 0)
        ; /* it does not wait for the row yet */
    api_join(&peer);
    outside_sql(o, "ROLLBACK");
    CHECK_INT(integer_of(state, "held"), 1);
    close_both(store, state);
}

static int count_in_every_way(int index, void *uri)
{
    tks_store *store;
    tks_state *state = open_state(uri, &store);

    for (int i = 0; i < 500; i++) {
        uint64_t version = 0;
        int64_t value = 0;
        int status;

        CHECK_OK(tks_add_i64(state, "added", index % 2 == 0 ? 3 : -2, NULL));
        do {
            status = tks_get_versioned(state, "swapped", &value, sizeof(value), NULL, &version);
            CHECK(status == TKS_OK || status == TKS_NOT_FOUND);
            value = status == TKS_OK ? value + 1 : 1;
            status = tks_set_if(state, "swapped", &value, sizeof(value), version);
            CHECK(status == TKS_OK || status == TKS_CONFLICT);
        } while (status != TKS_OK);
    }
    close_both(store, state);
    return 0;
}

static void check_counts(const struct outside *o)
{
    enum { CREW = 4, EACH = 500 };
    const int64_t swapped = CREW * EACH;
    tks_store *store;
    tks_state *state = open_state(o->uri, &store);

    api_crew(CREW, count_in_every_way, (void *)(uintptr_t)o->uri);
    CHECK_INT(integer_of(state, "added"), CREW / 2 * EACH);
    CHECK_BYTES(state, "swapped", &swapped, sizeof(swapped));
    close_both(store, state);
}

static void counters_of_processes_are_exact(void **fixture)
{
    check_counts(*fixture);
}

/* Whatever a database has as its default, ours is what the statements need. */
static void and_so_they_are_where_transactions_are_serializable(void **fixture)
{
    struct outside *o = *fixture;

    outside_sql(o, "ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'");
    check_counts(o);
    outside_sql(o, "ALTER DATABASE postgres RESET default_transaction_isolation");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTSIDE_TEST(the_table_is_as_agreed),
        OUTSIDE_TEST(every_type_is_written_as_agreed),
        OUTSIDE_TEST(rows_of_others_have_their_types),
        OUTSIDE_TEST(what_others_let_expire_is_absent_and_purged),
        OUTSIDE_TEST(whatever_others_write_has_a_new_version),
        OUTSIDE_TEST(no_version_returns_with_an_old_backup),
        OUTSIDE_TEST(a_table_of_others_is_kept_as_it_is),
        OUTSIDE_TEST(a_table_that_cannot_be_shared_is_refused),
        OUTSIDE_TEST(many_creators_make_one_table),
        OUTSIDE_TEST(an_existing_table_may_be_asked_for),
        OUTSIDE_TEST(copies_keep_versions_that_were_never_ours),
        OUTSIDE_TEST(rights_on_the_rows_are_enough),
        OUTSIDE_TEST(missing_rights_are_denied_at_open),
        OUTSIDE_TEST(a_reader_reads),
        OUTSIDE_TEST(no_password_is_ever_told),
        OUTSIDE_TEST(no_password_is_told_of_a_bad_uri),
        OUTSIDE_TEST(a_bad_parameter_is_named),
        OUTSIDE_TEST(what_is_not_there_is_named),
        OUTSIDE_TEST(dropped_connections_are_not_noticed),
        OUTSIDE_TEST(a_restart_is_survived_without_opening_again),
        OUTSIDE_TEST(nothing_that_was_counted_is_lost_or_counted_twice),
        OUTSIDE_TEST(a_stopped_server_holds_nobody_up_for_long),
        OUTSIDE_TEST(a_server_that_says_nothing_is_given_up),
        OUTSIDE_TEST(a_row_that_is_held_is_busy_and_nothing_happens_later),
        OUTSIDE_TEST(a_change_is_never_sent_twice),
        OUTSIDE_TEST(counters_of_processes_are_exact),
        OUTSIDE_TEST(and_so_they_are_where_transactions_are_serializable),
    };

    return api_run("postgres", tests);
}
