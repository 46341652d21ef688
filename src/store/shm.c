/* SPDX-License-Identifier: MIT */
/* Opening, closing and removing: shm:// stores and their states. */
#include "store/shm.h"

#include "base/error.h"
#include "memory/block.h"
#include "recovery/recover.h"
#include "segment/slot.h"
#include "store/restore.h"
#include "table/registry.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define OPEN_TRIES 100
#define DEFAULT_BYTES (256ull << 20)
#define REGISTRY_TRIES 1000
#define DEFAULT_INTERVAL_MS 100

static struct shm_store *shm_store_of(tks_store *store)
{
    return (struct shm_store *)(void *)store;
}

/* ---- URI ----------------------------------------------------------------------------------- */

struct shm_uri {
    struct tks_segment_options segment;
    uint64_t sweep_ms;
    struct checkpoint_options checkpoint;
    bool passive; /* the checkpoint is read, not written */
};

static int bad_value(const char *name, const char *value)
{
    return tks_fail(TKS_INVALID, "URI parameter %s=%.60s is not valid", name, value);
}

static int parse_flag(const char *name, const char *value, bool *flag)
{
    if (strcmp(value, "0") && strcmp(value, "1"))
        return tks_fail(TKS_INVALID, "URI parameter %s=%.60s is not 0 or 1", name, value);
    *flag = value[0] == '1';
    return TKS_OK;
}

static int parse_group(const char *value, struct tks_segment_options *options)
{
    uint64_t number;
    options->has_group = true;
    if (!tks_parse_number(value, 10, UINT32_MAX - 1, &number)) {
        options->group = (gid_t)number;
        return TKS_OK;
    }
    char room[4096];
    struct group group, *found = NULL;
    if (getgrnam_r(value, &group, room, sizeof(room), &found) || !found)
        return tks_fail(TKS_INVALID, "URI parameter group=%.60s: there is no such group", value);
    options->group = found->gr_gid;
    return TKS_OK;
}

static int parse_mode(const char *value, mode_t *mode)
{
    uint64_t number;
    if (tks_parse_number(value, 8, 0777, &number))
        return bad_value("mode", value);
    if (number & 02)
        return tks_fail(TKS_INVALID, "URI parameter mode=%s: world-writable is refused", value);
    if ((number & 0600) != 0600)
        return tks_fail(TKS_INVALID,
                        "URI parameter mode=%s: the owner must be able to read and write", value);
    *mode = (mode_t)number;
    return TKS_OK;
}

static int parse_checkpoint(const char *value, char path[CHECKPOINT_PATH_ROOM])
{
    size_t len = strlen(value);
    if (value[0] != '/' || value[len - 1] == '/')
        return tks_fail(TKS_INVALID,
                        "URI parameter checkpoint=%.60s is not the full path of a file", value);
    if (len >= CHECKPOINT_PATH_ROOM)
        return tks_fail(TKS_INVALID, "URI parameter checkpoint=%.60s… is longer than %u bytes",
                        value, CHECKPOINT_PATH_ROOM - 1);
    memcpy(path, value, len + 1);
    return TKS_OK;
}

static int parse_cpu(const char *value, int *cpu)
{
    uint64_t number;
    if (tks_parse_number(value, 10, CPU_SETSIZE - 1, &number))
        return bad_value("snapshot_cpu", value);
    *cpu = (int)number;
    return TKS_OK;
}

static int parse_parameter(const char *name, const char *value, struct shm_uri *uri)
{
    struct tks_segment_options *options = &uri->segment;
    if (!strcmp(name, "size")) {
        if (tks_parse_size(value, &options->size_bytes) ||
            options->size_bytes < SEGMENT_BYTES_MIN || options->size_bytes > SEGMENT_BYTES_MAX)
            return tks_fail(TKS_INVALID, "URI parameter size=%.60s is not within 1M to 512G",
                            value);
        return TKS_OK;
    }
    if (!strcmp(name, "slots"))
        return tks_parse_number(value, 10, SLOTS_MAX, &options->slots) || options->slots < SLOTS_MIN
                   ? tks_fail(TKS_INVALID, "URI parameter slots=%.60s is not within %u to %u",
                              value, SLOTS_MIN, SLOTS_MAX)
                   : TKS_OK;
    if (!strcmp(name, "mode"))
        return parse_mode(value, &options->mode);
    if (!strcmp(name, "group"))
        return parse_group(value, options);
    if (!strcmp(name, "prefault"))
        return parse_flag(name, value, &options->prefault);
    if (!strcmp(name, "lock"))
        return parse_flag(name, value, &options->lock);
    if (!strcmp(name, "huge"))
        return parse_flag(name, value, &options->huge);
    if (!strcmp(name, "sweep_ms"))
        return tks_parse_number(value, 10, 86400000, &uri->sweep_ms) ? bad_value(name, value)
                                                                     : TKS_OK;
    if (!strcmp(name, "checkpoint"))
        return parse_checkpoint(value, uri->checkpoint.path);
    if (!strcmp(name, "interval_ms"))
        return tks_parse_number(value, 10, 86400000, &uri->checkpoint.interval_ms) ||
                       !uri->checkpoint.interval_ms
                   ? bad_value(name, value)
                   : TKS_OK;
    if (!strcmp(name, "snapshot_cpu"))
        return parse_cpu(value, &uri->checkpoint.cpu);
    if (!strcmp(name, "mirror"))
        return tks_fail(TKS_UNSUPPORTED, "URI parameter %s= is not supported by this version",
                        name);
    return tks_fail(TKS_INVALID, "unknown URI parameter \"%s\"", name);
}

