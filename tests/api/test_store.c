/* SPDX-License-Identifier: MIT */
/* Stores as a whole: errors in words, plugins, statistics, audit, export and records. */
#include <fcntl.h>
#include <fnmatch.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "api.h"
#include "utf8.h"

/* ---- Errors in words --------------------------------------------------------------------- */

static void every_status_has_its_name_and_sentence(void **fixture)
{
    static const struct {
        int status;
        const char *name;
    } rows[] = {
#define ROW(name, number, sentence) {number, #name ": " sentence},
        TKS_STATUS_LIST(ROW)
#undef ROW
    };

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(rows); i++)
        CHECK(strcmp(tks_strerror(rows[i].status), rows[i].name) == 0);
}

static void an_unknown_status_has_a_sentence_too(void **fixture)
{
    static const int numbers[] = {1, 100, -15, -16, -1000, INT32_MIN, INT32_MAX};

    (void)fixture;
    for (size_t i = 0; i < API_ARRAY(numbers); i++) {
        CHECK(tks_strerror(numbers[i]) != NULL);
        CHECK(*tks_strerror(numbers[i]) != '\0');
    }
}

static void the_library_has_the_headers_version(void **fixture)
{
    (void)fixture;
    CHECK(strcmp(tks_version(), TKS_VERSION) == 0);
}

static void the_last_error_says_what_failed(void **fixture)
{
    struct api *f = *fixture;
    char first[512];

    CHECK_STATUS(tks_set_with_ttl(f->state, "cooldown", "v", 1, -5), TKS_INVALID);
    snprintf(first, sizeof(first), "%s", tks_last_error());
    CHECK(strlen(first) > strlen("TKS_INVALID"));
    CHECK(strcmp(tks_last_error(), first) == 0); /* asking does not change it */
    CHECK_OK(tks_set(f->state, "cooldown", "v", 1));
    CHECK(strcmp(tks_last_error(), first) == 0); /* nor does success */
    CHECK_STATUS(tks_tick_end(f->state), TKS_INVALID);
    CHECK(strcmp(tks_last_error(), first) != 0);
}

static void every_expected_outcome_is_named(void **fixture)
{
    struct api *f = *fixture;

    CHECK_STATUS(tks_get(f->state, "none", NULL, 0, NULL), TKS_NOT_FOUND);
    CHECK(strlen(tks_last_error()) > 0);
    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_STATUS(tks_get(f->state, "key", NULL, 0, NULL), TKS_TOO_SMALL);
    CHECK(strlen(tks_last_error()) > 0);
    CHECK_STATUS(tks_set_if(f->state, "key", "v", 1, 0), TKS_CONFLICT);
    CHECK(strlen(tks_last_error()) > 0);
}

/* Whatever fails: nothing is printed, and the process is as before. */
static int fail_quietly(int fd, void *uri)
{
    char path[] = "/tmp/tickstate-test-output-XXXXXX";
    char *locale = strdup(setlocale(LC_ALL, NULL));
    char *before = getcwd(NULL, 0);
    int output = mkstemp(path);
    tks_store *store = api_store(uri);
    tks_state *state = api_state(store, "plugin");
    struct sigaction action;
    char *after;
    int out = dup(STDOUT_FILENO);
    int err = dup(STDERR_FILENO);

    (void)fd;
    unlink(path);
    fflush(NULL);
    CHECK(dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0);
    for (size_t i = 0; i < api_every_call_count; i++)
        api_every_call[i].call(NULL, NULL);
    tks_set(state, "\xff", "v", 1);
    tks_state_open(store, "", &state);
    tks_store_open("nosuch://x", NULL, &store);
    tks_store_open("shm://a/b", NULL, &store);
    tks_store_open("shm://tickstate?size=1", NULL, &store);
    tks_store_destroy("shm://tickstate-test-none");
    tks_last_error();
    fflush(NULL);
    CHECK(dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0);
    CHECK_INT(lseek(output, 0, SEEK_END), 0);
    CHECK(strcmp(locale, setlocale(LC_ALL, NULL)) == 0);
    after = getcwd(NULL, 0);
    CHECK(strcmp(before, after) == 0);
    CHECK(sigaction(SIGBUS, NULL, &action) == 0 && sigaction(SIGSEGV, NULL, &action) == 0);
    free(locale);
    free(before);
    free(after);
    return 0;
}

static void the_library_never_prints(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peer = api_spawn(fail_quietly, f->uri);

    api_join(&peer);
}

/* ---- Opening ----------------------------------------------------------------------------- */

