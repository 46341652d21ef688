/* SPDX-License-Identifier: MIT */
/*
 * The write-behind mirror, from outside: what a segment holds and what the table holds are both
 * exported through the library and compared entry by entry. The same tests for every database.
 */
#include "mirror_database.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_MS = 1000, PATIENT_MS = 60000, GIVE_UP_MS = 60000, SLACK_MS = 20 };

struct fixture {
    struct mirror_database *database;
    char shm[API_URI_MAX];     /* without a mirror */
    char uri[2 * API_URI_MAX]; /* with it */
    tks_store *store;
    tks_state *state;
};

/* ---- Waiting ------------------------------------------------------------------------------- */

static int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void nap(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000l}, NULL);
}

static struct tks_stats stats_of(tks_store *store)
{
    struct tks_stats stats = {.size = sizeof(stats)};

    CHECK_OK(tks_store_stats(store, &stats));
    return stats;
}

/* Until the statistics say so. */
#define AWAIT(store, condition)                                                                    \
    do {                                                                                           \
        const int64_t since_ = clock_ms();                                                         \
        for (;;) {                                                                                 \
            const struct tks_stats s = stats_of(store);                                            \
            if (condition)                                                                         \
                break;                                                                             \
            if (clock_ms() - since_ > GIVE_UP_MS)                                                  \
                api_fail(__FILE__, __LINE__, "in vain: %s; host %llu, lag %llu ms, %s",            \
                         #condition, (unsigned long long)s.mirror_host,                            \
                         (unsigned long long)s.mirror_lag_ms, s.mirror_error);                     \
            nap(5);                                                                                \
        }                                                                                          \
    } while (0)

/* ---- Comparing ----------------------------------------------------------------------------- */

struct entry {
    char plugin[16], key[64];
    uint32_t type;
    uint64_t version, hash;
    size_t len;
    int64_t expires_at;
};

struct entries {
    struct entry *list;
    size_t count, room;
};

static uint64_t hash_bytes(const unsigned char *bytes, size_t len)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash;
}

static int take_entry(void *arg, const struct tks_record *record)
{
    struct entries *entries = arg;

    if (strncmp(record->plugin, "other", 5) == 0)
        return 0; /* rows that are not the segment's */
    if (entries->count == entries->room) {
        entries->room = entries->room != 0 ? 2 * entries->room : 1024;
        entries->list = reallocarray(entries->list, entries->room, sizeof(*entries->list));
        CHECK(entries->list != NULL);
    }
    struct entry *entry = &entries->list[entries->count++];
    *entry = (struct entry){.type = record->type,
                            .version = record->version,
                            .hash = hash_bytes(record->value, record->value_len),
                            .len = record->value_len,
                            .expires_at = record->expires_at};
    snprintf(entry->plugin, sizeof(entry->plugin), "%s", record->plugin);
    snprintf(entry->key, sizeof(entry->key), "%s", record->key);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    int order = strcmp(left->plugin, right->plugin);

    return order != 0 ? order : strcmp(left->key, right->key);
}

static bool export_all(tks_store *store, struct entries *entries)
{
    *entries = (struct entries){NULL, 0, 0};
    if (tks_store_export(store, NULL, take_entry, entries) != TKS_OK)
        return false;
    if (entries->count > 0)
        qsort(entries->list, entries->count, sizeof(*entries->list), by_name);
    return true;
}

static bool same_entry(const struct entry *a, const struct entry *b)
{
    return by_name(a, b) == 0 && a->type == b->type && a->version == b->version &&
           a->hash == b->hash && a->len == b->len && !a->expires_at == !b->expires_at &&
           llabs(a->expires_at - b->expires_at) <= SLACK_MS;
}

/* What is different first, in *text; false: nothing. */
static bool find_difference(const struct entries *segment, const struct entries *table,
                            char text[200])
{
    for (size_t i = 0; i < segment->count || i < table->count; i++) {
        const struct entry *a = i < segment->count ? &segment->list[i] : NULL;
        const struct entry *b = i < table->count ? &table->list[i] : NULL;

        if (a != NULL && b != NULL && same_entry(a, b))
            continue;
        snprintf(text, 200, "%zu entries and %zu rows; first %s/%s %llu and %s/%s %llu",
                 segment->count, table->count, a ? a->plugin : "-", a ? a->key : "-",
                 a ? (unsigned long long)a->version : 0, b ? b->plugin : "-", b ? b->key : "-",
                 b ? (unsigned long long)b->version : 0);
        return true;
    }
    return false;
}