static int parse_uri(const struct tks_uri *text, struct shm_uri *uri)
{
    memset(uri, 0, sizeof(*uri));
    struct tks_segment_options *options = &uri->segment;
    uri->checkpoint.interval_ms = DEFAULT_INTERVAL_MS;
    uri->checkpoint.cpu = NO_CPU;
    options->size_bytes = DEFAULT_BYTES;
    options->mode = 0600;
    if (!text->rest_len || text->rest_len > 200 || memchr(text->rest, '/', text->rest_len) ||
        text->rest[0] == '.')
        return tks_fail(TKS_INVALID, "\"%.*s\" is not a segment name (1 to 200 bytes, no '/')",
                        text->rest_len > 60 ? 60 : (int)text->rest_len, text->rest);
    memcpy(options->name, text->rest, text->rest_len);
    const char *cursor = text->query;
    char name[32], value[CHECKPOINT_PATH_ROOM + 1];
    for (;;) {
        int more = tks_uri_next(&cursor, name, sizeof(name), value, sizeof(value));
        if (more <= 0)
            return more;
        int status = parse_parameter(name, value, uri);
        if (status)
            return status;
    }
}

static int shm_uri_check(const struct tks_uri *text)
{
    struct shm_uri uri;
    return parse_uri(text, &uri);
}

/* ---- Attaching ----------------------------------------------------------------------------- */

/*
 * We hold a slot, so a destroyer that looks for the living from now on finds us. One that looked
 * before has not finished while the word says DESTROYING: put it back. TKS_NOT_FOUND: too late.
 */
static int insist_on_life(struct tks_segment *segment)
{
    fence_full(); /* K, pairs with L in destroy_attached(): slot taken, then word read */
    for (int i = 0; i < OPEN_TRIES; i++) {
        uint64_t word = load_ordered(&segment->header->lifecycle);
        tks_point(POINT_STORE_LIFE_SEEN);
        switch (life_of(word)) {
        case LIFE_LIVE:
            return TKS_OK;
        case LIFE_DESTROYED:
            return TKS_NOT_FOUND;
        case LIFE_DESTROYING:
            compare_and_swap(&segment->header->lifecycle, word, life_word(LIFE_LIVE, 0));
            tks_point(POINT_STORE_LIFE_RESTORED);
            break;
        default:
            return tks_fail(TKS_CORRUPT, "segment \"%s\": damaged life cycle", segment->name);
        }
    }
    return tks_fail(TKS_BUSY, "segment \"%s\" is being removed", segment->name);
}

static int lock_process(void)
{
    int status = tks_process_enter();
    if (!status)
        pthread_mutex_lock(&tks_process->lock);
    return status;
}

static void release_segment(struct tks_segment *segment)
{
    pthread_mutex_lock(&tks_process->lock);
    tks_segment_release(segment);
    pthread_mutex_unlock(&tks_process->lock);
}

static int open_segment(const struct tks_segment_options *options, struct tks_segment **segment)
{
    int status = lock_process();
    if (status)
        return status;
    status = tks_segment_open(options, segment);
    pthread_mutex_unlock(&tks_process->lock);
    return status;
}

/* Map; a segment that is made begins with its checkpoint. Each attempt but the last that may be
 * repeated moves restore's counters on, so they end. */
static int open_or_restore(const struct shm_uri *uri, struct tks_restore *restore,
                           struct tks_segment **segment)
{
    struct tks_segment_options options = uri->segment;
    if (restore->path[0]) {
        options.fill = tks_restore_fill;
        options.fill_arg = restore;
    }
    int status = open_segment(&options, segment);
    while (status && restore->again) {
        restore->thrift += status == TKS_NO_SPACE;
        restore->again = false;
        status = open_segment(&options, segment);
    }
    return status;
}

