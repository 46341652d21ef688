/* SPDX-License-Identifier: MIT */
#include "segment/segment.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/process.h"
#include "segment/pages.h"
#include "segment/slot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHM_FOLDER "/dev/shm"
#define OPEN_ATTEMPTS 100
/* What the name of a segment that is being removed goes on with. */
#define ASIDE ".removed."

/* ---- Geometry and fingerprint -------------------------------------------------------------- */

static uint64_t round_up(uint64_t value, uint64_t unit)
{
    return (value + unit - 1) / unit * unit;
}

static uint64_t default_slots(uint64_t size_bytes)
{
    uint64_t slots = size_bytes / 16384;
    return slots < SLOTS_MIN ? SLOTS_MIN : slots > 1024 ? 1024 : slots;
}

/* The one place that lays a segment out. False when nothing useful fits. */
static bool lay_out(uint64_t size_bytes, uint64_t slots, struct geometry *geometry)
{
    if (size_bytes < SEGMENT_BYTES_MIN || size_bytes > SEGMENT_BYTES_MAX ||
        slots < SLOTS_MIN + VISITOR_SLOTS || slots > SLOTS_MAX + VISITOR_SLOTS)
        return false;
    uint64_t slots_offset = round_up(sizeof(struct header), CACHE_LINE);
    uint64_t table_offset = slots_offset + slots * sizeof(struct slot);
    const uint64_t per_slab = sizeof(struct slab) + SLAB_STATES * 8 + SLAB_BYTES;
    uint64_t slabs = table_offset < size_bytes ? (size_bytes - table_offset) / per_slab : 0;
    for (; slabs; slabs--) {
        uint64_t states_offset = round_up(table_offset + slabs * sizeof(struct slab), 4096);
        uint64_t slabs_offset = round_up(states_offset + slabs * SLAB_STATES * 8, SLAB_BYTES);
        if (slabs_offset + slabs * SLAB_BYTES <= size_bytes) {
            *geometry = (struct geometry){size_bytes,   slots,         slabs,       slots_offset,
                                          table_offset, states_offset, slabs_offset};
            return slabs >= 4;
        }
    }
    return false;
}

/* Two builds may share a segment only if they agree on every number here. */
static uint64_t layout_fingerprint(void)
{
    const uint64_t numbers[] = {
        LAYOUT_VERSION, sizeof(struct header), sizeof(struct slot), sizeof(struct slab),
        sizeof(struct plugin), sizeof(pthread_mutex_t), offsetof(struct header, lifecycle),
        offsetof(struct header, epoch), offsetof(struct header, era),
        offsetof(struct header, versions), sizeof(struct tks_versions),
        offsetof(struct header, registry), offsetof(struct slot, words),
        offsetof(struct slot, mutex), offsetof(struct plugin, level),
        offsetof(struct plugin, heads), SLAB_BYTES, SLAB_STATES, COMMIT_SLABS, LEVEL0_BITS,
        PIECE_BITS, MARK_BITS, LEVELS, CLASS_COUNT, RESERVE_BLOCK_BYTES, SLOT_WORDS, GRANULE_BITS,
        FINGERPRINT_BITS, SLOT_BITS, ENTRY_KEY, VECTOR_MEMBERS, (uint64_t)tks_slot_mutex_kind(),
        /* glibc's robust list is part of the layout; another libc's would be another number. */
        (uint64_t)'g' << 32 | (uint64_t)'l' << 24 | 'c',
#define SIZE_NUMBER(size) size,
        BLOCK_SIZES(SIZE_NUMBER)
#undef SIZE_NUMBER
    };
    return hash_of(numbers, sizeof(numbers));
}

/* ---- Creation ------------------------------------------------------------------------------ */

static void path_of(const char *name, char path[256])
{
    snprintf(path, 256, SHM_FOLDER "/%s", name);
}

static int random_words(uint64_t *words, size_t bytes)
{
    return getrandom(words, bytes, 0) == (ssize_t)bytes ? 0 : EIO;
}

