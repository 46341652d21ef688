/* SPDX-License-Identifier: MIT */
/* sqlite://: the table as other programs see it and write it, and versions. */
#include "sqlite_support.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOREIGN_TABLE                                                                              \
    "CREATE TABLE plugin_state(id TEXT DEFAULT 'x', plugin VARCHAR(255) NOT NULL, key TEXT NOT "   \
    "NULL, value TEXT, expires_at INTEGER, owner TEXT DEFAULT 'them', PRIMARY KEY(plugin, key));"

/* ---- The table --------------------------------------------------------------------------- */

static void the_table_is_the_contracts(void **fixture)
{
    struct file *file = *fixture;
    struct stat status;

    tks_store_close(api_store(file->uri));
    CHECK_ANSWER(file, "SELECT name, type, pk FROM pragma_table_info('plugin_state')",
                 "plugin|TEXT|1\nkey|TEXT|2\nvalue|TEXT|0\nexpires_at|BIGINT|0\nversion|BIGINT|0");
    CHECK_ANSWER(file, "PRAGMA journal_mode", "wal");
    CHECK(stat(file->path, &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0600);
}

static void values_are_json_text(void **fixture)
{
    struct file *file = *fixture;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "plugin");

    CHECK_OK(tks_set_i64(state, "a", 5));
    CHECK_OK(tks_set_f64(state, "b", 1));
    CHECK_OK(tks_set_bool(state, "c", true));
    CHECK_OK(tks_set_str(state, "d", "\"x\"", 3));
    CHECK_OK(tks_set_json(state, "e", "{\"$bytes\":\"x\"}", 14));
    CHECK_OK(tks_set(state, "f", "ab", 2));
    CHECK_OK(tks_tick_begin_at(state, 4000000000000));
    CHECK_OK(tks_set_with_ttl(state, "g", "", 0, 500));
    CHECK_OK(tks_tick_end(state));
    CHECK_ANSWER(file, "SELECT plugin, key, value, expires_at FROM plugin_state ORDER BY key",
                 "plugin|a|5|null\nplugin|b|1.0|null\nplugin|c|true|null\n"
                 "plugin|d|\"\\\"x\\\"\"|null\nplugin|e|{\"$$bytes\":\"x\"}|null\n"
                 "plugin|f|{\"$bytes\":\"YWI=\"}|null\nplugin|g|{\"$bytes\":\"\"}|4000000000500");
    tks_state_close(state);
    tks_store_close(store);
}

static void rows_of_others_have_their_types(void **fixture)
{
    struct file *file = *fixture;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");
    int64_t i64;
    double f64;
    bool truth;

    outside(file, "INSERT INTO plugin_state(plugin, key, value, expires_at) VALUES"
                  "('p', 'i', '42', NULL), ('p', 'f', '1.5', NULL), ('p', 'b', 'false', NULL),"
                  "('p', 's', '\"text\"', NULL), ('p', 'j', '{\"a\": [1, 2]}', NULL),"
                  "('p', 'n', 'null', NULL), ('p', 'y', '{\"$bytes\":\"YWI=\"}', NULL),"
                  "('p', 'old', '1', 1000), ('p', 'zero', '1', 0),"
                  "('p', 'later', '1', 9000000000000)");
    CHECK_OK(tks_get_i64(state, "i", &i64));
    CHECK_INT(i64, 42);
    CHECK_OK(tks_get_f64(state, "f", &f64));
    CHECK(f64 == 1.5);
    CHECK_OK(tks_get_bool(state, "b", &truth));
    CHECK(!truth);
    CHECK_TYPE(state, "s", TKS_TYPE_STRING);
    CHECK_TEXT(state, "s", "text");
    CHECK_TYPE(state, "j", TKS_TYPE_JSON);
    CHECK_TEXT(state, "j", "{\"a\": [1, 2]}");
    CHECK_TYPE(state, "n", TKS_TYPE_JSON);
    CHECK_TYPE(state, "y", TKS_TYPE_BYTES);
    CHECK_TEXT(state, "y", "ab");
    CHECK_INT(api_count_keys(state), 8);
    CHECK_INT(tks_has(state, "old"), 0);
    CHECK_ANSWER(file, "SELECT count(*) FROM plugin_state WHERE key = 'old'", "0"); /* purged */
    CHECK_STATUS(tks_get(state, "zero", NULL, 0, NULL), TKS_NOT_FOUND);
    CHECK_INT(tks_has(state, "later"), 1);
    CHECK_OK(tks_add_i64(state, "i", 1, NULL));
    CHECK_ANSWER(file, "SELECT value FROM plugin_state WHERE key = 'i'", "43");
    CHECK_STATUS(tks_add_i64(state, "f", 1, NULL), TKS_TYPE);
    tks_state_close(state);
    tks_store_close(store);
}

