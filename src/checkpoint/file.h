/* SPDX-License-Identifier: MIT */
/* What the checkpoint's files share: retries, whole transfers, names. */
#ifndef TKS_CHECKPOINT_FILE_H
#define TKS_CHECKPOINT_FILE_H

#include "checkpoint/checkpoint.h"

/* The operations again, each repeated a bounded number of times while it says EINTR. 0 or -errno.
 */
int tks_file_open(const struct tks_file_ops *ops, const char *path, int flags);
int tks_file_write(const struct tks_file_ops *ops, int file, const void *from, size_t bytes,
                   uint64_t offset);
/** As much as there is: the number of bytes, less than @p bytes only at the end of the file. */
int64_t tks_file_read(const struct tks_file_ops *ops, int file, void *to, size_t bytes,
                      uint64_t offset);
int tks_file_truncate(const struct tks_file_ops *ops, int file, uint64_t bytes);
int tks_file_sync(const struct tks_file_ops *ops, int file, bool data_only);
int tks_file_stat(const struct tks_file_ops *ops, int file, struct tks_file_stat *stat);
int tks_file_stat_path(const struct tks_file_ops *ops, const char *path,
                       struct tks_file_stat *stat);
int tks_file_rename(const struct tks_file_ops *ops, const char *from, const char *to);
int tks_file_unlink(const struct tks_file_ops *ops, const char *path);
/** A file system that cannot sync a folder (EINVAL) has nothing to sync. */
int tks_file_sync_folder(const struct tks_file_ops *ops, const char *folder);

/** "cannot @p what checkpoint file PATH: reason"; TKS_IO whatever the reason. @p error is -errno.
 */
int tks_file_fail(int error, const char *what, const char *path);

/** Refuse a path that is there and is no regular file: TKS_OK, TKS_DENIED. */
int tks_file_check_kind(const char *path, const struct tks_file_stat *stat);

/** The folder of a path, malloc'ed; NULL without memory. */
char *tks_path_folder(const char *path);

/** The part of a path after its folder. */
const char *tks_path_name(const char *path);

/** PATH.tmp.<uuid>.<generation>, malloc'ed; NULL without memory. */
char *tks_path_temporary(const char *path, const struct tks_checkpoint_identity *identity);

#endif
