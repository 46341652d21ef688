/* SPDX-License-Identifier: MIT */
/* What is written is what is loaded. */
#include "base/hash.h"
#include "disk.h"
#include "support.h"

#include <math.h>

#if defined(SUPPORT_SANITIZED)
#define READ_ROUNDS 100
#else
#define READ_ROUNDS 500
#endif

static struct tks_writer *open_writer(struct disk *disk)
{
    struct tks_writer *writer;
    assert_int_equal(
        tks_writer_open(&disk->ops, WORLD_PATH, &test_identity, always_host, NULL, &writer),
        TKS_OK);
    return writer;
}

static void increments_add_up_to_the_state(void **unused)
{
    (void)unused;
    struct world world;
    struct tks_checkpoint_info info;
    struct disk *disk = disk_new(test_seed());
    world_init(&world, test_seed());
    struct tks_writer *writer = open_writer(disk);
    for (unsigned round = 0; round < 3000; round++) {
        world_change(&world, (unsigned)random_below(&world.random, 6));
        bool full = tks_writer_wants_full(writer) || round % 1000 == 999;
        assert_int_equal(full, round % 1000 == 999 || !round);
        assert_int_equal(world_checkpoint(&world, writer, full), TKS_OK);
        if (round % 50 && round < 2950)
            continue;
        assert_int_equal(world_load(&world, &disk->ops, WORLD_PATH, &info), world.cuts);
        assert_false(info.damaged);
        assert_int_equal(info.torn_bytes, 0);
        assert_int_equal(info.file_bytes, tks_writer_file_bytes(writer));
        assert_int_equal(info.image_bytes, tks_writer_image_bytes(writer));
        assert_int_equal(info.highest_version, world.next_version - 1);
        assert_int_equal(info.generation, test_identity.generation);
        assert_memory_equal(info.uuid, test_identity.uuid, 16);
        assert_int_equal(info.created_ms, disk->now);
    }
    tks_writer_close(writer);
    assert_int_equal(disk_open_handles(disk), 0);
    assert_int_equal(disk_files(disk, ""), 1);
    disk_free(disk);
    world_free(&world);
}

static void an_empty_store_is_a_state(void **unused)
{
    (void)unused;
    struct world world;
    struct tks_checkpoint_info info;
    struct disk *disk = disk_new(1);
    world_init(&world, 1);
    struct tks_writer *writer = open_writer(disk);
    assert_int_equal(world_checkpoint(&world, writer, true), TKS_OK);
    assert_int_equal(world_load(&world, &disk->ops, WORLD_PATH, &info), 1);
    assert_int_equal(info.entries, 0);
    assert_int_equal(world_checkpoint(&world, writer, false), TKS_OK);
    assert_int_equal(world_load(&world, &disk->ops, WORLD_PATH, &info), 2);
    tks_writer_close(writer);
    disk_free(disk);
    world_free(&world);
}

/* A range without entries deletes, in its plugin only. */
static void an_empty_range_deletes(void **unused)
{
    (void)unused;
    struct world world;
    struct disk *disk = disk_new(1);
    world_init(&world, 1);
    struct tks_writer *writer = open_writer(disk);
    for (unsigned i = 0; i < WORLD_ENTRIES; i++)
        world.now.version[i] = world.next_version++;
    assert_int_equal(world_checkpoint(&world, writer, true), TKS_OK);
    for (unsigned i = WORLD_KEYS; i < 2 * WORLD_KEYS; i++)
        world.now.version[i] = 0;
    world.dirty[WORLD_KEYS] = true;
    struct tks_cut_info cut = world_cut(&world);
    assert_int_equal(tks_cut_begin(writer, false), TKS_OK);
    assert_int_equal(tks_cut_range(writer, "beta-longer-name", 16, 0, UINT64_MAX), TKS_OK);
    assert_int_equal(tks_cut_commit(writer, &cut), TKS_OK);
    assert_int_equal(world_load(&world, &disk->ops, WORLD_PATH, NULL), 2);
    tks_writer_close(writer);
    disk_free(disk);
    world_free(&world);
}

static void values_may_be_large(void **unused)
{
    (void)unused;
    struct world world;
    struct tks_checkpoint_info info;
    struct disk *disk = disk_new(1);
    world_init(&world, test_seed());
    world.value_max = (1 << 20) - 1;
    struct tks_writer *writer = open_writer(disk);
    for (unsigned i = 0; i < 40; i++)
        world.now.version[i * 3] = world.next_version++;
    assert_int_equal(world_checkpoint(&world, writer, true), TKS_OK);
    world_change(&world, 10);
    assert_int_equal(world_checkpoint(&world, writer, false), TKS_OK);
    assert_int_equal(world_load(&world, &disk->ops, WORLD_PATH, &info), 2);
    assert_true(info.live_bytes < info.file_bytes);
    tks_writer_close(writer);
    disk_free(disk);
    world_free(&world);
}

