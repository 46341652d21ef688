/* SPDX-License-Identifier: MIT */
/*
 * A fuzzer of the loader: valid files, changed. In half of the cases all checksums are made right
 * afterwards, so that what lies behind them is reached. Whatever comes, loading ends, with a status
 * or with entries that are what a store may hold, each once.
 *
 * usage: fuzz [--seconds N] [--seed N]
 */
#include "batches.h"
#include "checkpoint/format.h"
#include "disk.h"
#include "support.h"

#include "base/hash.h"
#include "base/text.h"

#include <time.h>
#include <unistd.h>

#define FILES 6
#define HANG_SECONDS 30

static uint64_t seed, round_number;
static uint64_t random_state;
static uint64_t statuses[32], damaged;

static uint64_t below(uint64_t limit)
{
    return random_below(&random_state, limit);
}

static void fail_round(const char *what)
{
    fprintf(stderr, "FAILED: fuzz --seed %llu, round %llu: %s: %s\n", (unsigned long long)seed,
            (unsigned long long)round_number, what, tks_last_error());
    exit(1);
}

static void make_file(struct disk *disk, unsigned number, struct batches *batches)
{
    struct world world;
    struct tks_writer *writer;
    uint64_t size;
    world_init(&world, seed + number);
    world.value_max = number % 2 ? 40 : 3000;
    if (tks_writer_open(&disk->ops, WORLD_PATH, &test_identity, always_host, NULL, &writer))
        fail_round("writing");
    for (unsigned i = 0; i <= number * 2; i++) {
        world_change(&world, i ? 4 : 20 + number * 40);
        if (world_checkpoint(&world, writer, i == 0))
            fail_round("writing");
    }
    tks_writer_close(writer);
    const unsigned char *bytes = disk_bytes(disk, WORLD_PATH, &size);
    batches_take(batches, bytes, size);
    world_free(&world);
}

/* ---- Changes ------------------------------------------------------------------------------- */

/* Small numbers, large ones, and neighbours of what is there. */
static uint64_t interesting(uint64_t now)
{
    static const uint64_t numbers[] = {0,          1,          7,          8,     24,
                                       255,        256,        0x7fffffff, 1,     0x80000000,
                                       0xfffffff8, 0xffffffff, 1u << 20,   65535, UINT64_MAX};
    switch (below(4)) {
    case 0:
        return now + below(17) - 8;
    case 1:
        return now ^ 1ull << below(64);
    case 2:
        return random_next(&random_state);
    default:
        return numbers[below(sizeof(numbers) / sizeof(numbers[0]))];
    }
}

static void change_number(struct batches *batches, uint64_t at)
{
    static const unsigned sizes[] = {1, 2, 4, 8};
    unsigned size = sizes[below(4)];
    uint64_t number = 0;
    if (at + size > batches->size)
        return;
    memcpy(&number, batches->bytes + at, size);
    number = interesting(number);
    memcpy(batches->bytes + at, &number, size);
}

/* Mostly where structures are. */
static uint64_t pick(const struct batches *batches)
{
    unsigned batch = batches->count ? (unsigned)below(batches->count) : 0;
    switch (below(4)) {
    case 0:
        return below(1024);
    case 1:
        return batches->at[batch] + below(48);
    case 2: /* 8-byte places: heads of records among them */
        return batches->at[batch] + 48 + 8 * below(40) + below(8);
    default:
        return below(batches->size);
    }
}

static void change_once(struct batches *batches, const struct batches *other)
{
    uint64_t at = pick(batches) % (batches->size ? batches->size : 1), left = batches->size - at;
    unsigned from = (unsigned)below(other->count);
    switch (below(10)) {
    case 0: /* a batch of another file */
        batches_splice(batches, batches->at[below(batches->count + 1)], 0,
                       other->bytes + other->at[from], other->at[from + 1] - other->at[from]);
        break;
    case 1:
        batches_splice(batches, at, left ? below(left < 64 ? left : 64) : 0, NULL, 0);
        break;
    case 2:
        batches_splice(batches, at, 0, other->bytes + below(other->size - 64), 8 * below(9));
        break;
    case 3:
        batches_splice(batches, at, left, NULL, 0);
        break;
    default:
        change_number(batches, at);
    }
}

/* ---- Loading ------------------------------------------------------------------------------- */

struct visited {
    uint64_t entries, last_hash;
    const char *plugin, *key;
    size_t key_len;
};

static int check_record(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct visited *visited = arg;
    if (!tks_format_entry_valid(record) || record->key[record->key_len] ||
        !tks_name_valid(record->plugin, record->plugin_len) || record->plugin[record->plugin_len] ||
        hash != hash_of(record->key, record->key_len))
        fail_round("an entry that may not be");
    if (visited->plugin == record->plugin &&
        (hash < visited->last_hash ||
         (hash == visited->last_hash && record->key_len == visited->key_len &&
          !memcmp(record->key, visited->key, visited->key_len))))
        fail_round("an entry twice, or out of order");
    *visited =
        (struct visited){visited->entries + 1, hash, record->plugin, record->key, record->key_len};
    return 0;
}

static void load(struct disk *disk, const struct batches *batches)
{
    struct visited visited = {0};
    struct tks_loaded *loaded;
    disk_put(disk, WORLD_PATH, batches->bytes, batches->size);
    int status = tks_checkpoint_load(&disk->ops, WORLD_PATH, &loaded);
    if (status != TKS_OK && status != TKS_CORRUPT && status != TKS_MISMATCH)
        fail_round("a status that may not be");
    statuses[-status]++;
    if (status)
        return;
    const struct tks_checkpoint_info *info = tks_loaded_info(loaded);
    damaged += info->damaged;
    if (tks_loaded_each(loaded, check_record, &visited) || visited.entries != info->entries)
        fail_round("another number of entries");
    if (info->damaged != (info->warning[0] != 0) || info->torn_bytes > info->file_bytes ||
        !info->cuts)
        fail_round("an impossible summary");
    tks_loaded_free(loaded);
}

static void run_round(struct disk *disk, const struct batches *files)
{
    struct batches batches;
    const struct batches *from = &files[below(FILES)];
    alarm(HANG_SECONDS);
    batches_take(&batches, from->bytes, from->size);
    for (uint64_t changes = 1 + below(4); changes; changes--)
        if (batches.size > 2048)
            change_once(&batches, &files[below(FILES)]);
    if (below(2))
        batches_seal(&batches);
    load(disk, &batches);
    batches_free(&batches);
}

int main(int argc, char **argv)
{
    static struct batches files[FILES];
    uint64_t seconds = 60;
    seed = (uint64_t)time(NULL);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seconds"))
            seconds = strtoull(argv[i + 1], NULL, 10);
        else if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 10);
    }
    random_state = seed;
    struct disk *disk = disk_new(seed);
    for (unsigned i = 0; i < FILES; i++)
        make_file(disk, i, &files[i]);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    for (time_t end = time(NULL) + (time_t)seconds; time(NULL) < end;)
        for (unsigned i = 0; i < 50; i++, round_number++)
            run_round(disk, files);
    for (unsigned i = 0; i < FILES; i++)
        batches_free(&files[i]);
    disk_free(disk);
    printf("%llu rounds: %llu loaded (%llu of them damaged), %llu corrupt, %llu mismatch\n",
           (unsigned long long)round_number, (unsigned long long)statuses[0],
           (unsigned long long)damaged, (unsigned long long)statuses[-TKS_CORRUPT],
           (unsigned long long)statuses[-TKS_MISMATCH]);
    return 0;
}