static int fill_header(struct header *header, const struct geometry *geometry)
{
    header->magic = LAYOUT_MAGIC;
    header->version = LAYOUT_VERSION;
    header->byte_order = LAYOUT_BYTE_ORDER;
    header->fingerprint = layout_fingerprint();
    header->geometry = *geometry;
    header->created_ms = wall_ms();
    header->clock_offset_ms = tks_boot_to_wall_ms();
    header->lifecycle = LIFE_LIVE;
    header->epoch = 2; /* so that epoch - 2 is never negative */
    header->era = FIRST_STAMP;
    /* Version numbers are never used again, not even by a segment made later under this name. */
    header->versions.next = header->versions.first = tks_versions_begin();
    return random_words(header->identity, sizeof(header->identity));
}

static void fill_slabs(char *base, const struct geometry *geometry)
{
    struct slab *slabs = (struct slab *)(void *)(base + geometry->slab_table_offset);
    slabs[0].word = slab_word(SLAB_CLASSED, CLASS_RESERVE, 0, 0);
    for (uint64_t i = 1; i < COMMIT_SLABS && i < geometry->slabs; i++)
        slabs[i].word = slab_word(SLAB_EMPTY, 0, 0, 0);
}

static int fill_segment(int fd, const struct geometry *geometry)
{
    const uint64_t group = COMMIT_SLABS < geometry->slabs ? COMMIT_SLABS : geometry->slabs;
    int error = tks_pages_commit(fd, 0, geometry->state_table_offset + group * SLAB_STATES * 8);
    if (!error)
        error = tks_pages_commit(fd, geometry->slabs_offset, group * SLAB_BYTES);
    if (error)
        return error;
    tks_point(POINT_CREATE_COMMITTED);
    char *base = mmap(NULL, geometry->slabs_offset, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return errno;
    struct header *header = (struct header *)(void *)base;
    error = fill_header(header, geometry);
    struct slot *slots = (struct slot *)(void *)(base + geometry->slots_offset);
    tks_point(POINT_CREATE_HEADER);
    for (uint64_t i = 0; !error && i < geometry->slots; i++)
        error = tks_slot_init(&slots[i]);
    tks_point(POINT_CREATE_SLOTS);
    fill_slabs(base, geometry);
    munmap(base, geometry->slabs_offset);
    return error;
}

static void fill_mapping(struct tks_segment *segment, char *base, const struct stat *status)
{
    const struct header *header = (const struct header *)(const void *)base;
    const struct geometry geometry = header->geometry;
    segment->base = base;
    segment->geometry = geometry;
    segment->header = (struct header *)(void *)base;
    segment->slots = (struct slot *)(void *)(base + geometry.slots_offset);
    segment->slabs = (struct slab *)(void *)(base + geometry.slab_table_offset);
    segment->states = (uint64_t *)(void *)(base + geometry.state_table_offset);
    segment->slot_count = geometry.slots;
    segment->slab_count = geometry.slabs;
    segment->first_granule = geometry.slabs_offset / GRANULE_BYTES;
    segment->end_granule = segment->first_granule + geometry.slabs * SLAB_GRANULES;
    segment->end = base + segment->end_granule * GRANULE_BYTES;
    segment->size_bytes = geometry.size_bytes;
    segment->device = status->st_dev;
    segment->inode = status->st_ino;
    segment->process_token = tks_process->token;
    while (segment->levels < LEVELS &&
           8ull << (LEVEL0_BITS + segment->levels) <= geometry.size_bytes)
        segment->levels++;
}

static void name_mapping(struct tks_segment *segment, const struct tks_segment_options *options)
{
    _Static_assert(sizeof(segment->name) == sizeof(options->name), "the whole name");
    memcpy(segment->name, options->name, sizeof(segment->name));
}

/* Let the caller fill a new segment, through a mapping that no list has and no lock outlives. */
static int fill_unnamed(const struct tks_segment_options *options, int fd)
{
    struct tks_segment segment = {.fd = fd};
    struct stat status;
    if (!options->fill)
        return TKS_OK;
    if (fstat(fd, &status))
        return tks_fail_errno(errno, "cannot look at the new segment \"%s\"", options->name);
    char *base = tks_pages_map(fd, options->size_bytes);
    if (!base)
        return tks_fail_errno(errno, "cannot map the new segment \"%s\"", options->name);
    fill_mapping(&segment, base, &status);
    name_mapping(&segment, options);
    int result = options->fill(&segment, options->fill_arg);
    munmap(base, options->size_bytes);
    return result;
}

/* Whether the file is a segment whose removal was decided. */
static bool is_destroyed(const char *path)
{
    enum {
        MAGIC = offsetof(struct header, magic) / 8,
        LIFE = offsetof(struct header, lifecycle) / 8
    };
    uint64_t words[LIFE + 1];
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool whole = pread(fd, words, sizeof(words), 0) == (ssize_t)sizeof(words);
    close(fd);
    return whole && words[MAGIC] == LAYOUT_MAGIC && life_of(words[LIFE]) == LIFE_DESTROYED;
}

/* Remove what removers of the name moved aside before they were killed (tks_segment_unlink()). One
 * that is at work finds its file gone and has nothing left to do. */
static void finish_removals(const char *name)
{
    char prefix[256], path[512];
    int len = snprintf(prefix, sizeof(prefix), "%.200s" ASIDE, name);
    DIR *folder = opendir(SHM_FOLDER);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        if (strncmp(entry->d_name, prefix, (size_t)len))
            continue;
        snprintf(path, sizeof(path), SHM_FOLDER "/%s", entry->d_name);
        if (is_destroyed(path))
            unlink(path);
    }
    if (folder)
        closedir(folder);
}