/* Map and attach; TKS_BUSY with a removed segment under the name is retried by the caller. */
static int attach(const struct shm_uri *uri, struct shm_store *store, bool *removed)
{
    struct checkpoint_options written = uri->checkpoint;
    if (uri->passive)
        written.path[0] = 0;
    *removed = false;
    struct tks_restore restore = {.path = uri->checkpoint.path};
    int status = open_or_restore(uri, &restore, &store->segment);
    if (status)
        return status;
    status = tks_keeper_start(store->segment, uri->sweep_ms, &written, &store->keeper);
    if (!status) {
        tks_point(POINT_STORE_KEPT);
        status = insist_on_life(store->segment);
        if (status)
            tks_keeper_stop(store->keeper);
        if (status == TKS_NOT_FOUND) {
            *removed = true;
            tks_point(POINT_STORE_REMOVED);
            tks_segment_unlink(store->segment);
        }
    }
    if (status)
        release_segment(store->segment);
    else
        tks_restore_tell(&restore);
    return status;
}

static int shm_store_open(const struct tks_uri *text, const struct tks_options *options,
                          tks_store **result)
{
    struct shm_uri uri;
    int status = parse_uri(text, &uri);
    if (status)
        return status;
    uri.segment.existing = options && options->flags & TKS_OPEN_EXISTING;
    uri.passive = options && options->flags & TKS_OPEN_PASSIVE;
    struct shm_store *store = calloc(1, sizeof(*store));
    if (!store)
        return tks_fail(TKS_NO_SPACE, "no memory to open segment \"%s\"", uri.segment.name);
    bool removed = true;
    for (int i = 0; removed && i < OPEN_TRIES; i++)
        status = attach(&uri, store, &removed);
    if (status) {
        free(store);
        return removed ? tks_fail(TKS_BUSY, "segment \"%s\" is removed again and again",
                                  uri.segment.name)
                       : status;
    }
    store->base.process_token = store->segment->process_token;
    store->references = 1;
    *result = &store->base;
    return TKS_OK;
}

static void unreference(struct shm_store *store)
{
    if (__atomic_sub_fetch(&store->references, 1, __ATOMIC_ACQ_REL))
        return;
    release_segment(store->segment);
    free(store);
}

static void shm_store_close(tks_store *base)
{
    struct shm_store *store = shm_store_of(base);
    tks_keeper_stop(store->keeper);
    tks_point(POINT_STORE_CLOSED);
    store->keeper = NULL;
    unreference(store);
}

/* ---- Removing ------------------------------------------------------------------------------ */

static bool others_alive(const struct tks_member *member)
{
    const struct tks_segment *segment = member->segment;
    for (uint64_t i = 0; i < segment->slot_count; i++)
        if (i != member->index && tks_slot_alive(&segment->slots[i]))
            return true;
    return false;
}

static int destroy_attached(struct tks_member *member)
{
    struct tks_segment *segment = member->segment;
    uint64_t *life = &segment->header->lifecycle;
    tks_point(POINT_DESTROY_JOINED);
    tks_recover_dead(member);
    uint64_t mine = life_word(LIFE_DESTROYING, member_new_version(member) & (UINT64_MAX >> 3));
    uint64_t word = load_ordered(life);
    tks_point(POINT_DESTROY_BEFORE);
    /* A word that another destroyer, who may be stopped, has left is taken over. */
    if (life_of(word) != LIFE_DESTROYED && !compare_and_swap(life, word, mine))
        return tks_fail(TKS_BUSY, "segment \"%s\" is in use", segment->name);
    if (life_of(word) != LIFE_DESTROYED) {
        tks_point(POINT_DESTROY_MARKED);
        fence_full(); /* L, pairs with K: word written, then slots read */
        bool alive = others_alive(member);
        tks_point(POINT_DESTROY_LOOKED);
        if (alive || !compare_and_swap(life, mine, life_word(LIFE_DESTROYED, 0))) {
            compare_and_swap(life, mine, life_word(LIFE_LIVE, 0));
            tks_point(POINT_DESTROY_REFUSED);
            return tks_fail(TKS_BUSY, "segment \"%s\" is in use by others", segment->name);
        }
    }
    tks_point(POINT_DESTROY_FINAL);
    return tks_segment_unlink(segment);
}

