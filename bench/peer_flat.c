/* SPDX-License-Identifier: MIT */
/*
 * The limit: one thread's private table, with nothing that sharing costs.
 *
 * Open addressing with linear probing, at most half full; a slot is two neighbouring cache lines
 * with everything inline: the hash and the key in the first, the value in the second. A look-up of
 * a key that is there is XXH3, one compare of the hash, one of the key, one copy.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common.h"
#include "peer.h"

#define FLAT_KEY_MAX 47
/* Few keys in many slots collide seldom, and a mispredicted probe costs more than the slots. */
#define FLAT_SLOTS_MIN 256

struct flat_slot {
    uint64_t hash; /* 0: free */
    uint32_t value_len;
    uint32_t key_len;
    char key[FLAT_KEY_MAX + 1];
    unsigned char value[VALUE_LEN];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct flat_slot) == 128, "a slot is two cache lines");

struct flat {
    struct flat_slot *slots;
    uint64_t mask;
    uint64_t used;
};

static uint64_t flat_hash(const char *key, size_t len)
{
    return XXH3_64bits(key, len) | 1;
}

static void flat_allocate(struct flat *flat, uint64_t slots)
{
    size_t bytes = slots * sizeof(struct flat_slot);

    flat->slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (flat->slots == MAP_FAILED) {
        die("no memory for the flat table");
    }
    if (options.huge && madvise(flat->slots, bytes, MADV_HUGEPAGE) != 0) {
        die("no huge pages for the flat table");
    }
    flat->mask = slots - 1;
}

static void *flat_open(const struct peer_config *config)
{
    struct flat *flat = allocate(sizeof(*flat));
    uint64_t slots = FLAT_SLOTS_MIN;

    while (!config->grow && slots < config->keys * 2) {
        slots *= 2;
    }
    flat_allocate(flat, slots);
    return flat;
}

static void flat_close(void *handle)
{
    struct flat *flat = handle;

    munmap(flat->slots, (flat->mask + 1) * sizeof(struct flat_slot));
    free(flat);
}

/* The slot of the key, or the free slot where it belongs. */
static struct flat_slot *flat_find(const struct flat *flat, uint64_t hash, const char *key,
                                   size_t len)
{
    uint64_t at = hash >> 1 & flat->mask;

    for (;; at = (at + 1) & flat->mask) {
        struct flat_slot *slot = &flat->slots[at];
        if (slot->hash == 0) {
            return slot;
        }
        if (slot->hash == hash && slot->key_len == len && memcmp(slot->key, key, len) == 0) {
            return slot;
        }
    }
}

/* 16 bytes at a time, the last step overlapping: measured ahead of calling memcpy() by a tenth. */
static inline void flat_copy(unsigned char *to, const unsigned char *from, size_t len)
{
    if (len < 16) {
        memcpy(to, from, len);
        return;
    }
    for (size_t i = 0; i + 16 < len; i += 16) {
        memcpy(to + i, from + i, 16);
    }
    memcpy(to + len - 16, from + len - 16, 16);
}

static inline int flat_get_n(const struct flat *flat, const char *key, size_t key_len, void *buf,
                             size_t cap, size_t *len)
{
    const struct flat_slot *slot = flat_find(flat, flat_hash(key, key_len), key, key_len);

    if (slot->hash == 0 || slot->value_len > cap) {
        return -1;
    }
    flat_copy(buf, slot->value, slot->value_len);
    *len = slot->value_len;
    return 0;
}

static int flat_get(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    return flat_get_n(handle, key, strlen(key), buf, cap, len);
}

/* For a caller that knows the length: what counting it costs everybody here. */
static int flat_get_counted(void *handle, const char *key, void *buf, size_t cap, size_t *len)
{
    size_t key_len = KEY_LEN;

    __asm__("" : "+r"(key_len)); /* known to the caller, not to the compiler */
    return flat_get_n(handle, key, key_len, buf, cap, len);
}

static void flat_grow(struct flat *flat)
{
    struct flat old = *flat;

    flat_allocate(flat, (old.mask + 1) * 2);
    for (uint64_t i = 0; i <= old.mask; i++) {
        const struct flat_slot *slot = &old.slots[i];
        if (slot->hash != 0) {
            *flat_find(flat, slot->hash, slot->key, slot->key_len) = *slot;
        }
    }
    munmap(old.slots, (old.mask + 1) * sizeof(struct flat_slot));
}

static int flat_set(void *handle, const char *key, const void *value, size_t len)
{
    struct flat *flat = handle;
    size_t key_len = strlen(key);
    uint64_t hash = flat_hash(key, key_len);
    struct flat_slot *slot = flat_find(flat, hash, key, key_len);

    if (slot->hash == 0) {
        if (key_len > FLAT_KEY_MAX || len > VALUE_LEN) {
            return -1;
        }
        if ((flat->used + 1) * 2 > flat->mask + 1) {
            flat_grow(flat);
            slot = flat_find(flat, hash, key, key_len);
        }
        flat->used++;
        slot->hash = hash;
        slot->key_len = (uint32_t)key_len;
        memcpy(slot->key, key, key_len);
    }
    if (len > VALUE_LEN) {
        return -1;
    }
    memcpy(slot->value, value, len);
    slot->value_len = (uint32_t)len;
    return 0;
}

const struct peer peer_flat = {
    .name = "flat",
    .label = "private flat table",
    .open = flat_open,
    .close = flat_close,
    .get = flat_get,
    .get_counted = flat_get_counted,
    .set = flat_set,
    .tick_begin = peer_tick_nothing,
    .tick_end = peer_tick_nothing,
};
