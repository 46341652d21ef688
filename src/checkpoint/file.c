/* SPDX-License-Identifier: MIT */
#include "checkpoint/file.h"

#include "base/clock.h"
#include "base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EARLY_BYTES (512 << 10)

/* ---- The real operations ------------------------------------------------------------------- */

static int result(int value)
{
    return value < 0 ? -errno : value;
}

static int real_open(void *context, const char *path, int flags, unsigned mode)
{
    (void)context;
    return result(open(path, flags, (mode_t)mode));
}

static int real_close(void *context, int file)
{
    (void)context;
    return result(close(file));
}

static int64_t real_read(void *context, int file, void *to, size_t bytes, uint64_t offset)
{
    (void)context;
    ssize_t got = pread(file, to, bytes, (off_t)offset);
    return got < 0 ? -errno : got;
}

static int64_t real_write(void *context, int file, const void *from, size_t bytes, uint64_t offset)
{
    (void)context;
    ssize_t put = pwrite(file, from, bytes, (off_t)offset);
    if (put < 0)
        return -errno;
    /*
     * A large file is on its way while the rest is still collected, so that the sync at the end
     * finds little to do. A hint: it waits for nothing and takes no error away from that sync.
     */
    if (put >= EARLY_BYTES)
        sync_file_range(file, (off_t)offset, put, SYNC_FILE_RANGE_WRITE);
    return put;
}

static int real_truncate(void *context, int file, uint64_t bytes)
{
    (void)context;
    return result(ftruncate(file, (off_t)bytes));
}

static int real_sync(void *context, int file, bool data_only)
{
    (void)context;
    return result(data_only ? fdatasync(file) : fsync(file));
}

static void take_stat(const struct stat *from, struct tks_file_stat *to)
{
    to->bytes = (uint64_t)from->st_size;
    to->device = from->st_dev;
    to->inode = from->st_ino;
    to->kind = S_ISREG(from->st_mode)   ? FILE_REGULAR
               : S_ISLNK(from->st_mode) ? FILE_LINK
               : S_ISDIR(from->st_mode) ? FILE_FOLDER
                                        : FILE_OTHER;
}

static int real_stat(void *context, int file, struct tks_file_stat *to)
{
    (void)context;
    struct stat from;
    if (fstat(file, &from))
        return -errno;
    take_stat(&from, to);
    return 0;
}

static int real_stat_path(void *context, const char *path, struct tks_file_stat *to)
{
    (void)context;
    struct stat from;
    if (lstat(path, &from))
        return -errno;
    take_stat(&from, to);
    return 0;
}

static int real_rename(void *context, const char *from, const char *to)
{
    (void)context;
    return result(rename(from, to));
}

static int real_unlink(void *context, const char *path)
{
    (void)context;
    return result(unlink(path));
}

static int real_sync_folder(void *context, const char *folder)
{
    (void)context;
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int error = fsync(file) ? -errno : 0;
    close(file);
    return error;
}

static int real_list(void *context, const char *folder, int (*visit)(void *arg, const char *name),
                     void *arg)
{
    (void)context;
    DIR *stream = opendir(folder);
    if (!stream)
        return -errno;
    int stop = 0;
    while (!stop) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry) {
            stop = -errno;
            break;
        }
        stop = visit(arg, entry->d_name);
    }
    closedir(stream);
    return stop;
}

static int real_lock(void *context, int file, uint64_t byte)
{
    (void)context;
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    return result(fcntl(file, F_OFD_SETLK, &lock));
}

/* Whether a lock of somebody else lies in [start, start + len); len 0: to the end. */
static int locked_by_others(int file, uint64_t start, uint64_t len)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)start, .l_len = (off_t)len};
    if (fcntl(file, F_OFD_GETLK, &lock))
        return -errno;
    return lock.l_type != F_UNLCK;
}

static int real_lock_others(void *context, int file, uint64_t byte)
{
    (void)context;
    int found = byte ? locked_by_others(file, 0, byte) : 0;
    return found ? found : locked_by_others(file, byte + 1, 0);
}

static int64_t real_now_ms(void *context)
{
    (void)context;
    return wall_ms();
}

const struct tks_file_ops tks_file_system = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .write = real_write,
    .truncate = real_truncate,
    .sync = real_sync,
    .stat = real_stat,
    .stat_path = real_stat_path,
    .rename = real_rename,
    .unlink = real_unlink,
    .sync_folder = real_sync_folder,
    .list = real_list,
    .lock = real_lock,
    .lock_others = real_lock_others,
    .now_ms = real_now_ms,
};

