/* SPDX-License-Identifier: MIT */
/* shm:// alone: its URI, creation, modes, slots and destruction. Skipped for other backends. */
#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"

/* ---- URIs -------------------------------------------------------------------------------- */

static void check_refused(const char *uri, const char *named)
{
    tks_store *store = (tks_store *)1;
    int status = tks_store_open(uri, NULL, &store);

    if (status != TKS_INVALID && status != TKS_UNSUPPORTED)
        api_fail(__FILE__, __LINE__, "'%s' gives %s", uri, tks_strerror(status));
    CHECK(store == NULL);
    if (strstr(tks_last_error(), named) == NULL)
        api_fail(__FILE__, __LINE__, "'%s' is refused without naming '%s': %s", uri, named,
                 tks_last_error());
}

static void a_bad_parameter_is_refused_by_name(void **fixture)
{
    static const struct {
        const char *query, *named;
    } rows[] = {
        {"size=", "size"},
        {"size", "size"},
        {"size=0", "size"},
        {"size=1", "size"},
        {"size=1023K", "size"},
        {"size=1048575", "size"},
        {"size=513G", "size"},
        {"size=1T", "size"},
        {"size=-1", "size"},
        {"size=-1M", "size"},
        {"size=1MB", "size"},
        {"size=1M1", "size"},
        {"size=1.5M", "size"},
        {"size=0x100000", "size"},
        {"size=M", "size"},
        {"size=abc", "size"},
        {"size=99999999999999999999", "size"},
        {"size=18446744073709551617", "size"},
        {"size=18446744073710600192", "size"}, /* 2^64 + 1M */
        {"size=17179869185G", "size"},         /* 2^64 + 1G */
        {"size=18014398509481985K", "size"},
        {"slots=7", "slots"},
        {"slots=0", "slots"},
        {"slots=4097", "slots"},
        {"slots=-8", "slots"},
        {"slots=", "slots"},
        {"slots=many", "slots"},
        {"mode=0602", "mode"}, /* world-writable */
        {"mode=0666", "mode"},
        {"mode=0777", "mode"},
        {"mode=9", "mode"},
        {"mode=", "mode"},
        {"mode=rw", "mode"},
        {"mode=1000000", "mode"},
        {"mode=-600", "mode"},
        {"group=", "group"},
        {"group=no-such-group-here", "group"},
        {"prefault=2", "prefault"},
        {"prefault=yes", "prefault"},
        {"prefault=", "prefault"},
        {"lock=2", "lock"},
        {"lock=x", "lock"},
        {"huge=2", "huge"},
        {"huge=-1", "huge"},
        {"sweep_ms=-1", "sweep_ms"},
        {"sweep_ms=abc", "sweep_ms"},
        {"sweep_ms=", "sweep_ms"},
        {"colour=red", "colour"},
        {"Size=1M", "Size"},
        {"size=1M&colour=red", "colour"},
        {"colour", "colour"},
    };

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        char uri[API_URI_MAX];

        api_shm_uri(uri, rows[i].query);
        check_refused(uri, rows[i].named);
        CHECK(tks_store_destroy(uri) != TKS_OK); /* and nothing was created */
    }
}

static void a_bad_name_is_refused(void **fixture)
{
    char uri[API_URI_MAX] = "shm://";
    tks_store *store;

    (void)fixture;
    check_refused("", "");
    check_refused("shm", "shm");
    check_refused("shm:", "shm");
    check_refused("shm:/name", "shm");
    check_refused("shm://", "");
    check_refused("shm://?size=1M", "");
    check_refused("shm:///name", "");
    check_refused("shm://a/b", "a/b");
    check_refused("shm://../name", "");
    check_refused("shm://.hidden", ".hidden");
    check_refused("shm://.", "");
    memset(uri + 6, 'n', 201);
    check_refused(uri, "nnn");
    CHECK_STATUS(tks_store_open(NULL, NULL, &store), TKS_INVALID);
    CHECK_STATUS(tks_store_open("shm://name", NULL, NULL), TKS_INVALID);
}

