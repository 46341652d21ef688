/* SPDX-License-Identifier: MIT */
/* Reads, ticks, borrows, and the plain way into tks_operate(). */
#include "base/clock.h"
#include "base/error.h"
#include "base/key.h"
#include "base/text.h"
#include "memory/block.h"
#include "memory/reclaim.h"
#include "store/operation.h"
#include "store/shm.h"
#include "table/snapshot.h"

#include <limits.h>

static struct shm_state *shm_of(tks_state *state)
{
    return (struct shm_state *)(void *)state;
}

static struct shm_key *shm_key_of(tks_key *key)
{
    return (struct shm_key *)(void *)key;
}

int tks_session_damage(struct tks_session *session)
{
    return tks_fail(TKS_CORRUPT,
                    "segment \"%s\" is damaged: plugin \"%.*s\" has an impossible offset",
                    session->member->segment->name, TKS_NAME_MAX, session->plugin->name);
}

/* ---- Keys ---------------------------------------------------------------------------------- */

static inline int named_key(const char *key, struct tks_name *name)
{
    size_t len = key ? strlen(key) : 0;
    if (tks_unlikely(len - 1 >= TKS_NAME_MAX))
        return tks_bad_key(key, len);
    *name = make_name(key, len);
    return TKS_OK;
}

int tks_shm_name(struct shm_state *state, const char *key, tks_key *prepared, struct tks_name *name)
{
    if (!prepared)
        return named_key(key, name);
    struct shm_key *own = shm_key_of(prepared);
    if (tks_unlikely(own->serial != state->owner.serial || own->len - 1 >= TKS_NAME_MAX))
        return tks_fail(TKS_INVALID, "the prepared key belongs to another state");
    *name = (struct tks_name){own->name, own->len, own->hash};
    return TKS_OK;
}

/* A key that is present was checked when it was written; only a miss needs the look at it. */
static int absent(const char *key, const struct tks_name *name)
{
    if (key && tks_unlikely(!tks_utf8_valid(name->bytes, name->len)))
        return tks_bad_key(name->bytes, name->len);
    return expected_outcome(TKS_NOT_FOUND);
}

int tks_shm_key_prepare(tks_state *base, const char *key, size_t len, tks_key *prepared)
{
    struct shm_state *state = shm_of(base);
    int status = tks_owner_guard(&state->owner);
    if (status)
        return status;
    if (!key || !tks_name_valid(key, len))
        return tks_bad_key(key, len);
    struct shm_key *own = shm_key_of(prepared);
    memset(own, 0, sizeof(*own));
    memcpy(own->name, key, len);
    struct tks_name name = make_name(own->name, len);
    own->serial = state->owner.serial;
    own->hash = name.hash;
    own->len = len;
    own->base = UINT64_MAX;
    return TKS_OK;
}

/* ---- Looking up ---------------------------------------------------------------------------- */

struct view {
    struct tks_found found;
    uint64_t deadline;
    uint64_t node; /* the entry's own version, which tells it from every other */
};

enum { VIEW_PRESENT = 1, VIEW_ABSENT = 2, VIEW_AGAIN = 3 };

/* One look inside an open section; what it says holds if the section is intact afterwards. */
static int look(struct tks_session *session, const struct tks_name *name, struct view *view)
{
    struct tks_member *member = session->member;
    if (tks_unlikely(!node_find(member->segment, session->plugin, name, &view->found)))
        return section_intact(member) ? tks_session_damage(session) : VIEW_AGAIN;
    if (tks_unlikely(!word_settled(member->segment, view->found.word))) {
        tks_settle_bucket(member, session->plugin, &view->found.place, view->found.word,
                          name->hash);
        return VIEW_AGAIN;
    }
    const uint64_t *entry = view->found.entry;
    if (!entry)
        return VIEW_ABSENT;
    view->node = load_relaxed(entry + NODE_VERSION);
    view->deadline = load_relaxed(entry + ENTRY_DEADLINE);
    return VIEW_PRESENT;
}

static const uint64_t *view_value(const struct view *view)
{
    return view->found.entry + entry_value_word(meta_key_len(view->found.meta));
}