static void a_bad_plugin_name_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    char name[TKS_NAME_MAX + 2];
    tks_state *state = f->state;

    memset(name, 'p', sizeof(name));
    name[TKS_NAME_MAX + 1] = '\0';
    CHECK_STATUS(tks_state_open(f->store, name, &state), TKS_INVALID);
    CHECK(state == NULL);
    CHECK_STATUS(tks_state_open(f->store, "", &state), TKS_INVALID);
    CHECK_STATUS(tks_state_open(f->store, NULL, &state), TKS_INVALID);
    CHECK_STATUS(tks_state_open(f->store, "plugin", NULL), TKS_INVALID);
    CHECK_STATUS(tks_state_open(NULL, "plugin", &state), TKS_INVALID);
    for (size_t i = 0; i < API_ARRAY(api_utf8_bad); i++)
        CHECK_STATUS(tks_state_open(f->store, api_utf8_bad[i], &state), TKS_INVALID);
    CHECK_INT(api_open_states(f->store), 1);
}

static void every_good_plugin_name_is_a_plugin_of_its_own(void **fixture)
{
    struct api *f = *fixture;
    char name[TKS_NAME_MAX + 1];
    tks_state *state;

    for (size_t i = 0; i < API_ARRAY(api_utf8_good); i++) {
        state = api_state(f->store, api_utf8_good[i]);
        CHECK_ABSENT(state, "key");
        CHECK_OK(tks_set(state, "key", &i, sizeof(i)));
        tks_state_close(state);
    }
    for (size_t i = 0; i < API_ARRAY(api_utf8_good); i++) {
        state = api_state(f->store, api_utf8_good[i]);
        CHECK_BYTES(state, "key", &i, sizeof(i));
        tks_state_close(state);
    }
    memset(name, 'p', TKS_NAME_MAX);
    name[TKS_NAME_MAX] = '\0';
    state = api_state(f->store, name);
    CHECK_OK(tks_set(state, "key", "value", 5));
    tks_state_close(state);
    name[TKS_NAME_MAX - 1] = '\0';
    state = api_state(f->store, name);
    CHECK_ABSENT(state, "key");
    tks_state_close(state);
}

static void a_thread_may_have_many_states(void **fixture)
{
    enum { STATES = 50 }; /* ThreadSanitizer follows 64 locks per thread */
    struct api *f = *fixture;
    tks_state *states[STATES];
    char plugin[24];

    for (int i = 0; i < STATES; i++) {
        snprintf(plugin, sizeof(plugin), "plugin%d", i / 2);
        states[i] = api_state(f->store, plugin);
        CHECK_OK(tks_set(states[i], "key", &i, sizeof(i)));
    }
    CHECK_INT(api_open_states(f->store), STATES + 1);
    for (int i = 0; i < STATES; i++) {
        CHECK_BYTES(states[i], "key", &(int){i | 1}, sizeof(i));
        tks_state_close(states[i]);
    }
    CHECK_INT(api_open_states(f->store), 1);
}

static void many_plugins_keep_their_values(void **fixture)
{
    struct api *f = *fixture;
    char plugin[24];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 300; i++) {
            tks_state *state;

            snprintf(plugin, sizeof(plugin), "p%d", i);
            state = api_state(f->store, plugin);
            if (round == 0)
                CHECK_OK(tks_set(state, "key", &i, sizeof(i)));
            CHECK_BYTES(state, "key", &i, sizeof(i));
            CHECK_INT(api_count_keys(state), 1);
            tks_state_close(state);
        }
    }
}

/* ---- Struct sizes ------------------------------------------------------------------------ */

enum { SLACK = 64 };

/* call() fills a struct of the size named in its first 4 bytes; nothing past it may change. */
static void check_sizes(tks_store *store, int (*call)(tks_store *store, void *out), size_t full)
{
    unsigned char *out = malloc(full + 2 * SLACK);

    CHECK(out != NULL);
    for (uint32_t size = 0; size <= full + SLACK; size++) {
        int status;

        memset(out, 0xa5, full + 2 * SLACK);
        memcpy(out, &size, sizeof(size));
        status = call(store, out);
        if (size >= 8)
            CHECK_OK(status);
        else
            CHECK(status == TKS_OK || status == TKS_INVALID);
        for (size_t i = size < 4 ? 4 : size; i < full + 2 * SLACK; i++)
            CHECK_INT(out[i], 0xa5);
    }
    free(out);
}

static int call_stats(tks_store *store, void *out)
{
    return tks_store_stats(store, out);
}

static int call_check(tks_store *store, void *out)
{
    return tks_store_check(store, out);
}

