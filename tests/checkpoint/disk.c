/* SPDX-License-Identifier: MIT */
#include "disk.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512u

/* A write or a truncation that no sync has covered. */
struct disk_pending {
    struct disk_pending *next;
    bool truncates;
    uint64_t offset, bytes;
    uint64_t size_after;
    unsigned char data[];
};

struct disk_content {
    unsigned char *bytes;
    uint64_t size, room;
};

struct disk_inode {
    struct disk_inode *next;
    uint64_t number;
    struct disk_content seen, durable;
    struct disk_pending *pending, **pending_end;
};

struct disk_name {
    struct disk_name *next;
    struct disk_inode *inode;
    char name[];
};

/* Names that change together: `gone` goes, `to` becomes the inode. */
struct disk_change {
    struct disk_change *next;
    char *gone, *to;
    struct disk_inode *inode;
};

struct disk_handle {
    struct disk_handle *next;
    int number;
    struct disk_inode *inode;
    bool locked;
    uint64_t byte;
};

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/* ---- Content ------------------------------------------------------------------------------- */

static void resize(struct disk_content *content, uint64_t size)
{
    if (size > content->room) {
        uint64_t room = size * 2 + 4096;
        content->bytes = need(realloc(content->bytes, room));
        memset(content->bytes + content->room, 0, room - content->room);
        content->room = room;
    }
    if (size < content->size)
        memset(content->bytes + size, 0, content->size - size);
    content->size = size;
}

static void copy_content(struct disk_content *to, const struct disk_content *from)
{
    resize(to, 0);
    resize(to, from->size);
    if (from->size)
        memcpy(to->bytes, from->bytes, from->size);
}

static void overwrite(struct disk_content *content, const void *bytes, uint64_t len,
                      uint64_t offset)
{
    if (offset + len > content->size)
        resize(content, offset + len);
    if (len)
        memcpy(content->bytes + offset, bytes, len);
}

static void forget_pending(struct disk_inode *inode)
{
    while (inode->pending) {
        struct disk_pending *next = inode->pending->next;
        free(inode->pending);
        inode->pending = next;
    }
    inode->pending_end = &inode->pending;
}

static void add_pending(struct disk_inode *inode, bool truncates, const void *data, uint64_t len,
                        uint64_t offset)
{
    struct disk_pending *pending = need(calloc(1, sizeof(*pending) + (truncates ? 0 : len)));
    pending->truncates = truncates;
    pending->offset = offset;
    pending->bytes = len;
    pending->size_after = inode->seen.size;
    if (!truncates && len)
        memcpy(pending->data, data, len);
    *inode->pending_end = pending;
    inode->pending_end = &pending->next;
}

/* Any sectors of a write reach the platter. */
static void settle_write(struct disk *disk, struct disk_inode *inode,
                         const struct disk_pending *pending, unsigned chance)
{
    uint64_t at = pending->offset, end = at + pending->bytes;
    while (at < end) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;
        if (next > end)
            next = end;
        if (random_below(&disk->random, 100) < chance)
            overwrite(&inode->durable, pending->data + (at - pending->offset), next - at, at);
        at = next;
    }
}

/* What the platter has of an inode when the machine stops, or when a sync fails. */
static void settle_some(struct disk *disk, struct disk_inode *inode)
{
    static const unsigned chances[] = {0, 30, 50, 90, 100};
    unsigned chance = chances[random_below(&disk->random, 5)];
    uint64_t size = inode->durable.size;
    for (struct disk_pending *pending = inode->pending; pending; pending = pending->next) {
        if (!pending->truncates)
            settle_write(disk, inode, pending, chance);
        else if (random_below(&disk->random, 100) < chance)
            resize(&inode->durable, pending->offset);
        if (random_below(&disk->random, 100) < chance)
            size = pending->size_after;
    }
    if (random_below(&disk->random, 2))
        resize(&inode->durable, size);
    forget_pending(inode);
}

/* ---- Names --------------------------------------------------------------------------------- */

static struct disk_name *find_name(struct disk_name *names, const char *path)
{
    while (names && strcmp(names->name, path))
        names = names->next;
    return names;
}

