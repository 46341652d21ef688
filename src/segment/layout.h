/* SPDX-License-Identifier: MIT */
/*
 * Every byte that processes share. Nothing outside this file knows a size, an offset or a bit.
 *
 *   header | registry | slots | slab descriptors | state table (sparse) | slabs (sparse)
 *
 * The segment holds offsets only, in granules of 64 bytes from its start. The one exception is the
 * list link that glibc keeps inside a held robust mutex (slot.mutex): it is written and followed by
 * the holder's own thread and by the kernel on its behalf, never by us.
 *
 * Words are 64 bits, naturally aligned, accessed through base/atomic.h.
 */
#ifndef TKS_SEGMENT_LAYOUT_H
#define TKS_SEGMENT_LAYOUT_H

#include "base/version.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LAYOUT_MAGIC 0x65746174736b6374ull /* "tckstate" read as little endian */
#define LAYOUT_VERSION 3u
#define LAYOUT_BYTE_ORDER 0x01020304u

#define GRANULE_BYTES 64u
#define CACHE_LINE 64u

/* TKS_TEST_TINY: a pool of few small slabs and a few buckets, where every interleaving that needs
 * reuse happens within a second. Same code, another fingerprint. */
#ifdef TKS_TEST_TINY
#define SLAB_BYTES 4096u
#define COMMIT_SLABS 1u
#define LEVEL0_BITS 2u
#define PIECE_BITS 4u
#define REGISTRY_BUCKETS 4u
#define SEGMENT_BYTES_MIN (128u << 10)
#define SLOTS_MIN 4u
#else
#define SLAB_BYTES 65536u
#define COMMIT_SLABS 4u
#define LEVEL0_BITS 9u
#define PIECE_BITS 10u
#define REGISTRY_BUCKETS 512u
#define SEGMENT_BYTES_MIN (1u << 20)
#define SLOTS_MIN 8u
#endif
#define SEGMENT_BYTES_MAX (512ull << 30)
#define SLOTS_MAX 4096u
/* Beyond slots=, for short visits (stats, check, sweep, export) and for the threads that write
 * checkpoints and feed the mirror: a full store can be looked at. */
#define VISITOR_SLOTS 4u
#define SLAB_GRANULES (SLAB_BYTES / GRANULE_BYTES)
/* One state word for every granule of a slab, so that the table does not move when a slab changes
 * its class: state words are type-stable, a process that was stopped for a year may still CAS one.
 */
#define SLAB_STATES SLAB_GRANULES

#define LEVEL0_HEADS (1u << LEVEL0_BITS)
#define PIECE_HEADS (1u << PIECE_BITS)
/* So many neighbouring heads share a mark, which follows the heads in the same block. */
#define MARK_BITS 4u
#define MARKS_FOR(heads) (((heads) + (1u << MARK_BITS) - 1) >> MARK_BITS)
/* With its marks a whole piece is a block of 8,704 bytes, seven to a slab. */
#define PIECE_BYTES ((PIECE_HEADS + MARKS_FOR(PIECE_HEADS)) * 8ull)
#define LEVELS 22u

/* ---- Block sizes --------------------------------------------------------------------------- */

/* Larger blocks are runs of whole slabs. */
#define BLOCK_SIZES(X)                                                                             \
    X(64) X(128) X(192) X(256) X(320) X(384) X(512) X(640) X(768) X(1024) X(1280) X(1536) X(2048)
#define BLOCK_SIZES_LARGE(X)                                                                       \
    X(2560)                                                                                        \
    X(3072) X(4096) X(5120) X(6144) X(8192) X(8704) X(10880) X(13056) X(16384) X(21824) X(32768)

enum {
#define BLOCK_CLASS(size) CLASS_##size,
    BLOCK_SIZES(BLOCK_CLASS)
#ifndef TKS_TEST_TINY
        BLOCK_SIZES_LARGE(BLOCK_CLASS)
#endif
#undef BLOCK_CLASS
            CLASS_COUNT,
    /* The reserve that lets delete work in a full store: a class of its own, of one slab. */
    CLASS_RESERVE = CLASS_COUNT,
    CLASS_END
};
#define RESERVE_BLOCK_BYTES 256u
#define BLOCK_BYTES_MAX (SLAB_BYTES / 2)

