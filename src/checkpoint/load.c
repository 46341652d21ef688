/* SPDX-License-Identifier: MIT */
/*
 * Reading a file: header, batches in their chain, and, where the chain ends, whether that is the
 * torn tail of a crash or damage.
 *
 * A cut was synced before the next one was begun, and everything before a batch with COMMIT before
 * that batch was written (writer.c). So after the last cut that counts, a crash can leave:
 * nothing, garbage, and batches without COMMIT of the very next cut, in any order. It is damage if
 * the synced mark lies behind it, if anything else is found in it that is a valid batch of
 * this file, or if a batch with a valid checksum says what cannot be.
 *
 * The file may be written meanwhile. The mark is read first, then the size, then the batches: what
 * the mark calls synced was in the file before the mark was, so it is in what is read. What cannot
 * be put in order is that a cut is given up and another one written in its place while we are in
 * the middle of it, or that the mark is. So damage counts if it is there when the file is read
 * again and has not changed.
 */
#include "base/error.h"
#include "checkpoint/file.h"
#include "checkpoint/loaded.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Of a file that looks damaged, and another one each time. */
#define READ_TRIES 4

/* Where the scan stands. */
struct scan {
    struct tks_loaded *loaded;
    const char *path;
    uint64_t at, sequence, previous;
    struct parser parser;
    bool in_cut;
    const char *why; /* the batch at `at` has a valid checksum and cannot be */
    /* As of the last complete cut. */
    uint64_t cuts, end;
    size_t ranges, items;
    struct format_commit commit;
};

/* ---- Batches ------------------------------------------------------------------------------- */

/* A batch at @p at whose lengths and checksum are right, whatever its place in the chain. */
static bool batch_at(const struct tks_loaded *loaded, uint64_t at, struct format_batch *batch)
{
    if (loaded->size - at < sizeof(*batch))
        return false;
    memcpy(batch, loaded->bytes + at, sizeof(*batch));
    if (batch->magic != FORMAT_BATCH_MAGIC || batch->payload % 8 ||
        batch->payload > loaded->size - at - sizeof(*batch))
        return false;
    return batch->checksum ==
           format_batch_checksum(batch, loaded->bytes + at + sizeof(*batch), loaded->salt);
}

/* Whether a batch is the one that the chain asks for. */
static bool chained(const struct scan *scan, const struct format_batch *batch)
{
    bool first = batch->flags & BATCH_FIRST, full = batch->flags & BATCH_FULL;
    return batch->sequence == scan->sequence && batch->previous == scan->previous &&
           batch->cut == scan->cuts + 1 && first == !scan->in_cut && full == (batch->cut == 1) &&
           !(batch->flags & FORMAT_CRITICAL_FLAGS & ~FORMAT_KNOWN_FLAGS);
}

static void end_of_cut(struct scan *scan)
{
    scan->in_cut = false;
    scan->cuts++;
    scan->end = scan->at;
    scan->ranges = scan->loaded->ranges.count;
    scan->items = scan->loaded->items.count;
    scan->commit = scan->parser.commit;
    if (scan->cuts == 1)
        scan->loaded->info.image_bytes = scan->at;
}

/* TKS_OK: taken. TKS_NOT_FOUND: the chain ends here. */
static int take_batch(struct scan *scan)
{
    struct format_batch batch;
    if (!batch_at(scan->loaded, scan->at, &batch) || !chained(scan, &batch))
        return TKS_NOT_FOUND;
    if (!scan->in_cut)
        scan->parser =
            (struct parser){.loaded = scan->loaded, .cut_from = scan->at, .full = batch.cut == 1};
    int status = tks_parse_batch(&scan->parser, &batch, scan->at + sizeof(batch), &scan->why);
    if (status)
        return status == TKS_CORRUPT ? TKS_NOT_FOUND : status;
    scan->why = NULL;
    scan->in_cut = true;
    scan->at += sizeof(batch) + batch.payload;
    scan->sequence++;
    scan->previous = batch.checksum;
    if (batch.flags & BATCH_COMMIT)
        end_of_cut(scan);
    return TKS_OK;
}

