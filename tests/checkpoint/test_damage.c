/* SPDX-License-Identifier: MIT */
/*
 * Files that were cut off, and files that were damaged. What loads is the state of some cut; a cut
 * that was synced is not lost without a warning; a torn tail is no reason for one.
 */
#include "batches.h"
#include "checkpoint/format.h"
#include "disk.h"
#include "support.h"

#define CUTS 8

#ifdef SUPPORT_SANITIZED
#define ROUNDS 4000
#define STEP 7
#else
#define ROUNDS 40000
#define STEP 1
#endif

struct scene {
    struct disk *disk;
    struct world world;
    uint64_t ends[CUTS];        /* where each cut ends */
    struct batches good, other; /* the file, and one of another generation */
    struct batches twin;        /* with the same header, and another content */
    uint64_t random;
};

static void write_file(struct scene *scene, struct world *world, uint64_t generation,
                       struct batches *batches, uint64_t *ends)
{
    struct tks_checkpoint_identity identity = test_identity;
    struct tks_writer *writer;
    uint64_t size;
    identity.generation = generation;
    assert_int_equal(
        tks_writer_open(&scene->disk->ops, WORLD_PATH, &identity, always_host, NULL, &writer),
        TKS_OK);
    for (unsigned i = 0; i < CUTS; i++) {
        world_change(world, i ? 8 : 150);
        assert_int_equal(world_checkpoint(world, writer, i == 0), TKS_OK);
        ends[i] = tks_writer_file_bytes(writer);
    }
    tks_writer_close(writer);
    const unsigned char *bytes = disk_bytes(scene->disk, WORLD_PATH, &size);
    batches_take(batches, bytes, size);
}

static int set_up(void **state)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct world twin;
    uint64_t ends[CUTS];
    if (!scene)
        return -1;
    scene->disk = disk_new(1);
    scene->random = test_seed();
    world_init(&scene->world, 3);
    world_init(&twin, 4);
    write_file(scene, &twin, test_identity.generation, &scene->twin, ends);
    world_free(&twin);
    write_file(scene, &scene->world, test_identity.generation, &scene->good, scene->ends);
    write_file(scene, &scene->world, test_identity.generation + 1, &scene->other, ends);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    batches_free(&scene->good);
    batches_free(&scene->other);
    batches_free(&scene->twin);
    disk_free(scene->disk);
    world_free(&scene->world);
    free(scene);
    return 0;
}

/* Load @p bytes: the number of cuts, or a negative status. Content is checked. */
static int64_t load(struct scene *scene, const void *bytes, uint64_t size,
                    struct tks_checkpoint_info *info)
{
    struct tks_loaded *loaded;
    disk_put(scene->disk, WORLD_PATH, bytes, size);
    int status = tks_checkpoint_load(&scene->disk->ops, WORLD_PATH, &loaded);
    if (status) {
        assert_true(status == TKS_CORRUPT || status == TKS_MISMATCH);
        return status;
    }
    world_check(&scene->world, loaded);
    *info = *tks_loaded_info(loaded);
    assert_int_equal(info->damaged, info->warning[0] != 0);
    assert_int_equal(info->file_bytes, size);
    tks_loaded_free(loaded);
    return (int64_t)info->cuts;
}

static int64_t cuts_within(const struct scene *scene, uint64_t size)
{
    int64_t cuts = 0;
    while (cuts < CUTS && scene->ends[cuts] <= size)
        cuts++;
    return cuts;
}

static void blank_mark(struct batches *batches)
{
    memset(batches->bytes + FORMAT_SECTOR, 0, FORMAT_SECTOR);
}

static void move_mark(struct batches *batches, uint64_t synced)
{
    struct format_mark mark;
    memcpy(&mark, batches->bytes + FORMAT_SECTOR, sizeof(mark));
    mark.synced = synced;
    memcpy(batches->bytes + FORMAT_SECTOR, &mark, sizeof(mark));
    batches_seal(batches);
}

static void copy_good(const struct scene *scene, struct batches *batches)
{
    batches_take(batches, scene->good.bytes, scene->good.size);
}

/* ---- Cut off ------------------------------------------------------------------------------- */