/* ---- Retries and whole transfers ----------------------------------------------------------- */

#define EINTR_TRIES 1000

#define RETRY(call)                                                                                \
    do {                                                                                           \
        int done = -EINTR;                                                                         \
        for (int i = 0; i < EINTR_TRIES && done == -EINTR; i++)                                    \
            done = (call);                                                                         \
        return done;                                                                               \
    } while (0)

int tks_file_open(const struct tks_file_ops *ops, const char *path, int flags)
{
    RETRY(ops->open(ops->context, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600));
}

int tks_file_truncate(const struct tks_file_ops *ops, int file, uint64_t bytes)
{
    RETRY(ops->truncate(ops->context, file, bytes));
}

int tks_file_sync(const struct tks_file_ops *ops, int file, bool data_only)
{
    RETRY(ops->sync(ops->context, file, data_only));
}

int tks_file_stat(const struct tks_file_ops *ops, int file, struct tks_file_stat *stat)
{
    RETRY(ops->stat(ops->context, file, stat));
}

int tks_file_stat_path(const struct tks_file_ops *ops, const char *path, struct tks_file_stat *stat)
{
    RETRY(ops->stat_path(ops->context, path, stat));
}

int tks_file_rename(const struct tks_file_ops *ops, const char *from, const char *to)
{
    RETRY(ops->rename(ops->context, from, to));
}

int tks_file_unlink(const struct tks_file_ops *ops, const char *path)
{
    RETRY(ops->unlink(ops->context, path));
}

static int sync_folder(const struct tks_file_ops *ops, const char *folder)
{
    RETRY(ops->sync_folder(ops->context, folder));
}

int tks_file_sync_folder(const struct tks_file_ops *ops, const char *folder)
{
    int error = sync_folder(ops, folder);
    return error == -EINVAL ? 0 : error;
}

/* Each round moves at least a byte or counts as interrupted, so the loops end. */
int tks_file_write(const struct tks_file_ops *ops, int file, const void *from, size_t bytes,
                   uint64_t offset)
{
    size_t done = 0;
    for (int interrupted = 0; done < bytes;) {
        int64_t put =
            ops->write(ops->context, file, (const char *)from + done, bytes - done, offset + done);
        if (put == -EINTR && ++interrupted < EINTR_TRIES)
            continue;
        if (put <= 0)
            return put ? (int)put : -EIO;
        done += (size_t)put;
    }
    return 0;
}

int64_t tks_file_read(const struct tks_file_ops *ops, int file, void *to, size_t bytes,
                      uint64_t offset)
{
    size_t done = 0;
    for (int interrupted = 0; done < bytes;) {
        int64_t got = ops->read(ops->context, file, (char *)to + done, bytes - done, offset + done);
        if (got == -EINTR && ++interrupted < EINTR_TRIES)
            continue;
        if (got < 0)
            return got;
        if (!got)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

/* ---- Names --------------------------------------------------------------------------------- */

int tks_file_fail(int error, const char *what, const char *path)
{
    tks_fail_errno(-error, "cannot %s checkpoint file \"%s\"", what, path);
    return TKS_IO;
}

int tks_file_check_kind(const char *path, const struct tks_file_stat *stat)
{
    static const char *const names[] = {"a regular file", "a symbolic link", "a folder",
                                        "a pipe or device"};
    if (stat->kind == FILE_REGULAR)
        return TKS_OK;
    return tks_fail(TKS_DENIED, "checkpoint \"%s\" is %s, not a regular file: refused", path,
                    names[stat->kind]);
}

const char *tks_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *tks_path_folder(const char *path)
{
    size_t len = (size_t)(tks_path_name(path) - path);
    if (len > 1)
        len--; /* without its slash, the root excepted */
    return len ? strndup(path, len) : strdup(".");
}

char *tks_path_temporary(const char *path, const struct tks_checkpoint_identity *identity)
{
    char *name;
    int len =
        asprintf(&name, "%s.tmp.%016llx%016llx.%llu", path, (unsigned long long)identity->uuid[0],
                 (unsigned long long)identity->uuid[1], (unsigned long long)identity->generation);
    return len < 0 ? NULL : name;
}