static void remove_name(struct disk_name **names, const char *path)
{
    for (; *names; names = &(*names)->next)
        if (!strcmp((*names)->name, path)) {
            struct disk_name *gone = *names;
            *names = gone->next;
            free(gone);
            return;
        }
}

static void set_name(struct disk_name **names, const char *path, struct disk_inode *inode)
{
    remove_name(names, path);
    struct disk_name *name = need(malloc(sizeof(*name) + strlen(path) + 1));
    strcpy(name->name, path);
    name->inode = inode;
    name->next = *names;
    *names = name;
}

static void apply_change(struct disk_name **names, const struct disk_change *change)
{
    if (change->gone)
        remove_name(names, change->gone);
    if (change->to)
        set_name(names, change->to, change->inode);
}

static void change_names(struct disk *disk, const char *gone, const char *to,
                         struct disk_inode *inode)
{
    struct disk_change *change = need(calloc(1, sizeof(*change))), **end = &disk->changes;
    change->gone = gone ? need(strdup(gone)) : NULL;
    change->to = to ? need(strdup(to)) : NULL;
    change->inode = inode;
    apply_change(&disk->names, change);
    while (*end)
        end = &(*end)->next;
    *end = change;
}

static void settle_changes(struct disk *disk, unsigned chance)
{
    while (disk->changes) {
        struct disk_change *change = disk->changes;
        disk->changes = change->next;
        if (random_below(&disk->random, 100) < chance)
            apply_change(&disk->durable_names, change);
        free(change->gone);
        free(change->to);
        free(change);
    }
}

static void copy_names(struct disk_name **to, const struct disk_name *from)
{
    while (*to)
        remove_name(to, (*to)->name);
    for (; from; from = from->next)
        set_name(to, from->name, from->inode);
}

/* ---- Operations ---------------------------------------------------------------------------- */

enum verdict { GO, STOP, HALF, SHORT };

static enum verdict begin(struct disk *disk, int *error)
{
    if (disk->point)
        disk->point(disk->arg);
    uint64_t number = ++disk->operations;
    if (!disk->fault_at || number < disk->fault_at)
        return GO;
    *error = -EIO;
    if (disk->fault == FAULT_DEAD)
        return STOP;
    if (number >= disk->fault_at + disk->faults)
        return GO;
    *error = disk->fault == FAULT_INTERRUPTED ? -EINTR : -disk->error;
    return disk->fault == FAULT_HALF ? HALF : disk->fault == FAULT_SHORT ? SHORT : STOP;
}

static struct disk_handle *handle_of(struct disk *disk, int file)
{
    struct disk_handle *handle = disk->handles;
    while (handle && handle->number != file)
        handle = handle->next;
    return need(handle); /* a closed file is used: a defect of the caller */
}

static struct disk_inode *new_inode(struct disk *disk)
{
    struct disk_inode *inode = need(calloc(1, sizeof(*inode)));
    inode->number = ++disk->next_inode;
    inode->pending_end = &inode->pending;
    inode->next = disk->inodes;
    disk->inodes = inode;
    return inode;
}

static int disk_open(void *context, const char *path, int flags, unsigned mode)
{
    struct disk *disk = context;
    int error;
    (void)mode;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP)
        return error;
    struct disk_name *name = find_name(disk->names, path);
    if (name && flags & O_EXCL)
        return -EEXIST;
    if (!name && !(flags & O_CREAT))
        return -ENOENT;
    struct disk_inode *inode = name ? name->inode : new_inode(disk);
    if (!name)
        change_names(disk, NULL, path, inode);
    if (verdict == HALF)
        return error;
    struct disk_handle *handle = need(calloc(1, sizeof(*handle)));
    static int next_number = 100;
    handle->number = next_number++;
    handle->inode = inode;
    handle->next = disk->handles;
    disk->handles = handle;
    return handle->number;
}

/* Never fails: close() on Linux always closes. */
static int disk_close(void *context, int file)
{
    struct disk *disk = context;
    if (disk->point)
        disk->point(disk->arg);
    for (struct disk_handle **handle = &disk->handles; *handle; handle = &(*handle)->next)
        if ((*handle)->number == file) {
            struct disk_handle *gone = *handle;
            *handle = gone->next;
            free(gone);
            return 0;
        }
    abort();
}