static void nothing_is_written_past_stats_size(void **fixture)
{
    struct api *f = *fixture;
    struct tks_stats part = {.size = offsetof(struct tks_stats, plugins), .plugins = 77};

    check_sizes(f->store, call_stats, sizeof(struct tks_stats));
    CHECK_OK(tks_set(f->state, "key", "v", 1));
    CHECK_OK(tks_store_stats(f->store, &part));
    CHECK_INT(part.keys, 1); /* the part that fits is filled */
    CHECK_INT(part.plugins, 77);
    CHECK_STATUS(tks_store_stats(f->store, NULL), TKS_INVALID);
    CHECK_STATUS(tks_store_stats(NULL, &part), TKS_INVALID);
}

static void nothing_is_written_past_checks_size(void **fixture)
{
    struct api *f = *fixture;
    struct tks_check check = {.size = sizeof(check)};

    api_need(tks_store_check(f->store, &check));
    check_sizes(f->store, call_check, sizeof(struct tks_check));
    CHECK_STATUS(tks_store_check(f->store, NULL), TKS_INVALID);
    CHECK_STATUS(tks_store_check(NULL, &check), TKS_INVALID);
}

static void options_are_read_up_to_their_size(void **fixture)
{
    struct api *f = *fixture;
    struct {
        struct tks_options options;
        uint32_t later[8];
    } large = {.options = {.size = sizeof(large)}};
    struct tks_options small = {.size = offsetof(struct tks_options, flags), .flags = UINT32_MAX};
    tks_store *store = NULL;
    int status;

    CHECK_OK(tks_store_open(f->uri, &large.options, &store));
    tks_store_close(store);
    /* One without flags may be refused; but what lies behind it is no flag. */
    status = tks_store_open(f->uri, &small, &store);
    CHECK(status == TKS_OK || (status == TKS_INVALID && strstr(tks_last_error(), "size") != NULL));
    tks_store_close(store);
}

static void an_unknown_flag_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    struct tks_options options = {.size = sizeof(options), .flags = 1u << 30};
    tks_store *store = f->store;

    CHECK_STATUS(tks_store_open(f->uri, &options, &store), TKS_INVALID);
    CHECK(store == NULL);
}

/* ---- Statistics and audit ---------------------------------------------------------------- */

static struct tks_stats stats_of(tks_store *store)
{
    struct tks_stats stats = {.size = sizeof(stats)};

    CHECK_OK(tks_store_stats(store, &stats));
    return stats;
}

static void stats_count_keys_plugins_and_states(void **fixture)
{
    struct api *f = *fixture;
    tks_state *other = api_state(f->store, "other");
    char key[16];

    CHECK_INT(stats_of(f->store).keys, 0);
    CHECK_INT(stats_of(f->store).plugins, 0); /* no plugin has a key */
    CHECK_INT(stats_of(f->store).states, 2);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_set(i % 4 == 0 ? other : f->state, key, key, strlen(key)));
    }
    CHECK_INT(stats_of(f->store).keys, 100);
    CHECK_INT(stats_of(f->store).plugins, 2);
    for (int i = 0; i < 100; i += 4) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_delete(other, key));
    }
    CHECK_INT(stats_of(f->store).keys, 75);
    CHECK_INT(stats_of(f->store).plugins, 1);
    tks_state_close(other);
    CHECK_INT(stats_of(f->store).states, 1);
}

static void stats_are_plausible(void **fixture)
{
    struct api *f = *fixture;
    struct tks_stats before, after;
    char *value;

    if (!api_is_shm())
        skip();
    value = calloc(1, (size_t)1 << 20);
    CHECK(value != NULL);
    before = stats_of(f->store);
    for (int i = 0; i < 8; i++) {
        char key[8];

        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_set(f->state, key, value, (size_t)1 << 20));
    }
    after = stats_of(f->store);
    free(value);
    CHECK(after.used_bytes >= before.used_bytes + ((uint64_t)8 << 20));
    CHECK(after.retired_bytes <= after.used_bytes);
    CHECK(after.used_bytes <= after.committed_bytes);
    CHECK(after.committed_bytes <= after.size_bytes);
    CHECK_INT(after.size_bytes, before.size_bytes);
    CHECK_INT(after.stores, 1);
    CHECK(after.slots >= 8 && after.slots <= 4096);
    CHECK_INT(after.recovered, 0);
    CHECK(after.created_ms > api_wall_ms() - API_HOUR_MS);
    CHECK(after.created_ms < api_wall_ms() + API_HOUR_MS);
    CHECK(after.clock_skew_ms > -API_HOUR_MS && after.clock_skew_ms < API_HOUR_MS);
}

static struct tks_check check_of(tks_store *store)
{
    struct tks_check check = {.size = sizeof(check)};