/* ---- Block state words --------------------------------------------------------------------- */

/* kind 2 | plain 1 | slot 13 | epoch 48. `plain`: the block has no node header (index pieces). */
enum block_kind { BLOCK_FREE = 0, BLOCK_ALLOCATED = 1, BLOCK_RETIRED = 2, BLOCK_TAKEN = 3 };

#define BLOCK_PLAIN 4ull
#define SLOT_BITS 13

static inline uint64_t block_state(enum block_kind kind, uint64_t plain, unsigned slot,
                                   uint64_t epoch)
{
    return (uint64_t)kind | plain | (uint64_t)slot << 3 | epoch << (3 + SLOT_BITS);
}
static inline enum block_kind block_kind(uint64_t state)
{
    return (enum block_kind)(state & 3);
}
static inline uint64_t block_plain(uint64_t state)
{
    return state & BLOCK_PLAIN;
}
static inline unsigned block_slot(uint64_t state)
{
    return (unsigned)(state >> 3) & ((1u << SLOT_BITS) - 1);
}
static inline uint64_t block_epoch(uint64_t state)
{
    return state >> (3 + SLOT_BITS);
}

/* ---- Slab descriptors ---------------------------------------------------------------------- */

/* kind 3 | class 6 | slot 13 | number 24: slabs of a run, or a body slab's head. */
enum slab_kind {
    SLAB_UNCOMMITTED = 0, /* no memory behind it yet */
    SLAB_EMPTY = 1,       /* committed, no class */
    SLAB_CLASSED = 2,     /* blocks of one class */
    SLAB_DRAINING = 3,    /* {class, slot}: slot takes every free block to make it EMPTY */
    SLAB_CLAIMED = 4,     /* {slot, number}: slot builds or takes apart a run */
    SLAB_RUN = 5,         /* {number of slabs}: first slab of a block larger than a slab */
    SLAB_BODY = 6         /* {index of the first slab} */
};

struct slab {
    uint64_t word;
    uint64_t has_free; /* hint: a block may be free */
};

static inline uint64_t slab_word(enum slab_kind kind, unsigned class, unsigned slot,
                                 uint64_t number)
{
    return (uint64_t)kind | (uint64_t) class << 3 | (uint64_t)slot << 9 | number << (9 + SLOT_BITS);
}
static inline enum slab_kind slab_kind(uint64_t word)
{
    return (enum slab_kind)(word & 7);
}
static inline unsigned slab_class(uint64_t word)
{
    return (unsigned)(word >> 3) & 63;
}
/** Whether blocks of slab_class() may be in use there: a drainer may find out late that one is. */
static inline bool slab_has_blocks(uint64_t word)
{
    return slab_kind(word) == SLAB_CLASSED || slab_kind(word) == SLAB_DRAINING;
}
static inline unsigned slab_slot(uint64_t word)
{
    return (unsigned)(word >> 9) & ((1u << SLOT_BITS) - 1);
}
static inline uint64_t slab_number(uint64_t word)
{
    return word >> (9 + SLOT_BITS) & 0xffffff;
}

/* ---- Index words: heads, vector members, links to earlier versions ------------------------- */

/*
 * kind 3 | frozen 1 | granule 34 | fingerprint 26     ENTRY, VECTOR
 * kind 3 | frozen 1 | stamp or tag 60                 EMPTY (settled: stamp), EMPTY_NEW (unique
 * tag)
 *
 * A link to an earlier version (node.prev) is an ENTRY or VECTOR word with the low bits of the
 * snapshot's stamp in place of the fingerprint, HEAD_EMPTY with those bits ("there was nothing"),
 * or 0 ("none was kept").
 */
enum head_kind {
    HEAD_UNUSED = 0, /* child bucket not set yet */
    HEAD_EMPTY = 1,
    HEAD_EMPTY_NEW = 2,
    HEAD_ENTRY = 3,
    HEAD_VECTOR = 4,
    HEAD_DONE = 5 /* moved to the two children on the next level */
};