/* ---- Single entries ------------------------------------------------------------------------ */

static struct tks_record entry(uint32_t type, const void *value, size_t len)
{
    return (struct tks_record){.size = sizeof(struct tks_record),
                               .type = type,
                               .plugin = "p",
                               .plugin_len = 1,
                               .key = "k",
                               .key_len = 1,
                               .value = value,
                               .value_len = len,
                               .version = 1};
}

/* The status of an entry in a full image. */
static int try_entry(struct tks_writer *writer, const struct tks_record *record)
{
    assert_int_equal(tks_cut_begin(writer, true), TKS_OK);
    int status = tks_cut_entry(writer, record);
    tks_cut_abort(writer);
    return status;
}

static void what_no_loader_takes_is_not_written(void **unused)
{
    (void)unused;
    static char long_name[TKS_NAME_MAX + 2];
    const double infinite = INFINITY;
    struct disk *disk = disk_new(1);
    struct tks_writer *writer = open_writer(disk);
    struct tks_record good = entry(TKS_TYPE_BYTES, NULL, 0),
                      bad[] = {
                          entry(TKS_TYPE_I64, "1234567", 7),
                          entry(TKS_TYPE_F64, &infinite, 8),
                          entry(TKS_TYPE_BOOL, "\2", 1),
                          entry(TKS_TYPE_BOOL, "", 0),
                          entry(TKS_TYPE_STRING, "\xff", 1),
                          entry(TKS_TYPE_JSON, "\xc0\x80", 2),
                          entry(6, "", 0),
                          good,
                          good,
                          good,
                          good,
                          good,
                          good,
                          good,
                          good,
                      };
    memset(long_name, 'x', sizeof(long_name) - 1);
    bad[7].key_len = 0;
    bad[8].key = long_name, bad[8].key_len = TKS_NAME_MAX + 1;
    bad[9].key = "a\0b", bad[9].key_len = 3;
    bad[10].plugin_len = 0;
    bad[11].plugin = "\x80";
    bad[12].version = 0;
    bad[13].expires_at = -1;
    bad[14].value_len = TKS_VALUE_MAX + 1;
    assert_int_equal(try_entry(writer, &good), TKS_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(try_entry(writer, &bad[i]), TKS_INVALID);
    tks_writer_close(writer);
    assert_int_equal(disk_files(disk, ""), 0);
    disk_free(disk);
}

static void calls_in_the_wrong_place_are_refused(void **unused)
{
    (void)unused;
    struct disk *disk = disk_new(1);
    struct tks_writer *writer = open_writer(disk);
    struct tks_record record = entry(TKS_TYPE_BYTES, "v", 1);
    struct tks_cut_info info = {1, 1, 1};
    uint64_t hash = hash_of("k", 1);
    assert_int_equal(tks_cut_entry(writer, &record), TKS_INVALID);
    assert_int_equal(tks_cut_range(writer, "p", 1, 0, UINT64_MAX), TKS_INVALID);
    assert_int_equal(tks_cut_commit(writer, &info), TKS_INVALID);
    assert_int_equal(tks_cut_begin(writer, false), TKS_INVALID); /* no file yet */
    assert_int_equal(tks_cut_begin(writer, true), TKS_OK);
    assert_int_equal(tks_cut_begin(writer, true), TKS_INVALID);
    assert_int_equal(tks_cut_range(writer, "p", 1, 0, UINT64_MAX), TKS_INVALID); /* full */
    assert_int_equal(tks_cut_commit(writer, &info), TKS_INVALID);                /* it is over */
    assert_int_equal(tks_cut_begin(writer, true), TKS_OK);
    assert_int_equal(tks_cut_commit(writer, &info), TKS_OK);
    const uint64_t ranges[][2] = {{1, 0}, {1, 2}, {0, 2}, {2, 5}, {hash + 1, hash + 1}};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(tks_cut_begin(writer, false), TKS_OK);
        int status = tks_cut_range(writer, "p", 1, ranges[i][0], ranges[i][1]);
        assert_int_equal(status, i < 4 ? TKS_INVALID : TKS_OK);
        assert_int_equal(tks_cut_entry(writer, &record), TKS_INVALID); /* not of the range */
        tks_cut_abort(writer);
    }
    assert_int_equal(tks_cut_begin(writer, false), TKS_OK);
    assert_int_equal(tks_cut_entry(writer, &record), TKS_INVALID); /* no range */
    tks_writer_close(writer);
    disk_free(disk);
}

