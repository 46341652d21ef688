/* SPDX-License-Identifier: MIT */
#include "actor.h"

#include "base/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- Names --------------------------------------------------------------------------------- */

static char names[KEYS_ALL][24];

/* The first name for which the top @p bits of the hash are @p top. */
static void choose_name(unsigned key, unsigned bits, uint64_t top)
{
    for (unsigned i = 0;; i++) { /* ends after about 2^bits names */
        int len = snprintf(names[key], sizeof(names[key]), "key-%02u-%08u", key, i);
        if (hash_of(names[key], (size_t)len) >> (64 - bits) == top)
            return;
    }
}

void keys_choose(void)
{
    choose_name(KEY_A, 3, 0);
    choose_name(KEY_N, 3, 2);
    for (unsigned key = KEY_V0; key <= KEY_V2; key++)
        choose_name(key, 12, 0x800);
    choose_name(KEY_VC, 12, 0x800);
    choose_name(KEY_C, 3, 6);
    choose_name(KEY_BIG, 3, 3);
    for (unsigned i = 0; i < KEYS_GROW; i++)
        choose_name(KEY_GROW + i, 5, i * 32 / KEYS_GROW);
}

const char *key_name(unsigned key)
{
    return names[key];
}

unsigned key_of(const char *name, size_t len)
{
    for (unsigned key = 0; key < KEYS_ALL; key++)
        if (strlen(names[key]) == len && !memcmp(names[key], name, len))
            return key;
    return KEYS_ALL;
}

bool key_counts(unsigned key)
{
    return key == KEY_C || key == KEY_VC;
}

/* ---- Recording ----------------------------------------------------------------------------- */

void actor_problem(struct actor *actor, const char *format, ...)
{
    struct log *log = actor->log;
    if (log->problems++)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(log->problem, sizeof(log->problem), format, arguments);
    va_end(arguments);
}

