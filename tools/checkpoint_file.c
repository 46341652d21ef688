/* SPDX-License-Identifier: MIT */
#include "checkpoint_file.h"

#include "base/clock.h"
#include "base/error.h"
#include "checkpoint/format.h"
#include "store/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- Reading ----------------------------------------------------------------------------- */

/* The file is open already: what is loaded is what was looked at, by whatever name. */
static int open_given(void *context, const char *path, int flags, unsigned mode)
{
    int file = fcntl(fileno(context), F_DUPFD_CLOEXEC, 0);

    (void)path;
    (void)flags;
    (void)mode;
    return file < 0 ? -errno : file;
}

static bool has_expired(const struct checkpoint_file *file, const struct tks_record *record)
{
    return record->expires_at != 0 && record->expires_at <= file->now_ms;
}

struct count {
    struct checkpoint_file *file;
    const char *plugin; /* the last one that was counted */
    size_t plugin_len;
};

static int count_entry(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct count *count = arg;

    (void)hash;
    if (has_expired(count->file, record)) {
        count->file->expired++;
        return 0;
    }
    /* Plugins come together. */
    if (!count->plugin || count->plugin_len != record->plugin_len ||
        memcmp(count->plugin, record->plugin, record->plugin_len) != 0)
        count->file->plugins++;
    count->plugin = record->plugin;
    count->plugin_len = record->plugin_len;
    return 0;
}

int checkpoint_file_load(const char *name, FILE *open, struct checkpoint_file *file)
{
    struct tks_file_ops ops = tks_file_system;
    struct count count = {.file = file};
    int status;

    *file = (struct checkpoint_file){.now_ms = wall_clock_ms()};
    if (open) {
        ops.context = open;
        ops.open = open_given;
    }
    status = tks_checkpoint_load(&ops, name, &file->loaded);
    if (status != TKS_OK)
        return status;
    file->info = tks_loaded_info(file->loaded);
    return tks_loaded_each(file->loaded, count_entry, &count);
}

struct visit {
    const struct checkpoint_file *file;
    const char *glob;
    bool expired_too;
    int (*visit)(void *arg, const struct tks_record *record);
    void *arg;
};

static int visit_entry(void *arg, const struct tks_record *record, uint64_t hash)
{
    const struct visit *visit = arg;

    (void)hash;
    if (!visit->expired_too && has_expired(visit->file, record))
        return 0;
    if (visit->glob && fnmatch(visit->glob, record->plugin, 0) != 0)
        return 0;
    return visit->visit(visit->arg, record);
}

int checkpoint_file_each(const struct checkpoint_file *file, const char *glob,
                         int (*visit)(void *arg, const struct tks_record *record), void *arg)
{
    struct visit each = {.file = file, .glob = glob, .visit = visit, .arg = arg};

    return tks_loaded_each(file->loaded, visit_entry, &each);
}

int checkpoint_file_each_of_all(const struct checkpoint_file *file,
                                int (*visit)(void *arg, const struct tks_record *record), void *arg)
{
    struct visit each = {.file = file, .expired_too = true, .visit = visit, .arg = arg};

    return tks_loaded_each(file->loaded, visit_entry, &each);
}

void checkpoint_file_release(struct checkpoint_file *file)
{
    tks_loaded_free(file->loaded);
    *file = (struct checkpoint_file){.loaded = NULL};
}

void checkpoint_file_warn(const struct arguments *arguments, const struct checkpoint_file *file)
{
    if (file->info->damaged)
        complain(arguments, "warning: %s", file->info->warning);
}

bool checkpoint_file_recognised(FILE *file)
{
    char magic[sizeof(FORMAT_FILE_MAGIC) - 1];
    bool found = fread(magic, 1, sizeof(magic), file) == sizeof(magic) &&
                 memcmp(magic, FORMAT_FILE_MAGIC, sizeof(magic)) == 0;

    rewind(file);
    return found;
}

