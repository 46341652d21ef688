/* SPDX-License-Identifier: MIT */
/*
 * Random operations against a model in process memory: a plain array of entries.
 *
 * Several states, two to a plugin, run every call by key and by prepared key, in ticks and outside,
 * under the live clock and the caller's. The model needs no clock of its own: times of the caller's
 * clock are even and TTLs under it odd, so that no deadline is hit exactly, and all of them lie
 * days ahead of the live clock, under which nothing here ever expires.
 *
 * TKS_TEST_SEED repeats a run, TKS_TEST_OPS sets its length.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api.h"

enum {
    PLUGINS = 3,
    ACTORS = 6,
    KEYS = 3000,
    PREPARED = 64,
    VALUE_MAX = 120000,
    PHASES = 12,
    PROCESSES = 4,
};

struct entry {
    bool present;
    int type;
    uint64_t version; /**< 0: not asked for yet */
    int64_t deadline; /**< 0: none */
    size_t len;
    unsigned char *value;
};

/* A thread's state and what it has open. */
struct actor {
    tks_state *state;
    int plugin;
    bool in_tick;
    int64_t clock; /**< the live one's stand-in outside of tks_tick_begin_at() */
    int borrows;
    struct {
        const void *value;
        unsigned char *copy;
        size_t len;
    } borrowed[TKS_BORROW_MAX];
    struct {
        int number; /**< of the key, -1: none */
        tks_key key;
    } prepared[PREPARED];
};

struct oracle {
    const char *uri;
    const char *prefix; /**< of all its keys: others may have theirs in the same plugins */
    bool alone;
    uint64_t first_seed, seed;
    long operation;
    tks_store *store;
    int range; /**< keys in use in this phase */
    int64_t live, ahead;
    bool can_borrow;
    struct actor actors[ACTORS];
    struct entry model[PLUGINS][KEYS];
    uint64_t *versions; /**< all that were seen */
    size_t version_count, version_cap;
};

#define EXPECT(o, condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            api_fail(__FILE__, __LINE__, "TKS_TEST_SEED=%llu%s, operation %ld: not so: %s",        \
                     (unsigned long long)(o)->first_seed, (o)->prefix, (o)->operation,             \
                     #condition);                                                                  \
    } while (0)
#define EXPECT_STATUS(o, got, want)                                                                \
    do {                                                                                           \
        int got_ = (got);                                                                          \
        int want_ = (want);                                                                        \
        if (got_ != want_)                                                                         \
            api_fail(__FILE__, __LINE__,                                                           \
                     "TKS_TEST_SEED=%llu%s, operation %ld: %s gives %d, not %d; last error: %s",   \
                     (unsigned long long)(o)->first_seed, (o)->prefix, (o)->operation, #got, got_, \
                     want_, tks_last_error());                                                     \
    } while (0)

static uint64_t pick(struct oracle *o, uint64_t below)
{
    return (api_random(&o->seed) >> 16) % below;
}

static void name_key(const struct oracle *o, int number, char name[TKS_NAME_MAX + 1])
{
    int len = snprintf(name, TKS_NAME_MAX + 1, "%sk%d", o->prefix, number);

    /* Some names are long. */
    if (number % 11 == 3) {
        int pad = number * 37 % 230;

        memset(name + len, 'x', (size_t)pad);
        name[len + pad] = '\0';
    }
}

static int number_of(const struct oracle *o, const char *name)
{
    size_t len = strlen(o->prefix);

    return strncmp(name, o->prefix, len) == 0 ? atoi(name + len + 1) : -1;
}

/* ---- The model --------------------------------------------------------------------------- */

static bool is_there(const struct entry *entry, int64_t clock)
{
    return entry->present && (entry->deadline == 0 || clock < entry->deadline);
}

static void store_value(struct oracle *o, struct entry *entry, int type, const void *value,
                        size_t len)
{
    entry->value = realloc(entry->value, len + 1);
    EXPECT(o, entry->value != NULL);
    if (len > 0)
        memcpy(entry->value, value, len);
    entry->present = true;
    entry->type = type;
    entry->len = len;
    entry->deadline = 0;
    entry->version = 0;
}

