/* SPDX-License-Identifier: MIT */
#include "host_support.h"

#include "base/hash.h"
#include "base/point.h"
#include "store/shm.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LONG_WHILE 20.0

struct content {
    uint64_t records, sum;
};

void (*die_jump)(const char *why);

void die(const char *file, int line, const char *format, ...)
{
    char why[800];
    va_list arguments;
    int len = snprintf(why, sizeof(why), "%s:%d: ", file, line);
    va_start(arguments, format);
    vsnprintf(why + len, sizeof(why) - (size_t)len, format, arguments);
    va_end(arguments);
    if (die_jump)
        die_jump(why);
    fprintf(stderr, "process %ld: %s\n", (long)getpid(), why);
    _exit(1);
}

double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

uint64_t dice(uint64_t *state, uint64_t below)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

void *shared_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    NEED(memory != MAP_FAILED);
    return memory;
}

void pause_us(unsigned us)
{
    const struct timespec pause = {us / 1000000, us % 1000000 * 1000l};
    nanosleep(&pause, NULL);
}

/* ---- A segment and its file ---------------------------------------------------------------- */

static void name_segment(struct place *place, const char *query)
{
    static unsigned count;
    snprintf(place->name, sizeof(place->name), "tks-host-%ld-%u", (long)getpid(), count++);
    snprintf(place->path, sizeof(place->path), "%s/ck", place->folder);
    snprintf(place->uri, sizeof(place->uri), "shm://%s?checkpoint=%s&%s", place->name, place->path,
             query);
    shm_unlink(place->name);
}

void place_make(struct place *place, const char *query)
{
    const char *base = getenv("TMPDIR");
    snprintf(place->folder, sizeof(place->folder), "%.60s/tks-host-XXXXXX", base ? base : "/tmp");
    NEED(mkdtemp(place->folder));
    name_segment(place, query);
}

void place_beside(struct place *place, const struct place *other, const char *query)
{
    *place = *other;
    name_segment(place, query);
}

static unsigned each_file(const struct place *place, const char *part, bool remove)
{
    unsigned count = 0;
    DIR *folder = opendir(place->folder);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        if (entry->d_name[0] == '.' || !strstr(entry->d_name, part))
            continue;
        count++;
        if (remove && unlinkat(dirfd(folder), entry->d_name, 0))
            unlinkat(dirfd(folder), entry->d_name, AT_REMOVEDIR);
    }
    if (folder)
        closedir(folder);
    return count;
}

unsigned place_files(const struct place *place, const char *part)
{
    return each_file(place, part, false);
}

void place_drop(struct place *place, bool folder)
{
    shm_unlink(place->name);
    if (!folder)
        return;
    each_file(place, "", true);
    rmdir(place->folder);
}

uint64_t place_file_bytes(const struct place *place)
{
    struct stat stat_now;
    return stat(place->path, &stat_now) ? 0 : (uint64_t)stat_now.st_size;
}

tks_store *open_store(const struct place *place)
{
    tks_store *store;
    NEED_OK(tks_store_open(place->uri, NULL, &store));
    return store;
}

tks_state *open_state(tks_store *store, const char *plugin)
{
    tks_state *state;
    NEED_OK(tks_state_open(store, plugin, &state));
    return state;
}

struct header *header_of_store(tks_store *store)
{
    return ((struct shm_store *)(void *)store)->segment->header;
}

pid_t host_pid(tks_store *store)
{
    const struct tks_segment *segment = ((struct shm_store *)(void *)store)->segment;
    unsigned slot = lease_slot_and_1(load_ordered(&segment->header->lease));
    return slot ? (pid_t)load_ordered(&segment->slots[slot - 1].owner_pid) : 0;
}

bool await_host(tks_store *store, pid_t pid, pid_t other)
{
    for (double until = seconds() + LONG_WHILE; seconds() < until; pause_us(1000)) {
        pid_t now = host_pid(store);
        if (now && (pid ? now == pid : now != other))
            return true;
    }
    return false;
}

