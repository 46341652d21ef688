/* SPDX-License-Identifier: MIT */
#include "scenario.h"

#include <stdio.h>
#include <string.h>

char scenario_plugin[64];
char scenario_uri[128];

/* ---- Arranging ----------------------------------------------------------------------------- */

static void own_a(struct actor *parent)
{
    actor_set(parent, KEY_A, 0);
}

static void no_a(struct actor *parent)
{
    actor_delete(parent, KEY_A);
}

static void expired_a(struct actor *parent)
{
    actor_set_expired(parent, KEY_A, 0);
}

static void expired_v1(struct actor *parent)
{
    actor_set_expired(parent, KEY_V1, 0);
}

static void no_v(struct actor *parent)
{
    for (unsigned key = KEY_V0; key <= KEY_V2; key++)
        actor_delete(parent, key);
    actor_delete(parent, KEY_VC);
}

static void only_v0(struct actor *parent)
{
    no_v(parent);
    actor_set(parent, KEY_V0, 0);
}

static void v0_and_v1(struct actor *parent)
{
    only_v0(parent);
    actor_set(parent, KEY_V1, 0);
}

static void no_c(struct actor *parent)
{
    actor_delete(parent, KEY_C);
}

static void big_there(struct actor *parent)
{
    actor_set(parent, KEY_BIG, 3);
}

static void two_expired(struct actor *parent)
{
    actor_set_expired(parent, KEY_A, 0);
    actor_set_expired(parent, KEY_V1, 0);
}

/* ---- Sets ---------------------------------------------------------------------------------- */

static void begin_set(struct actor *subject, unsigned key, unsigned size_class)
{
    uint64_t number = actor_value(subject, key, size_class);
    actor_begin(subject, EVENT_SET, key, number);
}

static void run_set(struct actor *subject)
{
    unsigned key = subject->open->key;
    subject->open->status = tks_set(subject->state, key_name(key), subject->buf, subject->len);
}

static void end_call(struct actor *subject)
{
    actor_end(subject, subject->open, subject->open->status, subject->open->result);
}

static void begin_set_a(struct actor *subject)
{
    begin_set(subject, KEY_A, 0);
}

static void begin_set_larger(struct actor *subject)
{
    begin_set(subject, KEY_A, 2);
}

static void begin_set_v0(struct actor *subject)
{
    begin_set(subject, KEY_V0, 0);
}

static void begin_set_v1(struct actor *subject)
{
    begin_set(subject, KEY_V1, 0);
}

static void begin_set_v2(struct actor *subject)
{
    begin_set(subject, KEY_V2, 0);
}

static void begin_set_big(struct actor *subject)
{
    begin_set(subject, KEY_BIG, 3);
}

static void begin_set_in_tick(struct actor *subject)
{
    if (tks_tick_begin(subject->state))
        actor_problem(subject, "tick: %s", tks_last_error());
    begin_set(subject, KEY_A, 0);
}

static void end_call_and_tick(struct actor *subject)
{
    end_call(subject);
    if (tks_tick_end(subject->state))
        actor_problem(subject, "tick end: %s", tks_last_error());
}

static void run_set_ttl(struct actor *subject)
{
    subject->open->status =
        tks_set_with_ttl(subject->state, key_name(KEY_A), subject->buf, subject->len, 3600000);
}

static void begin_set_if(struct actor *subject)
{
    size_t len = 0;
    struct event *event = actor_begin(subject, EVENT_GET, KEY_A, 0);
    int status = tks_get_versioned(subject->state, key_name(KEY_A), subject->buf,
                                   sizeof(subject->buf), &len, &subject->version);
    uint64_t seen = actor_decode(subject, KEY_A, status, subject->buf, len);
    actor_end(subject, event, status, seen);
    uint64_t number = actor_value(subject, KEY_A, 0);
    event = actor_begin(subject, EVENT_SET_IF, KEY_A, number);
    event->expected = seen;
}

static void run_set_if(struct actor *subject)
{
    subject->open->status =
        tks_set_if(subject->state, key_name(KEY_A), subject->buf, subject->len, subject->version);
}

/* ---- Copies -------------------------------------------------------------------------------- */

#define FOREIGN 1000 /* a version of another store: lower than any of ours */

