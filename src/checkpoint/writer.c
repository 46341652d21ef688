/* SPDX-License-Identifier: MIT */
/*
 * Writing cuts. The steps F1..F7 and I1..I6, and why they are safe, are in checkpoint.h.
 *
 * Two files can be open: `own`, the one that this writer put at PATH and appends to, and, while a
 * full image is made, the temporary one of `cut`. A cut touches `own` only when it has succeeded.
 */
#include "checkpoint/checkpoint.h"

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/file.h"
#include "checkpoint/format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* Where the next batch goes and what it is chained to. */
struct chain {
    int file; /* -1: none */
    uint64_t bytes, sequence, cut, previous, salt;
};

struct cut {
    bool active, full;
    bool wrote; /* a batch was at least tried */
    struct chain chain;
    struct format_header header; /* full */
    struct tks_file_stat stat;   /* full: of the temporary file */
    uint64_t entries, highest_version;
    size_t plugin_len; /* 0: none yet */
    char plugin[TKS_NAME_MAX];
    bool in_range;
    uint64_t first, last;
    uint32_t records; /* in the buffer */
};

struct tks_writer {
    const struct tks_file_ops *ops;
    struct tks_checkpoint_identity identity;
    bool (*still_host)(void *arg);
    void *arg;
    char *path, *folder, *temporary;
    bool cleared;  /* F1 is done */
    bool replaced; /* for good: a generation does not come back */
    bool trusted;  /* `own` may be appended to */
    struct chain own;
    uint64_t device, inode, image_bytes;
    struct cut cut;
    char *buffer; /* a batch: its header, then `used` bytes of payload */
    size_t used, room;
};

/* ---- Ends ---------------------------------------------------------------------------------- */

static void close_file(const struct tks_writer *writer, int *file)
{
    if (*file >= 0)
        writer->ops->close(writer->ops->context, *file);
    *file = -1;
}

static void forget_own(struct tks_writer *writer)
{
    close_file(writer, &writer->own.file);
    writer->trusted = false;
    writer->own.bytes = writer->image_bytes = 0;
}

/* Room that one large value needed is not kept. */
static void shrink_buffer(struct tks_writer *writer)
{
    if (writer->room <= FORMAT_BATCH_PAYLOAD)
        return;
    char *smaller = realloc(writer->buffer, sizeof(struct format_batch) + FORMAT_BATCH_PAYLOAD);
    if (!smaller)
        return;
    writer->buffer = smaller;
    writer->room = FORMAT_BATCH_PAYLOAD;
}

static void end_cut(struct tks_writer *writer)
{
    writer->cut.active = false;
    writer->cut.chain.file = -1;
    shrink_buffer(writer);
}

/* Undo what the cut did to files, except when another host may be at work: nothing but our own
 * name. */
static void undo_cut(struct tks_writer *writer)
{
    struct cut *cut = &writer->cut;
    if (!cut->active)
        return;
    if (cut->full) {
        close_file(writer, &cut->chain.file);
        tks_file_unlink(writer->ops, writer->temporary);
    } else if (cut->wrote && !writer->replaced && writer->trusted &&
               tks_file_truncate(writer->ops, writer->own.file, writer->own.bytes)) {
        writer->trusted = false;
    }
    end_cut(writer);
}

static int end_with(struct tks_writer *writer, int status)
{
    undo_cut(writer);
    return status;
}

static int no_memory(struct tks_writer *writer)
{
    return end_with(writer,
                    tks_fail(TKS_NO_SPACE, "no memory to write checkpoint \"%s\"", writer->path));
}

/*
 * A failed operation on a file. Only a full disk leaves the file's content known: after other
 * errors, and after any of a sync, it is not appended to again.
 */
static int fail_file(struct tks_writer *writer, int error, bool syncing, const char *what)
{
    const char *file = writer->cut.full ? writer->temporary : writer->path;
    bool known = !syncing && (error == -ENOSPC || error == -EDQUOT);
    if (!writer->cut.full && !known)
        writer->trusted = false;
    return end_with(writer, tks_file_fail(error, what, file));
}

static int say_replaced(const struct tks_writer *writer)
{
    return tks_fail(TKS_REPLACED,
                    "checkpoint \"%s\": another host has taken over from generation %llu",
                    writer->path, (unsigned long long)writer->identity.generation);
}

