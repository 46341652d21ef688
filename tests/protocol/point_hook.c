/* SPDX-License-Identifier: MIT */
#include "point_hook.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <strings.h>

static const char *const names[POINT_COUNT] = {
#define POINT_NAME(name) #name,
    TKS_POINTS(POINT_NAME)
#undef POINT_NAME
};

static struct {
    unsigned *visits; /* NULL: nothing is watched */
    bool recovery_only;
    unsigned point, visit;
    int signal;
    unsigned between;
    void (*act)(void);
    bool once;
} hook;

const char *point_name(unsigned point)
{
    return names[point];
}

unsigned point_named(const char *name)
{
    unsigned point = 0;
    while (point < POINT_COUNT && strcasecmp(names[point], name))
        point++;
    return point;
}

void point_watch(unsigned *visits)
{
    hook.recovery_only = false;
    hook.visits = visits;
}

void point_watch_recovery(unsigned *visits)
{
    hook.recovery_only = true;
    hook.visits = visits;
}

void point_arm(unsigned point, unsigned visit, int signal)
{
    hook.point = point;
    hook.visit = visit;
    hook.signal = signal;
}

void point_meanwhile(unsigned point, void (*act)(void))
{
    hook.between = point;
    hook.act = act;
    hook.once = true;
}

void point_always(unsigned point, void (*act)(void))
{
    point_meanwhile(point, act);
    hook.once = false;
}

void point_watch_no_more(void)
{
    hook.visits = NULL;
}

/* A keeper's thread comes here too: whether somebody acts for the dead is a question of threads. */
static bool counts(enum tks_point point)
{
    static _Thread_local bool inside;
    inside |= point == POINT_RECOVER_BEGUN;
    bool recovering = inside;
    inside &= point != POINT_RECOVER_RELEASED && point != POINT_JOIN_INHERITED &&
              point != POINT_SLOT_ABANDONED;
    return hook.visits && (recovering || !hook.recovery_only);
}

void tks_point_reached(enum tks_point point)
{
    if (!counts(point))
        return;
    unsigned visit = __atomic_add_fetch(&hook.visits[point], 1, __ATOMIC_SEQ_CST);
    if (hook.signal && point == hook.point && visit == hook.visit)
        raise(hook.signal);
    void (*act)(void) = hook.act;
    if (act && point == hook.between) {
        if (hook.once)
            hook.act = NULL;
        act();
    }
}
