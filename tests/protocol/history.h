/* SPDX-License-Identifier: MIT */
/*
 * Recorded histories of operations on single keys, and the question whether they are linearizable:
 * Wing and Gong's search with Lowe's memory of visited configurations ("Testing for
 * linearizability", 2017). Keys are checked one by one; linearizability is compositional.
 *
 * A key is a register: absent or a number. Every set writes another number, so a number stands for
 * a version, and set_if's expected version is recorded as the number it was read with.
 */
#ifndef TKS_PROTOCOL_HISTORY_H
#define TKS_PROTOCOL_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ABSENT UINT64_MAX
#define PENDING UINT64_MAX

enum event_kind { EVENT_GET, EVENT_HAS, EVENT_SET, EVENT_DELETE, EVENT_ADD, EVENT_SET_IF };

struct event {
    enum event_kind kind;
    unsigned key;
    unsigned actor;
    int status;
    uint64_t value;    /* SET, SET_IF: written; ADD: what is added */
    uint64_t expected; /* SET_IF: the number whose version was given, ABSENT for version 0 */
    uint64_t result;   /* GET, ADD: number or ABSENT; HAS: 0 or 1 */
    uint64_t called;
    uint64_t returned; /* PENDING: its process was killed; it may or may not have happened */
};

/** Whether the events of @p key have a legal order; if not, up to @p room bytes of why. */
bool history_linearizable(const struct event *events, size_t count, unsigned key, char *why,
                          size_t room);

/** One event as text, for reports. */
void event_text(const struct event *event, char *text, size_t room);

#endif