/* ---- Writing ----------------------------------------------------------------------------- */

struct checkpoint_sink {
    struct tks_writer *writer;
    struct tks_path_lock *lock;
    char *path;
    bool force;
};

/* The writer asks before it puts the file in place: the last moment to find somebody else's. */
static bool may_take_path(void *arg)
{
    const struct checkpoint_sink *sink = arg;

    return sink->force || faccessat(AT_FDCWD, sink->path, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
}

static int refuse_existing(const char *path)
{
    return tks_fail(TKS_BUSY, "\"%s\" is there already; --force replaces it", path);
}

/*
 * Whoever feeds the path has its lock file open. Where there is none nobody does, and none is to
 * be left beside a file that no segment feeds.
 */
static int lock_path(struct checkpoint_sink *sink, const uint64_t uuid[2])
{
    char *name;
    bool there;

    if (asprintf(&name, "%s.lock", sink->path) < 0)
        return tks_fail(TKS_NO_SPACE, "no memory to write \"%s\"", sink->path);
    there = access(name, F_OK) == 0;
    free(name);
    return there ? tks_path_lock(&tks_file_system, sink->path, uuid, &sink->lock) : TKS_OK;
}

static int begin(struct checkpoint_sink *sink)
{
    struct tks_checkpoint_identity identity = {.generation = 1};
    int status;

    /* Of no segment: a uuid of its own keeps its names apart from everybody's. */
    if (getrandom(identity.uuid, sizeof(identity.uuid), 0) != sizeof(identity.uuid))
        return tks_fail_errno(errno, "no random numbers");
    if (!may_take_path(sink))
        return refuse_existing(sink->path);
    status = lock_path(sink, identity.uuid);
    if (status == TKS_OK)
        status = tks_writer_open(&tks_file_system, sink->path, &identity, may_take_path, sink,
                                 &sink->writer);
    return status == TKS_OK ? tks_cut_begin(sink->writer, true) : status;
}

int checkpoint_sink_open(const char *path, bool force, struct checkpoint_sink **result)
{
    struct checkpoint_sink *sink = calloc(1, sizeof(*sink));
    int status;

    *result = NULL;
    if (!sink || !(sink->path = strdup(path))) {
        free(sink);
        return tks_fail(TKS_NO_SPACE, "no memory to write \"%s\"", path);
    }
    sink->force = force;
    status = begin(sink);
    if (status == TKS_REPLACED)
        status = refuse_existing(path);
    if (status != TKS_OK) {
        checkpoint_sink_close(sink);
        return status;
    }
    *result = sink;
    return TKS_OK;
}

int checkpoint_sink_add(struct checkpoint_sink *sink, const struct tks_record *record)
{
    return tks_cut_entry(sink->writer, record);
}

int checkpoint_sink_commit(struct checkpoint_sink *sink, uint64_t highest_version, int64_t wall_ms)
{
    const struct tks_cut_info info = {.highest_version = highest_version, .wall_ms = wall_ms};
    int status = tks_cut_commit(sink->writer, &info);

    return status == TKS_REPLACED ? refuse_existing(sink->path) : status;
}

uint64_t checkpoint_sink_bytes(const struct checkpoint_sink *sink)
{
    return tks_writer_file_bytes(sink->writer);
}

void checkpoint_sink_close(struct checkpoint_sink *sink)
{
    if (!sink)
        return;
    tks_writer_close(sink->writer);
    tks_path_unlock(sink->lock);
    free(sink->path);
    free(sink);
}

uint64_t store_highest_version(tks_store *store)
{
    const struct shm_store *shm = (const struct shm_store *)(const void *)store;

    /* Versions are nanoseconds since 1970 or more where no counter says so. */
    if (store->backend != &tks_shm_backend)
        return (uint64_t)clock_ns(CLOCK_REALTIME);
    return load_acquire(&shm->segment->header->versions.next);
}