struct tks_loaded *load_file(const struct place *place)
{
    struct tks_loaded *loaded;
    NEED_OK(tks_checkpoint_load(&__real_tks_file_system, place->path, &loaded));
    if (tks_loaded_info(loaded)->damaged)
        die(__FILE__, __LINE__, "damage: %s", tks_loaded_info(loaded)->warning);
    return loaded;
}

static int add_record(void *arg, const struct tks_record *record)
{
    struct content *content = arg;
    uint64_t mix = hash_of(record->plugin, record->plugin_len) * 3;
    mix = (mix ^ hash_of(record->key, record->key_len)) * 0x9e3779b97f4a7c15;
    mix = (mix ^ hash_of(record->value, record->value_len)) * 0x9e3779b97f4a7c15;
    mix = (mix ^ record->version ^ (uint64_t)record->type << 60) * 0x9e3779b97f4a7c15;
    content->sum += mix ^ mix >> 32;
    content->records++;
    return 0;
}

static int add_loaded(void *arg, const struct tks_record *record, uint64_t hash)
{
    (void)hash;
    return add_record(arg, record);
}

void need_same(tks_store *store, const struct place *place)
{
    struct content in_store = {0, 0}, in_file = {0, 0};
    struct tks_loaded *loaded = load_file(place);
    NEED_OK(tks_store_export(store, NULL, add_record, &in_store));
    tks_loaded_each(loaded, add_loaded, &in_file);
    tks_loaded_free(loaded);
    if (in_store.records != in_file.records || in_store.sum != in_file.sum)
        die(__FILE__, __LINE__, "the store has %llu records, the file %llu, others",
            (unsigned long long)in_store.records, (unsigned long long)in_file.records);
}

/* ---- The seam ------------------------------------------------------------------------------ */

struct seam seam;

static void pass_point(void)
{
    const uint64_t points = __atomic_add_fetch(&seam.points, 1, __ATOMIC_RELAXED);
    if (points == seam.stop_at || points == seam.stop_again)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), seam.signal);
}

static int pass(unsigned kind)
{
    pass_point();
    int fail = __atomic_load_n(&seam.fail, __ATOMIC_RELAXED);
    if (!fail || !(seam.fail_kinds & kind) || (seam.fail_limit && seam.failed >= seam.fail_limit))
        return 0;
    __atomic_add_fetch(&seam.failed, 1, __ATOMIC_RELAXED);
    return fail;
}

#define REAL __real_tks_file_system

static int seam_open(void *context, const char *path, int flags, unsigned mode)
{
    const bool writes = flags & (O_WRONLY | O_RDWR);
    int error = pass(writes ? SEAM_OPEN : SEAM_OTHER);
    return error ? error : REAL.open(context, path, flags, mode);
}

static int seam_close(void *context, int file)
{
    pass(0);
    return REAL.close(context, file);
}

static int64_t seam_read(void *context, int file, void *to, size_t bytes, uint64_t offset)
{
    return REAL.read(context, file, to, bytes, offset);
}

/* Some of it, as a disk does that becomes full. */
static int64_t seam_write(void *context, int file, const void *from, size_t bytes, uint64_t offset)
{
    int error = pass(SEAM_WRITE);
    if (error && bytes > 8)
        REAL.write(context, file, from, bytes / 2, offset);
    return error ? error : REAL.write(context, file, from, bytes, offset);
}

static int seam_truncate(void *context, int file, uint64_t bytes)
{
    pass(0);
    return REAL.truncate(context, file, bytes);
}

static int seam_sync(void *context, int file, bool data_only)
{
    int error = pass(SEAM_SYNC);
    return error ? error : REAL.sync(context, file, data_only);
}

static int seam_stat(void *context, int file, struct tks_file_stat *stat)
{
    return REAL.stat(context, file, stat);
}

static int seam_stat_path(void *context, const char *path, struct tks_file_stat *stat)
{
    return REAL.stat_path(context, path, stat);
}

static int seam_rename(void *context, const char *from, const char *to)
{
    int error = pass(SEAM_RENAME);
    return error ? error : REAL.rename(context, from, to);
}