static void another_scheme_is_unsupported(void **fixture)
{
    tks_store *store;

    (void)fixture;
    CHECK_STATUS(tks_store_open("nosuch://name", NULL, &store), TKS_UNSUPPORTED);
    CHECK(strstr(tks_last_error(), "nosuch") != NULL);
    CHECK_STATUS(tks_store_destroy("nosuch://name"), TKS_UNSUPPORTED);
}

static void a_name_may_have_200_bytes(void **fixture)
{
    char uri[API_URI_MAX];
    size_t len;

    (void)fixture;
    api_shm_uri(uri, "");
    len = strcspn(uri, "?");
    memset(uri + len, 'n', 6 + 200 - len);
    uri[6 + 200] = '\0';
    api_dispose(api_store(uri), uri);
    CHECK_STATUS(tks_store_destroy(uri), TKS_NOT_FOUND);
}

static void sizes_are_bytes_or_powers_of_1024(void **fixture)
{
    static const struct {
        const char *query;
        uint64_t bytes;
    } rows[] = {
        {"size=1048576", 1 << 20}, {"size=1M", 1 << 20},         {"size=1024K", 1 << 20},
        {"size=3M", 3 << 20},      {"size=1G", 1 << 30},         {"size=1500000", 1500000},
        {"", UINT64_C(256) << 20}, {"size=8M&slots=8", 8 << 20},
    };

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        struct tks_stats stats = {.size = sizeof(stats)};
        char uri[API_URI_MAX];
        tks_store *store;

        api_shm_uri(uri, rows[i].query);
        store = api_store(uri);
        CHECK_OK(tks_store_stats(store, &stats));
        CHECK(stats.size_bytes <= rows[i].bytes);
        CHECK(stats.size_bytes + 65536 > rows[i].bytes); /* rounding to pages is fine */
        api_dispose(store, uri);
    }
}

static void a_large_store_is_reserved_not_committed(void **fixture)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    char uri[API_URI_MAX];
    tks_store *store;

    (void)fixture;
    api_shm_uri(uri, "size=64G");
    store = api_store(uri);
    CHECK_OK(tks_store_stats(store, &stats));
    CHECK_INT(stats.size_bytes, UINT64_C(64) << 30);
    CHECK(stats.committed_bytes < UINT64_C(64) << 20);
    api_dispose(store, uri);
}

static void the_first_opens_size_counts(void **fixture)
{
    struct api *f = *fixture;
    struct tks_stats stats = {.size = sizeof(stats)};
    char again[API_URI_MAX];
    tks_store *store;

    api_replace_store(f, "size=8M&slots=32");
    snprintf(again, sizeof(again), "%.*s?size=16M&slots=64&mode=0640", (int)strcspn(f->uri, "?"),
             f->uri);
    store = api_store(again);
    CHECK_OK(tks_store_stats(store, &stats));
    CHECK_INT(stats.size_bytes, 8 << 20);
    CHECK_INT(stats.slots, 32);
    CHECK_INT(stats.mode, 0600);
    CHECK_INT(stats.stores, 2);
    tks_store_close(store);
}

static void existing_only_creates_nothing(void **fixture)
{
    struct api *f = *fixture;
    struct tks_options options = {.size = sizeof(options), .flags = TKS_OPEN_EXISTING};
    char uri[API_URI_MAX];
    tks_store *store = f->store;

    api_fresh_uri(uri);
    CHECK_STATUS(tks_store_open(uri, &options, &store), TKS_NOT_FOUND);
    CHECK(store == NULL);
    CHECK_STATUS(tks_store_destroy(uri), TKS_NOT_FOUND);
    CHECK_OK(tks_store_open(f->uri, &options, &store));
    tks_store_close(store);
}

/* ---- The file behind it ------------------------------------------------------------------ */