static void learn_version(struct oracle *o, struct entry *entry, uint64_t version)
{
    EXPECT(o, version != 0);
    if (entry->version != 0) {
        EXPECT(o, entry->version == version);
        return;
    }
    entry->version = version;
    if (o->version_count == o->version_cap) {
        o->version_cap = o->version_cap * 2 + 1000;
        o->versions = realloc(o->versions, o->version_cap * sizeof(*o->versions));
        EXPECT(o, o->versions != NULL);
    }
    o->versions[o->version_count++] = version;
}

static int compare_versions(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* Every write had a version of its own. */
static void check_versions(struct oracle *o)
{
    qsort(o->versions, o->version_count, sizeof(*o->versions), compare_versions);
    for (size_t i = 1; i < o->version_count; i++)
        EXPECT(o, o->versions[i] != o->versions[i - 1]);
}

/* ---- One call, by key or by prepared key ------------------------------------------------- */

/* The prepared key, which stays from use to use; NULL: call by key this time. */
static tks_key *prepared(struct oracle *o, struct actor *actor, int number, const char *name)
{
    size_t slot = (size_t)number % PREPARED;

    if (pick(o, 2) == 0)
        return NULL;
    if (actor->prepared[slot].number != number) {
        EXPECT_STATUS(o, tks_key_prepare(actor->state, name, &actor->prepared[slot].key), TKS_OK);
        actor->prepared[slot].number = number;
    }
    return &actor->prepared[slot].key;
}

#define CALL(call, actor, key, name, ...)                                                          \
    ((key) != NULL ? tks_##call##_k((actor)->state, (key), ##__VA_ARGS__)                          \
                   : tks_##call((actor)->state, (name), ##__VA_ARGS__))

struct call {
    struct actor *actor;
    struct entry *entry;
    char name[TKS_NAME_MAX + 1];
    tks_key *key;
    bool there;
};

static unsigned char buffer[VALUE_MAX];

static void check_copy(struct oracle *o, struct call *c, size_t len)
{
    EXPECT(o, len == c->entry->len);
    EXPECT(o, memcmp(buffer, c->entry->value, len) == 0);
}

static void do_get(struct oracle *o, struct call *c)
{
    size_t cap = pick(o, 8) == 0 ? pick(o, 50) : sizeof(buffer);
    size_t len = 1234567;
    int want = !c->there ? TKS_NOT_FOUND : c->entry->len > cap ? TKS_TOO_SMALL : TKS_OK;

    EXPECT_STATUS(o, CALL(get, c->actor, c->key, c->name, buffer, cap, &len), want);
    if (want == TKS_OK)
        check_copy(o, c, len);
    else
        EXPECT(o, len == (c->there ? c->entry->len : 0));
}

static void do_get_or_default(struct oracle *o, struct call *c)
{
    size_t len = 1234567;

    EXPECT_STATUS(o,
                  CALL(get_or_default, c->actor, c->key, c->name, "fallback", (size_t)8, buffer,
                       sizeof(buffer), &len),
                  TKS_OK);
    if (c->there)
        check_copy(o, c, len);
    else
        EXPECT(o, len == 8 && memcmp(buffer, "fallback", 8) == 0);
}

static void do_get_versioned(struct oracle *o, struct call *c)
{
    uint64_t version = 1234567;
    size_t len = 1234567;

    EXPECT_STATUS(
        o, CALL(get_versioned, c->actor, c->key, c->name, buffer, sizeof(buffer), &len, &version),
        c->there ? TKS_OK : TKS_NOT_FOUND);
    if (c->there) {
        check_copy(o, c, len);
        learn_version(o, c->entry, version);
    } else {
        EXPECT(o, len == 0 && version == 0);
    }
}

static void do_has(struct oracle *o, struct call *c)
{
    EXPECT_STATUS(o, CALL(has, c->actor, c->key, c->name), c->there);
}

static void do_type(struct oracle *o, struct call *c)
{
    int type = -1;

    EXPECT_STATUS(o, CALL(type, c->actor, c->key, c->name, &type),
                  c->there ? TKS_OK : TKS_NOT_FOUND);
    EXPECT(o, !c->there || type == c->entry->type);
}

static bool exact(int64_t i64)
{
    double f64 = (double)i64;

    return f64 < 0x1p63 && (int64_t)f64 == i64;
}

static void do_typed_get(struct oracle *o, struct call *c)
{
    int type = c->there ? c->entry->type : -1;
    int other = c->there ? TKS_TYPE : TKS_NOT_FOUND;
    int64_t i64 = 0;
    double f64 = 0;
    bool truth = false;
    int64_t stored = 0;

    if (type == TKS_TYPE_I64)
        memcpy(&stored, c->entry->value, sizeof(stored));
    EXPECT_STATUS(o, CALL(get_i64, c->actor, c->key, c->name, &i64),
                  type == TKS_TYPE_I64 ? TKS_OK : other);
    EXPECT(o, i64 == stored);
    EXPECT_STATUS(o, CALL(get_bool, c->actor, c->key, c->name, &truth),
                  type == TKS_TYPE_BOOL ? TKS_OK : other);
    EXPECT(o, type != TKS_TYPE_BOOL || truth == (c->entry->value[0] == 1));
    EXPECT_STATUS(o, CALL(get_f64, c->actor, c->key, c->name, &f64),
                  type == TKS_TYPE_F64 || (type == TKS_TYPE_I64 && exact(stored)) ? TKS_OK : other);
    EXPECT(o, type != TKS_TYPE_F64 || memcmp(&f64, c->entry->value, sizeof(f64)) == 0);
    EXPECT(o, type != TKS_TYPE_I64 || !exact(stored) || f64 == (double)stored);
}

static size_t random_value(struct oracle *o)
{
    uint64_t die = pick(o, 1000);
    size_t len = die < 800 ? pick(o, 100) : die < 998 ? pick(o, 3000) : pick(o, VALUE_MAX);

    api_pattern(buffer, len, api_random(&o->seed));
    return len;
}

static void do_set(struct oracle *o, struct call *c)
{
    size_t len = random_value(o);

    EXPECT_STATUS(o, CALL(set, c->actor, c->key, c->name, buffer, len), TKS_OK);
    store_value(o, c->entry, TKS_TYPE_BYTES, buffer, len);
}

static void do_set_with_ttl(struct oracle *o, struct call *c)
{
    size_t len = random_value(o);
    int64_t ttl = (int64_t)pick(o, 100000) * 2 + 1;

    /* Under the live clock one that outlasts this test's every clock. */
    if (c->actor->clock == o->live)
        ttl = 10000 * API_HOUR_MS;
    EXPECT_STATUS(o, CALL(set_with_ttl, c->actor, c->key, c->name, buffer, len, ttl), TKS_OK);
    store_value(o, c->entry, TKS_TYPE_BYTES, buffer, len);
    c->entry->deadline = c->actor->clock + ttl;
}

static void do_typed_set(struct oracle *o, struct call *c)
{
    int64_t i64 = pick(o, 4) == 0 ? (int64_t)api_random(&o->seed) : (int64_t)pick(o, 1000);
    double f64 = (double)i64 / 8;
    bool truth = i64 % 2 == 0;
    unsigned char raw = truth;
    int len = snprintf((char *)buffer, sizeof(buffer), "[%lld,\"\xc3\xbc\"]", (long long)i64);

    switch (pick(o, 5)) {
    case 0:
        EXPECT_STATUS(o, CALL(set_i64, c->actor, c->key, c->name, i64), TKS_OK);
        store_value(o, c->entry, TKS_TYPE_I64, &i64, sizeof(i64));
        break;
    case 1:
        EXPECT_STATUS(o, CALL(set_f64, c->actor, c->key, c->name, f64), TKS_OK);
        store_value(o, c->entry, TKS_TYPE_F64, &f64, sizeof(f64));
        break;
    case 2:
        EXPECT_STATUS(o, CALL(set_bool, c->actor, c->key, c->name, truth), TKS_OK);
        store_value(o, c->entry, TKS_TYPE_BOOL, &raw, 1);
        break;
    case 3:
        EXPECT_STATUS(
            o, CALL(set_str, c->actor, c->key, c->name, (const char *)buffer, (size_t)len), TKS_OK);
        store_value(o, c->entry, TKS_TYPE_STRING, buffer, (size_t)len);
        break;
    default:
        EXPECT_STATUS(o,
                      CALL(set_json, c->actor, c->key, c->name, (const char *)buffer, (size_t)len),
                      TKS_OK);
        store_value(o, c->entry, TKS_TYPE_JSON, buffer, (size_t)len);
        break;
    }
}

static void do_delete(struct oracle *o, struct call *c)
{
    EXPECT_STATUS(o, CALL(delete, c->actor, c->key, c->name), TKS_OK);
    c->entry->present = false;
    c->entry->version = 0;
}

static void do_set_if(struct oracle *o, struct call *c)
{
    uint64_t version = pick(o, 3) == 0 ? 0 : c->entry->present ? c->entry->version : 12345;
    size_t len = random_value(o);
    int want = version == (c->there ? c->entry->version : 0) ? TKS_OK : TKS_CONFLICT;

    /* A version not asked for yet is not 0 for that. */
    if (c->there && version == 0)
        want = TKS_CONFLICT;
    EXPECT_STATUS(o, CALL(set_if, c->actor, c->key, c->name, buffer, len, version), want);
    if (want == TKS_OK)
        store_value(o, c->entry, TKS_TYPE_BYTES, buffer, len);
}

static void do_add(struct oracle *o, struct call *c)
{
    int64_t delta = pick(o, 4) == 0 ? (int64_t)api_random(&o->seed) : (int64_t)pick(o, 100) - 50;
    int64_t deadline = c->there ? c->entry->deadline : 0;
    int64_t old = 0;
    int64_t result = 0;
    int64_t sum;
    int want = TKS_OK;

    if (c->there && c->entry->type == TKS_TYPE_I64)
        memcpy(&old, c->entry->value, sizeof(old));
    if (__builtin_add_overflow(old, delta, &sum))
        want = TKS_RANGE;
    if (c->there && c->entry->type != TKS_TYPE_I64)
        want = TKS_TYPE;
    EXPECT_STATUS(o, CALL(add_i64, c->actor, c->key, c->name, delta, &result), want);
    if (want != TKS_OK)
        return;
    EXPECT(o, result == sum);
    store_value(o, c->entry, TKS_TYPE_I64, &sum, sizeof(sum));
    c->entry->deadline = deadline;
}

static void do_borrow(struct oracle *o, struct call *c)
{
    struct actor *actor = c->actor;
    const void *value = NULL;
    size_t len = 0;
    int status;

    if (!actor->in_tick || actor->borrows == TKS_BORROW_MAX || !o->can_borrow)
        return;
    status = CALL(borrow, actor, c->key, c->name, &value, &len);
    if (status == TKS_UNSUPPORTED && !api_is_shm()) {
        o->can_borrow = false;
        return;
    }
    EXPECT_STATUS(o, status, c->there ? TKS_OK : TKS_NOT_FOUND);
    if (!c->there)
        return;
    EXPECT(o, len == c->entry->len && memcmp(value, c->entry->value, len) == 0);
    EXPECT(o, (uintptr_t)value % 16 == 0);
    actor->borrowed[actor->borrows].value = value;
    actor->borrowed[actor->borrows].len = len;
    actor->borrowed[actor->borrows].copy = malloc(len + 1);
    EXPECT(o, actor->borrowed[actor->borrows].copy != NULL);
    memcpy(actor->borrowed[actor->borrows].copy, value, len);
    actor->borrows++;
}

/* ---- Ticks and states -------------------------------------------------------------------- */

static void check_borrowed(struct oracle *o, struct actor *actor)
{
    while (actor->borrows > 0) {
        actor->borrows--;
        EXPECT(o,
               memcmp(actor->borrowed[actor->borrows].value, actor->borrowed[actor->borrows].copy,
                      actor->borrowed[actor->borrows].len) == 0);
        free(actor->borrowed[actor->borrows].copy);
    }
}

static void do_tick(struct oracle *o, struct actor *actor)
{
    if (actor->in_tick) {
        check_borrowed(o, actor);
        EXPECT_STATUS(o, tks_tick_end(actor->state), TKS_OK);
        actor->clock = o->live;
    } else if (pick(o, 3) == 0) {
        EXPECT_STATUS(o, tks_tick_begin(actor->state), TKS_OK);
    } else {
        actor->clock = o->ahead + 2 * (int64_t)pick(o, 150000);
        EXPECT_STATUS(o, tks_tick_begin_at(actor->state, actor->clock), TKS_OK);
    }
    actor->in_tick = !actor->in_tick;
}

static void name_plugin(char name[16], int plugin)
{
    snprintf(name, 16, "oracle%d", plugin);
}

static void open_state(struct oracle *o, struct actor *actor, int plugin)
{
    char name[16];

    name_plugin(name, plugin);
    EXPECT_STATUS(o, tks_state_open(o->store, name, &actor->state), TKS_OK);
    actor->plugin = plugin;
    actor->in_tick = false;
    actor->clock = o->live;
    for (int i = 0; i < PREPARED; i++)
        actor->prepared[i].number = -1;
}

static void close_state(struct oracle *o, struct actor *actor)
{
    check_borrowed(o, actor);
    tks_state_close(actor->state);
}

/* ---- Whole plugins ----------------------------------------------------------------------- */

struct walk {
    struct oracle *o;
    struct entry *model;
    int64_t clock;
    unsigned char seen[KEYS];
    int plugin;
};

static int visit_key(void *arg, const char *key, size_t key_len)
{
    struct walk *walk = arg;
    int number = number_of(walk->o, key);

    EXPECT(walk->o, strlen(key) == key_len);
    if (number < 0) {
        EXPECT(walk->o, !walk->o->alone);
        return 0;
    }
    EXPECT(walk->o, number < KEYS && is_there(&walk->model[number], walk->clock));
    EXPECT(walk->o, walk->seen[number]++ == 0);
    return 0;
}

static void check_seen(struct walk *walk)
{
    for (int i = 0; i < KEYS; i++)
        EXPECT(walk->o, walk->seen[i] == is_there(&walk->model[i], walk->clock));
}

static void check_keys(struct oracle *o, struct actor *actor)
{
    struct walk walk = {.o = o, .model = o->model[actor->plugin], .clock = actor->clock};

    EXPECT_STATUS(o, tks_keys(actor->state, visit_key, &walk), TKS_OK);
    check_seen(&walk);
}

static int visit_record(void *arg, const struct tks_record *record)
{
    struct walk *walk = arg;
    int number = number_of(walk->o, record->key);
    struct entry *entry;

    visit_key(walk, record->key, record->key_len);
    if (number < 0)
        return 0;
    entry = &walk->model[number];
    EXPECT(walk->o, record->type == (uint32_t)entry->type && record->value_len == entry->len);
    EXPECT(walk->o, memcmp(record->value, entry->value, entry->len) == 0);
    EXPECT(walk->o, (record->expires_at == 0) == (entry->deadline == 0));
    learn_version(walk->o, entry, record->version);
    return 0;
}

static void check_export(struct oracle *o)
{
    for (int plugin = 0; plugin < PLUGINS; plugin++) {
        struct walk walk = {.o = o, .model = o->model[plugin], .clock = o->live};
        char glob[16];
        int status;

        name_plugin(glob, plugin);
        status = tks_store_export(o->store, glob, visit_record, &walk);
        /* Another process may be at it, or writing too much. */
        if (status == TKS_UNSUPPORTED || (status == TKS_BUSY && !o->alone))
            return;
        EXPECT_STATUS(o, status, TKS_OK);
        check_seen(&walk);
    }
}

static uint64_t count_model(const struct oracle *o)
{
    uint64_t count = 0;

    for (int plugin = 0; plugin < PLUGINS; plugin++) {
        for (int i = 0; i < KEYS; i++)
            count += o->model[plugin][i].present;
    }
    return count;
}

static void check_store(struct oracle *o)
{
    struct tks_check check = {.size = sizeof(check)};
    uint64_t purged = 12345;
    int status;

    EXPECT_STATUS(o, tks_store_sweep(o->store, &purged), TKS_OK);
    EXPECT(o, purged == 0);
    status = tks_store_check(o->store, &check);
    if (status == TKS_UNSUPPORTED && !api_is_shm())
        return;
    EXPECT_STATUS(o, status, TKS_OK);
    EXPECT(o, check.leaked_blocks == 0);
    if (o->alone) {
        EXPECT(o, check.keys == count_model(o));
        EXPECT(o, api_live_keys(o->store) == count_model(o));
        EXPECT(o, api_open_states(o->store) == ACTORS);
    }
}

static void check_values(struct oracle *o)
{
    for (int i = 0; i < PLUGINS; i++) {
        struct actor *actor = &o->actors[i];
        size_t len;
        char name[TKS_NAME_MAX + 1];

        if (actor->in_tick)
            do_tick(o, actor);
        for (int number = 0; number < KEYS; number++) {
            struct entry *entry = &o->model[actor->plugin][number];
            bool there = is_there(entry, o->live);

            name_key(o, number, name);
            EXPECT_STATUS(o, tks_get(actor->state, name, buffer, sizeof(buffer), &len),
                          there ? TKS_OK : TKS_NOT_FOUND);
            if (there)
                EXPECT(o, len == entry->len && memcmp(buffer, entry->value, len) == 0);
        }
        check_keys(o, actor);
    }
    check_export(o);
}

/* ---- The run ----------------------------------------------------------------------------- */

static void do_call(struct oracle *o, struct actor *actor)
{
    static void (*const calls[])(struct oracle *, struct call *) = {
        do_get,           do_get,    do_get,          do_get_or_default,
        do_get_versioned, do_has,    do_type,         do_set,
        do_set,           do_set,    do_set_with_ttl, do_set_with_ttl,
        do_typed_get,     do_add,    do_typed_set,    do_typed_set,
        do_delete,        do_delete, do_set_if,       do_has,
        do_set_if,        do_borrow,
    };
    int number = (int)pick(o, (uint64_t)o->range);
    struct call c = {.actor = actor, .entry = &o->model[actor->plugin][number]};

    name_key(o, number, c.name);
    c.key = prepared(o, actor, number, c.name);
    c.there = is_there(c.entry, actor->clock);
    calls[pick(o, API_ARRAY(calls))](o, &c);
}

static void do_something(struct oracle *o)
{
    struct actor *actor = &o->actors[pick(o, ACTORS)];
    uint64_t die = pick(o, 20000);

    o->operation++;
    if (die < 2000) {
        do_tick(o, actor);
    } else if (die < 2040) {
        int plugin = actor->plugin;

        close_state(o, actor);
        open_state(o, actor, plugin);
    } else if (die < 2050) {
        check_keys(o, actor);
    } else if (die < 2052) {
        check_export(o);
    } else if (die < 2054) {
        check_store(o);
    } else {
        do_call(o, actor);
    }
}

/* A phase works on few keys or on many; what lies outside of it may be deleted. */
static void begin_phase(struct oracle *o)
{
    static const int ranges[] = {4, 16, 50, 300, KEYS, KEYS};
    char name[TKS_NAME_MAX + 1];

    o->range = ranges[pick(o, API_ARRAY(ranges))];
    if (pick(o, 2) == 0)
        return;
    for (int i = 0; i < PLUGINS; i++) {
        for (int number = o->range; number < KEYS; number++) {
            name_key(o, number, name);
            EXPECT_STATUS(o, tks_delete(o->actors[i].state, name), TKS_OK);
            o->model[o->actors[i].plugin][number].present = false;
            o->model[o->actors[i].plugin][number].version = 0;
        }
    }
}

static struct oracle *start(const char *uri, const char *prefix, bool alone, uint64_t seed)
{
    struct oracle *o = calloc(1, sizeof(*o));

    CHECK(o != NULL);
    o->uri = uri;
    o->prefix = prefix;
    o->alone = alone;
    o->first_seed = o->seed = seed;
    o->store = api_store(uri);
    o->live = api_wall_ms();
    o->ahead = (o->live + 100 * API_HOUR_MS) / 2 * 2;
    o->can_borrow = true;
    for (int i = 0; i < ACTORS; i++)
        open_state(o, &o->actors[i], i % PLUGINS);
    return o;
}

static void finish(struct oracle *o)
{
    for (int i = 0; i < ACTORS; i++)
        close_state(o, &o->actors[i]);
    tks_store_close(o->store);
    for (int plugin = 0; plugin < PLUGINS; plugin++) {
        for (int i = 0; i < KEYS; i++)
            free(o->model[plugin][i].value);
    }
    free(o->versions);
    free(o);
}

static long operations(void)
{
    const char *text = getenv("TKS_TEST_OPS");

    return text != NULL ? atol(text) : 200000;
}

static uint64_t first_seed(void)
{
    const char *text = getenv("TKS_TEST_SEED");
    struct timespec now;
    uint64_t seed;

    clock_gettime(CLOCK_REALTIME, &now);
    seed = text != NULL ? strtoull(text, NULL, 10)
                        : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    print_message("           TKS_TEST_SEED=%llu TKS_TEST_OPS=%ld\n", (unsigned long long)seed,
                  operations());
    return seed == 0 ? 1 : seed;
}

static void run(struct oracle *o)
{
    for (int phase = 0; phase < PHASES; phase++) {
        begin_phase(o);
        for (long i = 0; i < operations() / PHASES; i++)
            do_something(o);
    }
    check_values(o);
    check_store(o);
}

static void close_fixtures_state(struct api *f)
{
    tks_state_close(f->state); /* the oracle counts states */
    f->state = NULL;
}

static void random_operations_agree_with_a_model(void **fixture)
{
    struct api *f = *fixture;
    struct oracle *o;

    close_fixtures_state(f);
    if (!api_is_shm())
        tks_store_close(f->store);
    o = start(f->uri, "", true, first_seed());
    run(o);
    check_versions(o);
    finish(o);
    if (!api_is_shm())
        f->store = api_store(f->uri);
}

struct share {
    const char *uri;
    uint64_t seed;
    int index;
};

static int run_share(int fd, void *arg)
{
    struct share *share = arg;
    char prefix[16];
    struct oracle *o;

    snprintf(prefix, sizeof(prefix), "p%d-", share->index);
    o = start(share->uri, prefix, false, share->seed + (uint64_t)share->index);
    run(o);
    api_tell(fd);
    api_hear(fd); /* all have finished */
    check_values(o);
    check_versions(o);
    finish(o);
    return 0;
}

static void processes_that_share_plugins_agree_with_their_models(void **fixture)
{
    struct api *f = *fixture;
    struct api_peer peers[PROCESSES];
    struct share share = {.uri = f->uri};

    api_need_sharing(f);
    share.seed = first_seed();
    for (share.index = 0; share.index < PROCESSES; share.index++)
        peers[share.index] = api_spawn(run_share, &share);
    for (int i = 0; i < PROCESSES; i++)
        api_hear(peers[i].fd);
    for (int i = 0; i < PROCESSES; i++)
        api_tell(peers[i].fd);
    for (int i = 0; i < PROCESSES; i++)
        api_join(&peers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        API_TEST(random_operations_agree_with_a_model),
        API_TEST(processes_that_share_plugins_agree_with_their_models),
    };

    return api_run("oracle", tests);
}
