/* SPDX-License-Identifier: MIT */
#include "api.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "peers.h"

/* ---- Checks ------------------------------------------------------------------------------ */

/* The process and thread that runs cmocka; anywhere else its jump would go astray. */
static pid_t runner;

__attribute__((constructor)) static void remember_runner(void)
{
    runner = gettid();
}

void api_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "%s:%d: ", file, line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    if (gettid() == runner)
        _fail(file, line);
    _exit(1);
}

void api_check_status(const char *file, int line, const char *call, int got, int want)
{
    if (got == want)
        return;
    api_fail(file, line, "%s gives %d (%s), not %d (%s); last error: %s", call, got,
             got > 0 ? "" : tks_strerror(got), want, want > 0 ? "" : tks_strerror(want),
             tks_last_error());
}

void api_check_int(const char *file, int line, const char *what, long long got, long long want)
{
    if (got != want)
        api_fail(file, line, "%s is %lld, not %lld", what, got, want);
}

void api_check_bytes(const char *file, int line, tks_state *state, const char *key,
                     const void *bytes, size_t len)
{
    size_t got_len = 12345;
    char *buf = malloc(len + 1);
    int status;

    if (buf == NULL)
        api_fail(file, line, "out of memory");
    status = op->get(state, key, buf, len, &got_len);
    if (status != TKS_OK)
        api_fail(file, line, "get of '%s' gives %s, len %zu", key, tks_strerror(status), got_len);
    if (got_len != len || memcmp(buf, bytes, len) != 0)
        api_fail(file, line, "'%s' has another value: %zu bytes, '%.*s'", key, got_len,
                 (int)(got_len < 60 ? got_len : 60), buf);
    free(buf);
    if (op->has(state, key) != 1)
        api_fail(file, line, "has('%s') denies what get returned", key);
}

struct find {
    const char *key;
    bool found;
};

static int find_key(void *arg, const char *key, size_t key_len)
{
    struct find *find = arg;

    if (strlen(find->key) == key_len && memcmp(find->key, key, key_len) == 0)
        find->found = true;
    return 0;
}

void api_check_absent(const char *file, int line, tks_state *state, const char *key)
{
    struct find find = {key, false};
    char buf[8] = "";
    size_t len = 12345;
    uint64_t version = 12345;
    int type;

    /* The walk first: the others purge what has expired. */
    api_check_status(file, line, "keys", tks_keys(state, find_key, &find), TKS_OK);
    if (find.found)
        api_fail(file, line, "keys() shows '%s'", key);
    api_check_status(file, line, "type", op->type(state, key, &type), TKS_NOT_FOUND);
    api_check_status(file, line, "get_versioned",
                     op->get_versioned(state, key, buf, sizeof(buf), &len, &version),
                     TKS_NOT_FOUND);
    if (version != 0 || len != 0)
        api_fail(file, line, "an absent key has a version or a length");
    len = 12345;
    api_check_status(file, line, "get", op->get(state, key, buf, sizeof(buf), &len), TKS_NOT_FOUND);
    if (len != 0)
        api_fail(file, line, "an absent key has the length %zu", len);
    api_check_int(file, line, "has", op->has(state, key), 0);
    api_check_status(file, line, "get_or_default",
                     op->get_or_default(state, key, "dflt", 4, buf, sizeof(buf), &len), TKS_OK);
    if (len != 4 || memcmp(buf, "dflt", 4) != 0)
        api_fail(file, line, "get_or_default finds '%s'", key);
}

void api_check_type(const char *file, int line, tks_state *state, const char *key, int type)
{
    int got = -1;

    api_check_status(file, line, "type", op->type(state, key, &got), TKS_OK);
    api_check_int(file, line, "type", got, type);
}

/* ---- A store per test -------------------------------------------------------------------- */

static const char *uri_pattern(void)
{
    const char *pattern = getenv("TKS_TEST_URI");

    return pattern != NULL && *pattern != '\0' ? pattern : "shm://tickstate-test-%p?size=64M";
}

