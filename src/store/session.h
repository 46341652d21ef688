/* SPDX-License-Identifier: MIT */
/* One plugin's space as one member works on it: what every operation needs. */
#ifndef TKS_STORE_SESSION_H
#define TKS_STORE_SESSION_H

#include "memory/epoch.h"
#include "table/node.h"

struct tks_session {
    struct tks_member *member;
    struct plugin *plugin;
    uint64_t plugin_granule;
    bool in_tick;
    bool now_known;
    bool caller_clock; /* now_ms is the caller's */
    int64_t now_ms;
    unsigned inserts;
    bool grow_again; /* a small index was to grow, and memory had to be found first */
};

/* A call that was expelled this often gives up with TKS_EVICTED. */
#define SESSION_TRIES 100

/** This session's now, ms; read from the clock only when a deadline is met, once per tick. */
static inline int64_t session_now(struct tks_session *session)
{
    if (!session->now_known) {
        session->now_ms = tks_segment_now_ms(session->member->segment);
        session->now_known = session->in_tick;
    }
    return session->now_ms;
}

static inline bool session_expired(struct tks_session *session, uint64_t deadline)
{
    return tks_unlikely(deadline != 0) && (int64_t)deadline <= session_now(session);
}

/** Whether the store's own clock calls it expired too: only then may it be purged. */
static inline bool session_may_purge(struct tks_session *session, uint64_t deadline)
{
    if (!session->caller_clock)
        return true;
    return (int64_t)deadline <= tks_segment_now_ms(session->member->segment);
}

/** Open the section a call reads in; inside a tick it is open, unless it was expelled. */
static inline bool session_begin(struct tks_session *session)
{
    return session->in_tick ? section_intact(session->member) || section_enter(session->member)
                            : section_enter(session->member);
}

static inline void session_end(struct tks_session *session)
{
    if (!session->in_tick)
        section_leave(session->member);
}

/** Why a look-up said "impossible": expelled (go again) or really damaged. */
int tks_session_damage(struct tks_session *session);

#endif
