/* SPDX-License-Identifier: MIT */
/*
 * restore FILE: make the store's segment from a checkpoint file, when there is none.
 *
 * Opening a URI whose checkpoint= names FILE does that by itself; this opens such a URI. What an
 * operator gets besides: it never attaches to what is there already, it says what came back, and
 * FILE may be another one than the URI's: a copy of last week. Then the segment is made from FILE,
 * and the URI's file, which the next restart would read, is written from the segment at once. It
 * may hold a newer state than FILE, so one that is there is refused without --force.
 */
#include "checkpoint_file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
    const struct arguments *arguments;
    char *path;   /* of FILE, from the root */
    bool has_own; /* the URI names a file... */
    char own[URI_VALUE_MAX];
    bool other;          /* ...which is not FILE */
    char *restoring_uri; /* with FILE */
    struct checkpoint_file file;
    struct tks_stats stats;
};

static char *absolute_path(const char *path)
{
    char folder[PATH_MAX], *made;

    if (*path == '/')
        return strdup(path);
    if (!getcwd(folder, sizeof(folder)))
        return NULL;
    return asprintf(&made, "%s/%s", folder, path) < 0 ? NULL : made;
}

static bool same_file(const char *left, const char *right)
{
    struct stat a, b;

    if (strcmp(left, right) == 0)
        return true;
    return stat(left, &a) == 0 && stat(right, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

static int name_files(struct restore *restore)
{
    const struct arguments *arguments = restore->arguments;
    int named;

    restore->path = absolute_path(arguments->words[0]);
    if (!restore->path)
        return complain_memory(arguments);
    restore->restoring_uri = uri_with(arguments->store_uri, "checkpoint", restore->path);
    if (!restore->restoring_uri)
        return complain_memory(arguments);
    named = uri_parameter(arguments->store_uri, "checkpoint", restore->own);
    if (named < 0) {
        complain_status(arguments, TKS_INVALID, arguments->store_shown);
        return CLI_USAGE;
    }
    restore->has_own = named == 1;
    restore->other = restore->has_own && !same_file(restore->own, restore->path);
    return CLI_OK;
}

/* ---- What speaks against it -------------------------------------------------------------- */

static int load(struct restore *restore)
{
    if (checkpoint_file_load(restore->path, NULL, &restore->file) == TKS_OK)
        return CLI_OK;
    complain(restore->arguments, "%s", tks_last_error());
    return CLI_FAILED;
}

static int refuse_backend(const struct arguments *arguments)
{
    if (uri_is_shm(arguments->store_uri))
        return CLI_OK;
    complain(
        arguments,
        "%s: only shm:// is made from a checkpoint; 'tickstate import' stores a file's entries "
        "in any store",
        arguments->store_shown);
    return CLI_FAILED;
}

static int refuse_segment(const struct restore *restore)
{
    struct tks_options options = {.size = sizeof(options),
                                  .flags = TKS_OPEN_EXISTING | TKS_OPEN_PASSIVE};
    const char *shown = restore->arguments->store_shown;
    tks_store *store;
    int status = tks_store_open(restore->arguments->store_uri, &options, &store);

    if (status == TKS_NOT_FOUND)
        return CLI_OK;
    if (status != TKS_OK)
        return complain_status(restore->arguments, status, shown);
    tks_store_close(store);
    complain(restore->arguments,
             "%s: the store is there, and wins over any file; 'tickstate rm' "
             "removes it",
             shown);
    return CLI_FAILED;
}

static int refuse_own_file(const struct restore *restore)
{
    struct stat info;

    if (!restore->other || restore->arguments->force || lstat(restore->own, &info) != 0)
        return CLI_OK;
    complain(restore->arguments,
             "%s: the URI's own checkpoint is there, and restoring %s would replace it; move it "
             "away, or say --force",
             restore->own, restore->arguments->words[0]);
    return CLI_FAILED;
}

/* ---- Doing it ---------------------------------------------------------------------------- */

static int fail(const struct restore *restore, int status)
{
    complain_status(restore->arguments, status, restore->arguments->store_shown);
    return CLI_FAILED;
}

/* Of a segment that somebody else made at the same moment nothing is known. */
static bool is_restored(const struct restore *restore)
{
    return restore->stats.restored_at_ms == restore->file.info->wall_ms &&
           restore->stats.restored_at_ms != 0;
}

/* FILE may be a copy that shall stay what it is: only who feeds it from now on writes it. */
static int make_segment(struct restore *restore)
{
    struct tks_options options = {.size = sizeof(options), .flags = TKS_OPEN_PASSIVE};
    tks_store *store;
    int status = tks_store_open(restore->restoring_uri, &options, &store);

    if (status != TKS_OK)
        return fail(restore, status);
    restore->stats.size = sizeof(restore->stats);
    status = tks_store_stats(store, &restore->stats);
    tks_store_close(store);
    if (status != TKS_OK)
        return fail(restore, status);
    if (is_restored(restore))
        return CLI_OK;
    complain(restore->arguments, "%s: somebody else made the store meanwhile: %s was not restored",
             restore->arguments->store_shown, restore->arguments->words[0]);
    return CLI_FAILED;
}

/* Until it is written there a restart would find the URI's old file, or none. */
static int write_own_file(const struct restore *restore)
{
    tks_store *store;
    int status;

    if (!restore->other)
        return CLI_OK;
    status = tks_store_open(restore->arguments->store_uri, NULL, &store);
    if (status == TKS_OK) {
        status = tks_store_checkpoint(store);
        if (status != TKS_OK)
            fail(restore, status);
        tks_store_close(store);
        if (status == TKS_OK)
            return CLI_OK;
    } else {
        fail(restore, status);
    }
    complain(restore->arguments, "%s is restored, but %s could not be written",
             restore->arguments->words[0], restore->own);
    return CLI_FAILED;
}

/* ---- Report ------------------------------------------------------------------------------ */

static int report(const struct restore *restore)
{
    const struct tks_checkpoint_info *info = restore->file.info;
    const char *file = restore->arguments->words[0];
    char text[3][GROUPED_MAX], date[DATE_MAX], age[AGE_MAX];

    if (restore->arguments->json)
        return print_json(
            restore->arguments,
            json_pack("{ss ss sI sI sI sI sI sb so so}", "store", restore->arguments->store_shown,
                      "checkpoint", file, "entries", (json_int_t)restore->stats.restored_entries,
                      "expired", (json_int_t)restore->file.expired, "plugins",
                      (json_int_t)restore->stats.plugins, "cut_ms", (json_int_t)info->wall_ms,
                      "cuts", (json_int_t)info->cuts, "damaged", info->damaged, "warning",
                      info->damaged ? json_string(info->warning) : json_null(), "written_to",
                      restore->has_own ? json_string(restore->own) : json_null()));
    printf("restored   %s entries of %llu plugins into %s\n",
           format_grouped(restore->stats.restored_entries, text[0]),
           (unsigned long long)restore->stats.plugins, restore->arguments->store_shown);
    printf("from       %s, as of %s, %s ago\n", file, format_date(info->wall_ms, date),
           format_age(restore->file.now_ms - info->wall_ms, age));
    printf("expired    %s entries were left out\n", format_grouped(restore->file.expired, text[1]));
    if (restore->has_own)
        printf("written    from now on to %s\n", restore->own);
    else
        printf("written    nowhere: the URI has no checkpoint=, and %s stays as it is\n", file);
    return CLI_OK;
}

static int run(struct restore *restore)
{
    int status = refuse_backend(restore->arguments);

    if (status == CLI_OK)
        status = name_files(restore);
    if (status == CLI_OK)
        status = load(restore);
    if (status == CLI_OK)
        status = refuse_segment(restore);
    if (status == CLI_OK)
        status = refuse_own_file(restore);
    if (status != CLI_OK)
        return status;
    checkpoint_file_warn(restore->arguments, &restore->file);
    status = make_segment(restore);
    if (status == CLI_OK)
        status = write_own_file(restore);
    return status == CLI_OK ? report(restore) : status;
}

int command_restore(const struct arguments *arguments)
{
    struct restore restore = {.arguments = arguments};
    int status = run(&restore);

    checkpoint_file_release(&restore.file);
    free(restore.path);
    free(restore.restoring_uri);
    return status;
}
