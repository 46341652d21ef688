/* SPDX-License-Identifier: MIT */
/* Real files: modes, what is refused at PATH, the lock, what older hosts left. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], path[96];

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tickstate-test-checkpoint-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/file", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static const char *beside(const char *suffix)
{
    static char name[256];
    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return name;
}

static void make_file(const char *name)
{
    int file = open(name, O_CREAT | O_WRONLY, 0600);
    assert_true(file >= 0);
    close(file);
}

static bool exists(const char *name)
{
    struct stat stat;
    return !lstat(name, &stat);
}

static int open_writer(struct tks_writer **writer)
{
    return tks_writer_open(&tks_file_system, path, &test_identity, always_host, NULL, writer);
}

static void a_checkpoint_is_private_and_leaves_nothing_beside(void **state)
{
    (void)state;
    struct world world;
    struct tks_writer *writer;
    struct stat stat;
    world_init(&world, 1);
    mode_t mask = umask(0);
    assert_int_equal(open_writer(&writer), TKS_OK);
    for (unsigned i = 0; i < 20; i++) {
        world_change(&world, 30);
        assert_int_equal(world_checkpoint(&world, writer, i % 8 == 0), TKS_OK);
        assert_int_equal(world_load(&world, &tks_file_system, path, NULL), i + 1);
    }
    umask(mask);
    assert_int_equal(lstat(path, &stat), 0);
    assert_int_equal(stat.st_mode & 07777, 0600);
    tks_writer_close(writer);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* empty */
    assert_int_equal(mkdir(folder, 0700), 0);
    world_free(&world);
}

static void expect_refused(const char *word)
{
    struct tks_writer *writer;
    struct tks_loaded *loaded;
    assert_int_equal(open_writer(&writer), TKS_DENIED);
    assert_non_null(strstr(tks_last_error(), word));
    assert_int_equal(tks_checkpoint_load(&tks_file_system, path, &loaded), TKS_DENIED);
    assert_non_null(strstr(tks_last_error(), word));
    assert_non_null(strstr(tks_last_error(), path));
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    struct tks_writer *writer;
    assert_int_equal(mkdir(path, 0700), 0);
    expect_refused("folder");
    rmdir(path);
    assert_int_equal(symlink("elsewhere", path), 0);
    expect_refused("symbolic link");
    unlink(path);
    assert_int_equal(open_writer(&writer), TKS_OK);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(tks_cut_begin(writer, true), TKS_DENIED); /* since it was opened */
    tks_writer_close(writer);
    expect_refused("pipe");
    unlink(path);
}

static void a_missing_file_is_not_found_and_an_empty_one_damaged(void **state)
{
    (void)state;
    struct tks_loaded *loaded;
    assert_int_equal(tks_checkpoint_load(&tks_file_system, path, &loaded), TKS_NOT_FOUND);
    make_file(path);
    assert_int_equal(tks_checkpoint_load(&tks_file_system, path, &loaded), TKS_CORRUPT);
    assert_null(loaded);
    unlink(path);
}

static void a_folder_that_is_missing_is_an_io_error(void **state)
{
    (void)state;
    struct tks_writer *writer;
    struct tks_path_lock *lock;
    const char *missing = beside("-missing/file");
    assert_int_equal(
        tks_writer_open(&tks_file_system, missing, &test_identity, always_host, NULL, &writer),
        TKS_OK);
    assert_int_equal(tks_cut_begin(writer, true), TKS_IO);
    assert_non_null(strstr(tks_last_error(), "-missing"));
    tks_writer_close(writer);
    assert_int_equal(tks_path_lock(&tks_file_system, missing, test_identity.uuid, &lock), TKS_IO);
}

/* ---- The lock ------------------------------------------------------------------------------ */

static void one_segment_at_a_time(void **state)
{
    (void)state;
    const uint64_t other[2] = {1, 2};
    struct tks_path_lock *a, *b, *c;
    assert_int_equal(tks_path_lock(&tks_file_system, path, test_identity.uuid, &a), TKS_OK);
    assert_int_equal(tks_path_lock(&tks_file_system, path, test_identity.uuid, &b), TKS_OK);
    assert_int_equal(tks_path_lock(&tks_file_system, path, other, &c), TKS_BUSY);
    assert_null(c);
    tks_path_unlock(a);
    assert_int_equal(tks_path_lock(&tks_file_system, path, other, &c), TKS_BUSY);
    tks_path_unlock(b);
    assert_int_equal(tks_path_lock(&tks_file_system, path, other, &c), TKS_OK);
    assert_int_equal(tks_path_lock(&tks_file_system, path, test_identity.uuid, &a), TKS_BUSY);
    tks_path_unlock(c);
    tks_path_unlock(NULL);
    struct stat stat;
    assert_int_equal(lstat(beside(".lock"), &stat), 0);
    assert_int_equal(stat.st_size, 0);
}