static void truncate_everywhere(struct scene *scene, uint64_t synced)
{
    struct batches batches;
    struct tks_checkpoint_info info;
    copy_good(scene, &batches);
    move_mark(&batches, synced);
    for (uint64_t size = 0; size <= batches.size; size += STEP) {
        int64_t expected = cuts_within(scene, size), got = load(scene, batches.bytes, size, &info);
        if (!expected) {
            assert_int_equal(got, TKS_CORRUPT);
            continue;
        }
        assert_int_equal(got, expected);
        assert_int_equal(info.damaged, size < synced);
        assert_int_equal(info.torn_bytes, size - scene->ends[expected - 1]);
    }
    batches_free(&batches);
}

static void a_torn_tail_loads_without_complaint(void **state)
{
    struct scene *scene = *state;
    truncate_everywhere(scene, scene->ends[0]);
}

static void a_cut_off_file_that_was_synced_is_damaged(void **state)
{
    struct scene *scene = *state;
    truncate_everywhere(scene, scene->ends[CUTS - 1]);
}

/* Garbage, or batches of the cut in any order, after the last cut. */
static void a_torn_tail_may_be_anything(void **state)
{
    struct scene *scene = *state;
    struct tks_checkpoint_info info;
    uint64_t from = scene->ends[CUTS - 2], to = scene->ends[CUTS - 1];
    for (unsigned round = 0; round < 2000; round++) {
        struct batches batches;
        copy_good(scene, &batches);
        move_mark(&batches, from);
        /* Sectors of the last cut that never reached the disk; of its COMMIT batch at least one. */
        uint64_t commit = batches.at[batches.count - 1];
        for (uint64_t at = from; at < to; at += 64)
            if (random_below(&scene->random, 3) == 0 || at / 64 == (commit + 8) / 64)
                for (uint64_t i = at; i < at + 64 && i < to; i++)
                    batches.bytes[i] = round % 2 ? 0 : (unsigned char)random_next(&scene->random);
        memset(batches.bytes + commit, 0xaa, 48);
        assert_int_equal(load(scene, batches.bytes, batches.size, &info), CUTS - 1);
        assert_false(info.damaged);
        batches_free(&batches);
    }
}

/* ---- Damaged ------------------------------------------------------------------------------- */

/* @p first: the first byte that was changed. The mark is intact and covers the file. */
static void check_damage(struct scene *scene, const struct batches *batches, uint64_t first)
{
    struct tks_checkpoint_info info;
    int64_t got = load(scene, batches->bytes, batches->size, &info);
    if (got < 0) {
        assert_true(first < scene->ends[0]);
        return;
    }
    assert_true(got >= cuts_within(scene, first));
    if (got < CUTS) {
        assert_true(info.damaged);
        assert_true(info.versions_uncertain || info.highest_version >= info.cuts);
        const struct state *last = &scene->world.history[CUTS - 1];
        for (unsigned i = 0; i < WORLD_ENTRIES && !info.versions_uncertain; i++)
            assert_true(info.highest_version >= last->version[i]);
    }
}

static void flipped_bits_are_found(void **state)
{
    struct scene *scene = *state;
    struct batches batches;
    copy_good(scene, &batches);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t at = random_below(&scene->random, batches.size);
        if (round % 4 == 0)
            at = random_below(&scene->random, 2048);
        unsigned char bit = (unsigned char)(1u << random_below(&scene->random, 8));
        batches.bytes[at] ^= bit;
        check_damage(scene, &batches, at);
        batches.bytes[at] ^= bit;
    }
    batches_free(&batches);
}

static void a_lost_cut_is_reported_without_the_mark_too(void **state)
{
    struct scene *scene = *state;
    struct batches batches;
    struct tks_checkpoint_info info;
    copy_good(scene, &batches);
    blank_mark(&batches);
    /* Any byte before the last batch with COMMIT: what follows shows that it was synced. */
    for (uint64_t at = scene->ends[0]; at < batches.at[batches.count - 1]; at += STEP * 3) {
        batches.bytes[at] ^= 4;
        int64_t got = load(scene, batches.bytes, batches.size, &info);
        assert_int_equal(got, cuts_within(scene, at));
        assert_true(info.damaged);
        assert_false(info.versions_uncertain);
        assert_int_equal(info.highest_version >= 1000, 1);
        batches.bytes[at] ^= 4;
    }
    batches_free(&batches);
}

