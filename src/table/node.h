/* SPDX-License-Identifier: MIT */
/*
 * Nodes: building entries and vectors, and finding a key from a head.
 *
 * Builders store the version last (release E), finders load it first (acquire F): whoever reads a
 * version and later, under protection, finds the node linked with that same version, has read the
 * content of that version. So a writer may look a key up before its section is open, and its one
 * fence covers pins and section together.
 */
#ifndef TKS_TABLE_NODE_H
#define TKS_TABLE_NODE_H

#include "base/hash.h"
#include "table/index.h"

#include <tickstate/tickstate.h>

/** A key as operations carry it. */
struct tks_name {
    const char *bytes;
    size_t len;
    uint64_t hash;
};

struct tks_found {
    struct tks_place place;
    uint64_t word;    /* the head, as loaded */
    uint64_t version; /* of the node the head names */
    uint64_t *entry;  /* NULL: the key is not there */
    uint64_t granule; /* of the entry */
    uint64_t meta;
    uint64_t members; /* of the vector, 0 when the head is no vector */
    uint64_t member;  /* the entry's place in it */
};

static inline uint64_t fingerprint_of(uint64_t hash)
{
    return hash & FINGERPRINT_MASK;
}

static inline struct tks_name make_name(const char *bytes, size_t len)
{
    return (struct tks_name){bytes, len, hash_of(bytes, len)};
}

/** Whether the entry's key bytes are the name; its length was compared before. */
static inline bool entry_has_key(const uint64_t *entry, const struct tks_name *name)
{
    return same_as_shared(entry + ENTRY_KEY, name->bytes, name->len);
}

/* If the entry that @p word names is the name's, note it in *found. */
static inline bool match_entry(const struct tks_segment *segment, uint64_t word,
                               const struct tks_name *name, struct tks_found *found)
{
    uint64_t granule = head_granule(word);
    if (tks_unlikely(!granule_in_range(segment, granule, GRANULE_BYTES)))
        return false;
    uint64_t *entry = granule_words(segment, granule);
    uint64_t meta = load_relaxed(entry + ENTRY_META);
    if (meta_key_len(meta) != name->len ||
        tks_unlikely(
            !granule_in_range(segment, granule, entry_bytes(name->len, meta_value_len(meta)))) ||
        !entry_has_key(entry, name))
        return false;
    found->entry = entry;
    found->granule = granule;
    found->meta = meta;
    return true;
}

static inline bool find_in_vector(const struct tks_segment *segment, const struct tks_name *name,
                                  struct tks_found *found)
{
    uint64_t granule = head_granule(found->word);
    if (tks_unlikely(!granule_in_range(segment, granule, GRANULE_BYTES)))
        return false;
    const uint64_t *vector = granule_words(segment, granule);
    found->version = load_acquire(vector + NODE_VERSION); /* F, pairs with E */
    uint64_t count = load_relaxed(vector + VECTOR_COUNT);
    if (tks_unlikely(count > VECTOR_MEMBERS_MAX ||
                     !granule_in_range(segment, granule, vector_bytes(count))))
        return false;
    found->members = count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t word = load_relaxed(vector + VECTOR_MEMBERS + i);
        if (head_fingerprint(word) == fingerprint_of(name->hash) &&
            match_entry(segment, word, name, found)) {
            found->member = i;
            break;
        }
    }
    return true;
}

/**
 * Look the name up. False: an impossible word or offset, which is damage if the section is still
 * intact. found->entry is NULL when the key is absent. Nothing found may be used before
 * section_intact(), or before the caller has validated what it pinned.
 */
static inline bool node_find(const struct tks_segment *segment, struct plugin *plugin,
                             const struct tks_name *name, struct tks_found *found)
{
    found->entry = NULL;
    found->members = 0;
    found->version = 0;
    if (tks_unlikely(!index_find(segment, plugin, name->hash, &found->place, &found->word)))
        return false;
    uint64_t word = found->word;
    if (tks_likely(head_kind(word) == HEAD_ENTRY)) {
        uint64_t granule = head_granule(word);
        if (tks_unlikely(!granule_in_range(segment, granule, GRANULE_BYTES)))
            return false;
        found->version = load_acquire(granule_words(segment, granule) + NODE_VERSION); /* F */
        if (head_fingerprint(word) == fingerprint_of(name->hash))
            match_entry(segment, word, name, found);
        return true;
    }
    if (head_kind(word) == HEAD_VECTOR)
        return find_in_vector(segment, name, found);
    return head_kind(word) == HEAD_EMPTY || head_kind(word) == HEAD_EMPTY_NEW;
}

/* The word of a settled vector's member with the fingerprint, 0: ask node_find(). */
static inline uint64_t plain_member(const struct tks_segment *segment, uint64_t word,
                                    uint64_t fingerprint)
{
    uint64_t granule = head_granule(word);
    if (tks_unlikely(!granule_in_range(segment, granule, GRANULE_BYTES)))
        return 0;
    const uint64_t *vector = granule_words(segment, granule);
    uint64_t count = load_relaxed(vector + VECTOR_COUNT);
    if (tks_unlikely(!load_acquire(vector + NODE_STAMP) || count > VECTOR_MEMBERS_MAX ||
                     !granule_in_range(segment, granule, vector_bytes(count))))
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t member = load_relaxed(vector + VECTOR_MEMBERS + i);
        if (head_fingerprint(member) == fingerprint)
            return member;
    }
    return 0;
}

/**
 * The common case of node_find() with little around it: the bucket is not just being moved, what it
 * holds is settled and without a deadline. NULL: not that, ask node_find().
 */
