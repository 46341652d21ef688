/* SPDX-License-Identifier: MIT */
/* The judge of histories must be able to say no. */
#include "history.h"
#include "support.h"

#include <tickstate/tickstate.h>

#define GET(from, to, seen)                                                                        \
    {                                                                                              \
        .kind = EVENT_GET, .called = (from), .returned = (to), .result = (seen)                    \
    }
#define SET(from, to, number)                                                                      \
    {                                                                                              \
        .kind = EVENT_SET, .called = (from), .returned = (to), .value = (number)                   \
    }
#define DELETE(from, to)                                                                           \
    {                                                                                              \
        .kind = EVENT_DELETE, .called = (from), .returned = (to)                                   \
    }
#define ADD(from, to, sum)                                                                         \
    {                                                                                              \
        .kind = EVENT_ADD, .called = (from), .returned = (to), .value = 1, .result = (sum)         \
    }
#define SET_IF(from, to, old, number, outcome)                                                     \
    {                                                                                              \
        .kind = EVENT_SET_IF, .called = (from), .returned = (to), .expected = (old),               \
        .value = (number), .status = (outcome)                                                     \
    }

static void judge(const char *name, const struct event *events, size_t count, bool expected)
{
    char why[400] = "";
    test_begin(name);
    if (history_linearizable(events, count, 0, why, sizeof(why)) != expected)
        test_fail("taken for %s: %s", expected ? "illegal" : "legal", why);
    test_end("%s", expected ? "legal" : "illegal");
}

#define JUDGE(name, expected, ...)                                                                 \
    do {                                                                                           \
        const struct event events[] = {__VA_ARGS__};                                               \
        judge(name, events, sizeof(events) / sizeof(events[0]), expected);                         \
    } while (0)

int main(int argc, char **argv)
{
    options_read(argc, argv, 1);
    JUDGE("in order", true, SET(1, 2, 7), GET(3, 4, 7), DELETE(5, 6), GET(7, 8, ABSENT));
    JUDGE("stale read", false, SET(1, 2, 7), SET(3, 4, 8), GET(5, 6, 7));
    JUDGE("overlapping reads", true, SET(1, 2, 7), SET(3, 10, 8), GET(4, 5, 7), GET(6, 7, 8));
    JUDGE("new, then old", false, SET(1, 2, 7), SET(3, 10, 8), GET(4, 5, 8), GET(6, 7, 7));
    JUDGE("lost add", false, ADD(1, 2, 1), ADD(3, 4, 1));
    JUDGE("concurrent adds", true, ADD(1, 4, 2), ADD(2, 3, 1));
    JUDGE("killed, did happen", true, SET(1, PENDING, 7), GET(5, 6, 7));
    JUDGE("killed, did not happen", true, SET(1, PENDING, 7), GET(5, 6, ABSENT));
    JUDGE("killed, happened and was undone", false, SET(1, PENDING, 7), GET(5, 6, 7),
          GET(7, 8, ABSENT));
    JUDGE("two winners", false, SET(1, 2, 7), SET_IF(3, 6, 7, 8, TKS_OK),
          SET_IF(4, 5, 7, 9, TKS_OK));
    JUDGE("one winner", true, SET(1, 2, 7), SET_IF(3, 6, 7, 8, TKS_CONFLICT),
          SET_IF(4, 5, 7, 9, TKS_OK));
    JUDGE("conflict without a cause", false, SET(1, 2, 7), SET_IF(3, 4, 7, 8, TKS_CONFLICT));
    JUDGE("another's value", false, SET(1, 2, 7), GET(3, 4, 9));
    return test_summary();
}