static bool differ(struct fixture *f, char text[200])
{
    struct entries segment = {NULL, 0, 0}, table = {NULL, 0, 0};
    tks_store *database = NULL;
    bool different = true;

    snprintf(text, 200, "one of them cannot be read");
    if (tks_store_open(mirror_database_uri(f->database, PATIENT_MS), NULL, &database) == TKS_OK &&
        export_all(f->store, &segment) && export_all(database, &table))
        different = find_difference(&segment, &table, text);
    tks_store_close(database);
    free(segment.list);
    free(table.list);
    return different;
}

static void check_same(struct fixture *f)
{
    char text[200];

    if (differ(f, text))
        api_fail(__FILE__, __LINE__, "%s", text);
}

static void await_same(struct fixture *f)
{
    const int64_t since = clock_ms();
    char text[200];

    while (differ(f, text)) {
        if (clock_ms() - since > GIVE_UP_MS)
            api_fail(__FILE__, __LINE__, "still after %d ms: %s; %s", GIVE_UP_MS, text,
                     stats_of(f->store).mirror_error);
        nap(20);
    }
}

/* ---- A store with a mirror ----------------------------------------------------------------- */

static void encode(const char *text, char *to)
{
    for (; *text != '\0'; text++)
        to += sprintf(to, strchr("&?%=+#", *text) != NULL ? "%%%02X" : "%c", (unsigned char)*text);
}

/* shm://…?size=64M&MORE&mirror=… */
static void make_uri(struct fixture *f, const char *more, int timeout_ms)
{
    char encoded[API_URI_MAX + 200];

    encode(mirror_database_uri(f->database, timeout_ms), encoded);
    CHECK(snprintf(f->uri, sizeof(f->uri), "%s%s&mirror=%s", f->shm, more, encoded) <
          (int)sizeof(f->uri));
}

static void open_store(struct fixture *f)
{
    f->store = api_store(f->uri);
    f->state = api_state(f->store, "plugin");
}

static void close_store(struct fixture *f)
{
    tks_state_close(f->state);
    tks_store_close(f->store);
    f->state = NULL;
    f->store = NULL;
}

static int setup(void **fixture)
{
    struct fixture *f = calloc(1, sizeof(*f));

    CHECK(f != NULL);
    f->database = mirror_database_new();
    api_shm_uri(f->shm, "size=64M");
    make_uri(f, "", TIMEOUT_MS);
    *fixture = f;
    return 0;
}

static int teardown(void **fixture)
{
    struct fixture *f = *fixture;

    api_end_peers();
    mirror_database_returns(f->database);
    close_store(f);
    (void)tks_store_destroy(f->shm);
    mirror_database_dispose(f->database);
    free(f);
    return 0;
}

#define MIRROR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A process that has the store open, and with it stands for feeding the mirror, until told. */
static int attend(int fd, void *arg)
{
    struct fixture *f = arg;
    tks_store *store = api_store(f->uri);

    api_tell(fd);
    api_hear(fd);
    tks_store_close(store);
    return 0;
}

/* One that feeds it by now. */
static struct api_peer start_feeder(struct fixture *f)
{
    struct api_peer peer = api_spawn(attend, f);

    api_hear(peer.fd);
    f->store = api_store(f->shm);
    f->state = api_state(f->store, "plugin");
    AWAIT(f->store, s.mirror_host == (uint64_t)peer.pid);
    return peer;
}

static void set_number(tks_state *state, const char *key, int64_t value)
{
    CHECK_OK(tks_set_i64(state, key, value));
}

/* ---- Writers ------------------------------------------------------------------------------- */

enum { WRITERS = 3, KEYS = 3000 };

/* Shared with the processes that write. */
struct traffic {
    const struct fixture *fixture;
    uint64_t operations[WRITERS];
    uint64_t stop;
    int64_t most; /* operations of each; 0: until told to stop */
};