/* TKS_OK: a segment of that name exists now, ours or a faster creator's. */
static int create(const struct tks_segment_options *options, const char *path)
{
    uint64_t slots = options->slots ? options->slots : default_slots(options->size_bytes);
    struct geometry geometry;
    if (!lay_out(options->size_bytes, slots + VISITOR_SLOTS, &geometry))
        return tks_fail(TKS_INVALID, "segment \"%s\": size=%llu with slots=%llu is not possible",
                        options->name, (unsigned long long)options->size_bytes,
                        (unsigned long long)slots);
    int fd = open(SHM_FOLDER, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return tks_fail_errno(errno, "cannot create a file in " SHM_FOLDER " for segment \"%s\"",
                              options->name);
    tks_point(POINT_CREATE_FILE);
    int error = ftruncate(fd, (off_t)options->size_bytes) ? errno : 0;
    tks_point(POINT_CREATE_SIZED);
    if (!error)
        error = fill_segment(fd, &geometry);
    if (!error && options->has_group && fchown(fd, (uid_t)-1, options->group))
        error = errno;
    if (!error && fchmod(fd, options->mode))
        error = errno;
    tks_point(POINT_CREATE_FILLED);
    int status = error ? TKS_OK : fill_unnamed(options, fd);
    if (status) {
        close(fd);
        return status;
    }
    char link_path[64];
    snprintf(link_path, sizeof(link_path), "/proc/self/fd/%d", fd);
    tks_point(POINT_CREATE_BEFORE_LINK);
    if (!error && linkat(AT_FDCWD, link_path, AT_FDCWD, path, AT_SYMLINK_FOLLOW) && errno != EEXIST)
        error = errno;
    tks_point(POINT_CREATE_LINKED);
    close(fd);
    return error ? tks_fail_errno(error, "cannot create segment \"%s\"", options->name) : TKS_OK;
}

/* ---- Attaching ----------------------------------------------------------------------------- */

static int check_owner(const struct tks_segment_options *options, const struct stat *status)
{
    if (!S_ISREG(status->st_mode))
        return tks_fail(TKS_DENIED, "segment \"%s\" is not a regular file", options->name);
    if (status->st_mode & S_IWOTH)
        return tks_fail(TKS_DENIED, "segment \"%s\" is world-writable: refused", options->name);
    bool shared = options->has_group && status->st_gid == options->group;
    if (status->st_uid != geteuid() && !shared)
        return tks_fail(TKS_DENIED,
                        "segment \"%s\" belongs to user %u: refused (group= allows sharing)",
                        options->name, (unsigned)status->st_uid);
    return TKS_OK;
}

static int check_header(const char *name, const struct header *header, uint64_t file_bytes)
{
    if (header->magic != LAYOUT_MAGIC)
        return tks_fail(TKS_CORRUPT, "\"%s\" is not a tickstate segment (bad magic)", name);
    if (header->byte_order != LAYOUT_BYTE_ORDER)
        return tks_fail(TKS_MISMATCH, "segment \"%s\" has another byte order", name);
    if (header->version != LAYOUT_VERSION)
        return tks_fail(TKS_MISMATCH, "segment \"%s\" has layout version %u, this library %u", name,
                        header->version, LAYOUT_VERSION);
    if (header->fingerprint != layout_fingerprint())
        return tks_fail(TKS_MISMATCH, "segment \"%s\" was made by a build with another layout",
                        name);
    struct geometry geometry;
    if (header->geometry.size_bytes != file_bytes ||
        !lay_out(file_bytes, header->geometry.slots, &geometry) ||
        memcmp(&geometry, &header->geometry, sizeof(geometry)))
        return tks_fail(TKS_CORRUPT, "segment \"%s\": its sizes contradict each other", name);
    return TKS_OK;
}

/* Check what is at fd through a mapping of it; TKS_OK leaves it mapped in *segment. */
static int map_checked(const struct tks_segment_options *options, int fd, const struct stat *status,
                       struct tks_segment **result)
{
    uint64_t bytes = (uint64_t)status->st_size;
    if (bytes < SEGMENT_BYTES_MIN || bytes > SEGMENT_BYTES_MAX)
        return tks_fail(TKS_CORRUPT, "segment \"%s\" has an impossible size of %llu bytes",
                        options->name, (unsigned long long)bytes);
    char *base = tks_pages_map(fd, bytes);
    if (!base)
        return tks_fail_errno(errno, "cannot map segment \"%s\"", options->name);
    tks_point(POINT_ATTACH_MAPPED);
    int result_status = check_header(options->name, (struct header *)(void *)base, bytes);
    struct tks_segment *segment = NULL;
    if (!result_status) {
        segment = calloc(1, sizeof(*segment));
        if (!segment)
            result_status =
                tks_fail(TKS_NO_SPACE, "no memory to open segment \"%s\"", options->name);
    }
    if (result_status) {
        munmap(base, bytes);
        return result_status;
    }
    fill_mapping(segment, base, status);
    name_mapping(segment, options);
    *result = segment;
    return TKS_OK;
}

static struct tks_segment *find_mapping(const struct stat *status)
{
    struct tks_segment *segment = tks_process->mappings;
    while (segment && (segment->device != status->st_dev || segment->inode != status->st_ino))
        segment = segment->next;
    return segment;
}

static int attach_fd(const struct tks_segment_options *options, int fd, struct tks_segment **result)
{
    struct stat status;
    if (fstat(fd, &status))
        return tks_fail_errno(errno, "cannot look at segment \"%s\"", options->name);
    int checked = check_owner(options, &status);
    if (checked)
        return checked;
    struct tks_segment *segment = find_mapping(&status);
    if (segment) {
        close(fd);
    } else {
        checked = map_checked(options, fd, &status, &segment);
        if (checked)
            return checked;
        segment->fd = fd;
        segment->next = tks_process->mappings;
        tks_process->mappings = segment;
    }
    tks_point(POINT_ATTACH_CHECKED);
    segment->references++;
    *result = segment;
    return TKS_OK;
}

/* Where slab @p slab begins, and where its states do. */
static uint64_t slab_at(const struct tks_segment *segment, uint64_t slab)
{
    return segment->geometry.slabs_offset + slab * SLAB_BYTES;
}

static uint64_t states_at(const struct tks_segment *segment, uint64_t slab)
{
    return segment->geometry.state_table_offset + slab * SLAB_STATES * 8;
}

/* The header says what came of the last attempt, for everybody's stats. */
struct hugeness {
    uint64_t windows, huge;
};

static void make_huge(struct tks_segment *segment, struct hugeness *hugeness, uint64_t from,
                      uint64_t bytes)
{
    hugeness->huge += tks_pages_make_huge(segment->base, segment->size_bytes, from, bytes,
                                          &hugeness->windows);
}

static void make_slabs_huge(struct tks_segment *segment, struct hugeness *hugeness, uint64_t first,
                            uint64_t count)
{
    make_huge(segment, hugeness, states_at(segment, first), count * SLAB_STATES * 8);
    make_huge(segment, hugeness, slab_at(segment, first), count * SLAB_BYTES);
}

static void tell_hugeness(struct tks_segment *segment, const struct hugeness *hugeness)
{
    if (hugeness->windows)
        store_relaxed(&segment->header->huge, hugeness->huge == hugeness->windows);
}

static void use_huge_pages(struct tks_segment *segment)
{
    struct hugeness hugeness = {0};
    store_relaxed(&segment->huge, 1);
    make_huge(segment, &hugeness, 0, segment->geometry.state_table_offset);
    for (uint64_t slab = 0, end; slab < segment->slab_count; slab = end) {
        bool committed = false;
        end = slab;
        do
            committed |= slab_kind(load_relaxed(&segment->slabs[end].word)) != SLAB_UNCOMMITTED;
        while (++end < segment->slab_count && slab_at(segment, end) % WINDOW_BYTES);
        if (committed)
            make_slabs_huge(segment, &hugeness, slab, end - slab);
    }
    tell_hugeness(segment, &hugeness);
}

static void apply_memory_options(const struct tks_segment_options *options,
                                 struct tks_segment *segment)
{
    if (options->huge && !load_relaxed(&segment->huge))
        use_huge_pages(segment);
    if (options->prefault && !segment->prefaulted)
        segment->prefaulted = !tks_segment_commit(segment, 0, segment->slab_count) &&
                              tks_pages_populate(segment->base, 0, segment->size_bytes);
    if (options->lock && !segment->locked) {
        /* ONFAULT: what is not committed yet must not be committed by locking it. */
        segment->locked = !mlock2(segment->base, segment->size_bytes, MLOCK_ONFAULT);
    }
}

int tks_segment_open(const struct tks_segment_options *options, struct tks_segment **segment)
{
    char path[256];
    path_of(options->name, path);
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++) {
        int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        tks_point(POINT_ATTACH_OPENED);
        if (fd >= 0) {
            int status = attach_fd(options, fd, segment);
            if (status)
                close(fd);
            else
                apply_memory_options(options, *segment);
            return status;
        }
        if (errno == ELOOP)
            return tks_fail(TKS_DENIED, "segment \"%s\" is a symbolic link: refused",
                            options->name);
        if (errno != ENOENT)
            return tks_fail_errno(errno, "cannot open segment \"%s\"", options->name);
        finish_removals(options->name);
        if (options->existing)
            return tks_fail(TKS_NOT_FOUND, "there is no segment \"%s\"", options->name);
        int status = create(options, path);
        if (status)
            return status;
    }
    return tks_fail(TKS_BUSY, "segment \"%s\" was removed again and again while opening it",
                    options->name);
}