static void run_copy(struct actor *actor)
{
    const char *name = key_name(actor->open->key);
    const struct tks_record record = {.size = sizeof(record),
                                      .key = name,
                                      .key_len = strlen(name),
                                      .value = actor->buf,
                                      .value_len = actor->len,
                                      .version = actor->version};
    actor->open->status = tks_copy_record(actor->state, &record, NULL);
}

static void begin_copy(struct actor *actor, unsigned key)
{
    begin_set(actor, key, 0);
    actor->version = FOREIGN;
}

static void begin_copy_a(struct actor *subject)
{
    begin_copy(subject, KEY_A);
}

static void begin_copy_v0(struct actor *subject)
{
    begin_copy(subject, KEY_V0);
}

static void begin_copy_v1(struct actor *subject)
{
    begin_copy(subject, KEY_V1);
}

/* Another value under the version that the subject comes with. */
static void copied_a(struct actor *parent)
{
    begin_copy_a(parent);
    run_copy(parent);
    end_call(parent);
}

/* ---- Deletes, counters --------------------------------------------------------------------- */

static void begin_delete_a(struct actor *subject)
{
    actor_begin(subject, EVENT_DELETE, KEY_A, 0);
}

static void begin_delete_v0(struct actor *subject)
{
    actor_begin(subject, EVENT_DELETE, KEY_V0, 0);
}

static void begin_delete_big(struct actor *subject)
{
    actor_begin(subject, EVENT_DELETE, KEY_BIG, 0);
}

static void run_delete(struct actor *subject)
{
    unsigned key = subject->open->key;
    subject->open->status = tks_delete(subject->state, key_name(key));
}

static void begin_add_c(struct actor *subject)
{
    actor_begin(subject, EVENT_ADD, KEY_C, 1);
}

static void begin_add_vc(struct actor *subject)
{
    actor_begin(subject, EVENT_ADD, KEY_VC, 1);
}

static void run_add(struct actor *subject)
{
    int64_t result = 0;
    unsigned key = subject->open->key;
    subject->open->status = tks_add_i64(subject->state, key_name(key), 1, &result);
    subject->open->result = (uint64_t)result;
}

/* ---- Reads --------------------------------------------------------------------------------- */

static void begin_get_a(struct actor *subject)
{
    memset(subject->buf, 0, 1024); /* no page fault in the middle */
    actor_begin(subject, EVENT_GET, KEY_A, 0);
}

static void begin_get_v1(struct actor *subject)
{
    memset(subject->buf, 0, 1024);
    actor_begin(subject, EVENT_GET, KEY_V1, 0);
}

static void begin_get_in_tick(struct actor *subject)
{
    if (tks_tick_begin(subject->state))
        actor_problem(subject, "tick: %s", tks_last_error());
    begin_get_a(subject);
}

static void run_get(struct actor *subject)
{
    unsigned key = subject->open->key;
    subject->open->status =
        tks_get(subject->state, key_name(key), subject->buf, sizeof(subject->buf), &subject->len);
}

static void decode_get(struct actor *subject)
{
    struct event *event = subject->open;
    event->result = actor_decode(subject, event->key, event->status, subject->buf, subject->len);
    end_call(subject);
}

static void decode_get_and_tick(struct actor *subject)
{
    struct event *event = subject->open;
    event->result = actor_decode(subject, event->key, event->status, subject->buf, subject->len);
    end_call_and_tick(subject);
}

/* A prepared key that remembers its last look-up, inside one tick. */
static void prepare_key(struct actor *subject, unsigned key)
{
    if (tks_key_prepare(subject->state, key_name(key), &subject->prepared) ||
        tks_tick_begin(subject->state))
        actor_problem(subject, "prepare: %s", tks_last_error());
    struct event *event = actor_begin(subject, EVENT_GET, key, 0);
    int status = tks_get_k(subject->state, &subject->prepared, subject->buf, sizeof(subject->buf),
                           &subject->len);
    actor_end(subject, event, status,
              actor_decode(subject, key, status, subject->buf, subject->len));
    actor_begin(subject, EVENT_GET, key, 0);
}

static void prepare_key_a(struct actor *subject)
{
    prepare_key(subject, KEY_A);
}

static void prepare_key_v1(struct actor *subject)
{
    prepare_key(subject, KEY_V1);
}