static void a_row_that_is_not_json_is_corrupt(void **fixture)
{
    struct file *file = *fixture;
    struct tks_check check = {.size = sizeof(check)};
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");

    outside(file, "INSERT INTO plugin_state(plugin, key, value) VALUES('p', 'bad', 'oops')");
    CHECK_SAYS(tks_get(state, "bad", NULL, 0, NULL), TKS_CORRUPT, "plugin \"p\", key \"bad\"");
    CHECK_SAYS(tks_store_check(store, &check), TKS_CORRUPT, "key \"bad\"");
    CHECK_STATUS(tks_add_i64(state, "bad", 1, NULL), TKS_TYPE);
    CHECK_INT(tks_has(state, "bad"), 1);
    CHECK_OK(tks_set_i64(state, "bad", 1));
    CHECK_OK(tks_store_check(store, &check));
    CHECK_INT(check.keys, 1);
    tks_state_close(state);
    tks_store_close(store);
}

static void the_table_of_others_is_kept(void **fixture)
{
    struct file *file = *fixture;
    tks_store *store;
    tks_state *state;

    outside(file,
            FOREIGN_TABLE "INSERT INTO plugin_state VALUES"
                          "('1', 'p', 'a', '1', NULL, 'me'), ('2', 'p', 'b', '2', NULL, 'me'),"
                          "('3', 'p', 'c', '3', 1, 'me');");
    store = api_store(file->uri);
    state = api_state(store, "p");
    CHECK(version_of(state, "a") != version_of(state, "b"));
    CHECK_OK(tks_set_i64(state, "a", 10));
    CHECK_OK(tks_set_if(state, "a", "x", 1, version_of(state, "a")));
    CHECK_OK(tks_add_i64(state, "b", 1, NULL));
    CHECK_OK(tks_set_if(state, "c", "x", 1, 0)); /* expired: still their row */
    CHECK_OK(tks_set_i64(state, "d", 4));
    CHECK_ANSWER(file, "SELECT id, key, owner FROM plugin_state ORDER BY key",
                 "1|a|me\n2|b|me\n3|c|me\nx|d|them");
    CHECK_ANSWER(file, "SELECT name FROM pragma_table_info('plugin_state')",
                 "id\nplugin\nkey\nvalue\nexpires_at\nowner\nversion");
    tks_state_close(state);
    tks_store_close(store);
}