static void path_of(const char *uri, char path[API_URI_MAX])
{
    snprintf(path, API_URI_MAX, "/dev/shm/%.*s", (int)strcspn(uri + 6, "?"), uri + 6);
}

static void the_segment_has_the_mode_asked_for(void **fixture)
{
    static const struct {
        const char *query;
        unsigned mode;
    } rows[] = {{"size=1M", 0600},
                {"size=1M&mode=0600", 0600},
                {"size=1M&mode=0660", 0660},
                {"size=1M&mode=640", 0640},
                {"size=1M&mode=0644", 0644}};
    mode_t old = umask(077);

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        struct tks_stats stats = {.size = sizeof(stats)};
        char path[API_URI_MAX];
        char uri[API_URI_MAX];
        struct stat file;
        tks_store *store;

        api_shm_uri(uri, rows[i].query);
        path_of(uri, path);
        store = api_store(uri);
        CHECK(stat(path, &file) == 0);
        CHECK_INT(file.st_mode & 07777, rows[i].mode);
        CHECK_OK(tks_store_stats(store, &stats));
        CHECK_INT(stats.mode, rows[i].mode);
        api_dispose(store, uri);
        CHECK(stat(path, &file) != 0);
    }
    umask(old);
}

static void the_segment_has_the_group_asked_for(void **fixture)
{
    char query[64];
    char path[API_URI_MAX];
    char uri[API_URI_MAX];
    struct stat file;
    tks_store *store;

    (void)fixture;
    snprintf(query, sizeof(query), "size=1M&mode=0660&group=%u", (unsigned)getegid());
    api_shm_uri(uri, query);
    path_of(uri, path);
    store = api_store(uri);
    CHECK(stat(path, &file) == 0);
    CHECK_INT(file.st_gid, getegid());
    api_dispose(store, uri);
}

static void a_world_writable_segment_is_denied(void **fixture)
{
    char path[API_URI_MAX];
    char uri[API_URI_MAX];
    tks_store *store = api_store((api_shm_uri(uri, "size=1M"), uri));

    (void)fixture;
    tks_store_close(store);
    path_of(uri, path);
    CHECK(chmod(path, 0666) == 0);
    CHECK_STATUS(tks_store_open(uri, NULL, &store), TKS_DENIED);
    CHECK(chmod(path, 0600) == 0);
    store = api_store(uri);
    api_dispose(store, uri);
}

static void a_link_is_never_followed(void **fixture)
{
    struct api *f = *fixture;
    char target[API_URI_MAX];
    char link[API_URI_MAX];
    char uri[API_URI_MAX];
    tks_store *store = f->store;

    path_of(f->uri, target);
    api_shm_uri(uri, "size=1M");
    path_of(uri, link);
    CHECK(symlink(target, link) == 0);
    CHECK(tks_store_open(uri, NULL, &store) < 0);
    CHECK(store == NULL);
    CHECK(unlink(link) == 0);
}

static void a_foreign_file_is_no_store(void **fixture)
{
    char path[API_URI_MAX];
    char uri[API_URI_MAX];
    char text[8192];
    tks_store *store;
    int fd, status;

    (void)fixture;
    api_shm_uri(uri, "size=1M");
    path_of(uri, path);
    fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
    CHECK(fd >= 0);
    memset(text, 'x', sizeof(text));
    CHECK(write(fd, text, sizeof(text)) == sizeof(text));
    close(fd);
    status = tks_store_open(uri, NULL, &store);
    CHECK(status == TKS_CORRUPT || status == TKS_MISMATCH);
    CHECK(store == NULL);
    CHECK(strlen(tks_last_error()) > 0);
    CHECK(unlink(path) == 0);
}

