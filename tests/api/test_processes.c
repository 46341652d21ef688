/* SPDX-License-Identifier: MIT */
/* Several processes on one store, forked children, and the dead. */
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include "api.h"

enum { PROCESSES = 4 };

/* ---- Together ---------------------------------------------------------------------------- */

static int add_many(int index, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    int64_t result = 0;
    int64_t last = 0;
    tks_key key;

    CHECK_OK(tks_key_prepare(state, "counter", &key));
    for (int i = 0; i < 20000; i++) {
        if (index % 2 == 0)
            CHECK_OK(tks_add_i64(state, "counter", 1, &result));
        else
            CHECK_OK(tks_add_i64_k(state, &key, 1, &result));
        CHECK(result > last);
        last = result;
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void processes_count_exactly(void **fixture)
{
    struct api *f = *fixture;
    int64_t count = 0;

    api_need_sharing(f);
    api_crew(PROCESSES, add_many, f->uri);
    CHECK_OK(tks_get_i64(f->state, "counter", &count));
    CHECK_INT(count, PROCESSES * 20000);
}

/* Read and write back under a lock that set_if takes and delete gives back. */
static int count_under_a_lock(int index, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    int64_t count;

    for (int i = 0; i < 2000; i++) {
        int status;

        while ((status = tks_set_if(state, "lock", &index, sizeof(index), 0)) == TKS_CONFLICT)
            sched_yield();
        CHECK_OK(status);
        CHECK_OK(tks_get_i64(state, "counter", &count));
        CHECK_OK(tks_set_i64(state, "counter", count + 1));
        CHECK_BYTES(state, "lock", &index, sizeof(index));
        CHECK_OK(tks_delete(state, "lock"));
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void set_if_makes_a_lock(void **fixture)
{
    struct api *f = *fixture;
    int64_t count = 0;

    api_need_sharing(f);
    CHECK_OK(tks_set_i64(f->state, "counter", 0));
    api_crew(PROCESSES, count_under_a_lock, f->uri);
    CHECK_OK(tks_get_i64(f->state, "counter", &count));
    CHECK_INT(count, PROCESSES * 2000);
}

/* Every process counts by compare-and-set. */
static int increment_by_version(int index, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");

    (void)index;
    for (int i = 0; i < 5000; i++) {
        uint64_t version;
        int64_t count;
        int status;

        do {
            count = 0;
            status = tks_get_versioned(state, "counter", &count, sizeof(count), NULL, &version);
            CHECK(status == TKS_OK || status == TKS_NOT_FOUND);
            count++;
            status = tks_set_if(state, "counter", &count, sizeof(count), version);
        } while (status == TKS_CONFLICT);
        CHECK_OK(status);
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void no_compare_and_set_is_lost(void **fixture)
{
    struct api *f = *fixture;
    int64_t count = PROCESSES * 5000;

    api_need_sharing(f);
    api_crew(PROCESSES, increment_by_version, f->uri);
    CHECK_BYTES(f->state, "counter", &count, sizeof(count));
}

static int create_and_sign(int index, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    char key[16];
    int status;

    snprintf(key, sizeof(key), "was-%d", index);
    CHECK_OK(tks_set(state, key, &index, sizeof(index)));
    CHECK_OK(tks_add_i64(state, "counter", 1, NULL));
    status = tks_set_if(state, "first", &index, sizeof(index), 0);
    CHECK(status == TKS_OK || status == TKS_CONFLICT);
    if (status == TKS_OK)
        CHECK_OK(tks_add_i64(state, "winners", 1, NULL));
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void one_of_16_creators_wins_and_all_share(void **fixture)
{
    struct api *f = *fixture;

    api_need_sharing(f);
    for (int round = 0; round < 20; round++) {
        char uri[API_URI_MAX];
        tks_store *store;
        tks_state *state;
        int64_t count = 0;

        api_fresh_uri(uri);
        api_crew(16, create_and_sign, uri);
        store = api_store(uri);
        state = api_state(store, "plugin");
        CHECK_OK(tks_get_i64(state, "counter", &count));
        CHECK_INT(count, 16);
        CHECK_OK(tks_get_i64(state, "winners", &count));
        CHECK_INT(count, 1);
        CHECK_INT(api_count_keys(state), 16 + 3);
        tks_state_close(state);
        api_dispose(store, uri);
    }
}

static int echo(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    char text[16];

    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "ping %d", i);
        api_hear(fd);
        CHECK_TEXT(state, "key", text);
        text[1] = 'o';
        CHECK_OK(tks_set(state, "key", text, strlen(text)));
        api_tell(fd);
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void a_write_is_visible_when_its_call_returns(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peer;
    char text[16];

    api_need_sharing(f);
    peer = api_spawn(echo, f->uri);
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof(text), "ping %d", i);
        if (i % 2 == 0)
            CHECK_OK(tks_tick_begin(f->state));
        CHECK_OK(tks_set(f->state, "key", text, strlen(text)));
        api_tell(peer.fd);
        api_hear(peer.fd);
        text[1] = 'o';
        CHECK_TEXT(f->state, "key", text);
        if (i % 2 == 0)
            CHECK_OK(tks_tick_end(f->state));
    }
    api_join(&peer);
}

/* A value whose bytes are all the same, or somebody saw half a write. */
static int overwrite_whole_values(int index, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    unsigned char value[3000];
    size_t len;

    for (int i = 0; i < 10000; i++) {
        int status = tks_get(state, "key", value, sizeof(value), &len);

        CHECK(status == TKS_OK || (status == TKS_NOT_FOUND && len == 0));
        for (size_t j = 1; j < len; j++)
            CHECK(value[j] == value[0]);
        CHECK(len == 0 || len == (size_t)value[0] * 10);
        len = (size_t)(1 + (i + index * 50) % 250);
        memset(value, (int)len, len * 10);
        CHECK_OK(tks_set(state, "key", value, len * 10));
        if (i % 50 == 0)
            CHECK_OK(tks_delete(state, "key"));
    }
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void no_value_is_ever_torn(void **fixture)
{
    struct api *f = *fixture;

    api_need_sharing(f);
    api_crew(PROCESSES, overwrite_whole_values, f->uri);
}

static int open_and_close_many(int index, void *uri)
{
    char plugin[16];

    for (int i = 0; i < 200; i++) {
        tks_store *store = api_store(uri);
        tks_state *state;

        snprintf(plugin, sizeof(plugin), "plugin%d", (i + index) % 5);
        state = api_state(store, plugin);
        CHECK_OK(tks_add_i64(state, "opened", 1, NULL));
        if (i % 2 == 0)
            tks_state_close(state);
        tks_store_close(store);
        if (i % 2 != 0)
            tks_state_close(state);
    }
    return 0;
}

static void opening_and_closing_is_counted_exactly(void **fixture)
{
    struct api *f = *fixture;
    int64_t sum = 0;

    api_need_sharing(f);
    api_crew(PROCESSES, open_and_close_many, f->uri);
    for (int i = 0; i < 5; i++) {
        char plugin[16];
        tks_state *state;
        int64_t opened = 0;

        snprintf(plugin, sizeof(plugin), "plugin%d", i);
        state = api_state(f->store, plugin);
        CHECK_OK(tks_get_i64(state, "opened", &opened));
        sum += opened;
        tks_state_close(state);
    }
    CHECK_INT(sum, PROCESSES * 200);
    CHECK_INT(api_open_states(f->store), 1);
}

/* ---- Forked children --------------------------------------------------------------------- */

struct inherited {
    struct api *f;
    tks_key key;
};

static int visit_no_key(void *arg, const char *plugin, size_t plugin_len, uint64_t keys)
{
    (void)arg;
    (void)plugin;
    (void)plugin_len;
    (void)keys;
    return 0;
}

static int visit_no_record(void *arg, const struct tks_record *record)
{
    (void)arg;
    (void)record;
    return 0;
}

static int use_inherited_handles(int fd, void *arg)
{
    struct inherited *inherited = arg;
    struct tks_stats stats = {.size = sizeof(stats)};
    struct tks_check check = {.size = sizeof(check)};
    tks_store *store = inherited->f->store;
    tks_state *state;

    (void)fd;
    CHECK_EVERY_CALL(inherited->f->state, &inherited->key, TKS_INVALID);
    CHECK_STATUS(tks_state_open(store, "plugin", &state), TKS_INVALID);
    CHECK(state == NULL);
    CHECK_STATUS(tks_store_stats(store, &stats), TKS_INVALID);
    CHECK_STATUS(tks_store_check(store, &check), TKS_INVALID);
    CHECK_STATUS(tks_store_sweep(store, NULL), TKS_INVALID);
    CHECK_STATUS(tks_store_plugins(store, visit_no_key, NULL), TKS_INVALID);
    CHECK_STATUS(tks_store_export(store, NULL, visit_no_record, NULL), TKS_INVALID);
    return 0;
}

static int close_inherited_handles(int fd, void *arg)
{
    struct inherited *inherited = arg;

    (void)fd;
    tks_state_close(inherited->f->state);
    tks_store_close(inherited->f->store);
    return 0;
}

static int open_its_own(int fd, void *arg)
{
    struct inherited *inherited = arg;
    tks_store *store = api_store(inherited->f->uri);
    tks_state *state = api_state(store, "plugin");

    (void)fd;
    CHECK_OK(tks_set(state, "child", "was here", 8));
    CHECK_TEXT(state, "child", "was here");
    CHECK_STATUS(tks_has(inherited->f->state, "child"), TKS_INVALID);
    tks_state_close(inherited->f->state);
    tks_store_close(inherited->f->store);
    CHECK_TEXT(state, "child", "was here");
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void run_child(api_body body, struct inherited *inherited)
{
    struct api_peer peer = api_spawn(body, inherited);

    api_join(&peer);
}

static struct inherited prepare_to_inherit(struct api *f)
{
    struct inherited inherited = {.f = f};

    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_key_prepare(f->state, "key", &inherited.key));
    return inherited;
}

static void check_unharmed(struct inherited *inherited)
{
    struct api *f = inherited->f;
    char buf[8];

    CHECK_TEXT(f->state, "key", "value");
    CHECK_OK(tks_get_k(f->state, &inherited->key, buf, sizeof(buf), NULL));
    CHECK_INT(api_open_states(f->store), 1);
}

static void inherited_handles_are_invalid_in_a_child(void **fixture)
{
    struct inherited inherited = prepare_to_inherit(*fixture);

    run_child(use_inherited_handles, &inherited);
    check_unharmed(&inherited);
    CHECK_STATUS(tks_tick_end(inherited.f->state), TKS_INVALID);
}

static void a_child_that_closes_them_harms_nobody(void **fixture)
{
    struct inherited inherited = prepare_to_inherit(*fixture);

    run_child(close_inherited_handles, &inherited);
    check_unharmed(&inherited);
    CHECK_OK(tks_set(inherited.f->state, "key", "later", 5));
}

static void a_child_opens_its_own(void **fixture)
{
    struct inherited inherited = prepare_to_inherit(*fixture);

    api_need_sharing(inherited.f);
    for (int i = 0; i < 10; i++) {
        run_child(open_its_own, &inherited);
        check_unharmed(&inherited);
        CHECK_TEXT(inherited.f->state, "child", "was here");
        CHECK_OK(tks_delete(inherited.f->state, "child"));
    }
}

static void a_fork_within_a_tick_leaves_the_parents_tick(void **fixture)
{
    struct inherited inherited = prepare_to_inherit(*fixture);
    tks_state *state = inherited.f->state;
    const void *value;
    size_t len = 0;
    int status;

    CHECK_OK(tks_tick_begin(state));
    status = tks_borrow(state, "key", &value, &len);
    run_child(use_inherited_handles, &inherited);
    run_child(close_inherited_handles, &inherited);
    if (status == TKS_OK)
        CHECK(len == 5 && memcmp(value, "value", 5) == 0);
    CHECK_OK(tks_set(state, "key", "value", 5));
    CHECK_OK(tks_tick_end(state));
    check_unharmed(&inherited);
}

static int grandchild(int fd, void *arg)
{
    struct inherited *inherited = arg;
    struct inherited own = {.f = &(struct api){.store = NULL}};
    struct api_peer peer;

    (void)fd;
    snprintf(own.f->uri, sizeof(own.f->uri), "%s", inherited->f->uri);
    own.f->store = api_store(own.f->uri);
    own.f->state = api_state(own.f->store, "plugin");
    CHECK_OK(tks_key_prepare(own.f->state, "key", &own.key));
    peer = api_spawn(use_inherited_handles, &own);
    api_join(&peer);
    peer = api_spawn(open_its_own, &own);
    api_join(&peer);
    CHECK_TEXT(own.f->state, "child", "was here");
    tks_state_close(own.f->state);
    tks_store_close(own.f->store);
    return 0;
}

static void a_grandchild_is_a_child_too(void **fixture)
{
    struct inherited inherited = prepare_to_inherit(*fixture);

    api_need_sharing(inherited.f);
    run_child(grandchild, &inherited);
    check_unharmed(&inherited);
}

/* ---- The dead and the stopped ------------------------------------------------------------ */

static int write_until_killed(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    const void *value;
    char text[200];
    int status;

    memset(text, 'x', sizeof(text));
    CHECK_OK(tks_set(state, "kept", "value", 5));
    CHECK_OK(tks_tick_begin(state));
    status = tks_borrow(state, "kept", &value, NULL);
    CHECK(status == TKS_OK || status == TKS_UNSUPPORTED);
    api_tell(fd);
    for (unsigned i = 0;; i++) {
        CHECK_OK(tks_set(state, "key", text, i % sizeof(text)));
        CHECK_OK(tks_delete(state, i % 2 == 0 ? "key" : "kept"));
        CHECK_OK(tks_add_i64(state, "counter", 1, NULL));
    }
    return 0;
}

/* Whether what is written now stays. */
static bool undisturbed(struct api *f)
{
    int64_t before, after;
    char text[8];
    size_t len;

    CHECK_OK(tks_add_i64(f->state, "counter", 1, &before));
    CHECK_OK(tks_get_i64(f->state, "counter", &after));
    CHECK_OK(tks_set(f->state, "key", "mine", 4));
    const int status = tks_get(f->state, "key", text, sizeof(text), &len);
    CHECK_OK(tks_delete(f->state, "counter"));
    return after == before && status == TKS_OK && len == 4 && memcmp(text, "mine", 4) == 0 &&
           api_stored_entries(f->store) <= 2;
}

static void a_killed_process_leaves_nothing_behind(void **fixture)
{
    struct api *f = *fixture;

    api_need_sharing(f);
    for (int i = 0; i < 40; i++) {
        struct api_peer peer = api_spawn(write_until_killed, f->uri);
        int64_t before = 0;

        api_hear(peer.fd);
        while (before < 20 * (i % 5)) {
            int status = tks_get_i64(f->state, "counter", &before);

            CHECK(status == TKS_OK || status == TKS_NOT_FOUND);
        }
        api_kill(&peer);
        if (i % 2 == 0)
            api_reap(&peer); /* a zombie is as dead */
        CHECK_INT(api_open_states(f->store), 1);
        /* The one statement that a server has of it when it dies may still be carried out. */
        CHECK(undisturbed(f) || (api_has_server() && undisturbed(f)));
        if (i % 2 != 0)
            api_reap(&peer);
    }
}

static void stopped_processes_hold_up_nobody(void **fixture)
{
    enum { STOPPED = 6 };
    struct api *f = *fixture;
    struct api_peer peers[STOPPED];
    char value[1000] = "";

    if (!api_is_shm())
        skip(); /* the one backend that is lock-free: whoever is stopped in a database may hold its
                   lock */
    for (int i = 0; i < STOPPED; i++) {
        peers[i] = api_spawn(write_until_killed, f->uri);
        api_hear(peers[i].fd);
        api_stop(&peers[i]);
    }
    /* More than the store could hold if the stopped ones pinned it. */
    for (int i = 0; i < 100000; i++)
        CHECK_OK(tks_set(f->state, "mine", value, sizeof(value)));
    CHECK_OK(tks_set(f->state, "key", "mine", 4));
    CHECK_TEXT(f->state, "key", "mine");
    CHECK_INT(api_open_states(f->store), 1 + STOPPED);
    for (int i = 0; i < STOPPED; i++) {
        api_kill(&peers[i]);
        api_reap(&peers[i]);
    }
    CHECK_INT(api_open_states(f->store), 1);
}

static int borrow_and_look_again(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    const void *value;
    char expected[500];
    char buf[8];

    api_pattern(expected, sizeof(expected), 5);
    CHECK_OK(tks_set(state, "kept", expected, sizeof(expected)));
    CHECK_OK(tks_tick_begin(state));
    CHECK_OK(tks_borrow(state, "kept", &value, NULL));
    api_tell(fd);
    api_hear(fd); /* stopped and let go meanwhile */
    CHECK(memcmp(value, expected, sizeof(expected)) == 0);
    CHECK_OK(tks_get(state, "key", buf, sizeof(buf), NULL)); /* resumed, not EVICTED */
    CHECK(memcmp(buf, "fresh", 5) == 0);
    CHECK_OK(tks_set(state, "back", "again", 5));
    CHECK(memcmp(value, expected, sizeof(expected)) == 0);
    CHECK_OK(tks_tick_end(state));
    tks_state_close(state);
    tks_store_close(store);
    return 0;
}

static void a_section_that_was_stopped_for_long_goes_on(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peer;
    char value[500] = "";
    const void *borrowed;
    int status;

    api_need_sharing(f);
    CHECK_OK(tks_set(f->state, "kept", "value", 5));
    CHECK_OK(tks_tick_begin(f->state));
    status = tks_borrow(f->state, "kept", &borrowed, NULL);
    CHECK_OK(tks_tick_end(f->state));
    api_need(status);
    peer = api_spawn(borrow_and_look_again, f->uri);
    api_hear(peer.fd);
    api_stop(&peer);
    for (int i = 0; i < 300000; i++)
        CHECK_OK(tks_set(f->state, i % 2 == 0 ? "kept" : "other", value, sizeof(value)));
    CHECK_OK(tks_set(f->state, "key", "fresh", 5));
    CHECK(kill(peer.pid, SIGCONT) == 0);
    api_tell(peer.fd);
    api_join(&peer);
    CHECK_TEXT(f->state, "back", "again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(processes_count_exactly),
        API_TEST(set_if_makes_a_lock),
        API_TEST(no_compare_and_set_is_lost),
        API_TEST(one_of_16_creators_wins_and_all_share),
        API_TEST(a_write_is_visible_when_its_call_returns),
        API_TEST(no_value_is_ever_torn),
        API_TEST(opening_and_closing_is_counted_exactly),
        API_TEST(inherited_handles_are_invalid_in_a_child),
        API_TEST(a_child_that_closes_them_harms_nobody),
        API_TEST(a_child_opens_its_own),
        API_TEST(a_fork_within_a_tick_leaves_the_parents_tick),
        API_TEST(a_grandchild_is_a_child_too),
        API_TEST(a_killed_process_leaves_nothing_behind),
        API_TEST(stopped_processes_hold_up_nobody),
        API_TEST(a_section_that_was_stopped_for_long_goes_on),
    };

    return api_run("processes", tests);
}