static int seam_unlink(void *context, const char *path)
{
    pass(0);
    return REAL.unlink(context, path);
}

static int seam_sync_folder(void *context, const char *folder)
{
    int error = pass(SEAM_SYNC);
    return error ? error : REAL.sync_folder(context, folder);
}

static int seam_list(void *context, const char *folder, int (*visit)(void *arg, const char *name),
                     void *arg)
{
    pass(0);
    return REAL.list(context, folder, visit, arg);
}

static int seam_lock(void *context, int file, uint64_t byte)
{
    pass(0);
    return REAL.lock(context, file, byte);
}

static int seam_lock_others(void *context, int file, uint64_t byte)
{
    pass(0);
    return REAL.lock_others(context, file, byte);
}

static int64_t seam_now_ms(void *context)
{
    return REAL.now_ms(context);
}

/* The linker puts this in the place of tks_file_system (--wrap). */
extern const struct tks_file_ops __wrap_tks_file_system;
const struct tks_file_ops __wrap_tks_file_system = {
    .open = seam_open,
    .close = seam_close,
    .read = seam_read,
    .write = seam_write,
    .truncate = seam_truncate,
    .sync = seam_sync,
    .stat = seam_stat,
    .stat_path = seam_stat_path,
    .rename = seam_rename,
    .unlink = seam_unlink,
    .sync_folder = seam_sync_folder,
    .list = seam_list,
    .lock = seam_lock,
    .lock_others = seam_lock_others,
    .now_ms = seam_now_ms,
};

#ifdef TKS_TEST_TINY
/* Only hosts take snapshots in the tests that stop one. */
void tks_point_reached(enum tks_point point)
{
    static uint64_t random;
    if (seam.settles && point == POINT_SETTLE_BEFORE && !--seam.settles)
        raise(SIGSTOP);
    if (seam.linger && point == POINT_SETTLE_BEFORE && !dice(&random, seam.linger))
        pause_us((unsigned)dice(&random, 4000));
    if (point >= POINT_SNAPSHOT_FREE && point <= POINT_WALK_SECTION_ENDED &&
        point != POINT_WALK_COPIED)
        pass_point();
}
#endif

/* ---- The crew ------------------------------------------------------------------------------ */

static void number_store(uint32_t *word, uint32_t number)
{
    __atomic_store_n(word, number, __ATOMIC_SEQ_CST);
}

static uint32_t number_load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static bool deletes(uint32_t number)
{
    return number % 7 == 0;
}

static size_t fill_value(char *value, unsigned key, uint32_t number)
{
    size_t len = 4 + (number * 13u + key) % 120;
    memset(value, (int)(number & 0xff), len);
    memcpy(value, &number, sizeof(number));
    return len;
}

static void key_name(char *name, size_t room, unsigned writer, unsigned key)
{
    snprintf(name, room, "w%u-%u", writer, key);
}

static void write_pair(struct crew *crew, tks_state *state, unsigned writer)
{
    char name[32];
    uint32_t seen;
    size_t len;
    const uint32_t number = crew->begun[writer][CREW_PAIR] + 1;
    number_store(&crew->begun[writer][CREW_PAIR], number);
    snprintf(name, sizeof(name), "a%u", writer);
    NEED_OK(tks_set(state, name, &number, sizeof(number)));
    snprintf(name, sizeof(name), "b%u", writer);
    NEED_OK(tks_set(state, name, &number, sizeof(number)));
    number_store(&crew->done[writer][CREW_PAIR], number);
    snprintf(name, sizeof(name), "a%u", (writer + 1) % CREW_MAX);
    if (tks_get(state, name, &seen, sizeof(seen), &len))
        return;
    snprintf(name, sizeof(name), "c%u", writer);
    NEED_OK(tks_set(state, name, &seen, sizeof(seen)));
}