static void prefault_lock_and_huge_report_what_took_effect(void **fixture)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    char path[API_URI_MAX];
    char uri[API_URI_MAX];
    struct stat file;
    tks_store *store;

    (void)fixture;
    api_shm_uri(uri, "size=2M&prefault=1&lock=1&huge=1");
    store = api_store(uri);
    CHECK_OK(tks_store_stats(store, &stats));
    CHECK_INT(stats.prefaulted, 1);
    path_of(uri, path);
    CHECK(stat(path, &file) == 0);
    CHECK((uint64_t)file.st_blocks * 512 >= stats.size_bytes);
    CHECK(stats.committed_bytes + (128 << 10) > stats.size_bytes); /* less what aligns its parts */
    CHECK(stats.locked <= 1 && stats.huge <= 1); /* rlimits and kernels decide these */
    api_dispose(store, uri);
    api_shm_uri(uri, "size=2M&prefault=0&lock=0&huge=0&sweep_ms=0");
    store = api_store(uri);
    CHECK_OK(tks_store_stats(store, &stats));
    CHECK_INT(stats.prefaulted + stats.locked + stats.huge, 0);
    api_dispose(store, uri);
}

/* KiB of huge pages that this process maps of the file, by what the kernel says of its mappings. */
static unsigned long huge_kib(const char *path)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[4096];
    unsigned long kib, sum = 0;
    bool ours = false;

    CHECK(maps != NULL);
    while (fgets(line, sizeof(line), maps)) {
        if (strchr(line, '-') && !isupper((unsigned char)line[0]))
            ours = strstr(line, path) != NULL;
        else if (ours && sscanf(line, "ShmemPmdMapped: %lu", &kib) == 1)
            sum += kib;
    }
    fclose(maps);
    return sum;
}

static void huge_pages_are_there_or_the_stats_say_not(void **fixture)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    char path[API_URI_MAX];
    char uri[API_URI_MAX];
    char key[32];
    char value[1000];
    tks_store *store;
    tks_state *state;

    (void)fixture;
    memset(value, 'v', sizeof(value));
    api_shm_uri(uri, "size=64M");
    store = api_store(uri);
    CHECK_OK(tks_store_stats(store, &stats));
    CHECK_INT(stats.huge, 0);
    api_dispose(store, uri);

    api_shm_uri(uri, "size=64M&huge=1");
    store = api_store(uri);
    CHECK_OK(tks_state_open(store, "plugin", &state));
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        CHECK_OK(tks_set(state, key, value, sizeof(value)));
    }
    CHECK_OK(tks_store_stats(store, &stats));
    path_of(uri, path);
    if (stats.huge)
        CHECK(huge_kib(path) * 1024 >= stats.committed_bytes / 2);
    else
        CHECK_INT(huge_kib(path), 0);
    CHECK_INT(api_count_keys(state), 20000);
    tks_state_close(state);
    api_dispose(store, uri);
}

static void sweep_ms_sweeps_in_the_background(void **fixture)
{
    struct tks_check check = {.size = sizeof(check)};
    char uri[API_URI_MAX];
    tks_store *store;
    tks_state *state;

    (void)fixture;
    api_shm_uri(uri, "size=2M&sweep_ms=1");
    store = api_store(uri);
    state = api_state(store, "plugin");
    CHECK_OK(tks_set(state, "kept", "value", 5));
    CHECK_OK(tks_set_with_ttl(state, "key", "value", 5, 1));
    do
        CHECK_OK(tks_store_check(store, &check)); /* reads no key: only the sweep drops it */
    while (check.keys != 1);
    CHECK_TEXT(state, "kept", "value");
    tks_state_close(state);
    api_dispose(store, uri);
}

/* ---- Slots ------------------------------------------------------------------------------- */