    api_need(tks_store_check(store, &check));
    CHECK_INT(check.leaked_blocks, 0);
    return check;
}

static void an_audit_accounts_for_every_block(void **fixture)
{
    struct api *f = *fixture;
    struct tks_check empty = check_of(f->store);
    struct tks_check full, emptied;
    char key[16];
    char value[300] = "";

    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_set(f->state, key, value, (size_t)i % sizeof(value)));
        CHECK_OK(tks_set(f->state, key, value, (size_t)(i * 7) % sizeof(value)));
    }
    full = check_of(f->store);
    CHECK_INT(full.keys, 3000);
    if (full.reachable_blocks == 0 && !api_is_shm())
        skip(); /* a database's blocks are its own business */
    CHECK(full.reachable_blocks >= empty.reachable_blocks + 3000);
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_delete(f->state, key));
    }
    emptied = check_of(f->store);
    CHECK_INT(emptied.keys, 0);
    CHECK(emptied.reachable_blocks + 3000 <= full.reachable_blocks);
    CHECK(emptied.free_blocks >= 3000); /* the audit reclaims what it can */
    CHECK_INT(emptied.retired_blocks, 0);
}

static void an_audit_counts_what_a_tick_holds(void **fixture)
{
    struct api *f = *fixture;
    tks_state *twin;
    const void *value;

    api_need_borrow(f);
    check_of(f->store);
    twin = api_state(f->store, "plugin");
    CHECK_OK(tks_set(f->state, "key", "value", 5));
    CHECK_OK(tks_tick_begin(twin));
    CHECK_OK(tks_borrow(twin, "key", &value, NULL));
    CHECK_OK(tks_delete(f->state, "key"));
    check_of(f->store);
    CHECK(memcmp(value, "value", 5) == 0);
    CHECK_OK(tks_tick_end(twin));
    tks_state_close(twin);
    CHECK_INT(check_of(f->store).retired_blocks, 0);
}

static void housekeeping_needs_a_store(void **fixture)
{
    uint64_t purged;

    (void)fixture;
    CHECK_STATUS(tks_store_sweep(NULL, &purged), TKS_INVALID);
    CHECK_STATUS(tks_store_checkpoint(NULL), TKS_INVALID);
    CHECK_STATUS(tks_store_destroy(NULL), TKS_INVALID);
}

static void a_checkpoint_needs_its_parameter(void **fixture)
{
    struct api *f = *fixture;

    if (strstr(f->uri, "checkpoint=") != NULL)
        skip();
    CHECK_STATUS(tks_store_checkpoint(f->store), TKS_UNSUPPORTED);
}

/* ---- Plugins ----------------------------------------------------------------------------- */

struct plugins {
    int visits;
    int stop_after;
    char names[8][32];
    uint64_t keys[8];
};

static int note_plugin(void *arg, const char *plugin, size_t plugin_len, uint64_t keys)
{
    struct plugins *plugins = arg;

    CHECK_INT(strlen(plugin), plugin_len);
    CHECK(plugins->visits < 8);
    snprintf(plugins->names[plugins->visits], 32, "%s", plugin);
    plugins->keys[plugins->visits++] = keys;
    return plugins->visits == plugins->stop_after ? 42 : 0;
}

static void set_in_plugin(struct api *f, const char *plugin, int keys)
{
    tks_state *state = api_state(f->store, plugin);
    char key[16];

    for (int i = 0; i < keys; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_OK(tks_set(state, key, plugin, strlen(plugin)));
    }
    tks_state_close(state);
}

static void plugins_are_those_with_keys(void **fixture)
{
    struct api *f = *fixture;
    struct plugins plugins = {0};
    uint64_t sum = 0;

    set_in_plugin(f, "alpha", 1);
    set_in_plugin(f, "beta", 20);
    set_in_plugin(f, "gamma", 300);
    set_in_plugin(f, "empty", 0);
    CHECK_OK(tks_set(f->state, "key", "v", 1));
    CHECK_OK(tks_delete(f->state, "key"));
    api_need(tks_store_plugins(f->store, note_plugin, &plugins));
    CHECK_INT(plugins.visits, 3);
    for (int i = 0; i < 3; i++) {
        uint64_t want = strcmp(plugins.names[i], "alpha") == 0  ? 1
                        : strcmp(plugins.names[i], "beta") == 0 ? 20
                                                                : 300;

        CHECK_INT(plugins.keys[i], want);
        sum += plugins.keys[i];
    }
    CHECK_INT(sum, 321);
    plugins = (struct plugins){.stop_after = 2};
    CHECK_INT(tks_store_plugins(f->store, note_plugin, &plugins), 42);
    CHECK_INT(plugins.visits, 2);
    CHECK_STATUS(tks_store_plugins(f->store, NULL, NULL), TKS_INVALID);
    CHECK_STATUS(tks_store_plugins(NULL, note_plugin, &plugins), TKS_INVALID);
}

