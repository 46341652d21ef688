/* SPDX-License-Identifier: MIT */
/*
 * Failures and power cuts at every operation. Whatever happens, what loads is a state that existed,
 * none older than the last cut that was acknowledged; and once the fault is gone, cuts succeed
 * again.
 */
#include "disk.h"
#include "support.h"

#include <errno.h>

#define CUTS 7

struct run {
    struct disk *disk;
    struct world world;
    uint64_t acknowledged; /* stamp of the last cut that was */
};

/* What a host does: full where it must be or is due, else an increment; failures are taken as they
 * come. */
static void write_cuts(struct run *run, struct tks_writer *writer, unsigned cuts)
{
    for (unsigned i = 0; i < cuts; i++) {
        world_change(&run->world, 6);
        bool full = tks_writer_wants_full(writer) || i == 4;
        if (!world_checkpoint(&run->world, writer, full))
            run->acknowledged = run->world.cuts;
    }
}

static struct tks_writer *open_writer(struct run *run, uint64_t generation)
{
    struct tks_checkpoint_identity identity = test_identity;
    struct tks_writer *writer = NULL;
    identity.generation = generation;
    if (tks_writer_open(&run->disk->ops, WORLD_PATH, &identity, always_host, NULL, &writer))
        return NULL;
    return writer;
}

static void begin_run(struct run *run, uint64_t seed)
{
    memset(run, 0, sizeof(*run));
    run->disk = disk_new(seed);
    world_init(&run->world, 99); /* the same world, so that operations keep their numbers */
    world_change(&run->world, 60);
}

static void end_run(struct run *run)
{
    assert_int_equal(disk_open_handles(run->disk), 0);
    disk_free(run->disk);
    world_free(&run->world);
}

static void check_loads(struct run *run, const char *when, bool may_warn)
{
    struct tks_checkpoint_info info = {.damaged = false};
    uint64_t stamp = world_load(&run->world, &run->disk->ops, WORLD_PATH, &info);
    if (stamp < run->acknowledged)
        fail_msg("%s: cut %llu was acknowledged, %llu is loaded", when,
                 (unsigned long long)run->acknowledged, (unsigned long long)stamp);
    if (info.damaged && !may_warn)
        fail_msg("%s: %s", when, info.warning);
}

/* A successor on the same disk: everything works again, and nothing is left over. */
static void check_goes_on(struct run *run, uint64_t generation)
{
    struct tks_writer *writer = open_writer(run, generation);
    assert_non_null(writer);
    uint64_t before = run->world.cuts;
    write_cuts(run, writer, 3);
    assert_int_equal(run->acknowledged, before + 3);
    check_loads(run, "afterwards", false);
    tks_writer_close(writer);
    assert_int_equal(disk_files(run->disk, ""), 1);
}

static uint64_t count_operations(void)
{
    struct run run;
    begin_run(&run, 1);
    struct tks_writer *writer = open_writer(&run, 1);
    write_cuts(&run, writer, CUTS);
    assert_int_equal(run.acknowledged, CUTS);
    tks_writer_close(writer);
    uint64_t operations = run.disk->operations;
    end_run(&run);
    print_message("%llu operations in %d cuts\n", (unsigned long long)operations, CUTS);
    return operations;
}

/* ---- Power cuts ---------------------------------------------------------------------------- */

static void crash_at(uint64_t operation, uint64_t seed)
{
    struct run run;
    char when[64];
    snprintf(when, sizeof(when), "crash at operation %llu, seed %llu",
             (unsigned long long)operation, (unsigned long long)seed);
    begin_run(&run, seed);
    run.disk->fault = FAULT_DEAD;
    run.disk->fault_at = operation;
    struct tks_writer *writer = open_writer(&run, 1);
    if (writer)
        write_cuts(&run, writer, CUTS);
    tks_writer_close(writer);
    disk_crash(run.disk);
    check_loads(&run, when, false);
    check_goes_on(&run, 2);
    end_run(&run);
}