static int ask_host(struct tks_writer *writer)
{
    if (!writer->replaced && writer->still_host(writer->arg))
        return TKS_OK;
    writer->replaced = true;
    undo_cut(writer);
    return say_replaced(writer);
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static int check_path(const struct tks_writer *writer)
{
    struct tks_file_stat stat;
    int error = tks_file_stat_path(writer->ops, writer->path, &stat);
    if (!error)
        return tks_file_check_kind(writer->path, &stat);
    if (error == -ENOENT)
        return TKS_OK;
    return tks_file_fail(error, "look at", writer->path);
}

static bool allocate_parts(struct tks_writer *writer, const char *path)
{
    writer->path = strdup(path);
    writer->folder = tks_path_folder(path);
    writer->temporary = tks_path_temporary(path, &writer->identity);
    writer->room = FORMAT_BATCH_PAYLOAD;
    writer->buffer = malloc(sizeof(struct format_batch) + writer->room);
    return writer->path && writer->folder && writer->temporary && writer->buffer;
}

int tks_writer_open(const struct tks_file_ops *ops, const char *path,
                    const struct tks_checkpoint_identity *identity, bool (*still_host)(void *arg),
                    void *arg, struct tks_writer **result)
{
    *result = NULL;
    if (!FORMAT_HOST_CAN)
        return tks_fail(TKS_UNSUPPORTED, "checkpoints need a little-endian machine");
    struct tks_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        return tks_fail(TKS_NO_SPACE, "no memory to write checkpoint \"%s\"", path);
    writer->ops = ops;
    writer->identity = *identity;
    writer->still_host = still_host;
    writer->arg = arg;
    writer->own.file = writer->cut.chain.file = -1;
    int status = allocate_parts(writer, path)
                     ? check_path(writer)
                     : tks_fail(TKS_NO_SPACE, "no memory to write checkpoint \"%s\"", path);
    if (status) {
        tks_writer_close(writer);
        return status;
    }
    *result = writer;
    return TKS_OK;
}

void tks_writer_close(struct tks_writer *writer)
{
    if (!writer)
        return;
    undo_cut(writer);
    forget_own(writer);
    free(writer->buffer);
    free(writer->temporary);
    free(writer->folder);
    free(writer->path);
    free(writer);
}

static bool path_is_ours(const struct tks_writer *writer)
{
    struct tks_file_stat stat;
    return !tks_file_stat_path(writer->ops, writer->path, &stat) && stat.device == writer->device &&
           stat.inode == writer->inode;
}

bool tks_writer_wants_full(const struct tks_writer *writer)
{
    return !writer->trusted || !path_is_ours(writer);
}

uint64_t tks_writer_file_bytes(const struct tks_writer *writer)
{
    return writer->own.bytes;
}

uint64_t tks_writer_image_bytes(const struct tks_writer *writer)
{
    return writer->image_bytes;
}

/* ---- Beginning ----------------------------------------------------------------------------- */

/* F2. The name is this generation's: what is found under it is what an unlink of ours left. */
static int create_temporary(const struct tks_writer *writer)
{
    const int flags = O_WRONLY | O_CREAT | O_EXCL;
    int file = tks_file_open(writer->ops, writer->temporary, flags);
    if (file != -EEXIST)
        return file;
    int error = tks_file_unlink(writer->ops, writer->temporary);
    return error ? error : tks_file_open(writer->ops, writer->temporary, flags);
}

static void fill_header(const struct tks_writer *writer, struct format_header *header)
{
    memset(header, 0, sizeof(*header));
    memcpy(header->magic, FORMAT_FILE_MAGIC, sizeof(header->magic));
    header->version = header->reader = FORMAT_VERSION;
    memcpy(header->uuid, writer->identity.uuid, sizeof(header->uuid));
    header->generation = writer->identity.generation;
    header->first_version = writer->identity.first_version;
    header->created_ms = writer->ops->now_ms(writer->ops->context);
    header->checksum = format_header_checksum(header);
}

static int begin_full(struct tks_writer *writer)
{
    struct cut *cut = &writer->cut;
    int file = create_temporary(writer);
    if (file < 0)
        return tks_file_fail(file, "create", writer->temporary);
    *cut = (struct cut){.active = true, .full = true};
    fill_header(writer, &cut->header);
    cut->chain = (struct chain){.file = file,
                                .bytes = FORMAT_BATCHES,
                                .sequence = 1,
                                .cut = 1,
                                .previous = cut->header.checksum,
                                .salt = cut->header.checksum};
    int error = tks_file_stat(writer->ops, file, &cut->stat);
    return error ? fail_file(writer, error, false, "look at") : ask_host(writer);
}

static int begin_increment(struct tks_writer *writer)
{
    if (tks_writer_wants_full(writer)) {
        int status = ask_host(writer); /* PATH may be a successor's by now */
        return status
                   ? status
                   : tks_fail(TKS_INVALID, "checkpoint \"%s\": the next cut must be a full image",
                              writer->path);
    }
    writer->cut = (struct cut){.active = true, .chain = writer->own};
    return TKS_OK;
}

int tks_cut_begin(struct tks_writer *writer, bool full)
{
    if (writer->cut.active)
        return tks_fail(TKS_INVALID, "checkpoint \"%s\": a cut is open", writer->path);
    if (writer->replaced)
        return say_replaced(writer);
    writer->used = 0;
    if (!full)
        return begin_increment(writer);
    int status = check_path(writer);
    if (!status && !writer->cleared)
        status = tks_writer_clear_leftovers(writer->ops, writer->path, &writer->identity, NULL);
    if (status)
        return status;
    writer->cleared = true;
    return begin_full(writer);
}

/* ---- Batches ------------------------------------------------------------------------------- */

static int write_batch(struct tks_writer *writer, bool commit)
{
    struct cut *cut = &writer->cut;
    struct chain *chain = &cut->chain;
    struct format_batch batch = {.magic = FORMAT_BATCH_MAGIC,
                                 .flags = (cut->wrote ? 0u : BATCH_FIRST) |
                                          (commit ? BATCH_COMMIT : 0u) |
                                          (cut->full ? BATCH_FULL : 0u),
                                 .sequence = chain->sequence,
                                 .cut = chain->cut,
                                 .payload = (uint32_t)writer->used,
                                 .records = cut->records,
                                 .previous = chain->previous};
    batch.checksum = format_batch_checksum(&batch, writer->buffer + sizeof(batch), chain->salt);
    memcpy(writer->buffer, &batch, sizeof(batch));
    size_t bytes = sizeof(batch) + writer->used;
    cut->wrote = true;
    int error = tks_file_write(writer->ops, chain->file, writer->buffer, bytes, chain->bytes);
    if (error)
        return fail_file(writer, error, false, "write");
    chain->bytes += bytes;
    chain->sequence++;
    chain->previous = batch.checksum;
    cut->records = 0;
    writer->used = 0;
    return TKS_OK;
}

static int flush_batch(struct tks_writer *writer)
{
    if (!writer->cut.full && !writer->cut.wrote) {
        int status = ask_host(writer); /* I1 */
        if (status)
            return status;
    }
    return write_batch(writer, false);
}

/* Room for @p bytes of payload, in this batch or, if it would become too large, in the next. */
static int make_room(struct tks_writer *writer, size_t bytes)
{
    if (writer->used && writer->used + bytes > FORMAT_BATCH_PAYLOAD) {
        int status = flush_batch(writer);
        if (status)
            return status;
    }
    if (writer->used + bytes <= writer->room)
        return TKS_OK;
    char *larger = realloc(writer->buffer, sizeof(struct format_batch) + writer->used + bytes);
    if (!larger)
        return no_memory(writer);
    writer->buffer = larger;
    writer->room = writer->used + bytes;
    return TKS_OK;
}

static char *next_place(const struct tks_writer *writer)
{
    return writer->buffer + sizeof(struct format_batch) + writer->used;
}

/* Whole words; make_room() was called for them. */
static void put(struct tks_writer *writer, const void *bytes, size_t len)
{
    memcpy(next_place(writer), bytes, len);
    writer->used += len;
}

/* Bytes and zeros up to @p padded, a multiple of 8; all of the zeros lie in its last word. */
static void put_padded(struct tks_writer *writer, const void *bytes, size_t len, size_t padded)
{
    char *to = next_place(writer);
    if (padded)
        memset(to + padded - 8, 0, 8);
    if (len)
        memcpy(to, bytes, len);
    writer->used += padded;
}

/* A name with its NUL byte. */
static void put_name(struct tks_writer *writer, const char *name, size_t len)
{
    put_padded(writer, name, len, format_pad(len + 1));
}

/* ---- Records ------------------------------------------------------------------------------- */

static int check_open(const struct tks_writer *writer)
{
    if (writer->cut.active)
        return TKS_OK;
    if (writer->replaced)
        return say_replaced(writer);
    return tks_fail(TKS_INVALID, "checkpoint \"%s\": no cut is open", writer->path);
}

static bool plugin_is(const struct cut *cut, const char *name, size_t len)
{
    return len && cut->plugin_len == len && !memcmp(cut->plugin, name, len);
}

/* Sets the plugin of what follows; make_room() was called for it. */
static void put_plugin(struct tks_writer *writer, const char *name, size_t len)
{
    struct cut *cut = &writer->cut;
    struct format_plugin plugin = {.type = RECORD_PLUGIN, .name_len = (uint16_t)len};
    put(writer, &plugin, sizeof(plugin));
    put_name(writer, name, len);
    memcpy(cut->plugin, name, len);
    cut->plugin_len = len;
    cut->in_range = false;
    cut->records++;
}

static int refuse(struct tks_writer *writer, const char *what)
{
    return end_with(writer, tks_fail(TKS_INVALID, "checkpoint \"%s\": %s", writer->path, what));
}

int tks_cut_range(struct tks_writer *writer, const char *plugin, size_t plugin_len,
                  uint64_t first_hash, uint64_t last_hash)
{
    struct cut *cut = &writer->cut;
    int status = check_open(writer);
    if (status)
        return status;
    if (cut->full || !tks_name_valid(plugin, plugin_len) ||
        !format_range_valid(first_hash, last_hash))
        return refuse(writer, "a range that cannot be");
    status = make_room(writer, format_plugin_bytes(plugin_len) + sizeof(struct format_range));
    if (status)
        return status;
    if (!plugin_is(cut, plugin, plugin_len))
        put_plugin(writer, plugin, plugin_len);
    struct format_range range = {.type = RECORD_RANGE, .first = first_hash, .last = last_hash};
    put(writer, &range, sizeof(range));
    cut->in_range = true;
    cut->first = first_hash;
    cut->last = last_hash;
    cut->records++;
    return TKS_OK;
}

/* What a loader would refuse is not written. */
static bool entry_fits(const struct cut *cut, const struct tks_record *record)
{
    bool same = plugin_is(cut, record->plugin, record->plugin_len);
    if (!tks_format_entry_valid(record))
        return false;
    if (cut->full)
        return same || tks_name_valid(record->plugin, record->plugin_len);
    uint64_t hash = hash_of(record->key, record->key_len);
    return same && cut->in_range && hash >= cut->first && hash <= cut->last;
}

static void put_entry(struct tks_writer *writer, const struct tks_record *record)
{
    struct format_entry entry = {.type = RECORD_ENTRY,
                                 .value_type = (uint8_t)record->type,
                                 .key_len = (uint16_t)record->key_len,
                                 .value_len = (uint32_t)record->value_len,
                                 .version = record->version,
                                 .expires_at = record->expires_at};
    put(writer, &entry, sizeof(entry));
    put_name(writer, record->key, record->key_len);
    put_padded(writer, record->value, record->value_len, format_pad(record->value_len));
}

int tks_cut_entry(struct tks_writer *writer, const struct tks_record *record)
{
    struct cut *cut = &writer->cut;
    int status = check_open(writer);
    if (status)
        return status;
    if (!entry_fits(cut, record))
        return refuse(writer, "an entry that is damaged, or outside of the last range");
    status = make_room(writer, format_plugin_bytes(record->plugin_len) +
                                   format_entry_bytes(record->key_len, record->value_len));
    if (status)
        return status;
    if (!plugin_is(cut, record->plugin, record->plugin_len))
        put_plugin(writer, record->plugin, record->plugin_len);
    put_entry(writer, record);
    if (record->version > cut->highest_version)
        cut->highest_version = record->version;
    cut->entries++;
    cut->records++;
    return TKS_OK;
}

/* ---- Ending -------------------------------------------------------------------------------- */

static int put_commit(struct tks_writer *writer, const struct tks_cut_info *info)
{
    struct cut *cut = &writer->cut;
    struct format_commit commit = {.type = RECORD_COMMIT,
                                   .highest_version = info->highest_version,
                                   .wall_ms = info->wall_ms,
                                   .entries = cut->entries,
                                   .stamp = info->stamp};
    if (cut->highest_version > commit.highest_version)
        commit.highest_version = cut->highest_version;
    int status = make_room(writer, sizeof(commit));
    if (status)
        return status;
    put(writer, &commit, sizeof(commit));
    cut->records++;
    return TKS_OK;
}

static void fill_mark(const struct chain *chain, struct format_mark *mark)
{
    memset(mark, 0, sizeof(*mark));
    memcpy(mark->magic, FORMAT_MARK_MAGIC, sizeof(mark->magic));
    mark->synced = chain->bytes;
    mark->checksum = format_mark_checksum(mark, chain->salt);
}

/* The mark is written before the sync that makes it true: nobody sees the file unless that
 * succeeds. */
static int write_head(struct tks_writer *writer)
{
    struct {
        struct format_header header;
        struct format_mark mark;
    } head;
    struct cut *cut = &writer->cut;
    head.header = cut->header;
    fill_mark(&cut->chain, &head.mark);
    return tks_file_write(writer->ops, cut->chain.file, &head, sizeof(head), 0);
}

static int sync_cut(struct tks_writer *writer, bool data_only)
{
    int error = tks_file_sync(writer->ops, writer->cut.chain.file, data_only);
    return error ? fail_file(writer, error, true, "sync") : TKS_OK;
}

static void adopt(struct tks_writer *writer)
{
    struct cut *cut = &writer->cut;
    forget_own(writer);
    writer->own = cut->chain;
    writer->own.cut++;
    writer->device = cut->stat.device;
    writer->inode = cut->stat.inode;
    writer->image_bytes = cut->chain.bytes;
    writer->trusted = true;
    end_cut(writer);
}

/* F6 and F7. From the rename on the file that was ours may be nobody's: it is not appended to
 * again. */
static int publish(struct tks_writer *writer)
{
    writer->trusted = false;
    int error = tks_file_rename(writer->ops, writer->temporary, writer->path);
    if (error == -ENOENT && !writer->still_host(writer->arg)) {
        writer->replaced = true;
        undo_cut(writer);
        return say_replaced(writer);
    }
    if (error)
        return fail_file(writer, error, false, "rename");
    error = tks_file_sync_folder(writer->ops, writer->folder);
    if (error)
        return fail_file(writer, error, true, "sync the folder of");
    adopt(writer);
    return TKS_OK;
}

static int commit_full(struct tks_writer *writer)
{
    int status = write_batch(writer, true);
    if (status)
        return status;
    int error = write_head(writer);
    if (error)
        return fail_file(writer, error, false, "write");
    status = sync_cut(writer, false);
    if (!status)
        status = ask_host(writer); /* F5 */
    return status ? status : publish(writer);
}

/* I5: an acknowledged cut must be where a restore looks for it. */
static int check_place(struct tks_writer *writer)
{
    if (path_is_ours(writer))
        return TKS_OK;
    int status = ask_host(writer);
    if (status)
        return status;
    writer->trusted = false;
    return end_with(writer,
                    tks_fail(TKS_IO, "checkpoint \"%s\" was removed or replaced by somebody else",
                             writer->path));
}

static void write_mark(struct tks_writer *writer)
{
    struct format_mark mark;
    fill_mark(&writer->own, &mark);
    tks_file_write(writer->ops, writer->own.file, &mark, sizeof(mark), FORMAT_SECTOR);
}

/*
 * The sync before the last batch lets a loader tell a torn tail from damage: where COMMIT can be
 * read, everything before it had reached the disk.
 */
static int commit_increment(struct tks_writer *writer)
{
    int status = writer->cut.wrote ? sync_cut(writer, true) : TKS_OK;
    if (!status)
        status = ask_host(writer); /* I1 and I3 */
    if (!status)
        status = write_batch(writer, true);
    if (!status)
        status = sync_cut(writer, true);
    if (!status)
        status = check_place(writer);
    if (status)
        return status;
    writer->own = writer->cut.chain;
    writer->own.cut++;
    end_cut(writer);
    write_mark(writer);
    return TKS_OK;
}

int tks_cut_commit(struct tks_writer *writer, const struct tks_cut_info *info)
{
    int status = check_open(writer);
    if (!status)
        status = put_commit(writer, info);
    if (status)
        return status;
    return writer->cut.full ? commit_full(writer) : commit_increment(writer);
}

void tks_cut_abort(struct tks_writer *writer)
{
    undo_cut(writer);
}