/* ---- Export and records ------------------------------------------------------------------ */

struct exported {
    struct api *f;
    int count;
    int stop_after;
    char glob[32];
    struct tks_record last;
    char value[64];
};

static int note_record(void *arg, const struct tks_record *record)
{
    struct exported *exported = arg;

    CHECK(record->size >= sizeof(*record));
    CHECK_INT(strlen(record->plugin), record->plugin_len);
    CHECK_INT(strlen(record->key), record->key_len);
    CHECK(record->version != 0);
    if (exported->glob[0] != '\0')
        CHECK(fnmatch(exported->glob, record->plugin, 0) == 0);
    exported->last = *record;
    if (record->value_len > 0)
        memcpy(exported->value, record->value,
               record->value_len < sizeof(exported->value) ? record->value_len
                                                           : sizeof(exported->value));
    return ++exported->count == exported->stop_after ? 42 : 0;
}

static struct exported export_all(struct api *f)
{
    struct exported exported = {.f = f};

    api_need(tks_store_export(f->store, NULL, note_record, &exported));
    return exported;
}

static void export_shows_every_plugin_that_matches(void **fixture)
{
    static const struct {
        const char *glob;
        int count;
    } rows[] = {
        {"*", 15},     {"alpha", 1}, {"a*", 5},     {"?lpha", 1},     {"alpha?", 4},
        {"[bc]*", 10}, {"none", 0},  {"[!a]*", 10}, {"alpha[12]", 4}, {"*a*", 15},
    };
    struct api *f = *fixture;

    set_in_plugin(f, "alpha", 1);
    set_in_plugin(f, "alpha2", 4);
    set_in_plugin(f, "beta", 10);
    CHECK_INT(export_all(f).count, 15);
    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        struct exported exported = {.f = f};

        snprintf(exported.glob, sizeof(exported.glob), "%s", rows[i].glob);
        CHECK_OK(tks_store_export(f->store, rows[i].glob, note_record, &exported));
        CHECK_INT(exported.count, rows[i].count);
    }
}

static void export_stops_when_the_visitor_says_so(void **fixture)
{
    struct api *f = *fixture;
    struct exported exported = {.f = f, .stop_after = 3};

    set_in_plugin(f, "alpha", 10);
    export_all(f);
    CHECK_INT(tks_store_export(f->store, NULL, note_record, &exported), 42);
    CHECK_INT(exported.count, 3);
    CHECK_STATUS(tks_store_export(f->store, NULL, NULL, NULL), TKS_INVALID);
    CHECK_STATUS(tks_store_export(NULL, NULL, note_record, &exported), TKS_INVALID);
}

static void export_shows_type_value_and_version(void **fixture)
{
    struct api *f = *fixture;
    struct exported exported;
    uint64_t version = 0;
    char buf[8];

    for (int type = TKS_TYPE_BYTES; type <= TKS_TYPE_JSON; type++) {
        switch (type) {
        case TKS_TYPE_BYTES:
            CHECK_OK(tks_set(f->state, "key", "value", 5));
            break;
        case TKS_TYPE_I64:
            CHECK_OK(tks_set_i64(f->state, "key", 17));
            break;
        case TKS_TYPE_F64:
            CHECK_OK(tks_set_f64(f->state, "key", 1.5));
            break;
        case TKS_TYPE_BOOL:
            CHECK_OK(tks_set_bool(f->state, "key", true));
            break;
        case TKS_TYPE_STRING:
            CHECK_OK(tks_set_str(f->state, "key", "text", 4));
            break;
        default:
            CHECK_OK(tks_set_json(f->state, "key", "[1,2]", 5));
            break;
        }
        exported = export_all(f);
        CHECK_INT(exported.count, 1);
        CHECK_INT(exported.last.type, type);
        CHECK_BYTES(f->state, "key", exported.value, exported.last.value_len);
        CHECK_OK(tks_get_versioned(f->state, "key", buf, sizeof(buf), NULL, &version));
        CHECK(exported.last.version == version);
        CHECK_INT(exported.last.expires_at, 0);
    }
}