static void a_power_cut_loses_nothing_that_was_acknowledged(void **unused)
{
    (void)unused;
    uint64_t operations = count_operations();
    const uint64_t seeds = operations > 300 ? 12 : 60;
    for (uint64_t operation = 1; operation <= operations + 1; operation++)
        for (uint64_t seed = 0; seed < seeds; seed++)
            crash_at(operation, test_seed() + seed);
}

/* ---- Failures ------------------------------------------------------------------------------ */

static void fail_at(uint64_t operation, uint64_t faults, enum disk_fault fault, int error,
                    uint64_t seed)
{
    struct run run;
    char when[96];
    snprintf(when, sizeof(when), "%llu times errno %d, kind %d, at operation %llu, seed %llu",
             (unsigned long long)faults, error, (int)fault, (unsigned long long)operation,
             (unsigned long long)seed);
    begin_run(&run, seed);
    run.disk->fault = fault;
    run.disk->fault_at = operation;
    run.disk->faults = faults;
    run.disk->error = error;
    struct tks_writer *writer = open_writer(&run, 1);
    if (writer)
        write_cuts(&run, writer, CUTS);
    uint64_t missed = CUTS - run.acknowledged;
    run.disk->fault_at = 0;
    check_loads(&run, when, false);
    if (fault == FAULT_INTERRUPTED || fault == FAULT_SHORT)
        assert_true(!missed || faults >= 1000);
    if (writer) { /* the same host goes on when the fault is lifted */
        uint64_t before = run.world.cuts;
        write_cuts(&run, writer, 2);
        assert_int_equal(run.acknowledged, before + 2);
        check_loads(&run, when, false);
    }
    tks_writer_close(writer);
    disk_crash(run.disk);
    check_loads(&run, when, false);
    check_goes_on(&run, 2);
    end_run(&run);
}

static void a_failed_operation_spoils_nothing(void **unused)
{
    (void)unused;
    static const int errors[] = {ENOSPC, EIO, EDQUOT, EROFS, EACCES};
    uint64_t operations = count_operations(), seed = test_seed();
    for (uint64_t operation = 1; operation <= operations; operation++)
        for (unsigned i = 0; i < 5; i++) {
            fail_at(operation, 1, FAULT_ERROR, errors[i], seed++);
            fail_at(operation, 1, FAULT_HALF, errors[i], seed++);
            fail_at(operation, 2 + operation % 9, FAULT_ERROR, errors[i], seed++);
            fail_at(operation, 2 + operation % 7, FAULT_HALF, errors[i], seed++);
        }
}

static void short_and_interrupted_operations_are_carried_on(void **unused)
{
    (void)unused;
    uint64_t operations = count_operations(), seed = test_seed();
    for (uint64_t operation = 1; operation <= operations; operation++) {
        fail_at(operation, 1, FAULT_SHORT, 0, seed++);
        fail_at(operation, 8, FAULT_SHORT, 0, seed++);
        fail_at(operation, 1, FAULT_INTERRUPTED, 0, seed++);
        fail_at(operation, 8, FAULT_INTERRUPTED, 0, seed++);
    }
    /* Not for ever. */
    fail_at(operations / 2, 1000000, FAULT_INTERRUPTED, 0, seed);
}

/* ---- Fault and crash ----------------------------------------------------------------------- */

/* A failed operation, and the power goes some operations later. */
static void a_failure_before_a_power_cut(void **unused)
{
    (void)unused;
    uint64_t operations = count_operations(), seed = test_seed();
    for (uint64_t operation = 1; operation <= operations; operation++)
        for (unsigned later = 0; later < 12; later++) {
            struct run run;
            begin_run(&run, ++seed);
            run.disk->fault = later % 2 ? FAULT_HALF : FAULT_ERROR;
            run.disk->error = later % 3 ? ENOSPC : EIO;
            run.disk->fault_at = operation;
            run.disk->faults = 1 + later % 4;
            struct tks_writer *writer = open_writer(&run, 1);
            if (writer)
                write_cuts(&run, writer, CUTS);
            if (writer) {
                run.disk->fault = FAULT_DEAD;
                run.disk->fault_at = run.disk->operations + later;
                write_cuts(&run, writer, 2);
            }
            tks_writer_close(writer);
            disk_crash(run.disk);
            check_loads(&run, "failure and power cut", false);
            check_goes_on(&run, 2);
            end_run(&run);
        }
}