static void all_slots_taken_is_busy(void **fixture)
{
    enum { SLOTS = 8 };
    struct api *f = *fixture;
    struct tks_stats stats = {.size = sizeof(stats)};
    tks_state *states[SLOTS + 1];
    int count = 0;
    int status = TKS_OK;

    api_replace_store(f, "size=4M&slots=8");
    CHECK_OK(tks_store_stats(f->store, &stats));
    CHECK_INT(stats.slots, SLOTS);
    for (int round = 0; round < 3; round++) {
        for (count = 0; count <= SLOTS; count++) {
            status = tks_state_open(f->store, "plugin", &states[count]);
            if (status != TKS_OK)
                break;
            CHECK_OK(tks_set(states[count], "key", "value", 5));
        }
        CHECK_STATUS(status, TKS_BUSY);
        CHECK(states[count] == NULL);
        CHECK(strlen(tks_last_error()) > 0);
        CHECK_INT(count, SLOTS - 2); /* the store and the fixture's state have one each */
        CHECK_INT(api_open_states(f->store), 1 + count);
        while (count > 0)
            tks_state_close(states[--count]);
    }
}

static int take_slots_and_wait(int fd, void *uri)
{
    tks_store *store = api_store(uri);

    for (int i = 0; i < 4; i++)
        api_state(store, "plugin");
    api_tell(fd);
    api_hear(fd);
    return 0;
}

static void slots_of_the_dead_are_free_again(void **fixture)
{
    struct api *f = *fixture;

    api_replace_store(f, "size=4M&slots=8");
    for (int i = 0; i < 20; i++) {
        struct api_peer peer = api_spawn(take_slots_and_wait, f->uri);

        api_hear(peer.fd);
        api_kill(&peer);
        api_reap(&peer);
    }
    CHECK_INT(api_open_states(f->store), 1);
}

static void recovered_counts_the_dead(void **fixture)
{
    struct api *f = *fixture;
    struct tks_stats stats = {.size = sizeof(stats)};
    struct api_peer peer = api_spawn(take_slots_and_wait, f->uri);

    api_hear(peer.fd);
    api_kill(&peer);
    CHECK_OK(tks_store_stats(f->store, &stats));
    CHECK(stats.recovered >= 4);
    CHECK_INT(stats.states, 1);
    CHECK_INT(stats.stores, 1);
    api_reap(&peer);
}

/* ---- Destruction ------------------------------------------------------------------------- */

static void destroy_needs_a_segment(void **fixture)
{
    char uri[API_URI_MAX];

    (void)fixture;
    api_fresh_uri(uri);
    CHECK_STATUS(tks_store_destroy(uri), TKS_NOT_FOUND);
    CHECK_STATUS(tks_store_destroy("shm://"), TKS_INVALID);
    CHECK_STATUS(tks_store_destroy("shm://a/b"), TKS_INVALID);
}

static void destroy_is_busy_while_this_process_is_attached(void **fixture)
{
    struct api *f = *fixture;

    CHECK_STATUS(tks_store_destroy(f->uri), TKS_BUSY);
    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_TEXT(f->state, "key", "value");
    tks_state_close(f->state);
    f->state = NULL;
    CHECK_STATUS(tks_store_destroy(f->uri), TKS_BUSY);
    tks_store_close(f->store);
    f->store = NULL;
    CHECK_OK(tks_store_destroy(f->uri));
    CHECK_STATUS(tks_store_destroy(f->uri), TKS_NOT_FOUND);
}

static int attach_and_wait(int fd, void *uri)
{
    tks_store *store = api_store(uri);

    api_tell(fd);
    api_hear(fd);
    tks_store_close(store);
    api_tell(fd);
    api_hear(fd);
    return 0;
}

static void destroy_is_busy_while_another_process_lives(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peer;

    tks_state_close(f->state);
    tks_store_close(f->store);
    f->state = NULL;
    f->store = NULL;
    peer = api_spawn(attach_and_wait, f->uri);
    api_hear(peer.fd);
    CHECK_STATUS(tks_store_destroy(f->uri), TKS_BUSY);
    api_tell(peer.fd);
    api_hear(peer.fd);
    CHECK_OK(tks_store_destroy(f->uri)); /* it lives but has closed */
    api_tell(peer.fd);
    api_join(&peer);
}