static int take_batches(struct scan *scan)
{
    int status = TKS_OK;
    while (!status && scan->at < scan->loaded->size)
        status = take_batch(scan);
    if (status == TKS_NO_SPACE)
        return tks_fail(TKS_NO_SPACE, "no memory to load checkpoint \"%s\"", scan->path);
    return TKS_OK;
}

/* ---- The tail ------------------------------------------------------------------------------ */

static uint64_t synced_mark(const struct tks_loaded *loaded)
{
    const struct format_mark *mark = &loaded->mark;
    bool good = !memcmp(mark->magic, FORMAT_MARK_MAGIC, sizeof(mark->magic)) &&
                mark->checksum == format_mark_checksum(mark, loaded->salt);
    return good ? mark->synced : 0;
}

static bool left_by_crash(const struct scan *scan, const struct format_batch *batch)
{
    return batch->cut == scan->cuts + 1 && !(batch->flags & BATCH_COMMIT);
}

struct search {
    const struct tks_loaded *loaded;
    uint64_t at, budget;
    bool given_up;
};

/*
 * The next batch whose checksum is right; `at` is then behind it. A file can be made in which every
 * 8 bytes look like the head of a large batch, so what may be hashed is limited.
 */
static bool find_batch(struct search *search, struct format_batch *batch)
{
    const struct tks_loaded *loaded = search->loaded;
    for (; loaded->size - search->at >= sizeof(*batch); search->at += 8) {
        uint64_t left = loaded->size - search->at;
        memcpy(batch, loaded->bytes + search->at, sizeof(*batch));
        uint64_t bytes = sizeof(*batch) + batch->payload;
        if (batch->magic != FORMAT_BATCH_MAGIC || bytes > left)
            continue;
        if (bytes > search->budget) {
            search->given_up = true;
            return false;
        }
        search->budget -= bytes;
        if (batch_at(loaded, search->at, batch)) {
            search->at += bytes;
            return true;
        }
    }
    return false;
}

/*
 * Look through what comes after the chain. The highest version is known although cuts were lost if
 * the file ends with the COMMIT of a later one.
 */
static void search_tail(const struct scan *scan)
{
    struct tks_loaded *loaded = scan->loaded;
    struct tks_checkpoint_info *info = &loaded->info;
    struct search search = {loaded, scan->at, 4 * loaded->size, false};
    struct format_batch batch;
    bool end_known = false;
    while (find_batch(&search, &batch)) {
        uint64_t version = tks_parse_versions(loaded, &batch, search.at - batch.payload);
        if (version > info->highest_version)
            info->highest_version = version;
        if (!left_by_crash(scan, &batch))
            info->damaged = true;
        end_known = search.at == loaded->size && batch.flags & BATCH_COMMIT &&
                    batch.cut > scan->cuts && synced_mark(loaded) <= loaded->size;
    }
    if (search.given_up)
        info->damaged = true;
    info->versions_uncertain = info->damaged && !end_known;
}

static int judge_tail(struct scan *scan)
{
    struct tks_loaded *loaded = scan->loaded;
    struct tks_checkpoint_info *info = &loaded->info;
    info->damaged = scan->why || synced_mark(loaded) > scan->end;
    search_tail(scan);
    if (!scan->cuts)
        return tks_fail(TKS_CORRUPT,
                        "checkpoint \"%s\" is damaged at byte %llu, in its full image: %s",
                        scan->path, (unsigned long long)scan->at,
                        scan->why ? scan->why : "a batch is missing or its checksum is wrong");
    if (info->damaged)
        snprintf(
            info->warning, sizeof(info->warning),
            "checkpoint \"%.100s\" is damaged at byte %llu: what was saved after cut %llu is lost",
            scan->path, (unsigned long long)scan->at, (unsigned long long)scan->cuts);
    return TKS_OK;
}