static void export_shows_expiry_by_the_wall_clock(void **fixture)
{
    struct api *f = *fixture;
    struct exported exported;
    int64_t before = api_wall_ms();

    CHECK_OK(tks_set_with_ttl(f->state, "key", "value", 5, 100 * API_HOUR_MS));
    exported = export_all(f);
    CHECK(exported.last.expires_at >= before + 99 * API_HOUR_MS);
    CHECK(exported.last.expires_at <= api_wall_ms() + 101 * API_HOUR_MS);
    CHECK_OK(tks_set_with_ttl(f->state, "key", "value", 5, INT64_MAX));
    exported = export_all(f);
    CHECK(exported.last.expires_at == 0 || exported.last.expires_at > before + 101 * API_HOUR_MS);
}

static void export_leaves_out_what_has_expired(void **fixture)
{
    struct api *f = *fixture;

    CHECK_OK(tks_set_with_ttl(f->state, "gone", "value", 5, 1));
    CHECK_OK(tks_set(f->state, "kept", "value", 5));
    api_let_expire(f->store, 2);
    CHECK_INT(export_all(f).count, 1);
}

static int write_back(void *arg, const struct tks_record *record)
{
    struct exported *exported = arg;
    tks_state *state = api_state(exported->f->store, record->plugin);

    CHECK_OK(tks_delete(state, record->key));
    CHECK_OK(tks_set(state, "later", "value", 5));
    tks_state_close(state);
    return note_record(arg, record);
}

static void the_exports_visitor_may_use_the_store(void **fixture)
{
    struct api *f = *fixture;
    struct exported exported = {.f = f};

    set_in_plugin(f, "alpha", 50);
    set_in_plugin(f, "beta", 50);
    export_all(f);
    CHECK_OK(tks_store_export(f->store, NULL, write_back, &exported));
    CHECK_INT(exported.count, 100);
    CHECK_INT(export_all(f).count, 2);
}

static int write_in_order(int fd, void *uri)
{
    tks_store *store = api_store(uri);
    tks_state *first = api_state(store, "first");
    tks_state *second = api_state(store, "second");
    char key[16];

    for (int64_t i = 1;; i++) {
        snprintf(key, sizeof(key), "k%d", (int)(i % 50));
        CHECK_OK(tks_set_i64(first, key, i));
        CHECK_OK(tks_set_i64(first, "before", i));
        CHECK_OK(tks_set_i64(second, "after", i));
        if (i == 100)
            api_tell(fd);
    }
    return 0;
}

struct instant {
    int64_t before, after, highest;
};

static int note_instant(void *arg, const struct tks_record *record)
{
    struct instant *instant = arg;
    int64_t value;

    CHECK_INT(record->value_len, sizeof(value));
    memcpy(&value, record->value, sizeof(value));
    if (strcmp(record->key, "before") == 0)
        instant->before = value;
    else if (strcmp(record->key, "after") == 0)
        instant->after = value;
    else if (value > instant->highest)
        instant->highest = value;
    return 0;
}

static void an_export_is_of_one_instant(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peer;
    int taken = 0;

    api_need_sharing(f);
    export_all(f);
    peer = api_spawn(write_in_order, f->uri);
    api_hear(peer.fd);
    for (int round = 0; round < 300; round++) {
        struct instant instant = {0, 0, 0};
        int status = tks_store_export(f->store, NULL, note_instant, &instant);

        if (status == TKS_BUSY)
            continue;
        CHECK_OK(status);
        taken++;
        /* k, before, after of round i; at most the next write or two of the next round. */
        CHECK(instant.after >= 100);
        CHECK(instant.before == instant.after || instant.before == instant.after + 1);
        CHECK(instant.highest == instant.before || instant.highest == instant.before + 1);
        CHECK(instant.highest <= instant.after + 1);
    }
    CHECK(taken > 0);
    api_kill(&peer);
    api_reap(&peer);
}

/* A record of plugin "elsewhere": the state decides where it goes. */
static struct tks_record record_of(int type, const void *value, size_t len)
{
    return (struct tks_record){.size = sizeof(struct tks_record),
                               .type = (uint32_t)type,
                               .plugin = "elsewhere",
                               .plugin_len = 9,
                               .key = "key",
                               .key_len = 3,
                               .value = value,
                               .value_len = len,
                               .version = 99};
}