bool api_is_shm(void)
{
    return strncmp(uri_pattern(), "shm://", 6) == 0;
}

bool api_has_server(void)
{
    return strncmp(uri_pattern(), "postgres", 8) == 0;
}

static void expand(char uri[API_URI_MAX], const char *pattern)
{
    static unsigned counter;
    const char *mark = strstr(pattern, "%p");
    int written;

    if (mark == NULL)
        written = snprintf(uri, API_URI_MAX, "%s", pattern);
    else
        /* The second, for what a killed run of a process with this number has left. */
        written = snprintf(uri, API_URI_MAX, "%.*s%d-%u-%llx%s", (int)(mark - pattern), pattern,
                           (int)getpid(), ++counter, (unsigned long long)time(NULL), mark + 2);
    CHECK(written > 0 && written < API_URI_MAX);
}

void api_fresh_uri(char uri[API_URI_MAX])
{
    expand(uri, uri_pattern());
}

void api_shm_uri(char uri[API_URI_MAX], const char *query)
{
    char pattern[API_URI_MAX];

    CHECK(snprintf(pattern, sizeof(pattern), "shm://tickstate-test-%%p%s%s",
                   *query != '\0' ? "?" : "", query) < API_URI_MAX);
    expand(uri, pattern);
}

tks_store *api_store(const char *uri)
{
    tks_store *store = NULL;

    CHECK_OK(tks_store_open(uri, NULL, &store));
    CHECK(store != NULL);
    return store;
}

tks_state *api_state(tks_store *store, const char *plugin)
{
    tks_state *state = NULL;

    CHECK_OK(tks_state_open(store, plugin, &state));
    CHECK(state != NULL);
    return state;
}

static int delete_key(void *state, const char *key, size_t key_len)
{
    (void)key_len;
    return tks_delete(state, key);
}

static int wipe_plugin(void *store, const char *plugin, size_t plugin_len, uint64_t keys)
{
    tks_state *state = api_state(store, plugin);
    int status = tks_keys(state, delete_key, state);

    (void)plugin_len;
    (void)keys;
    tks_state_close(state);
    return status;
}

/* A store that cannot be destroyed, or whose URI has no %p, may hold an earlier test's keys. */
static void wipe(tks_store *store)
{
    int status = tks_store_plugins(store, wipe_plugin, store);

    if (status != TKS_UNSUPPORTED)
        CHECK_OK(status);
    status = tks_store_sweep(store, NULL); /* what has expired is in no walk */
    if (status != TKS_UNSUPPORTED)
        CHECK_OK(status);
}

static void audit(tks_store *store)
{
    struct tks_check check = {.size = sizeof(check)};
    int status = tks_store_check(store, &check);

    if (status == TKS_UNSUPPORTED && !api_is_shm())
        return;
    CHECK_OK(status);
    CHECK_INT(check.leaked_blocks, 0);
}

static void unlink_segment(const char *uri)
{
    char name[API_URI_MAX];

    if (strncmp(uri, "shm://", 6) != 0)
        return;
    snprintf(name, sizeof(name), "/%.*s", (int)strcspn(uri + 6, "?"), uri + 6);
    shm_unlink(name);
}

/* A database outlives its stores: its files are the test's to remove. */
static void remove_files(const char *uri)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char path[API_URI_MAX + 8];

    for (size_t i = 0; strncmp(uri, "sqlite://", 9) == 0 && i < API_ARRAY(ends); i++) {
        snprintf(path, sizeof(path), "%.*s%s", (int)strcspn(uri + 9, "?"), uri + 9, ends[i]);
        unlink(path);
    }
}

static void destroy(const char *uri)
{
    int status = tks_store_destroy(uri);

    if (status == TKS_UNSUPPORTED && !api_is_shm()) {
        remove_files(uri);
        return;
    }
    if (status != TKS_OK && status != TKS_NOT_FOUND)
        unlink_segment(uri); /* the test failed already or does so now: leave no litter */
    if (status != TKS_NOT_FOUND)
        CHECK_OK(status);
}