void tks_segment_release(struct tks_segment *segment)
{
    if (--segment->references)
        return;
    void **link = &tks_process->mappings;
    while (*link && *link != segment)
        link = (void **)&((struct tks_segment *)*link)->next;
    if (*link)
        *link = segment->next;
    munmap(segment->base, segment->size_bytes);
    close(segment->fd);
    free(segment);
}

/* ---- Removal ------------------------------------------------------------------------------- */

int tks_segment_unlink(const struct tks_segment *segment)
{
    char path[256], aside[320];
    path_of(segment->name, path);
    uint64_t id[2];
    int error = random_words(id, sizeof(id));
    if (error)
        return tks_fail_errno(error, "cannot remove segment \"%s\"", segment->name);
    snprintf(aside, sizeof(aside), SHM_FOLDER "/%.200s" ASIDE "%016llx%016llx", segment->name,
             (unsigned long long)id[0], (unsigned long long)id[1]);
    struct stat status;
    if (lstat(path, &status) || status.st_dev != segment->device || status.st_ino != segment->inode)
        return TKS_OK; /* gone, or another segment's by now */
    tks_point(POINT_UNLINK_FOUND);
    /* unlink(2) takes a name, not an inode: move it aside, look what it was, put a stranger back.
     */
    if (renameat2(AT_FDCWD, path, AT_FDCWD, aside, RENAME_NOREPLACE))
        return errno == ENOENT
                   ? TKS_OK
                   : tks_fail_errno(errno, "cannot remove segment \"%s\"", segment->name);
    tks_point(POINT_UNLINK_ASIDE);
    if (!lstat(aside, &status) &&
        (status.st_dev != segment->device || status.st_ino != segment->inode)) {
        renameat2(AT_FDCWD, aside, AT_FDCWD, path, RENAME_NOREPLACE);
        return TKS_OK;
    }
    tks_point(POINT_UNLINK_BEFORE);
    if (unlink(aside) && errno != ENOENT)
        return tks_fail_errno(errno, "cannot remove segment \"%s\"", segment->name);
    tks_point(POINT_UNLINK_DONE);
    return TKS_OK;
}