#define HEAD_FROZEN 8ull
#define GRANULE_BITS 34
#define FINGERPRINT_BITS 26
#define FINGERPRINT_MASK ((1ull << FINGERPRINT_BITS) - 1)
#define STAMP_MASK ((1ull << 60) - 1)
#define FIRST_STAMP 1ull

static inline uint64_t head_word(enum head_kind kind, uint64_t granule, uint64_t fingerprint)
{
    return (uint64_t)kind | granule << 4 | fingerprint << (4 + GRANULE_BITS);
}
static inline uint64_t head_empty(enum head_kind kind, uint64_t stamp)
{
    return (uint64_t)kind | (stamp & STAMP_MASK) << 4;
}
static inline enum head_kind head_kind(uint64_t word)
{
    return (enum head_kind)(word & 7);
}
static inline bool head_names_block(uint64_t word)
{
    return head_kind(word) == HEAD_ENTRY || head_kind(word) == HEAD_VECTOR;
}
static inline uint64_t head_granule(uint64_t word)
{
    return word >> 4 & ((1ull << GRANULE_BITS) - 1);
}
static inline uint64_t head_fingerprint(uint64_t word)
{
    return word >> (4 + GRANULE_BITS);
}
static inline uint64_t head_stamp(uint64_t word)
{
    return word >> 4;
}

/* ---- Nodes: what a head names -------------------------------------------------------------- */

/*
 * All nodes: version, stamp, prev. The version is a unique id of this use of the block, stored last
 * when a node is built. The stamp is the snapshot era of its publication, 0 until settled.
 * Entry:  deadline, meta, key bytes + NUL, value at the next multiple of 16; in a copy the version
 *         that another store gave it, at the next multiple of 8. (It cannot be the node's: it is no
 *         id of this use of the block, as the same record may be copied again.)
 * Vector: count, then ENTRY words. A vector without members is the tombstone of a deleted bucket.
 */
enum {
    NODE_VERSION = 0,
    NODE_STAMP = 1,
    NODE_PREV = 2,
    ENTRY_DEADLINE = 3, /* store clock, ms; 0: never */
    ENTRY_META = 4,
    ENTRY_KEY = 5,
    VECTOR_COUNT = 3,
    VECTOR_MEMBERS = 4
};

#define ENTRY_COPY (1ull << 48) /* in meta */
#define VECTOR_MEMBERS_MAX 1024u

static inline uint64_t entry_meta(uint64_t value_len, unsigned type, size_t key_len)
{
    return value_len | (uint64_t)type << 32 | (uint64_t)key_len << 40;
}
static inline uint64_t meta_value_len(uint64_t meta)
{
    return meta & 0xffffffff;
}
static inline unsigned meta_type(uint64_t meta)
{
    return (unsigned)(meta >> 32) & 0xff;
}
static inline size_t meta_key_len(uint64_t meta)
{
    return (size_t)(meta >> 40) & 0xff;
}
static inline bool meta_is_copy(uint64_t meta)
{
    return meta & ENTRY_COPY;
}
static inline size_t entry_value_word(size_t key_len)
{
    return ((ENTRY_KEY * 8 + key_len + 1 + 15) & ~(size_t)15) / 8;
}
static inline size_t entry_bytes(size_t key_len, size_t value_len)
{
    return entry_value_word(key_len) * 8 + value_len;
}
/* Where a copy's version stands. */
static inline size_t entry_copy_word(size_t key_len, size_t value_len)
{
    return entry_value_word(key_len) + (value_len + 7) / 8;
}
static inline size_t vector_bytes(size_t count)
{
    return (VECTOR_MEMBERS + count) * 8;
}

/* ---- Plugins ------------------------------------------------------------------------------- */