/* A process that is killed lets go. */
static void a_dead_process_holds_no_lock(void **state)
{
    (void)state;
    const uint64_t other[2] = {1, 2};
    struct tks_path_lock *lock;
    int pipes[2], got;
    char byte;
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (!child) {
        if (tks_path_lock(&tks_file_system, path, other, &lock) || write(pipes[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_int_equal(tks_path_lock(&tks_file_system, path, test_identity.uuid, &lock), TKS_BUSY);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &got, 0), child);
    assert_int_equal(tks_path_lock(&tks_file_system, path, test_identity.uuid, &lock), TKS_OK);
    tks_path_unlock(lock);
    close(pipes[0]);
    close(pipes[1]);
}

/* Of two that come at once never both have it. */
static void racing_segments_never_both_have_it(void **state)
{
    (void)state;
    for (unsigned child = 0; child < 3; child++) {
        if (fork())
            continue;
        const uint64_t uuid[2] = {child, child};
        char mine[32];
        for (unsigned i = 0; i < 2000; i++) {
            struct tks_path_lock *lock;
            int status = tks_path_lock(&tks_file_system, path, uuid, &lock);
            if (status == TKS_BUSY)
                continue;
            snprintf(mine, sizeof(mine), "%s", ".owner");
            int file = open(beside(mine), O_CREAT | O_EXCL | O_WRONLY, 0600);
            if (status || file < 0)
                _exit(1);
            close(file);
            unlink(beside(mine));
            tks_path_unlock(lock);
        }
        _exit(0);
    }
    for (unsigned child = 0; child < 3; child++) {
        int got = 1;
        assert_true(wait(&got) > 0);
        assert_int_equal(got, 0);
    }
}

/* ---- Leftovers ----------------------------------------------------------------------------- */

static void only_what_older_hosts_left_is_removed(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool goes, goes_with_lock;
    } files[] = {
        {".tmp.112233445566778899aabbccddeeff00.6", true, true},
        {".tmp.112233445566778899aabbccddeeff00.7", false, false},
        {".tmp.112233445566778899aabbccddeeff00.8", false, false},
        {".tmp.112233445566778899aabbccddeeff00.6x", false, false},
        {".tmp.112233445566778899aabbccddeeff00.", false, false},
        {".tmp.112233445566778899aabbccddeeff0.6", false, false},
        {".tmp.112233445566778899aabbccddeeff01.6", false, true},
        {".tmp.112233445566778899aabbccddeeff01.99", false, true},
        {".tmp.mine", false, false},
        {"", false, false},
        {"2.tmp.112233445566778899aabbccddeeff00.1", false, false},
    };
    const size_t count = sizeof(files) / sizeof(files[0]);
    struct tks_path_lock *lock;
    assert_int_equal(tks_path_lock(&tks_file_system, path, test_identity.uuid, &lock), TKS_OK);
    for (int locked = 0; locked < 2; locked++) {
        for (size_t i = 0; i < count; i++)
            make_file(beside(files[i].name));
        assert_int_equal(tks_writer_clear_leftovers(&tks_file_system, path, &test_identity,
                                                    locked ? lock : NULL),
                         TKS_OK);
        for (size_t i = 0; i < count; i++) {
            bool gone = !exists(beside(files[i].name));
            assert_int_equal(gone, locked ? files[i].goes_with_lock : files[i].goes);
            unlink(beside(files[i].name));
        }
    }
    tks_path_unlock(lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_is_private_and_leaves_nothing_beside),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(a_missing_file_is_not_found_and_an_empty_one_damaged),
        cmocka_unit_test(a_folder_that_is_missing_is_an_io_error),
        cmocka_unit_test(one_segment_at_a_time),
        cmocka_unit_test(a_dead_process_holds_no_lock),
        cmocka_unit_test(racing_segments_never_both_have_it),
        cmocka_unit_test(only_what_older_hosts_left_is_removed),
    };
    return cmocka_run_group_tests_name("files", tests, set_up, tear_down);
}