/* ---- The keepers' sleep -------------------------------------------------------------------- */

static long futex(uint32_t *word, int operation, uint32_t value, const struct timespec *until)
{
    return syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, until, NULL,
                   FUTEX_BITSET_MATCH_ANY);
}

void tks_segment_call_keepers(struct tks_segment *segment)
{
    __atomic_fetch_add(&segment->calls, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&segment->sleepers, __ATOMIC_SEQ_CST))
        futex(&segment->calls, FUTEX_WAKE, INT_MAX, NULL);
}

uint32_t tks_segment_calls(const struct tks_segment *segment)
{
    return __atomic_load_n(&segment->calls, __ATOMIC_SEQ_CST);
}

void tks_segment_keeper_sleep(struct tks_segment *segment, uint32_t calls, int64_t until_ns,
                              bool nap)
{
    const struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    __atomic_fetch_add(&segment->sleepers, !nap, __ATOMIC_SEQ_CST);
    futex(&segment->calls, FUTEX_WAIT_BITSET, calls, until_ns ? &until : NULL);
    __atomic_fetch_sub(&segment->sleepers, !nap, __ATOMIC_SEQ_CST);
}

/* ---- Memory and time ----------------------------------------------------------------------- */

/* What a huge page holds is committed together, if there is room for it. */
static void widen(const struct tks_segment *segment, uint64_t *first, uint64_t *count)
{
    uint64_t from = *first, end = *first + *count;
    while (from > 0 && slab_at(segment, from) % WINDOW_BYTES)
        from--;
    while (end < segment->slab_count && slab_at(segment, end) % WINDOW_BYTES)
        end++;
    if (!tks_pages_commit(segment->fd, slab_at(segment, from), (end - from) * SLAB_BYTES) &&
        !tks_pages_commit(segment->fd, states_at(segment, from), (end - from) * SLAB_STATES * 8)) {
        *first = from;
        *count = end - from;
    }
}