/* Remember what the next read of this prepared key inside a tick may trust. */
static void remember(struct shm_key *key, const struct tks_session *session,
                     const struct view *view)
{
    key->base = view->found.place.base;
    key->head = view->found.place.head;
    key->word = view->found.word;
    key->node = granule_words(session->member->segment, head_granule(view->found.word));
    key->version = view->found.version;
    key->value = view_value(view);
    key->value_len = (uint32_t)meta_value_len(view->found.meta);
    key->has_deadline = view->deadline != 0;
    key->deadline = view->deadline;
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* 1: copied into reading; else a public status or VIEW_AGAIN. Inside an open section. */
static int read_once(struct shm_state *state, const struct tks_name *name, tks_key *prepared,
                     struct tks_reading *reading, uint64_t *expired)
{
    struct tks_session *session = &state->session;
    struct view view;
    int seen = look(session, name, &view);
    tks_point(POINT_READ_LOOKED);
    reading->version = 0;
    if (seen != VIEW_PRESENT) {
        reading->len = 0;
        return seen == VIEW_ABSENT && section_intact(session->member) ? VIEW_ABSENT
               : seen <= TKS_OK                                       ? seen
                                                                      : VIEW_AGAIN;
    }
    if (session_expired(session, view.deadline)) {
        *expired = view.node;
        reading->len = 0;
        if (!session_may_purge(session, view.deadline))
            *expired = 0;
        return section_intact(session->member) ? VIEW_ABSENT : VIEW_AGAIN;
    }
    reading->len = meta_value_len(view.found.meta);
    reading->type = (int)meta_type(view.found.meta);
    reading->version = entry_version(session->member->segment, view.found.entry, view.found.meta);
    bool fits = reading->peek || reading->len <= reading->cap;
    if (fits && !reading->peek)
        copy_from_shared(reading->buf, view_value(&view), reading->len);
    tks_point(POINT_READ_COPIED);
    if (!section_intact(session->member))
        return VIEW_AGAIN;
    if (prepared)
        remember(shm_key_of(prepared), session, &view);
    return fits ? VIEW_PRESENT : TKS_TOO_SMALL;
}

static int gave_up(const struct shm_state *state)
{
    return tks_fail(TKS_EVICTED, "expelled %d times from segment \"%s\"", SESSION_TRIES,
                    state->session.member->segment->name);
}

static int read_named(struct shm_state *state, const char *key, const struct tks_name *name,
                      tks_key *prepared, struct tks_reading *reading)
{
    struct tks_session *session = &state->session;
    reading->version = 0;
    for (int i = 0; i < SESSION_TRIES; i++) {
        uint64_t expired = 0;
        if (tks_unlikely(!session_begin(session)))
            continue;
        int status = read_once(state, name, prepared, reading, &expired);
        session_end(session);
        if (tks_likely(status == VIEW_PRESENT))
            return TKS_OK;
        if (status == VIEW_AGAIN)
            continue;
        if (expired)
            tks_purge(session, name, expired);
        if (status == TKS_TOO_SMALL)
            return expected_outcome(status);
        return status == VIEW_ABSENT ? absent(key, name) : status;
    }
    return gave_up(state);
}

int tks_shm_read(tks_state *base, const char *key, tks_key *prepared, struct tks_reading *reading)
{
    struct shm_state *state = shm_of(base);
    struct tks_name name;
    reading->len = 0;
    reading->version = 0;
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    int status = tks_shm_name(state, key, prepared, &name);
    return status ? status : read_named(state, key, &name, prepared, reading);
}

static __attribute__((noinline)) int get_slow(tks_state *base, const char *key, void *buf,
                                              size_t cap, size_t *len)
{
    struct tks_reading reading = {.buf = buf, .cap = cap};
    int status = tks_shm_read(base, key, NULL, &reading);
    if (len)
        *len = reading.len;
    return status;
}

/* The plain case, inside a tick, without the machinery of the others. */
int tks_shm_get(tks_state *base, const char *key, void *buf, size_t cap, size_t *len)
{
    struct shm_state *state = shm_of(base);
    const struct tks_session *session = &state->session;
    size_t value_len, key_len = key ? strlen(key) : 0;
    if (tks_unlikely(state->tick_serial == NO_SERIAL || key_len - 1 >= TKS_NAME_MAX))
        return get_slow(base, key, buf, cap, len);
    const struct tks_name name = make_name(key, key_len);
    const uint64_t *entry =
        node_find_plain(session->member->segment, session->plugin, &name, &value_len);
    if (tks_unlikely(!entry || value_len > cap))
        return get_slow(base, key, buf, cap, len);
    copy_from_shared(buf, entry + entry_value_word(name.len), value_len);
    if (tks_unlikely(!section_intact(session->member)))
        return get_slow(base, key, buf, cap, len);
    if (len)
        *len = value_len;
    return TKS_OK;
}

static __attribute__((noinline)) int get_k_slow(tks_state *base, tks_key *key, void *buf,
                                                size_t cap, size_t *len)
{
    struct tks_reading reading = {.buf = buf, .cap = cap};
    int status = tks_shm_read(base, NULL, key, &reading);
    if (len)
        *len = reading.len;
    return status;
}

/* Without asking a clock: the first look at a deadline in a tick goes the long way and does. */
static inline bool surely_alive(const struct tks_session *session, uint64_t deadline)
{
    return session->now_known && (int64_t)deadline > session->now_ms;
}

/*
 * Inside a tick, a key that did not change since its last look-up: the head still reads the same
 * word and the block it names has the same version, so it is the same use of the same block. The
 * version is that of the block the head *names*: the entry's own would not do for a vector, as a
 * vector that was freed and built again in place brings back the head's word while the dead entry's
 * bytes still hold the old version.
 */
int tks_shm_get_k(tks_state *base, tks_key *prepared, void *buf, size_t cap, size_t *len)
{
    const struct shm_state *state = shm_of(base);
    const struct shm_key *key = shm_key_of(prepared);
    const struct tks_session *session = &state->session;
    /* No key has the serial of a state outside a tick; one that never looked anything up has an
     * impossible base. */
    if (tks_unlikely(key->serial != state->tick_serial ||
                     load_acquire(&session->plugin->base) != key->base ||
                     load_acquire(key->head) != key->word ||
                     load_acquire(key->node + NODE_VERSION) != key->version ||
                     (key->has_deadline && !surely_alive(session, key->deadline)) ||
                     key->value_len > cap))
        return get_k_slow(base, prepared, buf, cap, len);
    size_t value_len = key->value_len;
    copy_from_shared(buf, key->value, value_len);
    if (tks_unlikely(!section_intact(session->member)))
        return get_k_slow(base, prepared, buf, cap, len);
    if (len)
        *len = value_len;
    return TKS_OK;
}

int tks_shm_has(tks_state *base, const char *key, tks_key *prepared)
{
    struct tks_reading reading = {.peek = true};
    int status = tks_shm_read(base, key, prepared, &reading);
    return status == TKS_OK ? 1 : status == TKS_NOT_FOUND ? 0 : status;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static uint64_t deadline_of(struct tks_session *session, const struct tks_writing *writing)
{
    if (writing->expiry == EXPIRY_NONE)
        return 0;
    if (writing->expiry == EXPIRY_TTL)
        return (uint64_t)add_clamped(session_now(session), writing->expiry_ms);
    int64_t deadline =
        sub_clamped(writing->expiry_ms, tks_segment_to_wall_ms(session->member->segment));
    return deadline > 0 ? (uint64_t)deadline : 1;
}

static enum tks_change change_of(enum tks_write_kind kind)
{
    switch (kind) {
    case WRITE_SET_IF:
        return CHANGE_SET_IF;
    case WRITE_ADD:
        return CHANGE_ADD;
    case WRITE_COPY:
        return CHANGE_COPY;
    case WRITE_DELETE:
        return CHANGE_DELETE;
    default:
        return CHANGE_SET;
    }
}

int tks_shm_write(tks_state *base, const char *key, tks_key *prepared, struct tks_writing *writing)
{
    struct shm_state *state = shm_of(base);
    struct tks_name name;
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    int status = tks_shm_name(state, key, prepared, &name);
    if (status)
        return status;
    struct tks_operation operation = {
        .change = change_of(writing->kind),
        .name = &name,
        .unchecked = key != NULL,
        .content = {writing->value, writing->len, writing->type, 0},
        .version = writing->version,
        .delta = writing->delta,
    };
    if (writing->expiry != EXPIRY_NONE)
        operation.content.deadline = deadline_of(&state->session, writing);
    /* A set without expiry comes from tks_shm_set(), which has tried. */
    if (writing->kind == WRITE_SET && writing->expiry != EXPIRY_NONE &&
        tks_overwrite(&state->session, &name, &operation.content)) {
        collect_if_due(state->session.member);
        return TKS_OK;
    }
    if (writing->kind == WRITE_COPY &&
        tks_version_keep(&state->session.member->segment->header->versions, writing->version))
        operation.keep = writing->version;
    status = tks_operate(&state->session, &operation);
    writing->result = operation.result;
    if (writing->kind == WRITE_COPY)
        writing->copied = operation.same   ? TKS_COPY_SAME
                          : operation.keep ? TKS_COPY_KEPT
                                           : TKS_COPY_RENEWED;
    return status == TKS_CONFLICT || status == TKS_TYPE ? expected_outcome(status) : status;
}

static __attribute__((noinline)) int set_slow(tks_state *base, const char *key, tks_key *prepared,
                                              const struct tks_content *content)
{
    struct tks_writing writing = {.kind = WRITE_SET,
                                  .type = content->type,
                                  .value = content->value,
                                  .len = content->value_len};
    return tks_shm_write(base, key, prepared, &writing);
}

/* The plain case without the machinery of the others. */
int tks_shm_set(tks_state *base, const char *key, tks_key *prepared, unsigned type,
                const void *value, size_t len)
{
    struct shm_state *state = shm_of(base);
    struct tks_name name;
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    int status = tks_shm_name(state, key, prepared, &name);
    if (status)
        return status;
    const struct tks_content content = {value, len, type, 0};
    if (tks_unlikely(!tks_overwrite(&state->session, &name, &content)))
        return set_slow(base, key, prepared, &content);
    collect_if_due(state->session.member);
    return TKS_OK;
}

/* ---- Ticks and borrows --------------------------------------------------------------------- */

int tks_shm_tick_begin(tks_state *base, const int64_t *now_ms)
{
    struct shm_state *state = shm_of(base);
    struct tks_session *session = &state->session;
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    if (session->in_tick)
        return tks_fail(TKS_INVALID, "a tick is open already: ticks are not nested");
    for (int i = 0; i < SESSION_TRIES; i++) {
        if (tks_unlikely(!section_enter(session->member)))
            continue;
        tks_point(POINT_TICK_BEGUN);
        session->in_tick = true;
        session->member->closed = SECTION_PAUSED;
        state->tick_serial = state->owner.serial;
        session->now_known = session->caller_clock = now_ms != NULL;
        session->now_ms = now_ms ? *now_ms : 0;
        return TKS_OK;
    }
    return gave_up(state);
}

int tks_shm_tick_end(tks_state *base)
{
    struct shm_state *state = shm_of(base);
    struct tks_session *session = &state->session;
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    if (!session->in_tick)
        return tks_fail(TKS_INVALID, "tks_tick_end without a tick");
    session->member->closed = SECTION_IDLE;
    section_leave(session->member);
    tks_point(POINT_TICK_LEFT);
    state->tick_serial = NO_SERIAL;
    session->in_tick = session->now_known = session->caller_clock = false;
    while (state->borrows)
        pin_store(session->member, (enum pin)(PIN_BORROW + --state->borrows), 0);
    tks_point(POINT_TICK_RETURNED);
    return TKS_OK;
}

/* VIEW_PRESENT: pinned; the entry was the key's at the fence, and stays. */
static int borrow_once(struct shm_state *state, const struct tks_name *name, struct view *view,
                       uint64_t *expired)
{
    struct tks_session *session = &state->session;
    struct tks_member *member = session->member;
    int seen = look(session, name, view);
    if (seen != VIEW_PRESENT)
        return seen == VIEW_ABSENT && !section_intact(member) ? VIEW_AGAIN : seen;
    if (session_expired(session, view->deadline)) {
        *expired = session_may_purge(session, view->deadline) ? view->node : 0;
        return section_intact(member) ? VIEW_ABSENT : VIEW_AGAIN;
    }
    enum pin pin = (enum pin)(PIN_BORROW + state->borrows);
    pin_store(member, pin, pin_word(view->found.granule, 0));
    tks_point(POINT_BORROW_PINNED);
    fence_full(); /* G, pairs with H in reclaim.c */
    if (load_acquire(&session->plugin->base) == view->found.place.base &&
        load_acquire(view->found.place.head) == view->found.word && section_intact(member))
        return VIEW_PRESENT;
    pin_store(member, pin, 0);
    tks_point(POINT_BORROW_AGAIN);
    return VIEW_AGAIN;
}

int tks_shm_borrow(tks_state *base, const char *key, tks_key *prepared, const void **value,
                   size_t *len)
{
    struct shm_state *state = shm_of(base);
    struct tks_session *session = &state->session;
    struct tks_name name;
    if (len)
        *len = 0;
    if (!tks_owner_usable(&state->owner))
        return tks_owner_guard(&state->owner);
    if (!value || !session->in_tick)
        return tks_fail(TKS_INVALID, value ? "tks_borrow outside a tick" : "value is NULL");
    *value = NULL;
    int status = tks_shm_name(state, key, prepared, &name);
    if (status)
        return status;
    if (state->borrows == TKS_BORROW_MAX)
        return tks_fail(TKS_BUSY, "%d values are borrowed in this tick already", TKS_BORROW_MAX);
    /* A crowd that overwrites the key makes us look again: lock-free, not wait-free. */
    for (int i = 0; i < SESSION_TRIES * 100; i++) {
        struct view view;
        uint64_t expired = 0;
        if (!session_begin(session))
            continue;
        status = borrow_once(state, &name, &view, &expired);
        if (status == VIEW_AGAIN)
            continue;
        if (expired)
            tks_purge(session, &name, expired);
        if (status != VIEW_PRESENT)
            return status == VIEW_ABSENT ? absent(key, &name) : status;
        tks_point(POINT_BORROWED);
        state->borrows++;
        *value = view_value(&view);
        if (len)
            *len = meta_value_len(view.found.meta);
        return TKS_OK;
    }
    return gave_up(state);
}
