/* SPDX-License-Identifier: MIT */
/* PATH.lock: the announcement that keeps segments apart; why it is made so is in checkpoint.h. */
#include "base/error.h"
#include "base/hash.h"
#include "checkpoint/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

struct tks_path_lock {
    const struct tks_file_ops *ops;
    int file;
};

/* Of 2^62 positions: two segments that share one are not told apart, which will not happen. */
static uint64_t lock_byte(const uint64_t uuid[2])
{
    return hash_of(uuid, 16) >> 2;
}

static int announce(const struct tks_file_ops *ops, int file, const char *path,
                    const uint64_t uuid[2])
{
    uint64_t byte = lock_byte(uuid);
    int error = ops->lock(ops->context, file, byte);
    if (error < 0)
        return tks_fail_errno(-error, "cannot lock \"%s\"", path);
    int others = ops->lock_others(ops->context, file, byte);
    if (others < 0)
        return tks_fail_errno(-others, "cannot look at the locks of \"%s\"", path);
    if (others)
        return tks_fail(TKS_BUSY,
                        "another segment uses this checkpoint: \"%s\" is locked for it by a living "
                        "process",
                        path);
    return TKS_OK;
}

static int lock_path(const struct tks_file_ops *ops, const char *path, const uint64_t uuid[2],
                     struct tks_path_lock **lock)
{
    struct tks_path_lock *made = malloc(sizeof(*made));
    if (!made)
        return tks_fail(TKS_NO_SPACE, "no memory to lock \"%s\"", path);
    int file = tks_file_open(ops, path, O_RDWR | O_CREAT | O_NONBLOCK);
    int status = file < 0 ? tks_fail_errno(-file, "cannot open \"%s\"", path)
                          : announce(ops, file, path, uuid);
    if (status) {
        if (file >= 0)
            ops->close(ops->context, file);
        free(made);
        return status == TKS_NOT_FOUND ? TKS_IO : status;
    }
    *made = (struct tks_path_lock){ops, file};
    *lock = made;
    return TKS_OK;
}

int tks_path_lock(const struct tks_file_ops *ops, const char *path, const uint64_t uuid[2],
                  struct tks_path_lock **lock)
{
    char *name;
    *lock = NULL;
    if (asprintf(&name, "%s.lock", path) < 0)
        return tks_fail(TKS_NO_SPACE, "no memory to lock checkpoint \"%s\"", path);
    int status = lock_path(ops, name, uuid, lock);
    free(name);
    return status;
}

void tks_path_unlock(struct tks_path_lock *lock)
{
    if (!lock)
        return;
    lock->ops->close(lock->ops->context, lock->file);
    free(lock);
}