static void destroy_does_not_wait_for_the_dead(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peer;

    tks_state_close(f->state);
    tks_store_close(f->store);
    f->state = NULL;
    f->store = NULL;
    peer = api_spawn(take_slots_and_wait, f->uri);
    api_hear(peer.fd);
    CHECK_STATUS(tks_store_destroy(f->uri), TKS_BUSY);
    api_kill(&peer);
    CHECK_OK(tks_store_destroy(f->uri)); /* dead, if not reaped yet */
    api_reap(&peer);
}

static void a_new_store_of_that_name_is_empty(void **fixture)
{
    struct api *f = *fixture;

    for (int i = 0; i < 10; i++) {
        CHECK_OK(tks_set(f->state, "key", "value", 5));
        tks_state_close(f->state);
        api_dispose(f->store, f->uri);
        f->store = api_store(f->uri);
        f->state = api_state(f->store, "plugin");
        CHECK_ABSENT(f->state, "key");
    }
}

static void a_segment_outlives_its_users(void **fixture)
{
    struct api *f = *fixture;
    struct tks_options options = {.size = sizeof(options), .flags = TKS_OPEN_EXISTING};

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    tks_state_close(f->state);
    tks_store_close(f->store);
    CHECK_OK(tks_store_open(f->uri, &options, &f->store));
    f->state = api_state(f->store, "plugin");
    CHECK_TEXT(f->state, "key", "value");
}

static void opening_twice_is_one_more_store(void **fixture)
{
    struct api *f = *fixture;
    struct tks_stats stats = {.size = sizeof(stats)};
    tks_store *more[10];

    for (int i = 0; i < 10; i++)
        more[i] = api_store(f->uri);
    CHECK_OK(tks_store_stats(f->store, &stats));
    CHECK_INT(stats.stores, 11);
    for (int i = 0; i < 10; i++)
        tks_store_close(more[i]);
    CHECK_OK(tks_store_stats(f->store, &stats));
    CHECK_INT(stats.stores, 1);
    CHECK_OK(tks_set(f->state, "key", "value", 5));
}

static void who_is_passive_writes_no_checkpoint(void **fixture)
{
    struct api *f = *fixture;
    struct tks_options options = {.size = sizeof(options), .flags = TKS_OPEN_PASSIVE};
    struct tks_stats stats = {.size = sizeof(stats)};
    char folder[] = "/tmp/tickstate-test-passive-XXXXXX", path[80], lock[90], uri[1024];
    tks_store *store;

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/file", folder);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    snprintf(uri, sizeof(uri), "%s%ccheckpoint=%s", f->uri, strchr(f->uri, '?') ? '&' : '?', path);
    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_store_open(uri, &options, &store));
    CHECK_INT(tks_store_checkpoint(store), TKS_UNSUPPORTED);
    CHECK_OK(tks_store_stats(store, &stats));
    CHECK_INT(stats.checkpoint_host, 0);
    CHECK_INT(stats.checkpoint_cuts, 0);
    CHECK_INT(stats.restored_at_ms, 0);
    CHECK(!*stats.checkpoint_error && !*stats.restored_warning);
    tks_store_close(store);
    CHECK(access(path, F_OK) != 0 && access(lock, F_OK) != 0);

    CHECK_OK(tks_store_open(uri, NULL, &store));
    CHECK_OK(tks_store_checkpoint(store));
    CHECK_OK(tks_store_stats(f->store, &stats));
    CHECK_INT(stats.checkpoint_host, getpid());
    CHECK(stats.checkpoint_cuts >= 1 && stats.checkpoint_bytes > 0 && stats.checkpoint_at_ms > 0);
    tks_store_close(store);
    CHECK_OK(tks_store_stats(f->store, &stats));
    CHECK_INT(stats.checkpoint_host, 0);
    CHECK(!unlink(path) && !unlink(lock) && !rmdir(folder));
}