static void a_record_brings_its_type(void **fixture)
{
    static const int64_t i64 = 17;
    static const double f64 = 1.5;
    static const struct {
        int type;
        const void *value;
        size_t len;
    } rows[] = {
        {TKS_TYPE_BYTES, "\xff\0v", 3}, {TKS_TYPE_BYTES, NULL, 0},       {TKS_TYPE_I64, &i64, 8},
        {TKS_TYPE_F64, &f64, 8},        {TKS_TYPE_BOOL, "\x01", 1},      {TKS_TYPE_BOOL, "\0", 1},
        {TKS_TYPE_STRING, "text", 4},   {TKS_TYPE_STRING, "", 0},        {TKS_TYPE_JSON, "[1]", 3},
        {TKS_TYPE_JSON, "null", 4},     {TKS_TYPE_JSON, "{\"a\":1}", 7},
    };
    struct api *f = *fixture;

    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        struct tks_record record = record_of(rows[i].type, rows[i].value, rows[i].len);

        CHECK_OK(tks_put_record(f->state, &record));
        CHECK_TYPE(f->state, "key", rows[i].type);
        CHECK_BYTES(f->state, "key", rows[i].len == 0 ? "" : rows[i].value, rows[i].len);
    }
}

static void a_record_gets_a_new_version(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of(TKS_TYPE_BYTES, "value", 5);
    uint64_t version = 0;

    CHECK_OK(tks_put_record(f->state, &record));
    CHECK_OK(tks_get_versioned(f->state, "key", (char[8]){0}, 8, NULL, &version));
    CHECK(version != 0 && version != record.version);
}

static void a_record_is_checked_against_its_type(void **fixture)
{
    static const uint64_t nan_bits = UINT64_C(0x7ff8000000000000);
    static const uint64_t infinity_bits = UINT64_C(0x7ff0000000000000);
    static const struct {
        int type;
        const void *value;
        size_t len;
    } rows[] = {
        {TKS_TYPE_I64, "1234567", 7},
        {TKS_TYPE_I64, "123456789", 9},
        {TKS_TYPE_I64, NULL, 0},
        {TKS_TYPE_F64, "1234567", 7},
        {TKS_TYPE_F64, &nan_bits, 8},
        {TKS_TYPE_F64, &infinity_bits, 8},
        {TKS_TYPE_BOOL, "\x02", 1},
        {TKS_TYPE_BOOL, "\xff", 1},
        {TKS_TYPE_BOOL, "\0\0", 2},
        {TKS_TYPE_BOOL, NULL, 0},
        {TKS_TYPE_STRING, "\xff", 1},
        {TKS_TYPE_JSON, "{", 1},
        {TKS_TYPE_JSON, "", 0},
        {TKS_TYPE_BYTES, NULL, 1},
        {6, "value", 5},
        {255, "value", 5},
        {-1, "value", 5},
    };
    struct api *f = *fixture;

    CHECK_OK(tks_set(f->state, "key", "old", 3));
    for (size_t i = 0; i < API_ARRAY(rows); i++) {
        struct tks_record record = record_of(rows[i].type, rows[i].value, rows[i].len);

        CHECK_STATUS(tks_put_record(f->state, &record), TKS_INVALID);
    }
    CHECK_TEXT(f->state, "key", "old");
}

static void a_record_with_a_bad_key_is_invalid(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of(TKS_TYPE_BYTES, "value", 5);
    char key[TKS_NAME_MAX + 2];

    CHECK_STATUS(tks_put_record(f->state, NULL), TKS_INVALID);
    record.key_len = 0;
    CHECK_STATUS(tks_put_record(f->state, &record), TKS_INVALID);
    record.key = "\xff";
    record.key_len = 1;
    CHECK_STATUS(tks_put_record(f->state, &record), TKS_INVALID);
    record.key = NULL;
    record.key_len = 3;
    CHECK_STATUS(tks_put_record(f->state, &record), TKS_INVALID);
    memset(key, 'k', sizeof(key));
    key[TKS_NAME_MAX + 1] = '\0';
    record.key = key;
    record.key_len = TKS_NAME_MAX + 1;
    CHECK_STATUS(tks_put_record(f->state, &record), TKS_INVALID);
    CHECK_INT(api_count_keys(f->state), 0);
}

static void a_record_brings_its_expiry(void **fixture)
{
    struct api *f = *fixture;
    struct tks_record record = record_of(TKS_TYPE_STRING, "text", 4);
    struct exported exported;

    record.expires_at = api_wall_ms() + 5 * API_HOUR_MS;
    CHECK_OK(tks_put_record(f->state, &record));
    CHECK_TEXT(f->state, "key", "text");
    exported = export_all(f);
    /* The two clocks are read one after the other, so a little may be lost in rounding. */
    CHECK(llabs(exported.last.expires_at - record.expires_at) < 60 * 1000);
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 4 * API_HOUR_MS));
    CHECK_INT(tks_has(f->state, "key"), 1);
    CHECK_OK(tks_tick_end(f->state));
    CHECK_OK(tks_tick_begin_at(f->state, api_wall_ms() + 6 * API_HOUR_MS));
    CHECK_INT(tks_has(f->state, "key"), 0);
    CHECK_OK(tks_tick_end(f->state));
}