static inline const uint64_t *node_find_plain(const struct tks_segment *segment,
                                              struct plugin *plugin, const struct tks_name *name,
                                              size_t *value_len)
{
    const uint64_t granule_mask = ((1ull << GRANULE_BITS) - 1) << 4;
    const uint64_t fingerprint = fingerprint_of(name->hash);
    uint64_t piece, level = load_acquire(&plugin->base);
    const uint64_t *head = head_on_level(segment, plugin, (unsigned)level, name->hash, &piece);
    if (tks_unlikely(!head))
        return NULL;
    uint64_t word = load_acquire(head);
    /* A table that stopped growing half-way is read for as long as nobody writes to it. */
    if (tks_unlikely(head_kind(word) == HEAD_DONE)) {
        head = head_on_level(segment, plugin, (unsigned)level + 1, name->hash, &piece);
        if (!head)
            return NULL;
        word = load_acquire(head);
    }
    bool in_vector = head_kind(word) == HEAD_VECTOR && !(word & HEAD_FROZEN);
    if (in_vector)
        word = plain_member(segment, word, fingerprint);
    if (tks_unlikely((word & ~granule_mask) != head_word(HEAD_ENTRY, 0, fingerprint)))
        return NULL;
    uint64_t granule = head_granule(word);
    if (tks_unlikely(granule - segment->first_granule >=
                     segment->end_granule - segment->first_granule))
        return NULL;
    const uint64_t *entry = granule_words(segment, granule);
    __builtin_prefetch(entry + 8);
    uint64_t meta = load_relaxed(entry + ENTRY_META);
    const char *end = (const char *)(entry + entry_value_word(name->len)) + meta_value_len(meta);
    *value_len = meta_value_len(meta);
    if (tks_unlikely(meta_key_len(meta) != name->len || load_relaxed(entry + ENTRY_DEADLINE) ||
                     end > segment->end || (!in_vector && !load_acquire(entry + NODE_STAMP))) ||
        !entry_has_key(entry, name))
        return NULL;
    return entry;
}

/* Out of line, so that what reads versions stays small. */
static __attribute__((cold, noinline, unused)) uint64_t
copy_version(const struct tks_segment *segment, const uint64_t *entry, uint64_t meta)
{
    const uint64_t *word = entry + entry_copy_word(meta_key_len(meta), meta_value_len(meta));
    return (const char *)(word + 1) <= segment->end ? load_relaxed(word) : 0;
}

/** The version that callers know the entry by. */
static inline uint64_t entry_version(const struct tks_segment *segment, const uint64_t *entry,
                                     uint64_t meta)
{
    return tks_likely(!meta_is_copy(meta)) ? load_relaxed(entry + NODE_VERSION)
                                           : copy_version(segment, entry, meta);
}

/** Copy an entry's key with a NUL; its length, 0 when the entry is out of range. */
static inline size_t node_copy_key(const struct tks_segment *segment, uint64_t granule,
                                   char name[TKS_NAME_MAX + 1])
{
    name[0] = 0;
    if (!granule_in_range(segment, granule, GRANULE_BYTES))
        return 0;
    const uint64_t *entry = granule_words(segment, granule);
    size_t len = meta_key_len(load_relaxed(entry + ENTRY_META));
    if (!granule_in_range(segment, granule, entry_bytes(len, 0)))
        return 0;
    copy_from_shared(name, entry + ENTRY_KEY, len);
    name[len] = 0;
    return len;
}

/** What an entry is built from. */
struct tks_content {
    const void *value;
    size_t value_len;
    unsigned type;
    uint64_t deadline; /* store clock, ms; 0: never */
};

/** Write everything but stamp, link and version: what does not depend on what is replaced. */
static inline void node_build_entry(uint64_t *entry, const struct tks_name *name,
                                    const struct tks_content *content)
{
    store_relaxed(entry + ENTRY_DEADLINE, content->deadline);
    store_relaxed(entry + ENTRY_META, entry_meta(content->value_len, content->type, name->len));
    copy_to_shared(entry + ENTRY_KEY, name->bytes, name->len & ~(size_t)7);
    /* The last word holds at least the NUL. */
    store_relaxed(entry + ENTRY_KEY + name->len / 8, last_word(name->bytes, name->len));
    copy_to_shared(entry + entry_value_word(name->len), content->value, content->value_len);
}

/** Make a copy of a built entry: with a version that another store gave it. */
static inline void node_build_copy(uint64_t *entry, uint64_t version)
{
    uint64_t meta = load_relaxed(entry + ENTRY_META);
    store_relaxed(entry + ENTRY_META, meta | ENTRY_COPY);
    store_relaxed(entry + entry_copy_word(meta_key_len(meta), meta_value_len(meta)), version);
}

/** Make a plain entry of it again. */
static inline void node_unbuild_copy(uint64_t *entry)
{
    store_relaxed(entry + ENTRY_META, load_relaxed(entry + ENTRY_META) & ~ENTRY_COPY);
}

/** Make a built node ready for publication: a version of its own, unsettled, its link. */
static inline void node_finish(struct tks_member *member, uint64_t *node, uint64_t stamp,
                               uint64_t link)
{
    store_relaxed(node + NODE_STAMP, stamp);
    store_relaxed(node + NODE_PREV, link);
    store_release(node + NODE_VERSION, member_new_version(member)); /* E, pairs with F */
}

static inline void node_build_vector(struct tks_member *member, uint64_t *vector, uint64_t stamp,
                                     uint64_t link, const uint64_t *members, uint64_t count)
{
    store_relaxed(vector + VECTOR_COUNT, count);
    for (uint64_t i = 0; i < count; i++)
        store_relaxed(vector + VECTOR_MEMBERS + i, members[i]);
    node_finish(member, vector, stamp, link);
}

#endif