static int64_t disk_read(void *context, int file, void *to, size_t bytes, uint64_t offset)
{
    struct disk *disk = context;
    int error;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP || verdict == HALF)
        return error;
    const struct disk_content *content = &handle_of(disk, file)->inode->seen;
    if (offset >= content->size)
        return 0;
    if (bytes > content->size - offset)
        bytes = content->size - offset;
    if (verdict == SHORT)
        bytes = (bytes + 1) / 2;
    memcpy(to, content->bytes + offset, bytes);
    return (int64_t)bytes;
}

static int64_t disk_write(void *context, int file, const void *from, size_t bytes, uint64_t offset)
{
    struct disk *disk = context;
    int error;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP)
        return error;
    if (verdict != GO)
        bytes = (bytes + 1) / 2;
    struct disk_inode *inode = handle_of(disk, file)->inode;
    overwrite(&inode->seen, from, bytes, offset);
    add_pending(inode, false, from, bytes, offset);
    return verdict == HALF ? error : (int64_t)bytes;
}

static int disk_truncate(void *context, int file, uint64_t bytes)
{
    struct disk *disk = context;
    int error;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP)
        return error;
    struct disk_inode *inode = handle_of(disk, file)->inode;
    resize(&inode->seen, bytes);
    add_pending(inode, true, NULL, 0, bytes);
    return verdict == HALF ? error : 0;
}

/* A failed sync has lost any part of what was dirty, and nobody will try again. */
static int disk_sync(void *context, int file, bool data_only)
{
    struct disk *disk = context;
    int error;
    (void)data_only;
    enum verdict verdict = begin(disk, &error);
    struct disk_inode *inode = handle_of(disk, file)->inode;
    if (verdict == GO || verdict == SHORT) {
        for (struct disk_pending *pending = inode->pending; pending; pending = pending->next) {
            if (pending->truncates)
                resize(&inode->durable, pending->offset);
            else
                overwrite(&inode->durable, pending->data, pending->bytes, pending->offset);
        }
        forget_pending(inode);
        return 0;
    }
    if (error != -EINTR && disk->fault != FAULT_DEAD)
        settle_some(disk, inode);
    return error;
}

static void fill_stat(const struct disk_inode *inode, struct tks_file_stat *stat)
{
    *stat = (struct tks_file_stat){inode->seen.size, 1, inode->number, FILE_REGULAR};
}

static int disk_stat(void *context, int file, struct tks_file_stat *stat)
{
    struct disk *disk = context;
    int error;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP || verdict == HALF)
        return error;
    fill_stat(handle_of(disk, file)->inode, stat);
    return 0;
}

static int disk_stat_path(void *context, const char *path, struct tks_file_stat *stat)
{
    struct disk *disk = context;
    int error;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP || verdict == HALF)
        return error;
    const struct disk_name *name = find_name(disk->names, path);
    if (!name)
        return -ENOENT;
    fill_stat(name->inode, stat);
    return 0;
}

static int disk_rename(void *context, const char *from, const char *to)
{
    struct disk *disk = context;
    int error;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP)
        return error;
    const struct disk_name *name = find_name(disk->names, from);
    if (!name)
        return -ENOENT;
    change_names(disk, from, to, name->inode);
    return verdict == HALF ? error : 0;
}

static int disk_unlink(void *context, const char *path)
{
    struct disk *disk = context;
    int error;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP)
        return error;
    if (!find_name(disk->names, path))
        return -ENOENT;
    change_names(disk, path, NULL, NULL);
    return verdict == HALF ? error : 0;
}

static int disk_sync_folder(void *context, const char *folder)
{
    struct disk *disk = context;
    int error;
    (void)folder;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP || verdict == HALF) {
        if (error != -EINTR && disk->fault != FAULT_DEAD)
            settle_changes(disk, 50);
        return error;
    }
    settle_changes(disk, 100);
    return 0;
}

