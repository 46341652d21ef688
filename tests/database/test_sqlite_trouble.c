/* SPDX-License-Identifier: MIT */
/* sqlite:// where something is in the way: bad URIs, rights, locks, full disks, damaged files. */
#include "sqlite_support.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void bad_uris_are_invalid(void **fixture)
{
    static const struct {
        const char *uri, *says;
    } cases[] = {
        {"sqlite://", "full path"},
        {"sqlite://relative.db", "full path"},
        {"sqlite:///", "full path"},
        {"sqlite:///tmp/", "full path"},
        {"sqlite:///tmp/%zz.db", "full path"},
        {"sqlite:///tmp/%00.db", "full path"},
        {"sqlite:///tmp/x.db?mode=ro", "\"mode\""},
        {"sqlite:///tmp/x.db?timeout_ms=0", "timeout_ms"},
        {"sqlite:///tmp/x.db?timeout_ms=x", "timeout_ms"},
        {"sqlite:///tmp/x.db?synchronous=maybe", "synchronous"},
        {"sqlite:///tmp", "not a file"},
    };
    tks_store *store;

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(cases); i++)
        CHECK_SAYS(tks_store_open(cases[i].uri, NULL, &store), TKS_INVALID, cases[i].says);
}

static void paths_may_be_escaped(void **fixture)
{
    struct file *file = *fixture;
    char path[128];

    snprintf(file->uri, sizeof(file->uri), "sqlite://%s/a%%3fb%%25.db?synchronous=full",
             file->folder);
    tks_store_close(api_store(file->uri));
    snprintf(path, sizeof(path), "%s/a?b%%.db", file->folder);
    CHECK(access(path, F_OK) == 0);
}

static void existing_means_existing(void **fixture)
{
    struct file *file = *fixture;
    const struct tks_options existing = {.size = sizeof(existing), .flags = TKS_OPEN_EXISTING};
    tks_store *store;

    CHECK_SAYS(tks_store_open(file->uri, &existing, &store), TKS_NOT_FOUND, file->path);
    CHECK(access(file->path, F_OK) != 0);
    outside(file, "CREATE TABLE other(x)");
    CHECK_SAYS(tks_store_open(file->uri, &existing, &store), TKS_NOT_FOUND, "plugin_state");
    tks_store_close(api_store(file->uri));
    CHECK_OK(tks_store_open(file->uri, &existing, &store));
    tks_store_close(store);
}

static void a_folder_that_is_not_there_is_an_error(void **fixture)
{
    struct file *file = *fixture;

    snprintf(file->uri, sizeof(file->uri), "sqlite://%s/none/store.db", file->folder);
    CHECK_OPEN_SAYS(file, TKS_IO, "none/store.db");
}

static void a_database_is_not_destroyed(void **fixture)
{
    struct file *file = *fixture;

    tks_store_close(api_store(file->uri));
    CHECK_SAYS(tks_store_destroy(file->uri), TKS_UNSUPPORTED, "plugin_state");
    CHECK(access(file->path, F_OK) == 0);
}

/* ---- Rights ------------------------------------------------------------------------------ */

static int open_as_nobody(int fd, void *arg)
{
    struct file *file = arg;

    (void)fd;
    CHECK(getuid() != 0 || setresuid(65534, 65534, 65534) == 0);
    CHECK_OPEN_SAYS(file, TKS_DENIED, file->path);
    return 0;
}

static void try_as_nobody(struct file *file)
{
    struct api_peer peer = api_spawn(open_as_nobody, file);

    api_join(&peer);
}

static void a_file_that_cannot_be_written_is_denied(void **fixture)
{
    struct file *file = *fixture;

    tks_store_close(api_store(file->uri));
    CHECK(chmod(file->path, 0444) == 0);
    try_as_nobody(file);
    CHECK(chmod(file->path, 0000) == 0);
    try_as_nobody(file);
}

static void a_folder_that_cannot_be_written_is_denied(void **fixture)
{
    struct file *file = *fixture;

    CHECK(chmod(file->folder, 0555) == 0);
    try_as_nobody(file);
    CHECK(chmod(file->folder, 0755) == 0);
}

/* ---- Damage ------------------------------------------------------------------------------ */

static void fill_with_garbage(const char *path, off_t from, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    char garbage[8192];

    CHECK(fd >= 0 && len <= sizeof(garbage));
    api_pattern(garbage, len, 7);
    CHECK(pwrite(fd, garbage, len, from) == (ssize_t)len);
    CHECK(close(fd) == 0);
}