/* ---- Order --------------------------------------------------------------------------------- */

static int add_hash(void *arg, const struct tks_record *record, uint64_t hash)
{
    uint64_t *last = arg;
    assert_true(hash == hash_of(record->key, record->key_len));
    assert_true(hash > last[0]);
    last[0] = hash;
    last[1]++;
    return last[1] == last[2] ? 42 : 0;
}

static int put_keys(struct tks_writer *writer, unsigned count, unsigned plugins)
{
    int status = TKS_OK;
    for (unsigned i = 0; i < count && !status; i++) {
        char key[16], plugin[16];
        struct tks_record record = entry(TKS_TYPE_BYTES, "v", 1);
        record.plugin = plugin;
        record.plugin_len = (size_t)snprintf(plugin, sizeof(plugin), "p%u", i % plugins);
        record.key = key;
        record.key_len = (size_t)snprintf(key, sizeof(key), "%u", i / plugins);
        status = tks_cut_entry(writer, &record);
    }
    return status;
}

static void any_order_is_loaded_in_order(void **unused)
{
    (void)unused;
    struct disk *disk = disk_new(1);
    struct tks_writer *writer = open_writer(disk);
    struct tks_cut_info info = {1, 1, 1};
    struct tks_loaded *loaded;
    uint64_t last[3] = {0, 0, 0}, stopped[3] = {0, 0, 7};
    assert_int_equal(tks_cut_begin(writer, true), TKS_OK);
    assert_int_equal(put_keys(writer, 5000, 1), TKS_OK);
    assert_int_equal(tks_cut_commit(writer, &info), TKS_OK);
    assert_int_equal(tks_checkpoint_load(&disk->ops, WORLD_PATH, &loaded), TKS_OK);
    assert_int_equal(tks_loaded_info(loaded)->entries, 5000);
    assert_int_equal(tks_loaded_each(loaded, add_hash, last), 0);
    assert_int_equal(last[1], 5000);
    assert_int_equal(tks_loaded_each(loaded, add_hash, stopped), 42);
    tks_loaded_free(loaded);
    tks_writer_close(writer);
    disk_free(disk);
}

static int count_plugins(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct {
        uint64_t plugins, entries;
        char last[16];
    } *count = arg;
    (void)hash;
    count->entries++;
    if (strcmp(count->last, record->plugin)) {
        snprintf(count->last, sizeof(count->last), "%s", record->plugin);
        count->plugins++;
    }
    return 0;
}

static void plugins_come_together(void **unused)
{
    (void)unused;
    struct disk *disk = disk_new(1);
    struct tks_writer *writer = open_writer(disk);
    struct tks_cut_info info = {1, 1, 1};
    struct tks_loaded *loaded;
    struct {
        uint64_t plugins, entries;
        char last[16];
    } count = {0};
    assert_int_equal(tks_cut_begin(writer, true), TKS_OK);
    assert_int_equal(put_keys(writer, 20000, 1000), TKS_OK);
    assert_int_equal(tks_cut_commit(writer, &info), TKS_OK);
    assert_int_equal(tks_checkpoint_load(&disk->ops, WORLD_PATH, &loaded), TKS_OK);
    assert_int_equal(tks_loaded_each(loaded, count_plugins, &count), 0);
    assert_int_equal(count.entries, 20000);
    assert_int_equal(count.plugins, 1000);
    tks_loaded_free(loaded);
    tks_writer_close(writer);
    disk_free(disk);
}

/* A key twice in a cut: once if it is the same, refused if it is not. */
static void a_key_stands_once(void **unused)
{
    (void)unused;
    for (int differ = 0; differ < 2; differ++) {
        struct disk *disk = disk_new(1);
        struct tks_writer *writer = open_writer(disk);
        struct tks_record record = entry(TKS_TYPE_BYTES, "v", 1);
        struct tks_cut_info info = {1, 1, 1};
        struct tks_loaded *loaded = NULL;
        assert_int_equal(tks_cut_begin(writer, true), TKS_OK);
        assert_int_equal(tks_cut_entry(writer, &record), TKS_OK);
        record.version += (uint64_t)differ;
        assert_int_equal(tks_cut_entry(writer, &record), TKS_OK);
        assert_int_equal(tks_cut_commit(writer, &info), TKS_OK);
        int status = tks_checkpoint_load(&disk->ops, WORLD_PATH, &loaded);
        assert_int_equal(status, differ ? TKS_CORRUPT : TKS_OK);
        if (!differ)
            assert_int_equal(tks_loaded_info(loaded)->entries, 1);
        tks_loaded_free(loaded);
        tks_writer_close(writer);
        disk_free(disk);
    }
}

