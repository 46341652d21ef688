/* SPDX-License-Identifier: MIT */
#include "history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tickstate/tickstate.h>

/* ---- The register -------------------------------------------------------------------------- */

static bool changes_nothing(const struct event *event)
{
    return event->returned != PENDING && event->status < 0 && event->status != TKS_NOT_FOUND &&
           event->status != TKS_CONFLICT;
}

/* Carry the event out on *state; false when its result could not have come from there. */
static bool apply(const struct event *event, uint64_t *state)
{
    bool pending = event->returned == PENDING;
    if (changes_nothing(event))
        return true;
    switch (event->kind) {
    case EVENT_GET:
        return pending || event->result == *state;
    case EVENT_HAS:
        return pending || event->result == (*state != ABSENT);
    case EVENT_SET:
        *state = event->value;
        return true;
    case EVENT_DELETE:
        *state = ABSENT;
        return true;
    case EVENT_ADD:
        *state = (*state == ABSENT ? 0 : *state) + event->value;
        return pending || event->result == *state;
    case EVENT_SET_IF:
        if (*state != event->expected)
            return pending || event->status == TKS_CONFLICT;
        *state = event->value;
        return pending || event->status == TKS_OK;
    }
    return false;
}

void event_text(const struct event *event, char *text, size_t room)
{
    static const char *const names[] = {"get", "has", "set", "delete", "add", "set_if"};
    char returned[24] = "-";
    if (event->returned != PENDING)
        snprintf(returned, sizeof(returned), "%llu", (unsigned long long)event->returned);
    snprintf(
        text, room, "[%llu, %s] actor %u key %u: %s value %lld expected %lld -> %s result %lld",
        (unsigned long long)event->called, returned, event->actor, event->key, names[event->kind],
        (long long)event->value, (long long)event->expected,
        event->returned == PENDING ? "?" : tks_strerror(event->status), (long long)event->result);
}

/* ---- Calls and returns in order of time ---------------------------------------------------- */

struct node {
    const struct event *event;
    struct node *prev, *next, *match; /* match: a call's return; NULL for returns */
    uint64_t at;
    bool is_call;
    uint64_t mark[2]; /* of the call, for the hash of a configuration */
};

static int by_time(const void *a, const void *b)
{
    const struct node *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    /* Equal stamps say nothing: take the two as overlapping. */
    return (int)y->is_call - (int)x->is_call;
}

static uint64_t scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/* Nodes of the key's events, chained behind head. Their number. */
static size_t make_list(const struct event *events, size_t count, unsigned key, struct node *head,
                        struct node *nodes)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (events[i].key != key)
            continue;
        nodes[used++] = (struct node){.event = &events[i], .at = events[i].called, .is_call = true};
        nodes[used++] = (struct node){.event = &events[i], .at = events[i].returned};
    }
    qsort(nodes, used, sizeof(*nodes), by_time);
    struct node *last = head;
    for (size_t i = 0; i < used; i++) {
        nodes[i].prev = last;
        last->next = &nodes[i];
        last = &nodes[i];
        nodes[i].mark[0] = scramble(2 * i);
        nodes[i].mark[1] = scramble(2 * i + 1);
    }
    last->next = NULL;
    return used;
}

/* The return that belongs to each call, through an index by event. */
static bool match_returns(struct node *nodes, size_t used, const struct event *events, size_t count)
{
    struct node **calls = calloc(count, sizeof(*calls));
    if (!calls)
        return false;
    for (size_t i = 0; i < used; i++)
        if (nodes[i].is_call)
            calls[nodes[i].event - events] = &nodes[i];
    for (size_t i = 0; i < used; i++)
        if (!nodes[i].is_call)
            calls[nodes[i].event - events]->match = &nodes[i];
    free(calls);
    return true;
}

static void lift(struct node *call)
{
    struct node *back = call->match;
    call->prev->next = call->next;
    if (call->next)
        call->next->prev = call->prev;
    back->prev->next = back->next;
    if (back->next)
        back->next->prev = back->prev;
}

static void unlift(struct node *call)
{
    struct node *back = call->match;
    back->prev->next = back;
    if (back->next)
        back->next->prev = back;
    call->prev->next = call;
    if (call->next)
        call->next->prev = call;
}