/* ---- Loading ------------------------------------------------------------------------------- */

static void a_load_that_fails_says_so(void **unused)
{
    (void)unused;
    struct run run;
    begin_run(&run, 1);
    struct tks_writer *writer = open_writer(&run, 1);
    write_cuts(&run, writer, CUTS);
    tks_writer_close(writer);
    for (uint64_t operation = 1; operation <= 5; operation++) {
        struct tks_loaded *loaded;
        run.disk->fault = FAULT_ERROR;
        run.disk->fault_at = run.disk->operations + operation;
        run.disk->faults = 1;
        run.disk->error = EIO;
        assert_int_equal(tks_checkpoint_load(&run.disk->ops, WORLD_PATH, &loaded), TKS_IO);
        assert_null(loaded);
        assert_non_null(strstr(tks_last_error(), WORLD_PATH));
        run.disk->fault_at = run.disk->operations + operation;
        run.disk->fault = FAULT_SHORT;
        check_loads(&run, "short read", false);
        run.disk->fault_at = 0;
    }
    end_run(&run);
}

static void a_file_that_somebody_removed_is_written_again(void **unused)
{
    (void)unused;
    struct run run;
    begin_run(&run, 1);
    struct tks_writer *writer = open_writer(&run, 1);
    write_cuts(&run, writer, 2);
    run.disk->ops.unlink(run.disk, WORLD_PATH);
    assert_true(tks_writer_wants_full(writer));
    write_cuts(&run, writer, 1);
    assert_int_equal(run.acknowledged, run.world.cuts);
    check_loads(&run, "removed", false);
    /* In the middle of an increment: not acknowledged. */
    struct tks_cut_info info = world_cut(&run.world);
    assert_int_equal(world_write(&run.world, writer, false, run.world.dirty), TKS_OK);
    run.disk->ops.unlink(run.disk, WORLD_PATH);
    assert_int_equal(tks_cut_commit(writer, &info), TKS_IO);
    write_cuts(&run, writer, 1);
    check_loads(&run, "removed again", false);
    tks_writer_close(writer);
    end_run(&run);
}

/* ---- What is appended to after a failure ---------------------------------------------------- */

static int failing_sync(void *context, int file, bool data_only)
{
    (void)context;
    (void)file;
    (void)data_only;
    return -ENOSPC;
}

static int64_t full_disk(void *context, int file, const void *from, size_t bytes, uint64_t offset)
{
    (void)context;
    (void)file;
    (void)from;
    (void)bytes;
    (void)offset;
    return -ENOSPC;
}

static int64_t broken_disk(void *context, int file, const void *from, size_t bytes, uint64_t offset)
{
    return full_disk(context, file, from, bytes, offset) == -ENOSPC ? -EIO : 0;
}

/* Only a full disk leaves it known what a file holds; after a failed sync of any kind it is not. */
static void only_what_is_known_is_appended_to(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < 3; kind++) {
        struct run run;
        begin_run(&run, 1);
        struct tks_file_ops good = run.disk->ops;
        struct tks_writer *writer = open_writer(&run, 1);
        write_cuts(&run, writer, 2);
        assert_false(tks_writer_wants_full(writer));
        if (kind == 0)
            run.disk->ops.sync = failing_sync;
        else
            run.disk->ops.write = kind == 1 ? full_disk : broken_disk;
        world_change(&run.world, 5);
        assert_int_equal(world_checkpoint(&run.world, writer, false), TKS_IO);
        assert_non_null(strstr(tks_last_error(), WORLD_PATH));
        run.disk->ops = good;
        assert_int_equal(tks_writer_wants_full(writer), kind != 1);
        assert_int_equal(tks_cut_begin(writer, false), kind != 1 ? TKS_INVALID : TKS_OK);
        tks_cut_abort(writer);
        write_cuts(&run, writer, 1);
        assert_int_equal(run.acknowledged, run.world.cuts);
        check_loads(&run, "after a failure", false);
        tks_writer_close(writer);
        end_run(&run);
    }
}

