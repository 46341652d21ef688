/* SPDX-License-Identifier: MIT */
/*
 * Plays: what processes do while they are killed and stopped at points. The sweeps' scenarios, some
 * with a rival: another state of the subject's thread that comes in between at a point, so that
 * what takes two processes in the wild happens in one, the same every time.
 */
#ifndef TKS_PROTOCOL_POINT_PLAY_H
#define TKS_PROTOCOL_POINT_PLAY_H

#include "scenario.h"

struct play {
    const char *name;
    const struct scenario *scenario;
    bool second;         /* works on a second store, too */
    unsigned between;    /* the point at which the rival acts */
    void (*rival)(void); /* NULL: there is none */
    void (*enter)(void); /* the rival's, before the subject begins; NULL: opens its state */
};

#define PLAYS_MAX 128u

/** All of them; how many. */
unsigned plays_list(struct play plays[PLAYS_MAX]);

/** Whether there may be no room at all while its subject is stopped. */
bool play_fills(const struct play *play);

/** Delete what a play filled the store with. */
void play_make_room(struct actor *survivor);

/** In the subject: open, prepare. Afterwards play->scenario->run is what is looked at. */
void play_prepare(const struct play *play, struct actor *subject);

/** What survivors do with the second store; it must be gone afterwards if @p alone. */
void second_store_use(struct actor *parent, bool alone);

#endif
