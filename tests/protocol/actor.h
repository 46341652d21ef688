/* SPDX-License-Identifier: MIT */
/*
 * An actor does operations on the keys of a plugin and records them. A call is in the log before it
 * is made, so that the log of a killed actor ends with what it was doing.
 */
#ifndef TKS_PROTOCOL_ACTOR_H
#define TKS_PROTOCOL_ACTOR_H

#include "history.h"
#include "support.h"

/* Keys by where they are: V0, V1, V2 and VC share a bucket on every level that a test reaches. */
enum key { KEY_A, KEY_N, KEY_V0, KEY_V1, KEY_V2, KEY_C, KEY_VC, KEY_BIG, KEY_GROW };
#define KEYS_GROW 24u
#define KEYS_ALL (KEY_GROW + KEYS_GROW)

#define LOG_MAX 512u

/* In memory that survives the actor. */
struct log {
    struct event events[LOG_MAX];
    unsigned count;
    unsigned problems;
    char problem[256];
};

struct actor {
    tks_store *store;
    tks_state *state;
    struct log *log;
    uint64_t *clock; /* shared: orders calls and returns of all actors; NULL: real time */
    unsigned id;
    uint64_t serial; /* of the last value written */
    uint64_t number; /* prepared for the measured call */
    size_t len;
    tks_key prepared;
    uint64_t version;
    struct event *open; /* begun and not ended */
    const void *borrowed;
    char buf[VALUE_ROOM];
    char visited[KEYS_ALL + 1];
};

/** Find the names; before anybody forks. */
void keys_choose(void);
const char *key_name(unsigned key);
/** The key of a name, KEYS_ALL when it is none of ours. */
unsigned key_of(const char *name, size_t len);
bool key_counts(unsigned key);

void actor_problem(struct actor *actor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Record the begin of a call, and its end. */
struct event *actor_begin(struct actor *actor, enum event_kind kind, unsigned key, uint64_t value);
void actor_end(struct actor *actor, struct event *event, int status, uint64_t result);

/** The number in a value that was read; ABSENT when it is none, which is a problem. */
uint64_t actor_decode(struct actor *actor, unsigned key, int status, const void *buf, size_t len);

/** A number never used before, and its value in actor->buf. */
uint64_t actor_value(struct actor *actor, unsigned key, unsigned size_class);

void actor_get(struct actor *actor, unsigned key);
void actor_has(struct actor *actor, unsigned key);
void actor_set(struct actor *actor, unsigned key, unsigned size_class);
void actor_set_expired(struct actor *actor, unsigned key, unsigned size_class);
void actor_delete(struct actor *actor, unsigned key);
void actor_add(struct actor *actor, unsigned key, int64_t delta);
/** Read, then replace what was read. */
void actor_set_if(struct actor *actor, unsigned key, unsigned size_class);
/** Visit all keys: each at most once, and note them in actor->visited. */
void actor_keys(struct actor *actor);

#endif