/* ---- Given up ------------------------------------------------------------------------------ */

static void a_cut_that_is_given_up_leaves_no_trace(void **unused)
{
    (void)unused;
    struct run run;
    struct tks_checkpoint_info info;
    begin_run(&run, 1);
    struct tks_writer *writer = open_writer(&run, 1);
    write_cuts(&run, writer, 2);
    for (int full = 0; full < 2; full++) {
        uint64_t bytes = tks_writer_file_bytes(writer), operations = run.disk->operations;
        world_change(&run.world, 100);
        world_cut(&run.world);
        assert_int_equal(world_write(&run.world, writer, full, run.world.dirty), TKS_OK);
        tks_cut_abort(writer);
        tks_cut_abort(writer);
        assert_true(run.disk->operations > operations); /* batches were written */
        assert_false(tks_writer_wants_full(writer));
        assert_int_equal(world_load(&run.world, &run.disk->ops, WORLD_PATH, &info), 2);
        assert_int_equal(info.file_bytes, bytes);
        assert_int_equal(disk_files(run.disk, ""), 1);
    }
    assert_int_equal(world_checkpoint(&run.world, writer, true), TKS_OK); /* the marks are gone */
    tks_writer_close(writer);
    end_run(&run);
}

/* ---- Replaced ------------------------------------------------------------------------------ */

struct lease {
    unsigned asked, no_from;
};

static bool ask_lease(void *arg)
{
    struct lease *lease = arg;
    return ++lease->asked < lease->no_from;
}

/* At whichever question the answer is no: PATH stays what it was, nothing is left over, for good.
 */
static bool replaced_at(unsigned question, unsigned *fulls, unsigned *increments)
{
    struct run run;
    struct lease lease = {0, question};
    struct tks_writer *writer;
    int status = TKS_OK;
    bool full = false;
    struct tks_file_stat before = {0}, after = {0};
    begin_run(&run, 1);
    assert_int_equal(
        tks_writer_open(&run.disk->ops, WORLD_PATH, &test_identity, ask_lease, &lease, &writer),
        TKS_OK);
    for (unsigned i = 0; i < 4 && !status; i++) {
        run.disk->ops.stat_path(run.disk, WORLD_PATH, &before);
        full = i % 2 == 0;
        world_change(&run.world, 30);
        status = world_checkpoint(&run.world, writer, full);
        run.acknowledged += !status;
    }
    bool replaced = status == TKS_REPLACED;
    assert_true(replaced || !status);
    run.disk->ops.stat_path(run.disk, WORLD_PATH, &after);
    if (replaced) {
        *(full ? fulls : increments) += 1;
        assert_int_equal(after.inode, before.inode);
        assert_int_equal(tks_cut_begin(writer, true), TKS_REPLACED);
        assert_int_equal(tks_cut_begin(writer, false), TKS_REPLACED);
    }
    assert_int_equal(world_load(&run.world, &run.disk->ops, WORLD_PATH, NULL), run.acknowledged);
    assert_int_equal(disk_files(run.disk, ".tmp."), 0);
    tks_writer_close(writer);
    end_run(&run);
    return replaced;
}

static void a_host_that_is_replaced_touches_nothing(void **unused)
{
    (void)unused;
    unsigned question = 1, fulls = 0, increments = 0;
    while (replaced_at(question, &fulls, &increments))
        question++;
    assert_int_equal(fulls, 4); /* after the file was made, before the rename; twice */
    assert_true(increments >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_loses_nothing_that_was_acknowledged),
        cmocka_unit_test(a_failed_operation_spoils_nothing),
        cmocka_unit_test(short_and_interrupted_operations_are_carried_on),
        cmocka_unit_test(a_failure_before_a_power_cut),
        cmocka_unit_test(a_load_that_fails_says_so),
        cmocka_unit_test(a_file_that_somebody_removed_is_written_again),
        cmocka_unit_test(only_what_is_known_is_appended_to),
        cmocka_unit_test(a_cut_that_is_given_up_leaves_no_trace),
        cmocka_unit_test(a_host_that_is_replaced_touches_nothing),
    };
    return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