/* ---- Reading what is being written --------------------------------------------------------- */

enum { READ_PARTS = 4, SECTOR = 512, TROUBLES = 2 };

struct reading {
    struct disk *disk;
    struct world world;
    struct tks_writer *writer;
    bool cuts;         /* are written all the time */
    unsigned troubles; /* otherwise: cuts still to be given up */
    bool half;         /* part of one is in the file */
};

static struct reading *reading;

static void write_cut(bool full)
{
    world_change(&reading->world, 5 + (unsigned)random_below(&reading->world.random, 30));
    assert_int_equal(world_checkpoint(&reading->world, reading->writer, full), TKS_OK);
}

static void write_half(void)
{
    struct world *world = &reading->world;
    bool unmarked[WORLD_ENTRIES];
    world_change(world, 40);
    memcpy(unmarked, world->dirty, sizeof(unmarked));
    world_cut(world);
    assert_int_equal(world_write(world, reading->writer, false, unmarked), TKS_OK);
    reading->half = true;
}

static void give_up(void)
{
    tks_cut_abort(reading->writer);
    reading->half = false;
}

static void write_meanwhile(void)
{
    if (reading->cuts && random_below(&reading->world.random, 3) == 0)
        write_cut(random_below(&reading->world.random, 20) == 0);
}

static int look_late(void *context, int file, struct tks_file_stat *stat)
{
    write_meanwhile();
    if (reading->troubles && !reading->half)
        write_half();
    return reading->disk->ops.stat(context, file, stat);
}

/* A cut that the loader is in the middle of is given up, and another one takes its place. */
static int64_t read_a_part(void *context, int file, void *to, size_t bytes, uint64_t offset)
{
    const size_t part = bytes > SECTOR ? bytes / READ_PARTS + 1 : bytes;
    write_meanwhile();
    if (reading->half && offset > tks_writer_file_bytes(reading->writer)) {
        reading->troubles--;
        give_up();
        write_cut(false);
    }
    return reading->disk->ops.read(context, file, to, part, offset);
}

/* Whatever is appended, given up or replaced in the meantime: it is no damage, and nothing that was
 * acknowledged before is missing. */
static void a_file_may_be_read_while_it_is_written(void **unused)
{
    (void)unused;
    struct reading scene = {.disk = disk_new(test_seed())};
    struct tks_checkpoint_info info;
    reading = &scene;
    world_init(&scene.world, test_seed());
    scene.writer = open_writer(scene.disk);
    assert_int_equal(world_checkpoint(&scene.world, scene.writer, true), TKS_OK);
    struct tks_file_ops ops = scene.disk->ops;
    ops.read = read_a_part;
    ops.stat = look_late;
    for (unsigned round = 0; round < READ_ROUNDS; round++) {
        if (scene.half)
            give_up();
        const uint64_t acknowledged = world_load(&scene.world, &scene.disk->ops, WORLD_PATH, &info);
        scene.cuts = round % 2;
        scene.troubles = round % 2 ? 0 : TROUBLES;
        assert_true(world_load(&scene.world, &ops, WORLD_PATH, &info) >= acknowledged);
        if (info.damaged)
            fail_msg("%s", info.warning);
    }
    tks_writer_close(scene.writer);
    assert_int_equal(disk_open_handles(scene.disk), 0);
    disk_free(scene.disk);
    world_free(&scene.world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(increments_add_up_to_the_state),
        cmocka_unit_test(an_empty_store_is_a_state),
        cmocka_unit_test(an_empty_range_deletes),
        cmocka_unit_test(values_may_be_large),
        cmocka_unit_test(what_no_loader_takes_is_not_written),
        cmocka_unit_test(calls_in_the_wrong_place_are_refused),
        cmocka_unit_test(any_order_is_loaded_in_order),
        cmocka_unit_test(plugins_come_together),
        cmocka_unit_test(a_key_stands_once),
        cmocka_unit_test(a_file_may_be_read_while_it_is_written),
    };
    return cmocka_run_group_tests_name("round_trip", tests, NULL, NULL);
}