static void a_store_that_is_closed_at_once_writes_what_it_changed(void **fixture)
{
    struct api *f = *fixture;
    struct tks_stats stats = {.size = sizeof(stats)};
    char folder[] = "/tmp/tickstate-test-closing-XXXXXX", path[80], lock[90], uri[1024];
    uint64_t cuts = 0;

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/file", folder);
    snprintf(lock, sizeof(lock), "%s.lock", path);
    snprintf(uri, sizeof(uri), "%s%ccheckpoint=%s", f->uri, strchr(f->uri, '?') ? '&' : '?', path);
    for (int i = 0; i < 100; i++) {
        tks_store *store;

        CHECK_OK(tks_store_open(uri, NULL, &store));
        CHECK_OK(tks_add_i64(f->state, "key", 1, NULL));
        tks_store_close(store);
        CHECK_OK(tks_store_stats(f->store, &stats));
        CHECK(stats.checkpoint_cuts > cuts);
        cuts = stats.checkpoint_cuts;
    }
    CHECK(!unlink(path) && !unlink(lock) && !rmdir(folder));
}

static int open_and_be_killed(int fd, void *uri)
{
    api_tell(fd);
    for (;;)
        tks_store_close(api_store(uri));
    return 0;
}

static void a_creator_that_dies_halfway_blocks_nobody(void **fixture)
{
    (void)fixture;
    for (int i = 0; i < 100; i++) {
        char uri[API_URI_MAX];
        struct api_peer peer;
        tks_store *store;

        api_shm_uri(uri, "size=1M");
        peer = api_spawn(open_and_be_killed, uri);
        api_hear(peer.fd);
        for (int spin = 0; spin < i * 1000; spin++)
            __asm__ volatile("");
        api_kill(&peer);
        api_reap(&peer);
        store = api_store(uri);
        api_dispose(store, uri);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_parameter_is_refused_by_name),
        cmocka_unit_test(a_bad_name_is_refused),
        cmocka_unit_test(another_scheme_is_unsupported),
        cmocka_unit_test(a_name_may_have_200_bytes),
        cmocka_unit_test(sizes_are_bytes_or_powers_of_1024),
        cmocka_unit_test(a_large_store_is_reserved_not_committed),
        API_TEST(the_first_opens_size_counts),
        API_TEST(existing_only_creates_nothing),
        cmocka_unit_test(the_segment_has_the_mode_asked_for),
        cmocka_unit_test(the_segment_has_the_group_asked_for),
        cmocka_unit_test(a_world_writable_segment_is_denied),
        API_TEST(a_link_is_never_followed),
        cmocka_unit_test(a_foreign_file_is_no_store),
        cmocka_unit_test(prefault_lock_and_huge_report_what_took_effect),
        cmocka_unit_test(huge_pages_are_there_or_the_stats_say_not),
        cmocka_unit_test(sweep_ms_sweeps_in_the_background),
        API_TEST(all_slots_taken_is_busy),
        API_TEST(slots_of_the_dead_are_free_again),
        API_TEST(recovered_counts_the_dead),
        cmocka_unit_test(destroy_needs_a_segment),
        API_TEST(destroy_is_busy_while_this_process_is_attached),
        API_TEST(destroy_is_busy_while_another_process_lives),
        API_TEST(destroy_does_not_wait_for_the_dead),
        API_TEST(a_new_store_of_that_name_is_empty),
        API_TEST(a_segment_outlives_its_users),
        API_TEST(opening_twice_is_one_more_store),
        API_TEST(who_is_passive_writes_no_checkpoint),
        API_TEST(a_store_that_is_closed_at_once_writes_what_it_changed),
        cmocka_unit_test(a_creator_that_dies_halfway_blocks_nobody),
    };

    if (!api_is_shm())
        return 77; /* skipped, for Meson */
    return api_run("shm", tests);
}