void crew_write(struct crew *crew, tks_state *state, unsigned writer)
{
    uint64_t random = crew->seed + writer + ((uint64_t)getpid() << 20);
    for (unsigned i = 0; !__atomic_load_n(&crew->stop, __ATOMIC_RELAXED); i++) {
        char name[32], value[128];
        unsigned key = (unsigned)dice(&random, __atomic_load_n(&crew->keys, __ATOMIC_RELAXED));
        uint32_t number = crew->begun[writer][key] + 1;
        key_name(name, sizeof(name), writer, key);
        size_t len = fill_value(value, key, number);
        number_store(&crew->begun[writer][key], number);
        if (deletes(number))
            NEED_OK(tks_delete(state, name));
        else
            NEED_OK(tks_set(state, name, value, len));
        number_store(&crew->done[writer][key], number);
        if (i % 8 == 0)
            write_pair(crew, state, writer);
        crew->written[writer]++;
        if (i % (crew->pace ? crew->pace : 32) == 0)
            pause_us(200);
    }
}

void crew_note(const struct crew *crew, struct crew_marks *marks)
{
    for (unsigned w = 0; w < CREW_MAX; w++)
        for (unsigned k = 0; k <= CREW_KEYS; k++)
            marks->done[w][k] = number_load(&crew->done[w][k]);
}

struct crew_file {
    const struct crew *crew;
    uint32_t found[CREW_MAX][CREW_KEYS]; /* 0: absent */
    uint32_t a[CREW_MAX], b[CREW_MAX], c[CREW_MAX];
};

static int take_record(void *arg, const struct tks_record *record, uint64_t hash)
{
    struct crew_file *file = arg;
    unsigned writer, key;
    uint32_t number;
    char value[128];
    (void)hash;
    if (strcmp(record->plugin, "crew"))
        return 0;
    NEED(record->value_len >= sizeof(number));
    memcpy(&number, record->value, sizeof(number));
    if (sscanf(record->key, "w%u-%u", &writer, &key) == 2) {
        NEED(writer < CREW_MAX && key < CREW_KEYS && !deletes(number));
        NEED(record->value_len == fill_value(value, key, number) &&
             !memcmp(value, record->value, record->value_len));
        file->found[writer][key] = number;
        return 0;
    }
    writer = (unsigned)(record->key[1] - '0');
    NEED(writer < CREW_MAX);
    (record->key[0] == 'a' ? file->a : record->key[0] == 'b' ? file->b : file->c)[writer] = number;
    return 0;
}

static void check_key(const struct crew *crew, const struct crew_marks *marks, unsigned writer,
                      unsigned key, uint32_t found)
{
    const uint32_t done = marks->done[writer][key];
    const uint32_t begun = number_load(&crew->begun[writer][key]);
    const uint32_t deletion = begun - begun % 7; /* the last one begun */
    if (found ? found < done || found > begun : done && (!deletion || deletion < done))
        die(__FILE__, __LINE__, "key %u of writer %u is %u in the file, not within %u to %u", key,
            writer, found, done, begun);
}

static void check_order(const struct crew_marks *marks, const struct crew_file *file, unsigned w)
{
    const uint32_t done = marks->done[w][CREW_PAIR];
    const unsigned next = (w + 1) % CREW_MAX;
    if (file->a[w] < file->b[w] || file->b[w] < done || file->c[w] > file->a[next])
        die(__FILE__, __LINE__,
            "writer %u: b is %u and a %u, %u were acknowledged; c is %u, its neighbour's a %u", w,
            file->b[w], file->a[w], done, file->c[w], file->a[next]);
}

void crew_check(const struct crew *crew, const struct crew_marks *marks, const struct place *place)
{
    struct crew_file *file = calloc(1, sizeof(*file));
    struct tks_loaded *loaded = load_file(place);
    NEED(file);
    tks_loaded_each(loaded, take_record, file);
    tks_loaded_free(loaded);
    for (unsigned w = 0; w < CREW_MAX; w++) {
        for (unsigned k = 0; k < CREW_KEYS; k++)
            check_key(crew, marks, w, k, file->found[w][k]);
        check_order(marks, file, w);
    }
    free(file);
}