static void splice_once(struct scene *scene, struct batches *batches, uint64_t *first)
{
    unsigned a = (unsigned)random_below(&scene->random, batches->count);
    unsigned b = (unsigned)random_below(&scene->random, scene->good.count);
    unsigned c = (unsigned)random_below(&scene->random, scene->other.count);
    const struct batches *from = random_below(&scene->random, 2) ? &scene->good : &scene->other;
    unsigned source = from == &scene->good ? b : c;
    uint64_t at = batches->at[a], len = batches->at[a + 1] - at;
    switch (random_below(&scene->random, 6)) {
    case 0: /* a batch twice, or one of another file */
        batches_splice(batches, at, 0, from->bytes + from->at[source],
                       from->at[source + 1] - from->at[source]);
        break;
    case 1: /* instead */
        batches_splice(batches, at, len, from->bytes + from->at[source],
                       from->at[source + 1] - from->at[source]);
        break;
    case 2: /* missing */
        batches_splice(batches, at, len, NULL, 0);
        break;
    case 3: /* bytes inserted */
        at += random_below(&scene->random, len);
        batches_splice(batches, at, 0, scene->good.bytes + 1000,
                       1 + random_below(&scene->random, 64));
        break;
    case 4: /* bytes missing */
        at += random_below(&scene->random, len);
        batches_splice(batches, at, 1, NULL, 0);
        break;
    default: /* a sector of zeros, or of somewhere else */
        at = at / 512 * 512;
        at = at < 1024 ? 1024 : at;
        for (uint64_t i = at; i < at + 512 && i < batches->size; i++)
            batches->bytes[i] = b % 2 ? 0 : scene->good.bytes[i - 512];
    }
    if (at < *first)
        *first = at;
}

static void spliced_batches_are_found(void **state)
{
    struct scene *scene = *state;
    for (unsigned round = 0; round < ROUNDS / 4; round++) {
        struct batches batches;
        uint64_t first = UINT64_MAX;
        copy_good(scene, &batches);
        splice_once(scene, &batches, &first);
        check_damage(scene, &batches, first);
        batches_free(&batches);
    }
}

static void swapped_batches_are_found(void **state)
{
    struct scene *scene = *state;
    const struct batches *good = &scene->good;
    for (unsigned a = 0; a + 1 < good->count; a++) {
        struct batches batches;
        uint64_t at = good->at[a], middle = good->at[a + 1], end = good->at[a + 2];
        copy_good(scene, &batches);
        memcpy(batches.bytes + at, good->bytes + middle, end - middle);
        memcpy(batches.bytes + at + (end - middle), good->bytes + at, middle - at);
        check_damage(scene, &batches, at);
        batches_free(&batches);
    }
}

/* A batch with the right header, number and cut: only the link tells that it is not of this file.
 */
static void a_batch_of_a_twin_fits_nowhere(void **state)
{
    struct scene *scene = *state;
    const struct batches *twin = &scene->twin;
    struct tks_checkpoint_info info;
    assert_memory_equal(twin->bytes, scene->good.bytes, FORMAT_SECTOR);
    /* The image's own batches aside: without it nothing loads. */
    unsigned i = 0;
    while (scene->good.at[i] < scene->ends[0])
        i++;
    for (; i < scene->good.count && i < twin->count; i++) {
        struct batches batches;
        uint64_t at = scene->good.at[i];
        copy_good(scene, &batches);
        batches_splice(&batches, at, batches.size - at, twin->bytes + twin->at[i],
                       twin->size - twin->at[i]);
        assert_int_equal(load(scene, batches.bytes, batches.size, &info), cuts_within(scene, at));
        assert_true(info.damaged);
        batches_free(&batches);
    }
}

/* Every batch of another generation's file, under the header of this one and the other way round.
 */
static void a_header_of_another_file_fits_nothing(void **state)
{
    struct scene *scene = *state;
    struct batches batches;
    struct tks_checkpoint_info info;
    copy_good(scene, &batches);
    memcpy(batches.bytes, scene->other.bytes, FORMAT_SECTOR);
    assert_int_equal(load(scene, batches.bytes, batches.size, &info), TKS_CORRUPT);
    batches_free(&batches);
}

/* ---- Versions and sizes -------------------------------------------------------------------- */