void api_dispose(tks_store *store, const char *uri)
{
    audit(store);
    if (strstr(uri_pattern(), "%p") == NULL)
        wipe(store); /* it is the next one, too */
    tks_store_close(store);
    destroy(uri);
}

int api_setup(void **fixture)
{
    struct api *f = calloc(1, sizeof(*f));

    CHECK(f != NULL);
    *fixture = f;
    api_fresh_uri(f->uri);
    f->store = api_store(f->uri);
    wipe(f->store);
    f->state = api_state(f->store, "plugin");
    return 0;
}

int api_teardown(void **fixture)
{
    struct api f = *(struct api *)*fixture;

    free(*fixture);
    *fixture = NULL;
    api_end_peers();
    tks_state_close(f.state);
    if (f.store != NULL)
        api_dispose(f.store, f.uri);
    else
        destroy(f.uri);
    return 0;
}

void api_replace_store(struct api *f, const char *query)
{
    tks_state_close(f->state);
    api_dispose(f->store, f->uri);
    api_shm_uri(f->uri, query);
    f->store = api_store(f->uri);
    f->state = api_state(f->store, "plugin");
}

void api_need(int status)
{
    if (status == TKS_UNSUPPORTED && !api_is_shm())
        skip();
    CHECK_OK(status);
}

void api_need_borrow(struct api *f)
{
    const void *value;
    int status;

    CHECK_OK(tks_set(f->state, "probe", "", 0));
    CHECK_OK(tks_tick_begin(f->state));
    status = tks_borrow(f->state, "probe", &value, NULL);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_OK(tks_delete(f->state, "probe"));
    api_need(status);
}

void api_need_sharing(struct api *f)
{
    tks_store *store;
    tks_state *state;
    int found;

    if (api_is_shm())
        return;
    store = api_store(f->uri);
    state = api_state(store, "sharing");
    CHECK_OK(tks_set(state, "probe", "", 0));
    tks_state_close(state);
    state = api_state(f->store, "sharing");
    found = tks_has(state, "probe");
    CHECK_OK(tks_delete(state, "probe"));
    tks_state_close(state);
    tks_store_close(store);
    if (found != 1)
        skip();
}

int64_t api_stored_entries(tks_store *store)
{
    struct tks_check check = {.size = sizeof(check)};
    int status = tks_store_check(store, &check);

    if (status == TKS_UNSUPPORTED && !api_is_shm())
        return -1;
    CHECK_OK(status);
    return (int64_t)check.keys;
}

static struct tks_stats stats_of(tks_store *store)
{
    struct tks_stats stats = {.size = sizeof(stats)};

    CHECK_OK(tks_store_stats(store, &stats));
    return stats;
}

uint64_t api_open_states(tks_store *store)
{
    return stats_of(store).states;
}

uint64_t api_live_keys(tks_store *store)
{
    return stats_of(store).keys;
}

static int count_key(void *arg, const char *key, size_t key_len)
{
    (void)key;
    (void)key_len;
    ++*(uint64_t *)arg;
    return 0;
}

uint64_t api_count_keys(tks_state *state)
{
    uint64_t count = 0;

    CHECK_OK(tks_keys(state, count_key, &count));
    return count;
}

void api_let_expire(tks_store *store, int64_t ttl_ms)
{
    tks_state *state = api_state(store, "clock");
    int present;

    CHECK_OK(tks_set_with_ttl(state, "hand", "", 0, ttl_ms));
    while ((present = tks_has(state, "hand")) == 1)
        sched_yield();
    CHECK_INT(present, 0);
    tks_state_close(state);
}

int64_t api_wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t api_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(0x2545f4914f6cdd1d);
}

void api_pattern(void *buf, size_t len, uint64_t seed)
{
    uint64_t random = seed * 2 + 1;
    unsigned char *bytes = buf;

    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(api_random(&random) >> 56);
}
