/* SPDX-License-Identifier: MIT */
/* What happens in a process when it passes a point of base/point.h. */
#ifndef TKS_PROTOCOL_POINT_HOOK_H
#define TKS_PROTOCOL_POINT_HOOK_H

#include "base/point.h"

const char *point_name(unsigned point);

/** The point of a name in either case; POINT_COUNT: none. */
unsigned point_named(const char *name);

/** From here on visits are counted in @p visits, POINT_COUNT of them. */
void point_watch(unsigned *visits);

/** Count only while the process acts for a dead one. */
void point_watch_recovery(unsigned *visits);

/** Raise @p signal at the @p visit th visit, from 1, of @p point. */
void point_arm(unsigned point, unsigned visit, int signal);

/** At the next visit of @p point, once: another of this thread's states comes in between. */
void point_meanwhile(unsigned point, void (*act)(void));

/** At every visit. */
void point_always(unsigned point, void (*act)(void));

void point_watch_no_more(void);

#endif