/* A plugin's descriptor is never freed: level 0 of its index lives in it. */
struct plugin {
    uint64_t next; /* registry chain, granule; written before publication only */
    uint64_t hash;
    uint64_t name_len;
    uint64_t base; /* lowest level that is not wholly DONE */
    uint64_t pad0[4];
    uint64_t cursor;  /* level 8 | next group of parent heads 56 */
    uint64_t changed; /* no mark is larger */
    uint64_t pad1[6];
    /* granule of level k's only piece, or of its directory of pieces; level 0 is `heads` */
    uint64_t level[LEVELS];
    uint64_t pad2[2];
    char name[256];
    uint64_t heads[LEVEL0_HEADS];
    uint64_t marks[MARKS_FOR(LEVEL0_HEADS)];
};

/* ---- Slots --------------------------------------------------------------------------------- */

/* keeper: an open store; visitor: a short call such as stats */
enum slot_use { SLOT_UNUSED = 0, SLOT_KEEPER = 1, SLOT_STATE = 2, SLOT_VISITOR = 3 };

/* use 3 | states that died in the slot and were recovered 61. In one word, so that the store that
 * ends a recovery is the one that counts it: an heir's heir neither repeats nor forgets it. */
static inline uint64_t use_word(enum slot_use use, uint64_t recovered)
{
    return (uint64_t)use | recovered << 3;
}
static inline enum slot_use use_kind(uint64_t word)
{
    return (enum slot_use)(word & 7);
}
static inline uint64_t use_recovered(uint64_t word)
{
    return word >> 3;
}

/* section: 0 idle, epoch << 1 | 1 active, or one of these even words. Only an idle slot has no pins
 * that count. */
#define SECTION_IDLE 0ull
#define SECTION_EVICTED 2ull
#define SECTION_DEAD 4ull
#define SECTION_PAUSED 6ull /* closed for a moment in a tick, which may have borrowed */

/*
 * Words of a slot that name blocks or say what its owner was doing: pins and crash log in one.
 * PIN_NEW_… name blocks of the owner's that are not published yet, written before the block is
 * taken. The others name published blocks; only a PIN_VALIDATED one was surely protected.
 */
enum pin {
    PIN_PIECE = 0,      /* index piece of the head to be changed */
    PIN_BLOCK = 1,      /* what that head names */
    PIN_ENTRY = 2,      /* the vector's member to be replaced */
    PIN_NEW_ENTRY = 3,  /* built for publication */
    PIN_NEW_VECTOR = 4, /* built for publication */
    LOG_HASH = 5,       /* key hash these belong to */
    LOG_PLUGIN = 6,     /* plugin granule all logs belong to */
    LOG_SLAB = 7,       /* slab being drained, claimed or freed, + 1 */
    PIN_MOVE_PIECE = 8, /* growth: parent's piece, or the piece being retired */
    PIN_MOVE_BLOCK = 9, /* growth: the frozen block, or the directory being retired */
    PIN_MOVE_CHILD = 10,
    PIN_MOVE_CHILD_2 = 11,
    PIN_MOVE_NEW = 12, /* growth: vector, piece, directory or descriptor not published yet */
    LOG_MOVE_HASH = 13,
    LOG_PAD_1 = 14,
    LOG_PAD_2 = 15,
    PIN_BORROW = 16, /* 8 of them */
    SLOT_WORDS = 24
};

/* validated 1 | state index 11 | granule 34 */
#define PIN_VALIDATED 1ull

static inline uint64_t pin_word(uint64_t granule, unsigned index)
{
    return (uint64_t)index << 1 | granule << 12;
}
static inline uint64_t pin_granule(uint64_t pin)
{
    return pin >> 12;
}
static inline unsigned pin_index(uint64_t pin)
{
    return (unsigned)(pin >> 1) & 0x7ff;
}

struct slot {
    /* Owner writes, evictors CAS: alone on its line. */
    uint64_t section;
    uint64_t generation;
    uint64_t pad0[6];
    uint64_t words[SLOT_WORDS];
    /* Held by the owning thread for as long as it owns the slot. */
    union {
        pthread_mutex_t mutex;
        char mutex_room[48];
    };
    uint64_t use;       /* use_word(); only who holds the mutex writes it */
    uint64_t owner_pid; /* for people; proves nothing */
};

/* ---- Header -------------------------------------------------------------------------------- */

enum lifecycle { LIFE_LIVE = 1, LIFE_DESTROYING = 2, LIFE_DESTROYED = 3 };