static void a_table_that_does_not_fit_is_refused(void **fixture)
{
    static const struct {
        const char *sql, *says;
    } cases[] = {
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT, value TEXT, PRIMARY KEY(plugin, key))",
         "no column expires_at"},
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT, value JSON, expires_at BIGINT, PRIMARY "
         "KEY(plugin, key))",
         "column value of type \"JSON\", not text"},
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT, value TEXT, expires_at DATETIME, "
         "PRIMARY KEY(plugin, key))",
         "column expires_at of type \"DATETIME\", not bigint"},
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT PRIMARY KEY, value TEXT, expires_at "
         "BIGINT)",
         "primary key without plugin"},
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT, value TEXT, expires_at BIGINT, more "
         "TEXT, PRIMARY KEY(plugin, key, more))",
         "\"more\", which belongs to its primary key"},
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT, value TEXT, expires_at BIGINT, more "
         "TEXT NOT NULL, PRIMARY KEY(plugin, key))",
         "\"more\", which is not null"},
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT COLLATE NOCASE, value TEXT, expires_at "
         "BIGINT, PRIMARY KEY(plugin, key))",
         "column key"},
        {"CREATE TABLE plugin_state(plugin TEXT, key TEXT, value TEXT, expires_at BIGINT, version "
         "BIGINT, PRIMARY KEY(plugin, key))",
         "\"version\" of another program"},
        {"CREATE VIEW plugin_state AS SELECT 1", "view"},
    };
    struct file *file = *fixture;

    for (size_t i = 0; i < API_ARRAY(cases); i++) {
        char sql[600];

        snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS plugin_state; %s", cases[i].sql);
        outside(file, sql);
        CHECK_OPEN_SAYS(file, TKS_MISMATCH, cases[i].says);
        CHECK_ANSWER(file, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%version%'", "0");
    }
}

/* ---- Versions ---------------------------------------------------------------------------- */

static uint64_t version_after(struct file *file, tks_state *state, const char *sql)
{
    outside(file, sql);
    return version_of(state, "k");
}