static void run_get_k(struct actor *subject)
{
    subject->open->status = tks_get_k(subject->state, &subject->prepared, subject->buf,
                                      sizeof(subject->buf), &subject->len);
}

static void begin_has(struct actor *subject)
{
    actor_begin(subject, EVENT_HAS, KEY_A, 0);
}

static void run_has(struct actor *subject)
{
    int present = tks_has(subject->state, key_name(KEY_A));
    subject->open->status = present < 0 ? present : TKS_OK;
    subject->open->result = present == 1;
}

/* A whole tick of reads: one of them borrowed. */
static void begin_borrow(struct actor *subject)
{
    if (tks_tick_begin(subject->state))
        actor_problem(subject, "tick: %s", tks_last_error());
    begin_get_a(subject);
}

static void run_borrow(struct actor *subject)
{
    unsigned key = subject->open->key;
    subject->open->status =
        tks_borrow(subject->state, key_name(key), &subject->borrowed, &subject->len);
}

static void decode_borrow(struct actor *subject)
{
    struct event *event = subject->open;
    event->result =
        actor_decode(subject, event->key, event->status, subject->borrowed, subject->len);
    end_call_and_tick(subject);
}

static void begin_borrow_v1(struct actor *subject)
{
    if (tks_tick_begin(subject->state))
        actor_problem(subject, "tick: %s", tks_last_error());
    begin_get_v1(subject);
}

/* Borrowed before: from here on the bytes must stay, until the tick ends. */
static void hold_borrow(struct actor *subject)
{
    begin_borrow(subject);
    run_borrow(subject);
}

static void run_look_at_borrow(struct actor *subject)
{
    struct event *event = subject->open;
    event->result =
        actor_decode(subject, event->key, event->status, subject->borrowed, subject->len);
}

static void run_tick(struct actor *subject)
{
    if (tks_tick_begin(subject->state) || tks_tick_end(subject->state))
        actor_problem(subject, "tick: %s", tks_last_error());
}

static void run_whole_tick(struct actor *subject)
{
    if (tks_tick_begin(subject->state))
        actor_problem(subject, "tick: %s", tks_last_error());
    actor_get(subject, KEY_A);
    actor_get(subject, KEY_V1);
    actor_set(subject, KEY_A, 0);
    actor_add(subject, KEY_C, 1);
    if (tks_tick_end(subject->state))
        actor_problem(subject, "tick end: %s", tks_last_error());
}

/* ---- Long ones ----------------------------------------------------------------------------- */

static void run_grow(struct actor *subject)
{
    for (unsigned i = 0; i < KEYS_GROW; i++)
        actor_set(subject, KEY_GROW + i, 0);
}

static void arrange_grown(struct actor *parent)
{
    for (unsigned i = 0; i < KEYS_GROW / 2; i++)
        actor_set(parent, KEY_GROW + 2 * i, 0);
}

static void run_grow_rest(struct actor *subject)
{
    for (unsigned i = 0; i < KEYS_GROW / 2; i++)
        actor_set(subject, KEY_GROW + 2 * i + 1, 0);
}

static void open_store(struct actor *subject)
{
    if (tks_store_open(scenario_uri, NULL, &subject->store))
        actor_problem(subject, "store open: %s", tks_last_error());
}

static void close_store(struct actor *subject)
{
    tks_store_close(subject->store);
    subject->store = NULL;
}

static void open_state(struct actor *subject)
{
    if (tks_state_open(subject->store, scenario_plugin, &subject->state))
        actor_problem(subject, "state open: %s", tks_last_error());
}

static void close_state(struct actor *subject)
{
    tks_state_close(subject->state);
    subject->state = NULL;
}

/* So that closing has something to give back. */
static void write_some(struct actor *subject)
{
    for (int i = 0; i < 3; i++) {
        actor_set(subject, KEY_A, 0);
        actor_add(subject, KEY_VC, 1);
    }
}

static int visit_record(void *arg, const struct tks_record *record)
{
    struct actor *actor = arg;
    if (strcmp(record->plugin, scenario_plugin))
        return 0;
    unsigned key = key_of(record->key, record->key_len);
    if (actor->visited[key]++)
        actor_problem(actor, "export: key %u twice", key);
    if (key < KEYS_ALL)
        actor_decode(actor, key, TKS_OK, record->value, record->value_len);
    return 0;
}