/* ---- Configurations seen before ------------------------------------------------------------ */

struct seen {
    uint64_t (*cells)[2];
    size_t cap, used;
};

static bool place(struct seen *seen, const uint64_t id[2])
{
    size_t at = id[0] & (seen->cap - 1);
    for (; seen->cells[at][0] || seen->cells[at][1]; at = (at + 1) & (seen->cap - 1))
        if (seen->cells[at][0] == id[0] && seen->cells[at][1] == id[1])
            return false;
    memcpy(seen->cells[at], id, sizeof(seen->cells[at]));
    seen->used++;
    return true;
}

/* True when the configuration is new. Two 64-bit hashes stand for it. */
static bool note(struct seen *seen, const uint64_t id[2])
{
    if (seen->used * 2 >= seen->cap) {
        struct seen larger = {.cap = seen->cap ? seen->cap * 2 : 1024};
        larger.cells = calloc(larger.cap, sizeof(*larger.cells));
        if (!larger.cells)
            abort();
        for (size_t i = 0; i < seen->cap; i++)
            if (seen->cells[i][0] || seen->cells[i][1])
                place(&larger, seen->cells[i]);
        free(seen->cells);
        *seen = larger;
    }
    return place(seen, id);
}

/* ---- The search ---------------------------------------------------------------------------- */

struct frame {
    struct node *call;
    uint64_t state;
};

struct search {
    struct node head;
    struct frame *stack;
    size_t depth, deepest;
    const struct event *stuck; /* the return that could not be passed at the deepest point */
    uint64_t stuck_state;
    uint64_t id[2];
    struct seen seen;
};

static bool try_call(struct search *search, struct node *call, uint64_t *state)
{
    uint64_t next = *state;
    if (!apply(call->event, &next))
        return false;
    uint64_t id[2] = {search->id[0] ^ call->mark[0], search->id[1] ^ call->mark[1]};
    uint64_t whole[2] = {scramble(id[0] + next), scramble(id[1] ^ next)};
    if (!note(&search->seen, whole))
        return false;
    memcpy(search->id, id, sizeof(id));
    search->stack[search->depth++] = (struct frame){call, *state};
    *state = next;
    lift(call);
    return true;
}

static struct node *go_back(struct search *search, uint64_t *state)
{
    if (!search->depth)
        return NULL;
    struct frame frame = search->stack[--search->depth];
    *state = frame.state;
    search->id[0] ^= frame.call->mark[0];
    search->id[1] ^= frame.call->mark[1];
    unlift(frame.call);
    return frame.call;
}

static bool find_order(struct search *search)
{
    uint64_t state = ABSENT;
    struct node *node = search->head.next;
    while (search->head.next) { /* every configuration is entered once */
        if (node->is_call) {
            node = try_call(search, node, &state) ? search->head.next : node->next;
            continue;
        }
        if (node->event->returned == PENDING)
            return true; /* pending returns sort last: everything that returned has its place */
        if (search->depth >= search->deepest) {
            search->deepest = search->depth;
            search->stuck = node->event;
            search->stuck_state = state;
        }
        node = go_back(search, &state);
        if (!node)
            return false;
        node = node->next;
    }
    return true;
}

static void explain(const struct search *search, char *why, size_t room)
{
    char text[200] = "?";
    if (search->stuck)
        event_text(search->stuck, text, sizeof(text));
    snprintf(why, room,
             "not linearizable: after %zu operations and with value %lld nothing explains %s",
             search->deepest, (long long)search->stuck_state, text);
}

bool history_linearizable(const struct event *events, size_t count, unsigned key, char *why,
                          size_t room)
{
    struct search search = {0};
    struct node *nodes = calloc(count * 2 + 1, sizeof(*nodes));
    search.stack = calloc(count + 1, sizeof(*search.stack));
    if (!nodes || !search.stack)
        abort();
    size_t used = make_list(events, count, key, &search.head, nodes);
    bool found = match_returns(nodes, used, events, count) && find_order(&search);
    if (!found)
        explain(&search, why, room);
    free(search.seen.cells);
    free(search.stack);
    free(nodes);
    return found;
}