static void later_formats_are_read_or_refused(void **state)
{
    struct scene *scene = *state;
    struct tks_checkpoint_info info;
    for (uint32_t reader = 1; reader <= 2; reader++) {
        struct batches batches;
        struct format_header header;
        copy_good(scene, &batches);
        memcpy(&header, batches.bytes, sizeof(header));
        header.version = 9;
        header.reader = reader;
        memcpy(batches.bytes, &header, sizeof(header));
        batches_seal(&batches);
        int64_t got = load(scene, batches.bytes, batches.size, &info);
        assert_int_equal(got, reader == 1 ? CUTS : TKS_MISMATCH);
        if (reader == 1)
            assert_int_equal(info.format_version, 9);
        else
            assert_non_null(strstr(tks_last_error(), "format 9"));
        batches_free(&batches);
    }
}

/* What a later format adds for those who know it. */
static void optional_records_and_flags_are_passed_over(void **state)
{
    struct scene *scene = *state;
    struct tks_checkpoint_info info;
    struct batches batches;
    struct {
        struct format_optional head;
        uint64_t anything;
    } extra = {{.type = 200, .bytes = sizeof(extra)}, 42};
    copy_good(scene, &batches);
    for (unsigned i = 0; i < scene->good.count; i++) {
        struct format_batch batch;
        uint64_t at = batches.at[i];
        memcpy(&batch, batches.bytes + at, sizeof(batch));
        batch.payload += (uint32_t)sizeof(extra);
        batch.records++;
        batch.flags |= 0x10000;
        memcpy(batches.bytes + at, &batch, sizeof(batch));
        batches_splice(&batches, batches.at[i + 1], 0, &extra, sizeof(extra));
        batches_seal(&batches);
    }
    assert_int_equal(load(scene, batches.bytes, batches.size, &info), CUTS);
    assert_false(info.damaged);
    batches_free(&batches);
}

static void what_is_no_checkpoint_is_refused(void **state)
{
    struct scene *scene = *state;
    struct tks_checkpoint_info info;
    unsigned char zeros[4096] = {0};
    assert_int_equal(load(scene, "", 0, &info), TKS_CORRUPT);
    assert_int_equal(load(scene, "x", 1, &info), TKS_CORRUPT);
    assert_int_equal(load(scene, zeros, sizeof(zeros), &info), TKS_CORRUPT);
    assert_non_null(strstr(tks_last_error(), WORLD_PATH));
}

/* Every 8 bytes look like the head of a large batch: the search must not hash them all. */
static void a_tail_full_of_heads_ends(void **state)
{
    struct scene *scene = *state;
    struct tks_checkpoint_info info;
    struct batches batches;
    const uint64_t tail = 16 << 20;
    unsigned char *heads = calloc(1, tail);
    assert_non_null(heads);
    for (uint64_t at = 0; at + 48 <= tail; at += 48) {
        struct format_batch batch = {
            .magic = FORMAT_BATCH_MAGIC, .payload = 1 << 20, .cut = CUTS + 1};
        memcpy(heads + at, &batch, sizeof(batch));
    }
    copy_good(scene, &batches);
    batches_splice(&batches, batches.size, 0, heads, tail);
    assert_int_equal(load(scene, batches.bytes, batches.size, &info), CUTS);
    assert_true(info.damaged);
    batches_free(&batches);
    free(heads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torn_tail_loads_without_complaint),
        cmocka_unit_test(a_cut_off_file_that_was_synced_is_damaged),
        cmocka_unit_test(a_torn_tail_may_be_anything),
        cmocka_unit_test(flipped_bits_are_found),
        cmocka_unit_test(a_lost_cut_is_reported_without_the_mark_too),
        cmocka_unit_test(spliced_batches_are_found),
        cmocka_unit_test(swapped_batches_are_found),
        cmocka_unit_test(a_batch_of_a_twin_fits_nowhere),
        cmocka_unit_test(a_header_of_another_file_fits_nothing),
        cmocka_unit_test(later_formats_are_read_or_refused),
        cmocka_unit_test(optional_records_and_flags_are_passed_over),
        cmocka_unit_test(what_is_no_checkpoint_is_refused),
        cmocka_unit_test(a_tail_full_of_heads_ends),
    };
    return cmocka_run_group_tests_name("damage", tests, set_up, tear_down);
}