static void run_export(struct actor *subject)
{
    memset(subject->visited, 0, sizeof(subject->visited));
    int status = tks_store_export(subject->store, NULL, visit_record, subject);
    if (status && status != TKS_BUSY)
        actor_problem(subject, "export: %s", tks_last_error());
    if (status)
        memset(subject->visited, 1, sizeof(subject->visited)); /* says nothing */
}

static void run_sweep(struct actor *subject)
{
    int status = tks_store_sweep(subject->store, NULL);
    if (status)
        actor_problem(subject, "sweep: %s", tks_last_error());
}

static void run_check(struct actor *subject)
{
    struct tks_check check = {.size = sizeof(check)};
    int status = tks_store_check(subject->store, &check);
    if (status)
        actor_problem(subject, "check: %s", tks_last_error());
    if (check.leaked_blocks)
        actor_problem(subject, "check in a subject: %llu leaked",
                      (unsigned long long)check.leaked_blocks);
}

static void run_stats(struct actor *subject)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    if (tks_store_stats(subject->store, &stats))
        actor_problem(subject, "stats: %s", tks_last_error());
}

void scenario_open(const struct scenario *scenario, struct actor *subject)
{
    if (!(scenario->flags & NO_STORE))
        open_store(subject);
    if (subject->store && !(scenario->flags & NO_STATE))
        open_state(subject);
}

static void run_open_all(struct actor *subject)
{
    open_store(subject);
    if (subject->store)
        open_state(subject);
}

/* ---- The list ------------------------------------------------------------------------------ */