static void a_record_that_has_expired_deletes_its_key(void **fixture)
{
    static const int64_t ago[] = {1, API_HOUR_MS, 10000 * API_HOUR_MS};
    struct api *f = *fixture;
    struct tks_record record = record_of(TKS_TYPE_STRING, "text", 4);

    for (size_t i = 0; i < API_ARRAY(ago); i++) {
        CHECK_OK(tks_set(f->state, "key", "old", 3));
        record.expires_at = api_wall_ms() - 60 * 1000 - ago[i];
        CHECK_OK(tks_put_record(f->state, &record));
        CHECK_ABSENT(f->state, "key");
        CHECK_OK(tks_put_record(f->state, &record)); /* no key to delete is fine */
    }
}

struct copy {
    tks_state *to;
};

static int put_into_copy(void *arg, const struct tks_record *record)
{
    struct copy *copy = arg;

    return tks_put_record(copy->to, record);
}

static void export_and_records_copy_a_plugin(void **fixture)
{
    struct api *f = *fixture;
    struct copy copy = {.to = api_state(f->store, "copy")};
    int64_t i64 = 0;
    bool truth = false;

    CHECK_OK(tks_set(f->state, "bytes", "\xff\0\x01", 3));
    CHECK_OK(tks_set_i64(f->state, "i64", INT64_MIN));
    CHECK_OK(tks_set_bool(f->state, "bool", true));
    CHECK_OK(tks_set_json(f->state, "json", "{\"a\":[1,2]}", 11));
    CHECK_OK(tks_set_with_ttl(f->state, "ttl", "value", 5, API_HOUR_MS));
    api_need(tks_store_export(f->store, "plugin", put_into_copy, &copy));
    CHECK_INT(api_count_keys(copy.to), 5);
    CHECK_BYTES(copy.to, "bytes", "\xff\0\x01", 3);
    CHECK_OK(tks_get_i64(copy.to, "i64", &i64));
    CHECK(i64 == INT64_MIN);
    CHECK_OK(tks_get_bool(copy.to, "bool", &truth));
    CHECK_INT(truth, true);
    CHECK_TEXT(copy.to, "json", "{\"a\":[1,2]}");
    CHECK_TEXT(copy.to, "ttl", "value");
    CHECK_OK(tks_tick_begin_at(copy.to, api_wall_ms() + 2 * API_HOUR_MS));
    CHECK_INT(api_count_keys(copy.to), 4);
    CHECK_OK(tks_tick_end(copy.to));
    tks_state_close(copy.to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_its_name_and_sentence),
        cmocka_unit_test(an_unknown_status_has_a_sentence_too),
        cmocka_unit_test(the_library_has_the_headers_version),
        API_TEST(the_last_error_says_what_failed),
        API_TEST(every_expected_outcome_is_named),
        API_TEST(the_library_never_prints),
        API_TEST(a_bad_plugin_name_is_invalid),
        API_TEST(every_good_plugin_name_is_a_plugin_of_its_own),
        API_TEST(a_thread_may_have_many_states),
        API_TEST(many_plugins_keep_their_values),
        API_TEST(nothing_is_written_past_stats_size),
        API_TEST(nothing_is_written_past_checks_size),
        API_TEST(options_are_read_up_to_their_size),
        API_TEST(an_unknown_flag_is_invalid),
        API_TEST(stats_count_keys_plugins_and_states),
        API_TEST(stats_are_plausible),
        API_TEST(an_audit_accounts_for_every_block),
        API_TEST(an_audit_counts_what_a_tick_holds),
        cmocka_unit_test(housekeeping_needs_a_store),
        API_TEST(a_checkpoint_needs_its_parameter),
        API_TEST(plugins_are_those_with_keys),
        API_TEST(export_shows_every_plugin_that_matches),
        API_TEST(export_stops_when_the_visitor_says_so),
        API_TEST(export_shows_type_value_and_version),
        API_TEST(export_shows_expiry_by_the_wall_clock),
        API_TEST(export_leaves_out_what_has_expired),
        API_TEST(the_exports_visitor_may_use_the_store),
        API_TEST(an_export_is_of_one_instant),
        API_TEST(a_record_brings_its_type),
        API_TEST(a_record_gets_a_new_version),
        API_TEST(a_record_is_checked_against_its_type),
        API_TEST(a_record_with_a_bad_key_is_invalid),
        API_TEST(a_record_brings_its_expiry),
        API_TEST(a_record_that_has_expired_deletes_its_key),
        API_TEST(export_and_records_copy_a_plugin),
    };

    return api_run("store", tests);
}