static void garbage_is_no_database(void **fixture)
{
    struct file *file = *fixture;

    fill_with_garbage(file->path, 0, 8192);
    CHECK_OPEN_SAYS(file, TKS_CORRUPT, file->path);
}

static void a_damaged_file_is_corrupt(void **fixture)
{
    struct file *file = *fixture;
    struct tks_check check = {.size = sizeof(check)};
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");
    struct stat status;

    for (int i = 0; i < 2000; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_set(state, key, key, sizeof(key)));
    }
    CHECK_OK(tks_store_check(store, &check));
    tks_state_close(state);
    tks_store_close(store);
    CHECK(stat(file->path, &status) == 0 && status.st_size > 65536);
    fill_with_garbage(file->path, 40960, 8192);
    store = api_store(file->uri);
    CHECK_SAYS(tks_store_check(store, &check), TKS_CORRUPT, file->path);
    tks_store_close(store);
}

/* ---- Locks ------------------------------------------------------------------------------- */

static int hold_the_lock(int fd, void *arg)
{
    struct file *file = arg;
    sqlite3 *sqlite;

    CHECK(sqlite3_open(file->path, &sqlite) == SQLITE_OK);
    CHECK(sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
    api_tell(fd);
    api_hear(fd);
    CHECK(sqlite3_exec(sqlite, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_close(sqlite) == SQLITE_OK);
    return 0;
}

static void a_locked_file_is_busy_and_no_more(void **fixture)
{
    struct file *file = *fixture;
    struct api_peer peer;
    tks_store *store;
    tks_state *state;

    strcat(file->uri, "?timeout_ms=30");
    store = api_store(file->uri);
    state = api_state(store, "p");
    CHECK_OK(tks_set(state, "key", "value", 5));
    peer = api_spawn(hold_the_lock, file);
    api_hear(peer.fd);
    CHECK_SAYS(tks_set(state, "key", "other", 5), TKS_BUSY, "30 ms");
    CHECK_STATUS(tks_add_i64(state, "counter", 1, NULL), TKS_BUSY);
    CHECK_STATUS(tks_delete(state, "key"), TKS_BUSY);
    CHECK_TEXT(state, "key", "value"); /* who reads waits for nobody */
    tks_store_close(api_store(file->uri));
    api_tell(peer.fd);
    api_join(&peer);
    CHECK_OK(tks_set(state, "key", "other", 5));
    tks_state_close(state);
    tks_store_close(store);
}

/* ---- Space ------------------------------------------------------------------------------- */

/* On a disk of its own that is soon full; in a mount namespace of its own. */
static int fill_a_disk(int fd, void *arg)
{
    struct file *file = arg;
    static char value[10000];
    int status = TKS_OK, keys = 0;
    uint64_t counted = 0;

    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tickstate-test", file->folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=1M")) {
        api_tell(fd);
        return 0;
    }
    tks_store *store = api_store(file->uri);
    tks_state *state = api_state(store, "p");

    for (; status == TKS_OK && keys < 1000; keys++) {
        char key[16];

        snprintf(key, sizeof(key), "k%d", keys);
        status = tks_set(state, key, value, sizeof(value));
    }
    CHECK_SAYS(status, TKS_NO_SPACE, file->path);
    counted = api_count_keys(state);
    CHECK(counted > 5);
    CHECK_INT(counted, keys - 1); /* the call that failed changed nothing */
    CHECK_BYTES(state, "k0", value, sizeof(value));
    tks_state_close(state);
    tks_store_close(store);
    api_tell(fd);
    return 0;
}

static void a_full_disk_is_no_space(void **fixture)
{
    struct api_peer peer = api_spawn(fill_a_disk, *fixture);

    api_hear(peer.fd);
    api_join(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(bad_uris_are_invalid),
        FILE_TEST(paths_may_be_escaped),
        FILE_TEST(existing_means_existing),
        FILE_TEST(a_folder_that_is_not_there_is_an_error),
        FILE_TEST(a_database_is_not_destroyed),
        FILE_TEST(a_file_that_cannot_be_written_is_denied),
        FILE_TEST(a_folder_that_cannot_be_written_is_denied),
        FILE_TEST(garbage_is_no_database),
        FILE_TEST(a_damaged_file_is_corrupt),
        FILE_TEST(a_locked_file_is_busy_and_no_more),
        FILE_TEST(a_full_disk_is_no_space),
    };

    return api_run("sqlite_trouble", tests);
}
