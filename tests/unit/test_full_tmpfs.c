/* SPDX-License-Identifier: MIT */
/*
 * A tmpfs that is full before the segment is: TKS_NO_SPACE, never SIGBUS. In a mount namespace of
 * its own, so that nobody else's segments are touched; skipped where that is not allowed.
 */
#include "unit.h"

#include <tickstate/tickstate.h>

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77

static char value[3000];

/* In the child: cmocka's assertions belong to the parent. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, tks_last_error());  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void mount_small(const char *options)
{
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tickstate-test", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, options))
        _exit(SKIPPED);
}

static tks_store *open_store(void)
{
    tks_store *store;
    MUST(!tks_store_open("shm://full?size=64M", NULL, &store));
    return store;
}

/* Set new keys until there is no space; how many. */
static unsigned fill(tks_state *state, unsigned from, size_t len)
{
    char key[32];
    for (unsigned i = from;; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        int status = tks_set(state, key, value, len);
        if (status) {
            MUST(status == TKS_NO_SPACE);
            return i;
        }
        MUST(i < 1000000);
    }
}

static int count_record(void *arg, const struct tks_record *record)
{
    (void)record;
    ++*(unsigned *)arg;
    return 0;
}

static void look_around(tks_store *store, unsigned keys)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    struct tks_check check = {.size = sizeof(check)};
    unsigned exported = 0;
    MUST(!tks_store_stats(store, &stats) && stats.keys == keys);
    MUST(stats.committed_bytes < 6 << 20);
    MUST(!tks_store_check(store, &check) && !check.leaked_blocks && check.keys == keys);
    MUST(!tks_store_sweep(store, NULL));
    MUST(!tks_store_export(store, NULL, count_record, &exported) && exported == keys);
}

static void fill_delete_and_refill(void)
{
    mount_small("size=4M");
    tks_store *store = open_store();
    tks_state *state, *other;
    MUST(!tks_state_open(store, "plugin", &state));
    unsigned keys = fill(state, 0, sizeof(value));
    MUST(keys > 500 && keys < 1500);
    look_around(store, keys);
    MUST(tks_set(state, "large", value, 1) <= 0);
    MUST(!tks_delete(state, "large"));
    char key[32], got[sizeof(value)];
    size_t len;
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < keys; i++) {
            snprintf(key, sizeof(key), "key-%u", i);
            MUST(!tks_get(state, key, got, sizeof(got), &len) && len == sizeof(value));
            MUST(!tks_delete(state, key));
        }
        look_around(store, 0);
        /* As many again, and by another state too. */
        MUST(!tks_state_open(store, "plugin", &other));
        unsigned again = fill(round & 1 ? other : state, 0, sizeof(value));
        MUST(again + 32 >= keys);
        keys = again;
        tks_state_close(other);
    }
    /* Other sizes too, once these are gone. */
    for (unsigned i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        MUST(!tks_delete(state, key));
    }
    MUST(fill(state, 0, 100) > keys);
    tks_state_close(state);
    tks_store_close(store);
    _exit(0);
}

static void open_in_too_little(void)
{
    mount_small("size=64K");
    tks_store *store;
    MUST(tks_store_open("shm://full?size=64M", NULL, &store) == TKS_NO_SPACE);
    MUST(strstr(tks_last_error(), "full") && access("/dev/shm/full", F_OK));
    _exit(0);
}

static void values_of_many_slabs(void)
{
    mount_small("size=4M");
    tks_store *store = open_store();
    tks_state *state;
    static char large[1 << 20];
    char key[32];
    MUST(!tks_state_open(store, "plugin", &state));
    for (int round = 0; round < 5; round++) {
        int i = 0, status = TKS_OK;
        for (; !status; i++) {
            snprintf(key, sizeof(key), "large-%d", i);
            status = tks_set(state, key, large, sizeof(large));
        }
        MUST(status == TKS_NO_SPACE && i >= 3 && i <= 4);
        while (i-- > 0) {
            snprintf(key, sizeof(key), "large-%d", i);
            MUST(!tks_delete(state, key));
        }
        MUST(!tks_set(state, "small", large, 100));
    }
    MUST(tks_set(state, "beyond", large, sizeof(large)) == TKS_OK);
    _exit(0);
}

static void prefault_of_too_much(void)
{
    mount_small("size=4M");
    tks_store *store;
    tks_state *state;
    struct tks_stats stats = {.size = sizeof(stats)};
    /* Opened without what was asked for, and said so, or refused: never a signal. */
    int status = tks_store_open("shm://full?size=64M&prefault=1", NULL, &store);
    MUST(status == TKS_OK || status == TKS_NO_SPACE);
    if (!status) {
        MUST(!tks_store_stats(store, &stats) && !stats.prefaulted);
        MUST(!tks_state_open(store, "plugin", &state) || true);
    }
    _exit(0);
}

static void in_child(void (*body)(void))
{
    pid_t pid = fork();
    if (!pid)
        body();
    int status;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip();
    assert_int_equal(status, 0);
}

static void a_full_tmpfs_is_no_space_and_what_is_deleted_serves_again(void **unused)
{
    (void)unused;
    in_child(fill_delete_and_refill);
}

static void a_tmpfs_too_small_for_a_header_is_no_space(void **unused)
{
    (void)unused;
    in_child(open_in_too_little);
}

static void large_values_come_and_go_in_a_full_tmpfs(void **unused)
{
    (void)unused;
    in_child(values_of_many_slabs);
}

static void prefaulting_more_than_there_is_is_no_signal(void **unused)
{
    (void)unused;
    in_child(prefault_of_too_much);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tmpfs_too_small_for_a_header_is_no_space),
        cmocka_unit_test(a_full_tmpfs_is_no_space_and_what_is_deleted_serves_again),
        cmocka_unit_test(large_values_come_and_go_in_a_full_tmpfs),
        cmocka_unit_test(prefaulting_more_than_there_is_is_no_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