static int disk_list(void *context, const char *folder, int (*visit)(void *arg, const char *name),
                     void *arg)
{
    struct disk *disk = context;
    int error, stop = 0;
    (void)folder;
    enum verdict verdict = begin(disk, &error);
    if (verdict == STOP || verdict == HALF)
        return error;
    char names[64][128];
    unsigned count = 0;
    for (const struct disk_name *name = disk->names; name && count < 64; name = name->next) {
        const char *slash = strrchr(name->name, '/');
        snprintf(names[count++], sizeof(names[0]), "%s", slash ? slash + 1 : name->name);
    }
    for (unsigned i = 0; !stop && i < count; i++)
        stop = visit(arg, names[i]);
    return stop;
}

static int disk_lock(void *context, int file, uint64_t byte)
{
    struct disk *disk = context;
    int error;
    if (begin(disk, &error) == STOP)
        return error;
    struct disk_handle *handle = handle_of(disk, file);
    handle->locked = true;
    handle->byte = byte;
    return 0;
}

static int disk_lock_others(void *context, int file, uint64_t byte)
{
    struct disk *disk = context;
    int error;
    if (begin(disk, &error) == STOP)
        return error;
    const struct disk_inode *inode = handle_of(disk, file)->inode;
    for (const struct disk_handle *other = disk->handles; other; other = other->next)
        if (other->inode == inode && other->locked && other->byte != byte)
            return 1;
    return 0;
}

static int64_t disk_now(void *context)
{
    struct disk *disk = context;
    return disk->now;
}

/* ---- From outside -------------------------------------------------------------------------- */

struct disk *disk_new(uint64_t seed)
{
    struct disk *disk = need(calloc(1, sizeof(*disk)));
    disk->random = seed;
    disk->now = 1700000000000;
    disk->ops = (struct tks_file_ops){
        .context = disk,
        .open = disk_open,
        .close = disk_close,
        .read = disk_read,
        .write = disk_write,
        .truncate = disk_truncate,
        .sync = disk_sync,
        .stat = disk_stat,
        .stat_path = disk_stat_path,
        .rename = disk_rename,
        .unlink = disk_unlink,
        .sync_folder = disk_sync_folder,
        .list = disk_list,
        .lock = disk_lock,
        .lock_others = disk_lock_others,
        .now_ms = disk_now,
    };
    return disk;
}

void disk_crash(struct disk *disk)
{
    static const unsigned chances[] = {0, 50, 100};
    disk->fault_at = 0;
    while (disk->handles) {
        struct disk_handle *next = disk->handles->next;
        free(disk->handles);
        disk->handles = next;
    }
    for (struct disk_inode *inode = disk->inodes; inode; inode = inode->next) {
        settle_some(disk, inode);
        copy_content(&inode->seen, &inode->durable);
    }
    settle_changes(disk, chances[random_below(&disk->random, 3)]);
    copy_names(&disk->names, disk->durable_names);
}

void disk_free(struct disk *disk)
{
    disk_crash(disk);
    while (disk->inodes) {
        struct disk_inode *next = disk->inodes->next;
        free(disk->inodes->seen.bytes);
        free(disk->inodes->durable.bytes);
        free(disk->inodes);
        disk->inodes = next;
    }
    copy_names(&disk->names, NULL);
    copy_names(&disk->durable_names, NULL);
    free(disk);
}

const unsigned char *disk_bytes(struct disk *disk, const char *path, uint64_t *bytes)
{
    const struct disk_name *name = find_name(disk->names, path);
    *bytes = name ? name->inode->seen.size : 0;
    return name ? name->inode->seen.bytes : NULL;
}

void disk_put(struct disk *disk, const char *path, const void *bytes, uint64_t len)
{
    struct disk_name *name = find_name(disk->names, path);
    struct disk_inode *inode = name ? name->inode : new_inode(disk);
    set_name(&disk->names, path, inode);
    set_name(&disk->durable_names, path, inode);
    forget_pending(inode);
    resize(&inode->seen, 0);
    overwrite(&inode->seen, bytes, len, 0);
    copy_content(&inode->durable, &inode->seen);
}

unsigned disk_files(const struct disk *disk, const char *part)
{
    unsigned count = 0;
    for (const struct disk_name *name = disk->names; name; name = name->next)
        count += strstr(name->name, part) != NULL;
    return count;
}

unsigned disk_open_handles(const struct disk *disk)
{
    unsigned count = 0;
    for (const struct disk_handle *handle = disk->handles; handle; handle = handle->next)
        count++;
    return count;
}
