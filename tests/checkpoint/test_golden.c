/* SPDX-License-Identifier: MIT */
/*
 * A file of each format version is kept: it must load for ever, and today's writer must make the
 * bytes of today's version.
 *
 * usage: golden FOLDER           test
 *        golden --write FOLDER   make the files of a new version
 */
#include "disk.h"
#include "support.h"

#include "base/hash.h"

static const char *folder;

static int put(struct tks_writer *writer, const char *plugin, const char *key, uint32_t type,
               const void *value, size_t len, uint64_t version, int64_t expires_at)
{
    struct tks_record record = {.size = sizeof(record),
                                .type = type,
                                .plugin = plugin,
                                .plugin_len = strlen(plugin),
                                .key = key,
                                .key_len = strlen(key),
                                .value = value,
                                .value_len = len,
                                .version = version,
                                .expires_at = expires_at};
    return tks_cut_entry(writer, &record);
}

static int write_image(struct tks_writer *writer)
{
    const int64_t trades = -17;
    const double price = 99.5;
    int status = tks_cut_begin(writer, true);
    status = status ? status : put(writer, "scalper", "trades", 1, &trades, 8, 101, 0);
    status = status ? status : put(writer, "scalper", "price", 2, &price, 8, 102, 0);
    status = status ? status : put(writer, "scalper", "banned", 3, "\1", 1, 103, 1700000060000);
    status = status ? status : put(writer, "scalper", "raw", 0, "\0\1\377", 3, 104, 0);
    status = status ? status
                    : put(writer,
                          "h\xc3\xa9"
                          "dge",
                          "note", 4, "caf\xc3\xa9", 5, 105, 0);
    status = status ? status
                    : put(writer,
                          "h\xc3\xa9"
                          "dge",
                          "legs", 5, "[1,2]", 5, 106, 0);
    status = status ? status
                    : put(writer,
                          "h\xc3\xa9"
                          "dge",
                          "empty", 0, NULL, 0, 107, 0);
    return status ? status : tks_cut_commit(writer, &(struct tks_cut_info){150, 1700000000100, 7});
}

/* "price" is deleted, "trades" changed; a range inside a range lists "trades" again. */
static int write_increment(struct tks_writer *writer)
{
    const int64_t trades = -16;
    const uint64_t at = hash_of("trades", 6), price = hash_of("price", 5), all = UINT64_MAX >> 8;
    int status = tks_cut_begin(writer, false);
    status = status ? status : tks_cut_range(writer, "scalper", 7, price & ~all, price | all);
    status = status ? status : tks_cut_range(writer, "scalper", 7, at & ~all, at | all);
    status = status ? status : put(writer, "scalper", "trades", 1, &trades, 8, 160, 0);
    status = status ? status : tks_cut_range(writer, "scalper", 7, at, at);
    status = status ? status : put(writer, "scalper", "trades", 1, &trades, 8, 160, 0);
    return status ? status : tks_cut_commit(writer, &(struct tks_cut_info){160, 1700000000200, 8});
}

static void write_golden(struct disk *disk)
{
    struct tks_writer *writer;
    disk->now = 1700000000000;
    assert_int_equal(
        tks_writer_open(&disk->ops, WORLD_PATH, &test_identity, always_host, NULL, &writer),
        TKS_OK);
    assert_int_equal(write_image(writer), TKS_OK);
    assert_int_equal(write_increment(writer), TKS_OK);
    tks_writer_close(writer);
}

/* ---- As text ------------------------------------------------------------------------------- */

struct text {
    char bytes[8192];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof(text->bytes) - text->len;
    int len = vsnprintf(text->bytes + text->len, room, format, arguments);
    va_end(arguments);
    assert_true(len >= 0 && (size_t)len < room);
    text->len += (size_t)len;
}

static int add_record(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct text *text = arg;
    add(text, "%s %s type %u version %llu expires %lld hash %016llx value", record->plugin,
        record->key, record->type, (unsigned long long)record->version,
        (long long)record->expires_at, (unsigned long long)hash);
    for (size_t i = 0; i < record->value_len; i++)
        add(text, " %02x", ((const unsigned char *)record->value)[i]);
    add(text, "\n");
    return 0;
}

static void describe(const struct tks_file_ops *ops, const char *path, struct text *text)
{
    struct tks_loaded *loaded;
    text->len = 0;
    if (tks_checkpoint_load(ops, path, &loaded))
        fail_msg("%s", tks_last_error());
    const struct tks_checkpoint_info *info = tks_loaded_info(loaded);
    add(text, "format %u uuid %016llx %016llx generation %llu created %lld wall %lld\n",
        info->format_version, (unsigned long long)info->uuid[0], (unsigned long long)info->uuid[1],
        (unsigned long long)info->generation, (long long)info->created_ms,
        (long long)info->wall_ms);
    add(text, "stamp %llu highest %llu cuts %llu entries %llu live %llu image %llu file %llu\n",
        (unsigned long long)info->stamp, (unsigned long long)info->highest_version,
        (unsigned long long)info->cuts, (unsigned long long)info->entries,
        (unsigned long long)info->live_bytes, (unsigned long long)info->image_bytes,
        (unsigned long long)info->file_bytes);
    assert_false(info->damaged);
    assert_int_equal(info->torn_bytes, 0);
    assert_int_equal(tks_loaded_each(loaded, add_record, text), 0);
    tks_loaded_free(loaded);
}

/* ---- Tests --------------------------------------------------------------------------------- */

static const char *golden_path(const char *suffix)
{
    static char path[2][512];
    static unsigned turn;
    char *to = path[turn++ % 2];
    snprintf(to, sizeof(path[0]), "%s/v1.%s", folder, suffix);
    return to;
}

static size_t read_all(const char *path, void *to, size_t room)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("no file %s", path);
    size_t len = fread(to, 1, room, file);
    fclose(file);
    return len;
}

static void the_golden_file_loads(void **unused)
{
    (void)unused;
    static struct text text;
    char expected[sizeof(text.bytes)];
    describe(&tks_file_system, golden_path("checkpoint"), &text);
    size_t len = read_all(golden_path("txt"), expected, sizeof(expected));
    assert_int_equal(len, text.len);
    assert_memory_equal(expected, text.bytes, len);
}

static void the_writer_makes_the_same_bytes(void **unused)
{
    (void)unused;
    static unsigned char expected[65536];
    struct disk *disk = disk_new(1);
    uint64_t size;
    write_golden(disk);
    const unsigned char *bytes = disk_bytes(disk, WORLD_PATH, &size);
    assert_int_equal(read_all(golden_path("checkpoint"), expected, sizeof(expected)), size);
    assert_memory_equal(bytes, expected, size);
    disk_free(disk);
}

static int write_one(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    return !file || fwrite(bytes, 1, len, file) != len || fclose(file);
}

static int write_files(void)
{
    static struct text text;
    struct disk *disk = disk_new(1);
    uint64_t size;
    write_golden(disk);
    describe(&disk->ops, WORLD_PATH, &text);
    const unsigned char *bytes = disk_bytes(disk, WORLD_PATH, &size);
    int failed = write_one(golden_path("checkpoint"), bytes, size) ||
                 write_one(golden_path("txt"), text.bytes, text.len);
    disk_free(disk);
    return failed;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_file_loads),
        cmocka_unit_test(the_writer_makes_the_same_bytes),
    };
    folder = argc > 1 ? argv[argc - 1] : ".";
    if (argc > 2 && !strcmp(argv[1], "--write"))
        return write_files();
    return cmocka_run_group_tests_name("golden", tests, NULL, NULL);
}