/* ---- The header ---------------------------------------------------------------------------- */

static int check_header(struct tks_loaded *loaded, const char *path)
{
    struct format_header header;
    if (loaded->size < FORMAT_BATCHES)
        return tks_fail(TKS_CORRUPT, "checkpoint \"%s\" is damaged: it has only %llu bytes", path,
                        (unsigned long long)loaded->size);
    memcpy(&header, loaded->bytes, sizeof(header));
    if (memcmp(header.magic, FORMAT_FILE_MAGIC, sizeof(header.magic)))
        return tks_fail(TKS_CORRUPT, "\"%s\" is not a checkpoint, or its beginning is damaged",
                        path);
    if (header.checksum != format_header_checksum(&header))
        return tks_fail(TKS_CORRUPT, "checkpoint \"%s\" is damaged: the header's checksum is wrong",
                        path);
    if (!header.version || header.reader > FORMAT_VERSION)
        return tks_fail(TKS_MISMATCH,
                        "checkpoint \"%s\" has format %u and needs a reader of format %u; this one "
                        "reads up to %u",
                        path, header.version, header.reader, FORMAT_VERSION);
    loaded->salt = header.checksum;
    loaded->info.format_version = header.version;
    memcpy(loaded->info.uuid, header.uuid, sizeof(header.uuid));
    loaded->info.generation = header.generation;
    loaded->info.first_version = header.first_version;
    loaded->info.created_ms = header.created_ms;
    return TKS_OK;
}

/* ---- The file ------------------------------------------------------------------------------ */

/* Large pages spare most of the faults of a large buffer; whether they are there does not matter.
 */
static unsigned char *allocate_bytes(uint64_t bytes)
{
    const size_t large = (size_t)2 << 20;
    void *memory;
    if (bytes < large)
        return malloc(bytes ? bytes : 1);
    if (bytes > SIZE_MAX / 2 || posix_memalign(&memory, large, bytes))
        return NULL;
    madvise(memory, bytes & ~(large - 1), MADV_HUGEPAGE);
    return memory;
}

static int look_at(const struct tks_file_ops *ops, int file, const char *path,
                   struct tks_file_stat *stat)
{
    int error = tks_file_stat(ops, file, stat);
    return error ? tks_file_fail(error, "look at", path) : tks_file_check_kind(path, stat);
}

static int read_mark(const struct tks_file_ops *ops, int file, const char *path,
                     struct tks_loaded *loaded)
{
    int64_t got = tks_file_read(ops, file, &loaded->mark, sizeof(loaded->mark), FORMAT_SECTOR);
    if (got < 0)
        return tks_file_fail((int)got, "read", path);
    if (got < (int64_t)sizeof(loaded->mark))
        memset(&loaded->mark, 0, sizeof(loaded->mark));
    return TKS_OK;
}

static int read_bytes(const struct tks_file_ops *ops, int file, const char *path,
                      struct tks_loaded *loaded)
{
    struct tks_file_stat stat;
    int status = look_at(ops, file, path, &stat);
    if (!status)
        status = read_mark(ops, file, path, loaded);
    if (!status)
        status = look_at(ops, file, path, &stat);
    if (status)
        return status;
    loaded->bytes = allocate_bytes(stat.bytes);
    if (!loaded->bytes)
        return tks_fail(TKS_NO_SPACE, "no memory to load the %llu bytes of checkpoint \"%s\"",
                        (unsigned long long)stat.bytes, path);
    int64_t got = tks_file_read(ops, file, loaded->bytes, stat.bytes, 0);
    if (got < 0)
        return tks_file_fail((int)got, "read", path);
    loaded->size = loaded->info.file_bytes = (uint64_t)got;
    return TKS_OK;
}

