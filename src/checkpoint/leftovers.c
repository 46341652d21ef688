/* SPDX-License-Identifier: MIT */
/* Temporary files of hosts that are gone, or stopped and replaced. */
#include "base/error.h"
#include "checkpoint/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct search {
    const struct tks_file_ops *ops;
    const char *path, *name;
    const struct tks_checkpoint_identity *identity;
    bool others; /* of other segments too */
};

static bool parse_hex(const char **text, uint64_t *number)
{
    *number = 0;
    for (int i = 0; i < 16; i++, (*text)++) {
        const char *digits = "0123456789abcdef", *digit = **text ? strchr(digits, **text) : NULL;
        if (!digit)
            return false;
        *number = *number << 4 | (uint64_t)(digit - digits);
    }
    return true;
}

static bool parse_decimal(const char *text, uint64_t *number)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return !errno && !*end;
}

/* Exactly the names that tks_path_temporary() makes; whatever else lies there is not ours. */
static bool parse_temporary(const struct search *search, const char *name,
                            struct tks_checkpoint_identity *identity)
{
    size_t len = strlen(search->name);
    if (strncmp(name, search->name, len) || strncmp(name + len, ".tmp.", 5))
        return false;
    const char *text = name + len + 5;
    return parse_hex(&text, &identity->uuid[0]) && parse_hex(&text, &identity->uuid[1]) &&
           *text++ == '.' && parse_decimal(text, &identity->generation);
}

static int clear_one(void *arg, const char *name)
{
    const struct search *search = arg;
    struct tks_checkpoint_identity found;
    if (!parse_temporary(search, name, &found))
        return 0;
    bool same =
        found.uuid[0] == search->identity->uuid[0] && found.uuid[1] == search->identity->uuid[1];
    if (same ? found.generation >= search->identity->generation : !search->others)
        return 0;
    char *path = tks_path_temporary(search->path, &found);
    if (!path)
        return -ENOMEM;
    int error = tks_file_unlink(search->ops, path);
    free(path);
    return error == -ENOENT ? 0 : error;
}

int tks_writer_clear_leftovers(const struct tks_file_ops *ops, const char *path,
                               const struct tks_checkpoint_identity *identity,
                               const struct tks_path_lock *lock)
{
    struct search search = {ops, path, tks_path_name(path), identity, lock != NULL};
    char *folder = tks_path_folder(path);
    if (!folder)
        return tks_fail(TKS_NO_SPACE, "no memory to look for leftovers of \"%s\"", path);
    int error = -EINTR;
    for (int i = 0; i < 10 && error == -EINTR; i++)
        error = ops->list(ops->context, folder, clear_one, &search);
    free(folder);
    if (!error)
        return TKS_OK;
    tks_fail_errno(-error, "cannot remove what older hosts left beside checkpoint \"%s\"", path);
    return error == -ENOMEM ? TKS_NO_SPACE : TKS_IO;
}