static struct traffic *new_traffic(const struct fixture *f, int64_t most)
{
    struct traffic *traffic =
        mmap(NULL, sizeof(*traffic), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(traffic != MAP_FAILED);
    *traffic = (struct traffic){.fixture = f, .most = most};
    return traffic;
}

static uint64_t operations_of(const struct traffic *traffic)
{
    uint64_t sum = 0;

    for (int i = 0; i < WRITERS; i++)
        sum += __atomic_load_n(&traffic->operations[i], __ATOMIC_RELAXED);
    return sum;
}

static void write_something(tks_state *state, uint64_t *seed)
{
    uint64_t random = api_random(seed);
    char key[32], value[200];
    size_t len = random >> 40 & 127;

    snprintf(key, sizeof(key), "key-%llu", (unsigned long long)(random >> 20) % KEYS);
    api_pattern(value, len, random);
    switch (random % 10) {
    case 0:
    case 1:
        CHECK_OK(tks_delete(state, key));
        break;
    case 2:
        CHECK_OK(tks_set_with_ttl(state, key, value, len, (int64_t)(1 + (random >> 50) % 400)));
        break;
    case 3:
        CHECK_OK(tks_set_with_ttl(state, key, value, len, API_HOUR_MS));
        break;
    case 4:
        CHECK_OK(tks_set_f64(state, key, (double)(random >> 30) / 7));
        break;
    case 5:
        CHECK_OK(tks_set_json(state, key, "{\"$bytes\":[null,1.50]}", 22));
        break;
    case 6:
        CHECK_OK(tks_set_bool(state, key, random >> 63));
        break;
    default:
        CHECK_OK(tks_set(state, key, value, len));
    }
}

static int write_traffic(int fd, void *arg)
{
    struct traffic *traffic = arg;
    static const char *const plugins[] = {"plugin", "alpha", "beta"};
    tks_store *store = api_store(traffic->fixture->uri);
    int index;

    CHECK(read(fd, &index, sizeof(index)) == sizeof(index));
    tks_state *state = api_state(store, plugins[index % 3]);
    uint64_t seed = (uint64_t)index + 1;
    for (int64_t i = 0; traffic->most == 0 || i < traffic->most; i++) {
        if (__atomic_load_n(&traffic->stop, __ATOMIC_RELAXED))
            break;
        write_something(state, &seed);
        __atomic_fetch_add(&traffic->operations[index], 1, __ATOMIC_RELAXED);
        if (traffic->most == 0 && i % 64 == 0)
            nap(1);
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

/* Before the store is open here: a child of a process one of whose threads allocates, as the
 * writer's does, cannot allocate under AddressSanitizer. */
static void start_writers(struct api_peer peers[WRITERS], struct traffic *traffic)
{
    for (int i = 0; i < WRITERS; i++) {
        peers[i] = api_spawn(write_traffic, traffic);
        CHECK(write(peers[i].fd, &i, sizeof(i)) == sizeof(i));
    }
}

static void join_writers(struct api_peer peers[WRITERS], struct traffic *traffic)
{
    __atomic_store_n(&traffic->stop, traffic->most == 0, __ATOMIC_RELAXED);
    for (int i = 0; i < WRITERS; i++)
        api_join(&peers[i]);
}

/* ---- Following ----------------------------------------------------------------------------- */

static void rows_are_the_segment_s(void **fixture)
{
    struct fixture *f = *fixture;
    struct api_peer peers[WRITERS];
    struct traffic *traffic = new_traffic(f, 20000);

    start_writers(peers, traffic);
    open_store(f);
    join_writers(peers, traffic);
    await_same(f);
    /* One after the other: what changes alone is carried over alone. */
    for (int i = 0; i < 5; i++) {
        set_number(f->state, "last", i);
        await_same(f);
        CHECK_OK(tks_delete(f->state, "last"));
        await_same(f);
    }
    AWAIT(f->store, s.mirror_lag_ms == 0 && s.mirror_batches > 0 && s.mirror_rows > 0);
}

static void closing_carries_over_what_is_left(void **fixture)
{
    struct fixture *f = *fixture;

    for (int i = 0; i < 5; i++) {
        open_store(f);
        set_number(f->state, "count", i);
        close_store(f);
        f->store = api_store(f->shm);
        check_same(f);
        tks_store_close(f->store);
        f->store = NULL;
    }
}

static void every_type_and_size(void **fixture)
{
    struct fixture *f = *fixture;
    static char large[3 << 20];

    open_store(f);
    api_pattern(large, sizeof(large), 7);
    CHECK_OK(tks_set(f->state, "large", large, sizeof(large)));
    CHECK_OK(tks_set(f->state, "empty", "", 0));
    CHECK_OK(tks_set_str(f->state, "text", "a\"b\\c\n\xc3\xa4\xf0\x9f\x98\x80", 12));
    CHECK_OK(tks_set_f64(f->state, "real", 1e300));
    CHECK_OK(tks_set_i64(f->state, "least", INT64_MIN));
    CHECK_OK(tks_set_json(f->state, "null", "null", 4));
    CHECK_OK(tks_set(f->state, "key\t'\"{},\\ \xc3\xa4", "1", 1));
    await_same(f);
}

static void expired_rows_go(void **fixture)
{
    struct fixture *f = *fixture;
    const int64_t since = clock_ms();

    open_store(f);
    CHECK_OK(tks_set_with_ttl(f->state, "short", "1", 1, 700));
    CHECK_OK(tks_set_with_ttl(f->state, "long", "1", 1, API_HOUR_MS));
    await_same(f);
    while (mirror_database_number(f->database, "SELECT count(*) FROM plugin_state") != 1) {
        CHECK(clock_ms() - since < GIVE_UP_MS);
        nap(10);
    }
}

static void rows_of_others_stay(void **fixture)
{
    struct fixture *f = *fixture;

    open_store(f);
    set_number(f->state, "mine", 1);
    await_same(f);
    mirror_database_sql(f->database, "INSERT INTO plugin_state(plugin, key, value) VALUES"
                                     "('other', 'a', '1'), ('plugin', 'theirs', '2')");
    mirror_database_sql(f->database, "INSERT INTO plugin_state(plugin, key, value, expires_at) "
                                     "VALUES('other', 'expired', '3', 5)");
    mirror_database_sql(f->database, "UPDATE plugin_state SET value = '77' WHERE key = 'mine'");
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        set_number(f->state, key, i);
    }
    CHECK_OK(tks_delete(f->state, "mine"));
    AWAIT(f->store, s.mirror_lag_ms == 0);
    CHECK_INT(mirror_database_number(f->database, "SELECT count(*) FROM plugin_state WHERE "
                                                  "mirror_hash IS NULL"),
              3);
    CHECK_INT(
        mirror_database_number(f->database, "SELECT count(*) FROM plugin_state WHERE key = 'mine'"),
        0);
    /* Theirs becomes the segment's when it has the key, and goes with it. */
    set_number(f->state, "theirs", 5);
    AWAIT(f->store, s.mirror_lag_ms == 0);
    await_same(f);
    CHECK_OK(tks_delete(f->state, "theirs"));
    await_same(f);
    CHECK_INT(mirror_database_number(f->database,
                                     "SELECT count(*) FROM plugin_state WHERE plugin = 'other'"),
              2);
}

static void passive_stores_feed_nothing(void **fixture)
{
    struct fixture *f = *fixture;
    const struct tks_options passive = {sizeof(passive), TKS_OPEN_PASSIVE};

    CHECK_OK(tks_store_open(f->uri, &passive, &f->store));
    f->state = api_state(f->store, "plugin");
    set_number(f->state, "key", 1);
    nap(300); /* nothing is to happen */
    CHECK_INT(stats_of(f->store).mirror_host, 0);
    close_store(f);
    f->store = api_store(f->shm);
    CHECK_INT(stats_of(f->store).mirror_batches, 0);
    CHECK_INT(stats_of(f->store).mirror_lag_ms, 0);
}

/* ---- Away ---------------------------------------------------------------------------------- */

static void away_at_the_start(void **fixture)
{
    struct fixture *f = *fixture;

    for (int absence = 0; absence < ABSENCES; absence++) {
        if (!mirror_database_leaves(f->database, (enum mirror_absence)absence))
            continue;
        open_store(f);
        set_number(f->state, "key", absence);
        AWAIT(f->store, s.mirror_errors > 0 && s.mirror_lag_ms > 0 && *s.mirror_error != '\0');
        set_number(f->state, "key", 100 + absence);
        mirror_database_returns(f->database);
        await_same(f);
        AWAIT(f->store, s.mirror_lag_ms == 0);
        close_store(f);
        CHECK_OK(tks_store_destroy(f->shm));
        mirror_database_sql(f->database, "DELETE FROM plugin_state");
    }
}

/* Nobody who writes waits for a database that is away, in whatever way; nothing is lost. */
static void soak(void **fixture)
{
    struct fixture *f = *fixture;
    struct api_peer peers[WRITERS];
    struct traffic *traffic = new_traffic(f, 0);

    start_writers(peers, traffic);
    open_store(f);
    for (int round = 0; round < 2 * ABSENCES; round++) {
        const uint64_t batches = stats_of(f->store).mirror_batches;
        AWAIT(f->store, s.mirror_batches > batches + 5);
        const uint64_t errors = stats_of(f->store).mirror_errors;
        if (!mirror_database_leaves(f->database, (enum mirror_absence)(round % ABSENCES)))
            continue;
        AWAIT(f->store, s.mirror_errors > errors);
        const uint64_t before = operations_of(traffic);
        AWAIT(f->store, operations_of(traffic) > before + 50000 && s.mirror_lag_ms > 0);
        mirror_database_returns(f->database);
    }
    join_writers(peers, traffic);
    await_same(f);
    AWAIT(f->store, s.mirror_lag_ms == 0);
    printf("soak: %llu operations, %llu batches, %llu rows, %llu errors\n",
           (unsigned long long)operations_of(traffic),
           (unsigned long long)stats_of(f->store).mirror_batches,
           (unsigned long long)stats_of(f->store).mirror_rows,
           (unsigned long long)stats_of(f->store).mirror_errors);
}

static void closing_waits_no_longer_than_said(void **fixture)
{
    struct fixture *f = *fixture;
    enum { SCHEDULING_MS = 10000 };

    open_store(f);
    set_number(f->state, "key", 1);
    await_same(f);
    CHECK(mirror_database_leaves(f->database, ABSENCE_BLOCKED));
    set_number(f->state, "key", 2);
    const int64_t since = clock_ms();
    close_store(f);
    CHECK(clock_ms() - since < 3 * TIMEOUT_MS + SCHEDULING_MS);
    mirror_database_returns(f->database);
    open_store(f);
    await_same(f);
}

/* The database was put back to an earlier state while the mirror went on. */
static void a_restored_backup_is_repaired(void **fixture)
{
    struct fixture *f = *fixture;

    open_store(f);
    for (int i = 0; i < 10; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        set_number(f->state, key, i);
        await_same(f);
    }
    mirror_database_sql(f->database, "UPDATE plugin_state_mirror SET batches = 1");
    mirror_database_sql(f->database, "DELETE FROM plugin_state WHERE key > '3'");
    set_number(f->state, "0", 0);
    await_same(f);
    CHECK(stats_of(f->store).mirror_errors > 0);
}

/* ---- Who feeds ----------------------------------------------------------------------------- */

static void the_killed_are_replaced(void **fixture)
{
    struct fixture *f = *fixture;
    struct api_peer feeder = start_feeder(f), heir;

    set_number(f->state, "a", 1);
    await_same(f);
    heir = api_spawn(attend, f);
    api_hear(heir.fd);
    api_kill(&feeder);
    set_number(f->state, "b", 2);
    CHECK_OK(tks_delete(f->state, "a"));
    await_same(f);
    AWAIT(f->store, s.mirror_host == (uint64_t)heir.pid);
    api_tell(heir.fd);
    api_join(&heir);
    AWAIT(f->store, s.mirror_host == 0);
}

/*
 * One that was stopped with old rows in its hands, just before it could begin its transaction, is
 * replaced, and goes on when its successor is done: not one of its rows may arrive.
 */
static void the_resumed_cannot_put_old_rows_back(void **fixture)
{
    struct fixture *f = *fixture;
    struct api_peer old, successor;

    make_uri(f, "", PATIENT_MS);
    old = start_feeder(f);
    set_number(f->state, "kept", 1);
    set_number(f->state, "gone", 1);
    await_same(f);
    CHECK(mirror_database_leaves(f->database, ABSENCE_BLOCKED));
    set_number(f->state, "kept", 2);
    set_number(f->state, "old", 2);
    nap(1000); /* no event says that it waits for the database now */
    api_stop(&old);
    mirror_database_returns(f->database);
    successor = api_spawn(attend, f);
    api_hear(successor.fd);
    AWAIT(f->store, s.mirror_host == (uint64_t)successor.pid);
    set_number(f->state, "kept", 3);
    CHECK_OK(tks_delete(f->state, "gone"));
    CHECK_OK(tks_delete(f->state, "old"));
    await_same(f);
    AWAIT(f->store, s.mirror_lag_ms == 0);
    CHECK(kill(old.pid, SIGCONT) == 0);
    api_tell(old.fd);
    api_join(&old); /* it did what it had begun */
    check_same(f);
    api_tell(successor.fd);
    api_join(&successor);
    check_same(f);
}

/* One that is stopped inside a transaction holds the row that says whose the table is; the server
 * ends it, and the successor goes on. */
static void the_stopped_do_not_hold_the_table(void **fixture)
{
    struct fixture *f = *fixture;
    struct api_peer old, successor;
    enum { PATIENCE_MS = 3000 };

    make_uri(f, "", PATIENCE_MS);
    old = start_feeder(f);
    set_number(f->state, "key", 1);
    await_same(f);
    if (!mirror_database_leaves(f->database, ABSENCE_LOCKED)) {
        api_kill(&old); /* SQLite has no server that could do it */
        return;
    }
    set_number(f->state, "key", 2);
    nap(600); /* no event says that its statement waits in the server now */
    api_stop(&old);
    mirror_database_returns(f->database);
    successor = api_spawn(attend, f);
    api_hear(successor.fd);
    set_number(f->state, "key", 3);
    await_same(f);
    AWAIT(f->store, s.mirror_host == (uint64_t)successor.pid);
    CHECK(kill(old.pid, SIGCONT) == 0);
    api_tell(old.fd);
    api_join(&old);
    check_same(f);
}

/* ---- Whose the table is -------------------------------------------------------------------- */

static int copy_to(void *arg, const struct tks_record *record)
{
    tks_store *store = arg;
    tks_state *state = api_state(store, record->plugin);

    CHECK_OK(tks_copy_record(state, record, NULL));
    tks_state_close(state);
    return 0;
}

static void a_new_segment_does_not_wipe_the_rows_of_another(void **fixture)
{
    struct fixture *f = *fixture;
    tks_store *database;

    open_store(f);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%d", i);
        set_number(f->state, key, i);
    }
    await_same(f);
    close_store(f);
    CHECK_OK(tks_store_destroy(f->shm));

    open_store(f); /* empty */
    set_number(f->state, "key-0", 1000);
    AWAIT(f->store, strstr(s.mirror_error, "another segment") != NULL && s.mirror_lag_ms > 0);
    CHECK_INT(mirror_database_number(f->database, "SELECT count(*) FROM plugin_state"), 100);
    close_store(f);

    f->store = api_store(f->shm);
    CHECK_OK(tks_store_open(mirror_database_uri(f->database, TIMEOUT_MS), NULL, &database));
    CHECK_OK(tks_store_export(database, NULL, copy_to, f->store));
    tks_store_close(database);
    tks_store_close(f->store);
    make_uri(f, "&mirror_take=1", TIMEOUT_MS);
    open_store(f);
    set_number(f->state, "key-1", 1001);
    await_same(f);
    CHECK_INT(mirror_database_number(f->database, "SELECT count(*) FROM plugin_state"), 100);
}

/* Taken over while it feeds: it says so, and does not take the table back. */
static void taken_away(void **fixture)
{
    struct fixture *f = *fixture;
    struct fixture other = {.database = f->database};

    open_store(f);
    set_number(f->state, "mine", 1);
    await_same(f);
    api_shm_uri(other.shm, "size=4M");
    make_uri(&other, "&mirror_take=1", TIMEOUT_MS);
    open_store(&other);
    set_number(other.state, "another's", 2);
    await_same(&other);
    set_number(f->state, "mine", 3);
    AWAIT(f->store, strstr(s.mirror_error, "another segment") != NULL);
    set_number(other.state, "another's", 4);
    await_same(&other);
    close_store(f);
    check_same(&other);
    close_store(&other);
    CHECK_OK(tks_store_destroy(other.shm));
}

static void a_restored_segment_goes_on(void **fixture)
{
    struct fixture *f = *fixture;
    char path[64], parameter[100];

    snprintf(path, sizeof(path), "/tmp/tks-mirror-%d.checkpoint", (int)getpid());
    snprintf(parameter, sizeof(parameter), "&checkpoint=%s", path);
    make_uri(f, parameter, TIMEOUT_MS);
    open_store(f);
    for (int i = 0; i < 3; i++) { /* reboots */
        set_number(f->state, "count", i);
        set_number(f->state, i % 2 == 0 ? "even" : "odd", i);
        await_same(f);
        close_store(f);
        CHECK_OK(tks_store_destroy(f->shm));
        open_store(f);
        CHECK_OK(tks_delete(f->state, i % 2 == 0 ? "even" : "odd"));
        await_same(f);
    }
    close_store(f);
    unlink(path);
}

/* ---- URIs ---------------------------------------------------------------------------------- */

static void check_refused(const char *mirror, int want)
{
    char uri[API_URI_MAX], query[200];
    tks_store *store = NULL;

    snprintf(query, sizeof(query), "size=1M&mirror=%s", mirror);
    api_shm_uri(uri, query);
    CHECK_STATUS(tks_store_open(uri, NULL, &store), want);
    CHECK(store == NULL && strstr(tks_last_error(), "secret") == NULL &&
          strchr(tks_last_error(), '\n') == NULL);
    CHECK_STATUS(tks_uri_check(uri), want);
}

static void bad_uris(void **fixture)
{
    char uri[API_URI_MAX];
    tks_store *store = NULL;

    (void)fixture;
    check_refused("", TKS_INVALID);
    check_refused("nonsense", TKS_INVALID);
    check_refused("shm://other", TKS_INVALID);
    check_refused("memory://", TKS_INVALID);
    check_refused("sqlite://relative.db", TKS_INVALID);
    check_refused("sqlite:///tmp/a.db%3Funknown=1", TKS_INVALID);
    check_refused("postgres://user:secret@host/db%3Fno_such=1", TKS_INVALID);
    check_refused("postgres:%2F%2Fuser:secret%2Fx@host/db", TKS_INVALID);
    check_refused("mysql://user:secret@host/db", TKS_UNSUPPORTED);
    api_shm_uri(uri, "size=1M&mirror_take=1");
    CHECK_STATUS(tks_store_open(uri, NULL, &store), TKS_INVALID);
    api_shm_uri(uri, "size=1M&mirror_take=2&mirror=sqlite:///tmp/a.db");
    CHECK_STATUS(tks_store_open(uri, NULL, &store), TKS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MIRROR_TEST(rows_are_the_segment_s),
        MIRROR_TEST(closing_carries_over_what_is_left),
        MIRROR_TEST(every_type_and_size),
        MIRROR_TEST(expired_rows_go),
        MIRROR_TEST(rows_of_others_stay),
        MIRROR_TEST(passive_stores_feed_nothing),
        MIRROR_TEST(away_at_the_start),
        MIRROR_TEST(soak),
        MIRROR_TEST(closing_waits_no_longer_than_said),
        MIRROR_TEST(a_restored_backup_is_repaired),
        MIRROR_TEST(the_killed_are_replaced),
        MIRROR_TEST(the_resumed_cannot_put_old_rows_back),
        MIRROR_TEST(the_stopped_do_not_hold_the_table),
        MIRROR_TEST(a_new_segment_does_not_wipe_the_rows_of_another),
        MIRROR_TEST(taken_away),
        MIRROR_TEST(a_restored_segment_goes_on),
        cmocka_unit_test(bad_uris),
    };

    return api_run("mirror", tests);
}