static void what_others_write_has_a_new_version(void **fixture)
{
    static const char *const writes[] = {
        "INSERT INTO plugin_state(plugin, key, value) VALUES('p', 'k', '1')",
        "UPDATE plugin_state SET value = '2' WHERE key = 'k'",
        "UPDATE plugin_state SET value = '2' WHERE key = 'k'",
        "UPDATE plugin_state SET expires_at = 9000000000000",
        "INSERT OR REPLACE INTO plugin_state(plugin, key, value) VALUES('p', 'k', '3')",
        "INSERT INTO plugin_state(plugin, key, value) VALUES('p', 'k', '4') "
        "ON CONFLICT(plugin, key) DO UPDATE SET value = excluded.value",
        "DELETE FROM plugin_state; INSERT INTO plugin_state(plugin, key, value) VALUES('p', 'k', "
        "'1')",
        "PRAGMA recursive_triggers = on; UPDATE plugin_state SET value = '6' WHERE key = 'k'",
        "PRAGMA recursive_triggers = on; REPLACE INTO plugin_state(plugin, key, value) "
        "VALUES('p', 'k', '3')",
    };
    struct file *file = *fixture;
    uint64_t seen[2 * API_ARRAY(writes)];
    size_t count = 0;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");

    for (size_t i = 0; i < API_ARRAY(writes); i++) {
        seen[count++] = version_after(file, state, writes[i]);
        if (i > 0)
            CHECK_STATUS(tks_set_if(state, "k", "x", 1, seen[count - 2]), TKS_CONFLICT);
        CHECK_OK(tks_set_if(state, "k", "x", 1, seen[count - 1]));
        seen[count++] = version_of(state, "k");
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            CHECK(seen[i] != seen[j]);
    tks_state_close(state);
    tks_store_close(store);
}

static void copy_file(const char *from, const char *to)
{
    char command[300];

    snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    CHECK(system(command) == 0);
}

static void versions_are_not_used_again_by_a_restored_file(void **fixture)
{
    struct file *file = *fixture;
    char copy[120];
    uint64_t highest = 0;

    snprintf(copy, sizeof(copy), "%s.copy", file->path);
    for (int round = 0; round < 3; round++) {
        tks_store *store = api_store(file->uri);
        tks_state *state = api_state(store, "p");

        for (int i = 0; i < 10; i++) {
            CHECK_OK(tks_set(state, "k", "", 0));
            CHECK(version_of(state, "k") > highest);
            highest = version_of(state, "k");
        }
        outside(file, "UPDATE plugin_state SET value = '1'");
        CHECK(version_of(state, "k") > highest);
        highest = version_of(state, "k");
        tks_state_close(state);
        tks_store_close(store);
        if (round == 0)
            copy_file(file->path, copy);
        else
            copy_file(copy, file->path);
    }
}

static int copy_with(tks_state *state, const char *text, uint64_t version)
{
    const struct tks_record record = {.size = sizeof(record),
                                      .type = TKS_TYPE_STRING,
                                      .key = "k",
                                      .key_len = 1,
                                      .value = text,
                                      .value_len = strlen(text),
                                      .version = version};
    int outcome = -1;

    CHECK_OK(tks_copy_record(state, &record, &outcome));
    return outcome;
}

static void copies_keep_versions_that_are_free(void **fixture)
{
    struct file *file = *fixture;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");
    uint64_t given, future, late;

    CHECK_INT(copy_with(state, "old", 1234), TKS_COPY_KEPT);
    CHECK_INT(version_of(state, "k"), 1234);
    CHECK_INT(copy_with(state, "old", 1234), TKS_COPY_SAME);
    CHECK_INT(copy_with(state, "other", 1234), TKS_COPY_RENEWED);
    given = version_of(state, "k");
    CHECK(given != 1234);
    CHECK_INT(copy_with(state, "again", given), TKS_COPY_RENEWED);
    CHECK_INT(copy_with(state, "again", given), TKS_COPY_SAME);

    future = version_of(state, "k") + 3600000000000;
    CHECK_INT(copy_with(state, "future", future + 10), TKS_COPY_KEPT);
    CHECK_INT(version_of(state, "k"), future + 10);
    CHECK_INT(copy_with(state, "before", future), TKS_COPY_KEPT); /* copies come in no order */
    CHECK_OK(tks_set_if(state, "k", "x", 1, future));
    for (int i = 0; i < 5000; i++) {
        CHECK_OK(tks_set(state, "k", "x", 1));
        late = version_of(state, "k");
        CHECK(late < future || late > future + 10);
    }
    outside(file, "UPDATE plugin_state SET value = '1'");
    CHECK(version_of(state, "k") > future + 10);
    tks_state_close(state);
    tks_store_close(store);
}

/* ---- Processes --------------------------------------------------------------------------- */

enum { ROUNDS = 300 };

/* Half of them are this library, half are plain SQL. */
static int count_up(int index, void *arg)
{
    struct file *file = arg;

    if (index % 2 == 0) {
        tks_store *store = api_store(file->uri);
        tks_state *state = api_state(store, "p");

        for (int i = 0; i < ROUNDS; i++)
            CHECK_OK(tks_add_i64(state, "counter", 1, NULL));
        tks_state_close(state);
        tks_store_close(store);
        return 0;
    }
    for (int i = 0; i < ROUNDS; i++)
        outside(file, "INSERT INTO plugin_state(plugin, key, value) VALUES('p', 'counter', '1') "
                      "ON CONFLICT DO UPDATE SET value = CAST(value + 1 AS TEXT)");
    return 0;
}

static void counters_are_exact_whoever_counts(void **fixture)
{
    struct file *file = *fixture;

    tks_store_close(api_store(file->uri));
    api_crew(4, count_up, file);
    CHECK_ANSWER(file, "SELECT value FROM plugin_state", "1200");
}

/* A compare and set between which another program writes without asking. */
static int append_one(int index, void *arg)
{
    struct file *file = arg;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");
    char text[4096];

    for (int i = 0; i < 100; i++) {
        int status;

        do {
            uint64_t version;
            size_t len;

            status = tks_get_versioned(state, "log", text, sizeof(text) - 1, &len, &version);
            CHECK(status == TKS_OK || status == TKS_NOT_FOUND);
            text[len] = (char)('a' + index);
            status = tks_set_if(state, "log", text, len + 1, version);
            CHECK(status == TKS_OK || status == TKS_CONFLICT);
        } while (status == TKS_CONFLICT);
        if (i % 10 == 0)
            outside(file, "UPDATE plugin_state SET value = value WHERE key = 'log'");
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void no_compare_and_set_is_lost(void **fixture)
{
    struct file *file = *fixture;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");
    char text[4096];
    int counts[3] = {0};
    size_t len;

    api_crew(3, append_one, file);
    CHECK_OK(tks_get(state, "log", text, sizeof(text), &len));
    CHECK_INT(len, 300);
    for (size_t i = 0; i < len; i++)
        counts[text[i] - 'a']++;
    for (int i = 0; i < 3; i++)
        CHECK_INT(counts[i], 100);
    tks_state_close(state);
    tks_store_close(store);
}

static int write_and_report(int fd, void *arg)
{
    struct file *file = arg;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");

    for (int64_t i = 1;; i++) {
        char key[24];

        snprintf(key, sizeof(key), "k%lld", (long long)i);
        CHECK_OK(tks_set_i64(state, key, i));
        CHECK_OK(tks_add_i64(state, "counter", 1, NULL));
        CHECK(write(fd, &i, sizeof(i)) == sizeof(i));
    }
}

static void what_a_killed_writer_had_written_is_there(void **fixture)
{
    struct file *file = *fixture;
    struct tks_check check = {.size = sizeof(check)};
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");
    int64_t total = 0, before = 0;

    for (int round = 0; round < 10; round++) {
        struct api_peer peer = api_spawn(write_and_report, file);
        int64_t told = 0, counter = 0, got;
        char key[24];

        while (told < 20 + 7 * round)
            CHECK(read(peer.fd, &told, sizeof(told)) == sizeof(told));
        api_kill(&peer);
        while (read(peer.fd, &got, sizeof(got)) == sizeof(got))
            told = got;
        api_reap(&peer);
        CHECK_OK(tks_get_i64(state, "counter", &counter));
        CHECK(counter - before == told || counter - before == told + 1);
        before = counter;
        snprintf(key, sizeof(key), "k%lld", (long long)told);
        CHECK_OK(tks_get_i64(state, key, &total));
        CHECK_INT(total, told);
        CHECK_OK(tks_store_check(store, &check));
    }
    tks_state_close(state);
    tks_store_close(store);
}

/* Waits, opens and closes: the last of all that hold a lock removes the WAL. */
static int open_and_close(int fd, void *arg)
{
    struct file *file = arg;

    api_hear(fd);
    CHECK_ANSWER(file, "SELECT count(*) FROM plugin_state", "1");
    api_tell(fd);
    api_hear(fd);
    CHECK_ANSWER(file, "SELECT key FROM plugin_state ORDER BY key", "late\nparent");
    return 0;
}

static int write_late(int fd, void *arg)
{
    struct file *file = arg;
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");

    api_tell(fd);
    api_hear(fd); /* the parent and a stranger close meanwhile */
    CHECK_OK(tks_set(state, "late", "x", 1));
    CHECK_OK(tks_delete(state, "gone"));
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void a_child_outlives_its_parents_store(void **fixture)
{
    struct file *file = *fixture;
    struct api_peer stranger = api_spawn(open_and_close, file);
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");
    struct api_peer child;

    CHECK_OK(tks_set(state, "parent", "x", 1));
    child = api_spawn(write_late, file);
    api_hear(child.fd);
    tks_state_close(state);
    tks_store_close(store);
    api_tell(stranger.fd);
    api_hear(stranger.fd);
    api_tell(child.fd);
    api_join(&child);
    api_tell(stranger.fd);
    api_join(&stranger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(the_table_is_the_contracts),
        FILE_TEST(values_are_json_text),
        FILE_TEST(rows_of_others_have_their_types),
        FILE_TEST(a_row_that_is_not_json_is_corrupt),
        FILE_TEST(the_table_of_others_is_kept),
        FILE_TEST(a_table_that_does_not_fit_is_refused),
        FILE_TEST(what_others_write_has_a_new_version),
        FILE_TEST(versions_are_not_used_again_by_a_restored_file),
        FILE_TEST(copies_keep_versions_that_are_free),
        FILE_TEST(counters_are_exact_whoever_counts),
        FILE_TEST(no_compare_and_set_is_lost),
        FILE_TEST(what_a_killed_writer_had_written_is_there),
        FILE_TEST(a_child_outlives_its_parents_store),
    };

    return api_run("sqlite", tests);
}