int tks_segment_commit(struct tks_segment *segment, uint64_t first, uint64_t count)
{
    const bool huge = load_relaxed(&segment->huge) != 0;
    if (huge)
        widen(segment, &first, &count);
    const uint64_t slabs = slab_at(segment, first), slab_bytes = count * SLAB_BYTES;
    const uint64_t states = states_at(segment, first), state_bytes = count * SLAB_STATES * 8;
    int error = tks_pages_commit(segment->fd, states, state_bytes);
    if (!error)
        error = tks_pages_commit(segment->fd, slabs, slab_bytes);
    if (error)
        return tks_fail_errno(error, "cannot commit memory to segment \"%s\"", segment->name);
    tks_point(POINT_COMMIT_MEMORY);
    if (huge) {
        struct hugeness hugeness = {0};
        make_slabs_huge(segment, &hugeness, first, count);
        tell_hugeness(segment, &hugeness);
    }
    (void)tks_pages_populate(segment->base, states, state_bytes);
    (void)tks_pages_populate(segment->base, slabs, slab_bytes);
    tks_point(POINT_COMMIT_POPULATED);
    for (uint64_t i = first; i < first + count; i++) {
        /* Whatever else a damaged word says: who asks again and again must come to an end. */
        const uint64_t word = load_relaxed(&segment->slabs[i].word);
        if (slab_kind(word) == SLAB_UNCOMMITTED)
            compare_and_swap(&segment->slabs[i].word, word, slab_word(SLAB_EMPTY, 0, 0, 0));
    }
    return TKS_OK;
}

int64_t tks_segment_now_ms(const struct tks_segment *segment)
{
    return add_clamped(tks_boot_ms(), segment->header->clock_offset_ms);
}

int64_t tks_segment_to_wall_ms(const struct tks_segment *segment)
{
    return sub_clamped(tks_boot_to_wall_ms(), segment->header->clock_offset_ms);
}