/* Counted when the actors share a counter, else ns: a counter orders memory, a clock does not. */
static uint64_t stamp(const struct actor *actor)
{
    struct timespec now;
    if (actor->clock)
        return __atomic_fetch_add(actor->clock, 1, __ATOMIC_SEQ_CST);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct event *actor_begin(struct actor *actor, enum event_kind kind, unsigned key, uint64_t value)
{
    struct log *log = actor->log;
    if (log->count == LOG_MAX) {
        actor_problem(actor, "the test's log is full");
        log->count--;
    }
    struct event *event = &log->events[log->count];
    *event = (struct event){.kind = kind,
                            .key = key,
                            .actor = actor->id,
                            .value = value,
                            .returned = PENDING,
                            .called = stamp(actor)};
    __atomic_store_n(&log->count, log->count + 1, __ATOMIC_SEQ_CST);
    actor->open = event;
    return event;
}

static bool expected_status(const struct event *event, int status)
{
    return status == TKS_OK || (event->kind == EVENT_GET && status == TKS_NOT_FOUND) ||
           (event->kind == EVENT_SET_IF && status == TKS_CONFLICT);
}

void actor_end(struct actor *actor, struct event *event, int status, uint64_t result)
{
    event->status = status;
    event->result = result;
    if (!expected_status(event, status))
        actor_problem(actor, "actor %u key %u operation %d: %s", actor->id, event->key,
                      (int)event->kind, tks_last_error());
    __atomic_store_n(&event->returned, stamp(actor), __ATOMIC_RELEASE);
    actor->open = NULL;
}

uint64_t actor_decode(struct actor *actor, unsigned key, int status, const void *buf, size_t len)
{
    char why[120];
    int64_t count;
    if (status)
        return ABSENT;
    if (key_counts(key)) {
        if (len != sizeof(count)) {
            actor_problem(actor, "counter %u has %zu bytes", key, len);
            return ABSENT;
        }
        memcpy(&count, buf, sizeof(count));
        return (uint64_t)count;
    }
    uint64_t number = value_read(buf, len, key, why, sizeof(why));
    if (number == ABSENT)
        actor_problem(actor, "actor %u: %s", actor->id, why);
    return number;
}

uint64_t actor_value(struct actor *actor, unsigned key, unsigned size_class)
{
    uint64_t number = value_number((uint64_t)actor->id << 40 | ++actor->serial, size_class);
    value_fill(actor->buf, key, number);
    actor->number = number;
    actor->len = value_len(number);
    return number;
}

/* ---- Operations ---------------------------------------------------------------------------- */

void actor_get(struct actor *actor, unsigned key)
{
    size_t len = 0;
    struct event *event = actor_begin(actor, EVENT_GET, key, 0);
    int status = tks_get(actor->state, key_name(key), actor->buf, sizeof(actor->buf), &len);
    actor_end(actor, event, status, actor_decode(actor, key, status, actor->buf, len));
}

void actor_has(struct actor *actor, unsigned key)
{
    struct event *event = actor_begin(actor, EVENT_HAS, key, 0);
    int status = tks_has(actor->state, key_name(key));
    actor_end(actor, event, status < 0 ? status : TKS_OK, status == 1);
}

void actor_set(struct actor *actor, unsigned key, unsigned size_class)
{
    uint64_t number = actor_value(actor, key, size_class);
    struct event *event = actor_begin(actor, EVENT_SET, key, number);
    actor_end(actor, event, tks_set(actor->state, key_name(key), actor->buf, actor->len), 0);
}

void actor_set_expired(struct actor *actor, unsigned key, unsigned size_class)
{
    actor_value(actor, key, size_class);
    struct event *event = actor_begin(actor, EVENT_DELETE, key, 0);
    /* Long past on the store's clock: no need to wait for it. */
    int status = tks_tick_begin_at(actor->state, 1000000);
    if (!status)
        status = tks_set_with_ttl(actor->state, key_name(key), actor->buf, actor->len, 1);
    tks_tick_end(actor->state);
    actor_end(actor, event, status, 0);
}

void actor_delete(struct actor *actor, unsigned key)
{
    struct event *event = actor_begin(actor, EVENT_DELETE, key, 0);
    actor_end(actor, event, tks_delete(actor->state, key_name(key)), 0);
}

void actor_add(struct actor *actor, unsigned key, int64_t delta)
{
    int64_t result = 0;
    struct event *event = actor_begin(actor, EVENT_ADD, key, (uint64_t)delta);
    int status = tks_add_i64(actor->state, key_name(key), delta, &result);
    actor_end(actor, event, status, (uint64_t)result);
}

void actor_set_if(struct actor *actor, unsigned key, unsigned size_class)
{
    size_t len = 0;
    uint64_t version = 0;
    struct event *event = actor_begin(actor, EVENT_GET, key, 0);
    int status = tks_get_versioned(actor->state, key_name(key), actor->buf, sizeof(actor->buf),
                                   &len, &version);
    uint64_t seen = actor_decode(actor, key, status, actor->buf, len);
    actor_end(actor, event, status, seen);
    uint64_t number = actor_value(actor, key, size_class);
    event = actor_begin(actor, EVENT_SET_IF, key, number);
    event->expected = seen;
    status = tks_set_if(actor->state, key_name(key), actor->buf, actor->len, version);
    actor_end(actor, event, status, 0);
}

static int visit_key(void *arg, const char *name, size_t len)
{
    struct actor *actor = arg;
    unsigned key = key_of(name, len);
    if (actor->visited[key]++)
        actor_problem(actor, "keys(): key %u (%.*s) was visited twice", key, (int)len, name);
    if (key == KEYS_ALL)
        actor_problem(actor, "keys(): there is no key \"%.*s\"", (int)len, name);
    return 0;
}

void actor_keys(struct actor *actor)
{
    memset(actor->visited, 0, sizeof(actor->visited));
    int status = tks_keys(actor->state, visit_key, actor);
    if (status)
        actor_problem(actor, "keys(): %s", tks_last_error());
}