const struct scenario scenarios[] = {
    {"set_overwrite", 0, KEY_A, NULL, begin_set_a, run_set, end_call, NULL},
    {"set_other_size", 0, KEY_A, NULL, begin_set_larger, run_set, end_call, NULL},
    {"set_insert", 0, KEY_A, no_a, begin_set_a, run_set, end_call, NULL},
    {"set_insert_makes_vector", 0, KEY_V1, only_v0, begin_set_v1, run_set, end_call, NULL},
    {"set_insert_in_vector", 0, KEY_V2, NULL, begin_set_v2, run_set, end_call, NULL},
    {"set_overwrite_in_vector", 0, KEY_V0, NULL, begin_set_v0, run_set, end_call, NULL},
    {"set_over_expired", 0, KEY_A, expired_a, begin_set_a, run_set, end_call, NULL},
    {"set_in_tick", 0, KEY_A, NULL, begin_set_in_tick, run_set, end_call_and_tick, NULL},
    {"set_with_ttl", 0, KEY_A, NULL, begin_set_a, run_set_ttl, end_call, NULL},
    {"delete", 0, KEY_A, NULL, begin_delete_a, run_delete, end_call, NULL},
    {"delete_absent", 0, KEY_A, no_a, begin_delete_a, run_delete, end_call, NULL},
    {"delete_in_vector", 0, KEY_V0, NULL, begin_delete_v0, run_delete, end_call, NULL},
    {"delete_of_two", 0, KEY_V0, v0_and_v1, begin_delete_v0, run_delete, end_call, NULL},
    {"purge_by_get", 0, KEY_A, expired_a, begin_get_a, run_get, decode_get, NULL},
    {"purge_by_has", 0, KEY_A, expired_a, begin_has, run_has, end_call, NULL},
    {"purge_in_vector", 0, KEY_V1, expired_v1, begin_get_v1, run_get, decode_get, NULL},
    {"set_if", 0, KEY_A, NULL, begin_set_if, run_set_if, end_call, NULL},
    {"set_if_absent", 0, KEY_A, no_a, begin_set_if, run_set_if, end_call, NULL},
    {"set_if_expired", 0, KEY_A, expired_a, begin_set_if, run_set_if, end_call, NULL},
    {"copy", 0, KEY_A, own_a, begin_copy_a, run_copy, end_call, NULL},
    {"copy_absent", 0, KEY_A, no_a, begin_copy_a, run_copy, end_call, NULL},
    {"copy_in_vector", 0, KEY_V0, NULL, begin_copy_v0, run_copy, end_call, NULL},
    {"copy_makes_vector", 0, KEY_V1, only_v0, begin_copy_v1, run_copy, end_call, NULL},
    {"copy_of_a_used_version", 0, KEY_A, copied_a, begin_copy_a, run_copy, end_call, NULL},
    {"add", 0, KEY_C, NULL, begin_add_c, run_add, end_call, NULL},
    {"add_first", 0, KEY_C, no_c, begin_add_c, run_add, end_call, NULL},
    {"add_in_vector", 0, KEY_VC, NULL, begin_add_vc, run_add, end_call, NULL},
    {"get", 0, KEY_A, NULL, begin_get_a, run_get, decode_get, NULL},
    {"get_in_vector", 0, KEY_V1, NULL, begin_get_v1, run_get, decode_get, NULL},
    {"get_in_tick", 0, KEY_A, NULL, begin_get_in_tick, run_get, decode_get_and_tick, NULL},
    {"get_prepared", 0, KEY_A, NULL, prepare_key_a, run_get_k, decode_get_and_tick, NULL},
    {"get_prepared_vector", 0, KEY_V1, NULL, prepare_key_v1, run_get_k, decode_get_and_tick, NULL},
    {"borrow", 0, KEY_A, NULL, begin_borrow, run_borrow, decode_borrow, NULL},
    {"borrow_in_vector", 0, KEY_V1, NULL, begin_borrow_v1, run_borrow, decode_borrow, NULL},
    {"tick", 0, KEY_A, NULL, NULL, run_tick, NULL, NULL},
    {"state_open", LONG | NO_STATE, KEY_A, NULL, NULL, open_state, NULL, NULL},
    {"state_close", LONG, KEY_A, NULL, write_some, close_state, NULL, NULL},
    {"plugin_first", LONG | NO_STATE | NEW_PLUGIN, KEY_A, NULL, NULL, open_state, NULL, NULL},
    {"borrowed", 0, KEY_A, NULL, hold_borrow, run_look_at_borrow, end_call_and_tick, NULL},
    {"whole_tick", LONG, KEY_A, NULL, NULL, run_whole_tick, NULL, NULL},
    {"keys", LONG | WALKS, KEY_A, NULL, NULL, actor_keys, NULL, NULL},
    {"set_big", LONG, KEY_BIG, NULL, begin_set_big, run_set, end_call, NULL},
    {"overwrite_big", LONG, KEY_BIG, big_there, begin_set_big, run_set, end_call, NULL},
    {"delete_big", LONG, KEY_BIG, big_there, begin_delete_big, run_delete, end_call, NULL},
    {"sweep", LONG, KEY_A, two_expired, NULL, run_sweep, NULL, NULL},
    {"grow", LONG | NEW_PLUGIN, KEY_GROW, NULL, NULL, run_grow, NULL, NULL},
    {"grow_on", LONG | NEW_PLUGIN, KEY_GROW, arrange_grown, NULL, run_grow_rest, NULL, NULL},
    {"export", LONG | WALKS, KEY_A, NULL, NULL, run_export, NULL, NULL},
    {"stats", LONG, KEY_A, NULL, NULL, run_stats, NULL, NULL},
    {"check", LONG, KEY_A, NULL, NULL, run_check, NULL, NULL},
    {"store_open", LONG | NO_STORE, KEY_A, NULL, NULL, open_store, NULL, NULL},
    {"store_close", LONG | NO_STATE, KEY_A, NULL, NULL, close_store, NULL, NULL},
    {"recover_set", LONG, KEY_A, NULL, NULL, run_stats, NULL, "set_overwrite"},
    {"recover_vector", LONG, KEY_V0, NULL, NULL, run_sweep, NULL, "set_overwrite_in_vector"},
    {"recover_delete", LONG, KEY_V0, NULL, NULL, run_stats, NULL, "delete_in_vector"},
    {"recover_big", LONG, KEY_BIG, NULL, NULL, run_stats, NULL, "set_big"},
    {"recover_delete_big", LONG, KEY_BIG, big_there, NULL, run_stats, NULL, "delete_big"},
    {"recover_grow", LONG | NEW_PLUGIN, KEY_GROW, NULL, NULL, run_stats, NULL, "grow"},
    {"inherit_set", LONG | NO_STORE, KEY_A, NULL, NULL, run_open_all, NULL, "add_in_vector"},
};

const unsigned scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);

const struct scenario *scenario_named(const char *name)
{
    for (unsigned i = 0; i < scenario_count; i++)
        if (!strcmp(scenarios[i].name, name))
            return &scenarios[i];
    return NULL;
}