static inline uint64_t life_word(enum lifecycle life, uint64_t token)
{
    return (uint64_t)life | token << 2;
}
static inline enum lifecycle life_of(uint64_t word)
{
    return (enum lifecycle)(word & 3);
}

/* phase 2 | slot 13 | epoch 25 | stamp 24: the low bits of when it began and of its stamp, which
 * are made whole from the header's epoch and era, as both only grow (snapshot_epoch_of(),
 * …_stamp_of()). */
enum snapshot_phase { SNAPSHOT_NONE = 0, SNAPSHOT_PENDING = 1, SNAPSHOT_ACTIVE = 2 };

#define SNAPSHOT_EPOCH_BITS 25
#define SNAPSHOT_STAMP_BITS 24
_Static_assert(2 + SLOT_BITS + SNAPSHOT_EPOCH_BITS + SNAPSHOT_STAMP_BITS == 64, "a whole word");
/* A snapshot that lasts this many epochs is given up, long before its low bits could repeat. */
#define SNAPSHOT_EPOCHS (1ull << (SNAPSHOT_EPOCH_BITS - 1))

static inline uint64_t snapshot_word(enum snapshot_phase phase, unsigned slot, uint64_t epoch,
                                     uint64_t stamp)
{
    return (uint64_t)phase | (uint64_t)slot << 2 |
           (epoch & ((1ull << SNAPSHOT_EPOCH_BITS) - 1)) << (2 + SLOT_BITS) |
           stamp << (64 - SNAPSHOT_STAMP_BITS);
}
static inline enum snapshot_phase snapshot_phase(uint64_t word)
{
    return (enum snapshot_phase)(word & 3);
}
static inline unsigned snapshot_slot(uint64_t word)
{
    return (unsigned)(word >> 2) & ((1u << SLOT_BITS) - 1);
}
/** The epoch in which the snapshot began, from the epoch @p now. */
static inline uint64_t snapshot_epoch_of(uint64_t word, uint64_t now)
{
    return now - ((now - (word >> (2 + SLOT_BITS))) & ((1ull << SNAPSHOT_EPOCH_BITS) - 1));
}
/** Its stamp, from the era @p now. */
static inline uint64_t snapshot_stamp_of(uint64_t word, uint64_t now)
{
    return now -
           ((now - (word >> (64 - SNAPSHOT_STAMP_BITS))) & ((1ull << SNAPSHOT_STAMP_BITS) - 1));
}

struct geometry {
    uint64_t size_bytes;
    uint64_t slots;
    uint64_t slabs;
    uint64_t slots_offset;
    uint64_t slab_table_offset;
    uint64_t state_table_offset;
    uint64_t slabs_offset;
};

struct header {
    /* Written before publication, never again. */
    uint64_t magic;
    uint32_t version;
    uint32_t byte_order;
    uint64_t fingerprint;
    struct geometry geometry;
    uint64_t identity[2];    /* random: tells this segment from one made later under its name */
    int64_t created_ms;      /* wall clock */
    int64_t clock_offset_ms; /* store clock = boot clock + this */
    uint64_t pad0[2];

    uint64_t lifecycle; /* kind 2 | token 62 */
    uint64_t pad1[7];

    uint64_t epoch; /* reclamation */
    uint64_t pad2[7];

    uint64_t era;      /* stamp of what is published now */
    uint64_t snapshot; /* snapshot_word() */
    uint64_t slot_high_water;
    uint64_t tombstones; /* made so far */
    uint64_t pad3[4];

    struct tks_versions versions;

    uint64_t evicted;
    uint64_t snapshot_beat; /* the snapshot's holder moves it on */
    uint64_t commit_hint;   /* first slab that may be uncommitted */
    uint64_t empty_hint;    /* first slab that may be empty */
    /* Blocks dropped from a full limbo or left by the dead: look for them in a pass over all slabs,
     * of which so many are left in the one under way. */
    uint64_t stray_retired;
    uint64_t stray_slabs_left;
    uint64_t huge; /* 1: what was committed last for somebody with huge=1 is huge pages */
    uint64_t pad5[1];

