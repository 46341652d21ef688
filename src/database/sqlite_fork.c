/* SPDX-License-Identifier: MIT */
/*
 * A child that opens a file which its parent has open.
 *
 * SQLite keeps, per file and process, which POSIX locks the process holds. A forked child inherits
 * those notes and none of the locks. Its own new connections then believe that the file is locked
 * against its last closer (who deletes the WAL) and the -shm file against a first opener (who
 * truncates it), while nothing keeps others from either. So before a child's first connection to
 * such a file it takes the two locks that the notes speak of, which are part of SQLite's file
 * format, as they must be the same for all programs: a shared lock of the database's SHARED bytes,
 * and one of the -shm file's byte that marks it as in use. They stay until the process ends; SQLite
 * itself closes no descriptor of a file that it believes to be locked.
 *
 * What this does not cover is a fork while another thread is inside a call: notes and mutexes of
 * that call stay as they are in the child, which may then wait in vain.
 */
#include "database/sqlite.h"

#include "base/error.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARED_FIRST 0x40000002
#define SHARED_LENGTH 510
#define SHM_IN_USE 128

/* A file that this process, or the one it was forked from, has open. */
struct open_file {
    dev_t device;
    ino_t inode, shm_inode;
    uint64_t connections;
    uint64_t token; /* of the process whose locks these are */
    struct open_file *next;
    char shm_path[];
};

/* Under tks_process->lock, which a child finds unlocked. */
static struct open_file *open_files;

static struct open_file *find_file(const struct stat *file)
{
    struct open_file *open = open_files;
    while (open && (open->device != file->st_dev || open->inode != file->st_ino))
        open = open->next;
    return open;
}

/* A shared lock of some bytes, waiting for those who hold them for a moment. 0 or an errno. */
static int lock_bytes(struct tks_connection *connection, int fd, off_t first, off_t length)
{
    struct flock lock = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = first, .l_len = length};
    for (int tries = 0; fcntl(fd, F_SETLK, &lock); tries++)
        if ((errno != EAGAIN && errno != EACCES && errno != EINTR) ||
            !tks_sqlite_wait(connection, tries))
            return errno;
    return 0;
}

static int lock_file(struct tks_connection *connection, const char *path, ino_t inode, off_t first,
                     off_t length, int *fd)
{
    struct stat file;
    *fd = open(path, O_RDWR | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &file))
        return tks_fail(TKS_IO, "%s: the process that this one was forked from has closed it",
                        connection->database->path);
    int errnum = lock_bytes(connection, *fd, first, length);
    if (errnum == EAGAIN || errnum == EACCES)
        return tks_fail(TKS_BUSY, "%s: others hold it locked", path);
    if (errnum)
        return tks_fail_errno(errnum, "%s: it cannot be locked", path);
    if (file.st_ino != inode)
        return tks_fail(TKS_IO, "%s: the process that this one was forked from has closed it",
                        connection->database->path);
    return TKS_OK;
}

/* The file first: whoever deletes the -shm file has to lock others out of the database. */
static int take_locks(struct tks_connection *connection, struct open_file *open)
{
    int file = -1, shm = -1;
    int status = lock_file(connection, connection->database->path, open->inode, SHARED_FIRST,
                           SHARED_LENGTH, &file);
    if (!status)
        status = lock_file(connection, open->shm_path, open->shm_inode, SHM_IN_USE, 1, &shm);
    if (status) {
        if (file >= 0)
            close(file);
        if (shm >= 0)
            close(shm);
        return status;
    }
    open->token = load_relaxed(&tks_process->token);
    return TKS_OK;
}

int tks_sqlite_before_open(struct tks_connection *connection)
{
    struct stat file;
    int status = TKS_OK;
    if (stat(connection->database->path, &file))
        return tks_fail_errno(errno, "%s", connection->database->path);
    pthread_mutex_lock(&tks_process->lock);
    struct open_file *open = find_file(&file);
    if (open && !process_is(open->token))
        status = take_locks(connection, open);
    pthread_mutex_unlock(&tks_process->lock);
    return status;
}

static struct open_file *add_file(struct tks_connection *connection, const struct stat *file)
{
    const char *path = sqlite3_db_filename(connection->sqlite, "main");
    size_t room = strlen(path) + sizeof("-shm");
    struct open_file *open = calloc(1, sizeof(*open) + room);
    struct stat shm;
    if (!open)
        return NULL;
    snprintf(open->shm_path, room, "%s-shm", path);
    if (!stat(open->shm_path, &shm))
        open->shm_inode = shm.st_ino;
    open->device = file->st_dev;
    open->inode = file->st_ino;
    open->token = load_relaxed(&tks_process->token);
    open->next = open_files;
    open_files = open;
    return open;
}

int tks_sqlite_after_open(struct tks_connection *connection)
{
    struct stat file;
    if (stat(connection->database->path, &file))
        return tks_fail_errno(errno, "%s", connection->database->path);
    pthread_mutex_lock(&tks_process->lock);
    connection->file = find_file(&file);
    if (!connection->file)
        connection->file = add_file(connection, &file);
    if (connection->file)
        connection->file->connections++;
    pthread_mutex_unlock(&tks_process->lock);
    return connection->file ? TKS_OK
                            : tks_fail(TKS_NO_SPACE, "no memory for a connection to %s",
                                       connection->database->path);
}

void tks_sqlite_closed(struct open_file *file)
{
    if (!file)
        return;
    pthread_mutex_lock(&tks_process->lock);
    if (!--file->connections) {
        struct open_file **link = &open_files;
        while (*link != file)
            link = &(*link)->next;
        *link = file->next;
        free(file);
    }
    pthread_mutex_unlock(&tks_process->lock);
}
