/* SPDX-License-Identifier: MIT */
#include "store/restore.h"

#include "base/clock.h"
#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "recovery/recover.h"
#include "table/bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Four heads per key, two, one. */
#define THRIFT_MOST 2u
#define CHANGED_MOST 3u
/* As many versions are left to give out. */
#define VERSIONS_LEFT (1ull << 60)

struct filling {
    struct tks_segment *segment;
    struct tks_restore *restore;
    struct tks_loaded *loaded;
    int64_t now_ms;   /* wall clock of the restore */
    int64_t to_store; /* what makes a time of the wall clock one of the store clock */
    /* The plugin of the entry before, as the loader names it: plugins come together. */
    const char *plugin;
    size_t plugins, plugins_room; /* counted; then: where filling stands */
    struct tks_bulk_shape *shapes;
    uint64_t entries, bytes; /* that have not expired */
    struct tks_bulk_counter counter;
    struct tks_bulk bulk;
};

static bool has_expired(const struct filling *filling, const struct tks_record *record)
{
    return record->expires_at && record->expires_at <= filling->now_ms;
}

/* ---- Counting ------------------------------------------------------------------------------ */

static int keep_shape(struct filling *filling)
{
    if (!filling->counter.shape.keys)
        return TKS_OK;
    if (filling->plugins == filling->plugins_room) {
        size_t room = filling->plugins_room ? filling->plugins_room * 2 : 16;
        struct tks_bulk_shape *grown = realloc(filling->shapes, room * sizeof(*grown));
        if (!grown)
            return tks_fail(TKS_NO_SPACE, "no memory to restore checkpoint \"%s\"",
                            filling->restore->path);
        filling->shapes = grown;
        filling->plugins_room = room;
    }
    filling->shapes[filling->plugins++] = filling->counter.shape;
    filling->counter.shape = (struct tks_bulk_shape){0};
    return TKS_OK;
}

static int count_entry(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct filling *filling = arg;
    if (has_expired(filling, record))
        return TKS_OK;
    int status = record->plugin == filling->plugin ? TKS_OK : keep_shape(filling);
    filling->plugin = record->plugin;
    filling->entries++;
    filling->bytes += entry_bytes(record->key_len, record->value_len);
    tks_bulk_count(&filling->counter, hash);
    return status;
}

/* What cannot fit need not be tried. */
static int check_size(const struct filling *filling)
{
    const struct tks_segment *segment = filling->segment;
    if (filling->bytes <= segment->slab_count * SLAB_BYTES)
        return TKS_OK;
    return tks_fail(TKS_NO_SPACE,
                    "checkpoint \"%s\" does not fit: its %llu entries take more than %llu bytes, "
                    "and size= is %llu",
                    filling->restore->path, (unsigned long long)filling->entries,
                    (unsigned long long)filling->bytes, (unsigned long long)segment->size_bytes);
}

static int count_entries(struct filling *filling)
{
    int status = tks_loaded_each(filling->loaded, count_entry, filling);
    if (!status)
        status = keep_shape(filling);
    return status ? status : check_size(filling);
}

/* ---- Filling ------------------------------------------------------------------------------- */

static uint64_t deadline_of(const struct filling *filling, int64_t expires_at)
{
    int64_t deadline;
    if (!expires_at)
        return 0;
    return __builtin_add_overflow(expires_at, filling->to_store, &deadline) ? INT64_MAX
                                                                            : (uint64_t)deadline;
}

static int begin_plugin(struct filling *filling, const struct tks_record *record)
{
    int status = filling->plugin ? tks_bulk_end(&filling->bulk) : TKS_OK;
    filling->plugin = record->plugin;
    return status ? status
                  : tks_bulk_begin(&filling->bulk, record->plugin, record->plugin_len,
                                   &filling->shapes[filling->plugins++]);
}

static int fill_entry(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct filling *filling = arg;
    if (has_expired(filling, record))
        return TKS_OK;
    int status = record->plugin == filling->plugin ? TKS_OK : begin_plugin(filling, record);
    if (status)
        return status;
    const struct tks_name name = {record->key, record->key_len, hash};
    const struct tks_content content = {record->value, record->value_len, record->type,
                                        deadline_of(filling, record->expires_at)};
    return tks_bulk_add(&filling->bulk, &name, &content, record->version);
}

/* The sentence says what is full: the segment, or the machine. */
static int fail_full(struct filling *filling)
{
    char reason[256];
    snprintf(reason, sizeof(reason), "%s", tks_last_error());
    filling->restore->again = filling->restore->thrift < THRIFT_MOST;
    return tks_fail(TKS_NO_SPACE, "checkpoint \"%s\" of %llu entries is not restored: %s",
                    filling->restore->path, (unsigned long long)filling->entries, reason);
}

static int fill_entries(struct filling *filling)
{
    filling->bulk.thrift = filling->restore->thrift;
    filling->plugin = NULL;
    filling->plugins = 0;
    int status = tks_member_join(filling->segment, SLOT_VISITOR, &filling->bulk.member);
    if (status)
        return status;
    status = tks_loaded_each(filling->loaded, fill_entry, filling);
    if (!status && filling->plugin)
        status = tks_bulk_end(&filling->bulk);
    tks_member_leave(filling->bulk.member);
    return status == TKS_NO_SPACE ? fail_full(filling) : status;
}

/* ---- Versions ------------------------------------------------------------------------------ */