/* Not to be held up by a pipe. */
static int open_file(const struct tks_file_ops *ops, const char *path, int *file)
{
    *file = tks_file_open(ops, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (*file >= 0)
        return TKS_OK;
    if (*file == -ELOOP)
        return tks_fail(TKS_DENIED, "checkpoint \"%s\" is a symbolic link: refused", path);
    int status = tks_fail_errno(-*file, "cannot open checkpoint \"%s\"", path);
    return status == TKS_NO_SPACE ? TKS_IO : status;
}

static int read_file(const struct tks_file_ops *ops, const char *path, struct tks_loaded *loaded)
{
    int file;
    int status = open_file(ops, path, &file);
    if (status)
        return status;
    status = read_bytes(ops, file, path, loaded);
    ops->close(ops->context, file);
    return status;
}

/* ---- All of it ----------------------------------------------------------------------------- */

static void keep_last_cut(const struct scan *scan)
{
    struct tks_loaded *loaded = scan->loaded;
    loaded->ranges.count = scan->ranges;
    loaded->items.count = scan->items;
    loaded->info.cuts = scan->cuts;
    loaded->info.wall_ms = scan->commit.wall_ms;
    loaded->info.stamp = scan->commit.stamp;
    loaded->info.torn_bytes = loaded->size - scan->end;
}

static int scan_file(struct tks_loaded *loaded, const char *path)
{
    struct scan scan = {.loaded = loaded,
                        .path = path,
                        .at = FORMAT_BATCHES,
                        .sequence = 1,
                        .previous = loaded->salt};
    int status = take_batches(&scan);
    if (!status)
        status = judge_tail(&scan);
    if (status)
        return status;
    keep_last_cut(&scan);
    return tks_live_prepare(loaded, path);
}

/* What was read comes back with TKS_CORRUPT, too. */
static int load_once(const struct tks_file_ops *ops, const char *path, struct tks_loaded **result)
{
    struct tks_loaded *loaded = *result = calloc(1, sizeof(*loaded));
    if (!loaded)
        return tks_fail(TKS_NO_SPACE, "no memory to load checkpoint \"%s\"", path);
    /* An address that whoever made the file did not know. */
    loaded->table_seed = (uint64_t)(uintptr_t)loaded;
    int status = read_file(ops, path, loaded);
    if (!status)
        status = check_header(loaded, path);
    if (!status)
        status = scan_file(loaded, path);
    return status;
}

static uint64_t digest_of(const struct tks_loaded *loaded)
{
    return hash_of(loaded->bytes, loaded->size) ^ hash_of(&loaded->mark, sizeof(loaded->mark));
}

int tks_checkpoint_load(const struct tks_file_ops *ops, const char *path,
                        struct tks_loaded **result)
{
    *result = NULL;
    if (!FORMAT_HOST_CAN)
        return tks_fail(TKS_UNSUPPORTED, "checkpoints need a little-endian machine");
    struct tks_loaded *loaded = NULL;
    uint64_t before = 0;
    int status = TKS_CORRUPT;
    for (int i = 0; i < READ_TRIES; i++) {
        tks_loaded_free(loaded);
        status = load_once(ops, path, &loaded);
        if (status ? status != TKS_CORRUPT : !loaded->info.damaged)
            break;
        const uint64_t digest = digest_of(loaded);
        if (i && digest == before)
            break;
        before = digest;
    }
    if (status) {
        tks_loaded_free(loaded);
        return status;
    }
    *result = loaded;
    return TKS_OK;
}

const struct tks_checkpoint_info *tks_loaded_info(const struct tks_loaded *loaded)
{
    return &loaded->info;
}

void tks_loaded_free(struct tks_loaded *loaded)
{
    if (!loaded)
        return;
    free(loaded->plugins.items);
    free(loaded->runs.items);
    free(loaded->ranges.items);
    free(loaded->items.items);
    free(loaded->steps.items);
    free(loaded->table);
    free(loaded->bytes);
    free(loaded);
}