    /* Checkpoints: the lease of who writes them, tickets of who waits for one, what came of it. */
    uint64_t lease;        /* lease_word() */
    uint64_t lease_beat;   /* the holder moves it on */
    uint64_t flush_asked;  /* tickets given out */
    uint64_t flush_done;   /* tickets whose writes are on disk */
    uint64_t flush_failed; /* tickets that were told of a failure */
    uint64_t flush_calls;  /* event count of those who wait: futex on its low half */
    uint64_t flush_status; /* public status of the last failure, negated */
    uint64_t flushes;      /* cuts written */
    uint64_t flush_ms;     /* wall clock of the last cut */
    uint64_t flush_ns;     /* how long the last one took */
    uint64_t flush_errors;
    uint64_t file_bytes;
    uint64_t path_hash;   /* of the file that is written */
    uint64_t flush_stamp; /* of the snapshot of the last cut on disk */
    uint64_t restored_ms; /* wall clock of the cut this segment was made from, 0: none */
    uint64_t restored_entries;
    uint64_t restored_damaged; /* an intact cut was lost, or may have been */
    uint64_t pad6[7];
    char flush_text[256]; /* sentences for people: may be torn */
    char restored_text[256];

    /* The mirror: the lease of who feeds it, what came of it. */
    uint64_t mirror_lease; /* lease_word() */
    uint64_t mirror_beat;
    uint64_t mirror_stamp; /* of a snapshot that the database has, or what came later */
    uint64_t mirror_at_ms; /* store clock of that snapshot, or when nothing had changed since */
    uint64_t mirror_batches;
    uint64_t mirror_rows;
    uint64_t mirror_errors;
    uint64_t mirror_take;      /* 1: somebody said mirror_take=1, and it is not done yet */
    uint64_t restored_from[2]; /* identity of the segment whose checkpoint this one began with */
    uint64_t pad7[6];
    char mirror_text[256]; /* may be torn */

    uint64_t registry[REGISTRY_BUCKETS]; /* plugin chains, granules */
};

/* slot + 1 13 | generation 51; slot 0: nobody. */
static inline uint64_t lease_word(uint64_t generation, unsigned slot_and_1)
{
    return generation << SLOT_BITS | slot_and_1;
}
static inline uint64_t lease_generation(uint64_t word)
{
    return word >> SLOT_BITS;
}
static inline unsigned lease_slot_and_1(uint64_t word)
{
    return (unsigned)word & ((1u << SLOT_BITS) - 1);
}

#define VERSION_CHUNK 4096u

_Static_assert(sizeof(struct slot) == 64 + SLOT_WORDS * 8 + 64, "slot is whole cache lines");
_Static_assert(offsetof(struct slot, words) == 64, "pins start a line");
_Static_assert(sizeof(pthread_mutex_t) <= 48, "glibc mutex");
_Static_assert(offsetof(struct header, lifecycle) % 64 == 0, "line");
_Static_assert(offsetof(struct header, epoch) % 64 == 0, "line");
_Static_assert(offsetof(struct header, era) % 64 == 0, "line");
_Static_assert(offsetof(struct header, versions) % 64 == 0, "line");
_Static_assert(offsetof(struct header, lease) % 64 == 0, "line");
_Static_assert(offsetof(struct header, registry) % 64 == 0, "line");
_Static_assert(offsetof(struct plugin, cursor) == 64, "line");
_Static_assert(offsetof(struct plugin, level) == 128, "line");
_Static_assert(offsetof(struct plugin, heads) % 64 == 0, "line");
_Static_assert(offsetof(struct plugin, marks) ==
                   offsetof(struct plugin, heads) + LEVEL0_HEADS * sizeof(uint64_t),
               "marks follow heads");
_Static_assert(SLOTS_MAX + VISITOR_SLOTS < (1u << SLOT_BITS), "slot numbers fit");
_Static_assert(SLAB_STATES <= 1u << 11, "state index fits a pin");
_Static_assert(SEGMENT_BYTES_MAX / GRANULE_BYTES <= 1ull << GRANULE_BITS, "granules fit");

#endif