/* Before anything takes one. The header has the wall clock by now. */
static int raise_versions(struct filling *filling)
{
    const struct tks_checkpoint_info *info = tks_loaded_info(filling->loaded);
    const uint64_t margin = info->versions_uncertain ? UNCERTAIN_MARGIN : VERSION_MARGIN;
    uint64_t *next = &filling->segment->header->versions.next;
    if (info->highest_version > UINT64_MAX - VERSIONS_LEFT - margin)
        return tks_fail(TKS_CORRUPT,
                        "checkpoint \"%s\" speaks of version %llu: there are none left to give out",
                        filling->restore->path, (unsigned long long)info->highest_version);
    if (*next < info->highest_version + margin)
        *next = info->highest_version + margin;
    filling->segment->header->versions.first = info->first_version;
    return TKS_OK;
}

/* ---- The file ------------------------------------------------------------------------------ */

/* Whether PATH no longer is, or no longer holds, what was loaded (NULL: nothing, as there was no
 * file). @p file was opened before it was loaded: as long as it is open nothing else has its
 * inode's number. */
static bool file_changed(const struct tks_file_ops *ops, const char *path, int file,
                         const struct tks_loaded *loaded)
{
    struct tks_file_stat now, then;
    int error = ops->stat_path(ops->context, path, &now);
    if (!loaded)
        return !error;
    return error || file < 0 || ops->stat(ops->context, file, &then) || now.inode != then.inode ||
           now.device != then.device || now.bytes != tks_loaded_info(loaded)->file_bytes;
}

/* 0 or an errno. A name that exists is an earlier creator's, of the same file. */
static int link_as(const char *path, const char *other)
{
    return link(path, other) && errno != EEXIST ? errno : 0;
}

/* When the file was last written, ms: part of the other name, so that it gets one however often it
 * is opened. */
static long long written_ms(const struct filling *filling)
{
    struct stat file;
    if (stat(filling->restore->path, &file))
        return (long long)filling->now_ms;
    return (long long)file.st_mtim.tv_sec * 1000 + file.st_mtim.tv_nsec / 1000000;
}

/*
 * Keep a damaged file under another name. The folder is synced with the rename that gives PATH to
 * the next file, and not before.
 */
static void keep_evidence(const struct filling *filling, char *text, size_t room)
{
    char kept[PATH_MAX], reason[96];
    const long long written = written_ms(filling);
    int bytes = snprintf(kept, sizeof(kept), "%s.damaged-%lld", filling->restore->path, written);
    int error = bytes < PATH_MAX ? link_as(filling->restore->path, kept) : ENAMETOOLONG;
    if (!error)
        snprintf(text, room, "the file is kept with .damaged-%lld after its name", written);
    else
        snprintf(text, room, "the damaged file could not be kept: %s",
                 strerror_r(error, reason, sizeof(reason)));
}

static void describe(struct filling *filling)
{
    const struct tks_checkpoint_info *info = tks_loaded_info(filling->loaded);
    struct tks_restore *restore = filling->restore;
    struct header *header = filling->segment->header;
    header->restored_ms = (uint64_t)info->wall_ms;
    header->restored_entries = filling->entries;
    header->restored_damaged = info->damaged;
    memcpy(header->restored_from, info->uuid, sizeof(header->restored_from));
    restore->warning[0] = 0;
    if (!info->damaged)
        return;
    char kept[160];
    keep_evidence(filling, kept, sizeof(kept));
    int used = snprintf(restore->warning, sizeof(restore->warning), "%.200s", info->warning);
    snprintf(restore->warning + used, sizeof(restore->warning) - (size_t)used, "; %s", kept);
    snprintf(header->restored_text, sizeof(header->restored_text), "%.255s", restore->warning);
}

/* ---- All of it ----------------------------------------------------------------------------- */

static int fill_loaded(struct filling *filling)
{
    int status = raise_versions(filling);
    if (!status)
        status = count_entries(filling);
    return status ? status : fill_entries(filling);
}

static int fill(struct filling *filling, int file)
{
    const struct tks_file_ops *ops = &tks_file_system;
    struct tks_restore *restore = filling->restore;
    int status = tks_checkpoint_load(ops, restore->path, &filling->loaded);
    if (status != TKS_OK && status != TKS_NOT_FOUND)
        return status;
    if (!status)
        status = fill_loaded(filling);
    else
        status = TKS_OK;
    if (status)
        return status;
    /* Somebody who never stops changing it may have it changed: it was a state all the same. */
    if (restore->attempts < CHANGED_MOST &&
        file_changed(ops, restore->path, file, filling->loaded)) {
        restore->attempts++;
        restore->again = true;
        return tks_fail(TKS_BUSY, "checkpoint \"%s\" is being changed by others", restore->path);
    }
    if (filling->loaded)
        describe(filling);
    restore->filled = true;
    return TKS_OK;
}

int tks_restore_fill(struct tks_segment *segment, void *arg)
{
    const struct tks_file_ops *ops = &tks_file_system;
    struct tks_restore *restore = arg;
    struct filling *filling = calloc(1, sizeof(*filling));
    restore->again = restore->filled = false;
    if (!filling)
        return tks_fail(TKS_NO_SPACE, "no memory to restore checkpoint \"%s\"", restore->path);
    filling->segment = segment;
    filling->restore = restore;
    filling->now_ms = wall_ms();
    filling->to_store = sub_clamped(0, tks_segment_to_wall_ms(segment));
    int file = ops->open(ops->context, restore->path, O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
    int status = fill(filling, file);
    if (file >= 0)
        ops->close(ops->context, file);
    tks_loaded_free(filling->loaded);
    free(filling->shapes);
    free(filling);
    return status;
}

void tks_restore_tell(const struct tks_restore *restore)
{
    if (!restore->filled)
        return;
    if (restore->warning[0])
        tks_fail(TKS_OK, "%s", restore->warning);
    else
        expected_outcome(TKS_OK);
}