static int shm_store_destroy(const struct tks_uri *text)
{
    struct shm_uri uri;
    struct tks_segment *segment;
    struct tks_member *member;
    int status = parse_uri(text, &uri);
    if (status)
        return status;
    uri.segment.existing = true;
    uri.segment.prefault = uri.segment.lock = uri.segment.huge = false;
    status = open_segment(&uri.segment, &segment);
    if (status)
        return status;
    status = tks_member_join(segment, SLOT_VISITOR, &member);
    if (!status) {
        status = destroy_attached(member);
        tks_member_leave(member);
    }
    release_segment(segment);
    return status;
}

/* ---- States -------------------------------------------------------------------------------- */

/* Give the slot back; by the owning thread only. */
static void finish_state(void *memory)
{
    struct shm_state *state = memory;
    tks_member_leave(state->session.member);
    state->session.member = NULL;
    state->session.in_tick = false;
    state->tick_serial = NO_SERIAL;
    unreference(state->store);
}

/* The plugin's descriptor, made if need be. */
static int find_plugin(struct tks_member *member, const char *plugin, size_t len, uint64_t *granule)
{
    for (int i = 0; i < REGISTRY_TRIES; i++) {
        int status = tks_registry_find(member, plugin, len, true, granule);
        if (status != BLOCK_SLOW)
            return status;
        status = tks_block_refill(member, member->wanted, i > 8);
        if (status == TKS_NO_SPACE && i <= 8) {
            tks_recover_dead(member);
            status = tks_block_refill(member, member->wanted, true);
        }
        if (status == TKS_NO_SPACE)
            return tks_fail(TKS_NO_SPACE, "segment \"%s\" is full: no room for plugin \"%.*s\"",
                            member->segment->name, (int)len, plugin);
        if (status)
            return status;
    }
    return tks_fail(TKS_BUSY, "segment \"%s\": too many others take memory", member->segment->name);
}

static int shm_state_open(tks_store *base, const char *plugin, size_t len, tks_state **result)
{
    struct shm_store *store = shm_store_of(base);
    struct shm_state *state = tks_wiped_alloc(sizeof(*state));
    if (!state)
        return tks_fail(TKS_NO_SPACE, "no memory for a state");
    struct tks_session *session = &state->session;
    int status = tks_member_join(store->segment, SLOT_STATE, &session->member);
    if (!status) {
        tks_point(POINT_STATE_JOINED);
        tks_recover_dead(session->member);
        tks_point(POINT_STATE_RECOVERED);
        status = find_plugin(session->member, plugin, len, &session->plugin_granule);
        if (status)
            tks_member_leave(session->member);
    }
    if (status) {
        tks_wiped_free(state, sizeof(*state));
        return status;
    }
    session->plugin = tks_registry_plugin(store->segment, session->plugin_granule);
    tks_point(POINT_STATE_PLUGIN);
    state->base.backend = &tks_shm_backend;
    state->tick_serial = NO_SERIAL;
    state->store = store;
    __atomic_add_fetch(&store->references, 1, __ATOMIC_ACQ_REL);
    tks_owner_add(&state->owner, state, sizeof(*state), finish_state);
    *result = &state->base;
    return TKS_OK;
}

static void shm_state_close(tks_state *base)
{
    struct shm_state *state = (struct shm_state *)(void *)base;
    if (tks_owner_is_here(&state->owner)) {
        if (!state->owner.finished)
            tks_recover_dead(state->session.member);
        tks_point(POINT_STATE_CLOSES);
    }
    tks_owner_close(&state->owner);
    tks_point(POINT_STATE_CLOSED);
}

static int shm_checkpoint(tks_store *store)
{
    return tks_keeper_barrier(shm_store_of(store)->keeper);
}

const struct tks_backend tks_shm_backend = {
    .scheme = "shm",
    .uri_check = shm_uri_check,
    .store_open = shm_store_open,
    .store_close = shm_store_close,
    .store_destroy = shm_store_destroy,
    .store_stats = tks_shm_stats,
    .store_checkpoint = shm_checkpoint,
    .store_sweep = tks_shm_sweep,
    .store_check = tks_shm_check,
    .store_plugins = tks_shm_plugins,
    .store_export = tks_shm_export,
    .state_open = shm_state_open,
    .state_close = shm_state_close,
    .get = tks_shm_get,
    .get_k = tks_shm_get_k,
    .read = tks_shm_read,
    .has = tks_shm_has,
    .set = tks_shm_set,
    .write = tks_shm_write,
    .borrow = tks_shm_borrow,
    .keys = tks_shm_keys,
    .key_prepare = tks_shm_key_prepare,
    .tick_begin = tks_shm_tick_begin,
    .tick_end = tks_shm_tick_end,
};
