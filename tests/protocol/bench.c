/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "audit.h"
#include "memory/block.h"
#include "memory/epoch.h"
#include "scenario.h"
#include "store/shm.h"

#define OTHER_KEYS 4u

/* ---- The store ----------------------------------------------------------------------------- */

static void must(int status, const char *what)
{
    if (!status)
        return;
    test_fail("%s: %s", what, tks_last_error());
    exit(test_summary());
}

static void fill_other(struct bench *bench)
{
    char value[VALUE_ROOM];
    for (unsigned i = 0; i < OTHER_KEYS; i++) {
        uint64_t number = value_number(i + 1, i & 1);
        value_fill(value, i, number);
        must(tks_set(bench->other, key_name(i), value, value_len(number)), "set");
    }
}

static void open_all(struct bench *bench)
{
    struct actor *parent = bench->parent;
    must(tks_store_open(scenario_uri, NULL, &parent->store), "store open");
    must(tks_state_open(parent->store, "other", &bench->other), "state open");
    snprintf(scenario_plugin, sizeof(scenario_plugin), "main");
    must(tks_state_open(parent->store, scenario_plugin, &parent->state), "state open");
    fill_other(bench);
}

void bench_init(struct bench *bench)
{
    memset(bench, 0, sizeof(*bench));
    keys_choose();
    bench->arena = mmap(NULL, sizeof(*bench->arena), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bench->parent = calloc(1, sizeof(*bench->parent));
    if (bench->arena == MAP_FAILED || !bench->parent)
        abort();
    bench->parent->clock = &bench->arena->clock;
    bench->parent->log = &bench->arena->logs[0];
    snprintf(scenario_uri, sizeof(scenario_uri), "shm://%s?size=160K&slots=14", store_name());
    open_all(bench);
}

static void close_all(struct bench *bench)
{
    tks_state_close(bench->parent->state);
    tks_state_close(bench->other);
    tks_store_close(bench->parent->store);
    int status = tks_store_destroy(scenario_uri);
    if (status)
        test_fail("destroy: %s", tks_last_error());
}

void bench_renew(struct bench *bench)
{
    close_all(bench);
    open_all(bench);
}

void bench_new_plugin(struct bench *bench)
{
    tks_state_close(bench->parent->state);
    snprintf(scenario_plugin, sizeof(scenario_plugin), "plugin-%u", ++bench->plugins);
    must(tks_state_open(bench->parent->store, scenario_plugin, &bench->parent->state),
         "state open");
}

void bench_end(struct bench *bench)
{
    close_all(bench);
    munmap(bench->arena, sizeof(*bench->arena));
    free(bench->parent);
}

void bench_clear(struct bench *bench)
{
    bench->arena->clock = 1;
    bench->arena->walked = false;
    for (unsigned i = 0; i < SUBJECTS; i++)
        bench->arena->logs[i].count = bench->arena->logs[i].problems = 0;
}

void bench_arrange(struct bench *bench)
{
    struct actor *parent = bench->parent;
    actor_set(parent, KEY_A, 0);
    actor_set(parent, KEY_N, 0);
    actor_delete(parent, KEY_V2);
    actor_delete(parent, KEY_BIG);
    actor_delete(parent, KEY_C);
    actor_add(parent, KEY_C, 100);
    actor_delete(parent, KEY_VC);
    /* Freed blocks are taken again at once, the lowest first: few blocks are in the game. */
    bench_recycle(bench);
    actor_set(parent, KEY_V0, 0);
    bench_recycle(bench);
    actor_set(parent, KEY_V1, 0);
    bench_recycle(bench);
    actor_add(parent, KEY_VC, 1000);
    bench_recycle(bench);
}

/* ---- Inside -------------------------------------------------------------------------------- */

static struct shm_state *inside(struct bench *bench)
{
    return (struct shm_state *)(void *)bench->parent->state;
}

void bench_recycle(struct bench *bench)
{
    /* What a writer short of space does. */
    tks_block_refill(inside(bench)->session.member, GRANULE_BYTES, true);
}

uint64_t bench_head(struct bench *bench, unsigned key)
{
    struct tks_session *session = &inside(bench)->session;
    struct tks_name name = make_name(key_name(key), strlen(key_name(key)));
    struct tks_found found;
    return node_find(session->member->segment, session->plugin, &name, &found) ? found.word : 0;
}

/* ---- Verifying ----------------------------------------------------------------------------- */

static void check_other(struct bench *bench)
{
    char value[VALUE_ROOM], why[120];
    for (unsigned i = 0; i < OTHER_KEYS; i++) {
        size_t len = 0;
        int status = tks_get(bench->other, key_name(i), value, sizeof(value), &len);
        if (status)
            test_fail("another plugin's key %u: %s", i, tks_strerror(status));
        else if (value_read(value, len, i, why, sizeof(why)) != value_number(i + 1, i & 1))
            test_fail("another plugin's key %u was harmed", i);
    }
}

static bool deleted_after(const struct bench *bench, unsigned key, uint64_t called)
{
    for (unsigned actor = 0; actor < SUBJECTS; actor++) {
        const struct log *log = &bench->arena->logs[actor];
        for (unsigned i = 0; i < log->count; i++)
            if (log->events[i].key == key && log->events[i].kind == EVENT_DELETE &&
                (log->events[i].returned == PENDING || log->events[i].returned > called))
                return true;
    }
    return false;
}

/* What a subject's walk must have seen: all that was there all the time. */
static void check_walk(const struct bench *bench)
{
    const struct log *log = &bench->arena->logs[0];
    for (unsigned i = 0; bench->arena->walked && i < log->count; i++) {
        const struct event *event = &log->events[i];
        if (event->kind != EVENT_SET && event->kind != EVENT_ADD)
            break; /* arranging ends with the first delete of each: only sure ones count */
        if (!deleted_after(bench, event->key, 0) && !bench->arena->visited[event->key])
            test_fail("a walk did not visit key %u, which was always there", event->key);
    }
}

static void check_histories(struct bench *bench)
{
    static struct event events[SUBJECTS * LOG_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < SUBJECTS; i++) {
        const struct log *log = &bench->arena->logs[i];
        memcpy(events + count, log->events, log->count * sizeof(*events));
        count += log->count;
        if (log->problems)
            test_fail("%s", log->problem);
    }
    for (unsigned key = 0; key < KEYS_ALL; key++) {
        char why[400];
        if (history_linearizable(events, count, key, why, sizeof(why)))
            continue;
        test_fail("%s", why);
        for (size_t i = 0; options.verbose && i < count; i++) {
            event_text(&events[i], why, sizeof(why));
            if (events[i].key == key)
                printf("    %s\n", why);
        }
    }
}

/* Read every key twice, by get and by keys(). */
static void read_all(struct bench *bench)
{
    struct actor *parent = bench->parent;
    unsigned first = parent->log->count;
    for (unsigned key = 0; key < KEYS_ALL; key++)
        actor_get(parent, key);
    actor_keys(parent);
    for (unsigned key = 0; key < KEYS_ALL; key++) {
        bool there = parent->log->events[first + key].result != ABSENT;
        if (there != (parent->visited[key] != 0))
            test_fail("key %u: get says %s, keys() says %s", key, there ? "present" : "absent",
                      there ? "absent" : "present");
    }
}

void bench_verify(struct bench *bench, unsigned target, bool audit)
{
    struct actor *parent = bench->parent;
    actor_get(parent, target);
    actor_has(parent, target);
    if (key_counts(target))
        actor_add(parent, target, 1);
    else
        actor_set_if(parent, target, 0);
    actor_set(parent, KEY_V2, 0);
    actor_add(parent, KEY_VC, 1);
    read_all(bench);
    actor_delete(parent, target);
    actor_get(parent, target);
    if (audit) {
        audit_store(bench->parent->store, 2, 1);
        read_all(bench);
    }
    check_other(bench);
    check_walk(bench);
    check_histories(bench);
}
