/* SPDX-License-Identifier: MIT */
/* The bytes of a checkpoint file, as FORMAT.md describes them. Little-endian. */
#ifndef TKS_CHECKPOINT_FORMAT_H
#define TKS_CHECKPOINT_FORMAT_H

#include "base/hash.h"

#include <tickstate/tickstate.h>

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Structures are read and written as they lie in memory. */
#define FORMAT_HOST_CAN (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

#define FORMAT_VERSION 1u
#define FORMAT_FILE_MAGIC "\x89TKS\r\n\x1a\n"
#define FORMAT_MARK_MAGIC "TKSMARK\n"
#define FORMAT_BATCH_MAGIC 0x42534b54u /* "TKSB" */
#define FORMAT_SECTOR 512u
#define FORMAT_BATCHES (2 * FORMAT_SECTOR) /* where the first batch begins */
#ifdef TKS_TEST_TINY
#define FORMAT_BATCH_PAYLOAD ((size_t)512)
#else
#define FORMAT_BATCH_PAYLOAD ((size_t)1 << 20)
#endif

struct format_header {
    char magic[8];
    uint32_t version;
    uint32_t reader; /* the oldest version of a reader that understands the file */
    uint64_t uuid[2];
    uint64_t generation;
    int64_t created_ms;
    uint64_t first_version; /* 0: not known */
    uint8_t reserved[FORMAT_SECTOR - 64];
    uint64_t checksum; /* of what is before it; the salt of every other checksum in the file */
};
static_assert(sizeof(struct format_header) == FORMAT_SECTOR, "a sector");
static_assert(offsetof(struct format_header, checksum) == 504, "at the end");

/* Alone in its sector, because it is rewritten in place. */
struct format_mark {
    char magic[8];
    uint64_t synced; /* bytes of the file that an fsync has covered; the end of a cut */
    uint8_t reserved[FORMAT_SECTOR - 24];
    uint64_t checksum;
};
static_assert(sizeof(struct format_mark) == FORMAT_SECTOR, "a sector");

enum format_flag { BATCH_FIRST = 1, BATCH_COMMIT = 2, BATCH_FULL = 4 };
/* A reader ignores flags in the upper half and records from RECORD_OPTIONAL on that it does not
 * know. */
#define FORMAT_KNOWN_FLAGS ((uint32_t)(BATCH_FIRST | BATCH_COMMIT | BATCH_FULL))
#define FORMAT_CRITICAL_FLAGS 0xffffu

struct format_batch {
    uint32_t magic;
    uint32_t flags;
    uint64_t sequence; /* 1, 2, ... in the file */
    uint64_t cut;      /* 1 is the full image */
    uint32_t payload;  /* bytes that follow, a multiple of 8 */
    uint32_t records;
    uint64_t previous; /* checksum of the batch before, of the header for the first */
    uint64_t checksum;
};
static_assert(sizeof(struct format_batch) == 48, "packed");
static_assert(offsetof(struct format_batch, checksum) == 40, "last");

enum format_record {
    RECORD_PLUGIN = 1,
    RECORD_RANGE = 2,
    RECORD_ENTRY = 3,
    RECORD_COMMIT = 4,
    RECORD_OPTIONAL = 128
};

/* Followed by the name, a NUL byte, and zeros up to a multiple of 8. */
struct format_plugin {
    uint8_t type, zero;
    uint16_t name_len;
    uint32_t zero2;
};
static_assert(sizeof(struct format_plugin) == 8, "packed");

struct format_range {
    uint8_t type, zero[7];
    uint64_t first, last;
};
static_assert(sizeof(struct format_range) == 24, "packed");

/* Followed by the key, a NUL byte, zeros up to a multiple of 8, the value, zeros likewise. */
struct format_entry {
    uint8_t type, value_type;
    uint16_t key_len;
    uint32_t value_len;
    uint64_t version;
    int64_t expires_at;
};
static_assert(sizeof(struct format_entry) == 24, "packed");

struct format_commit {
    uint8_t type, zero[7];
    uint64_t highest_version;
    int64_t wall_ms;
    uint64_t entries; /* ENTRY records of the cut */
    uint64_t stamp;
};
static_assert(sizeof(struct format_commit) == 40, "packed");

/* Whatever has a type from RECORD_OPTIONAL on begins so. */
struct format_optional {
    uint8_t type, any[3];
    uint32_t bytes; /* with this head, a multiple of 8 */
};
static_assert(sizeof(struct format_optional) == 8, "packed");

static inline size_t format_pad(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

static inline size_t format_plugin_bytes(size_t name_len)
{
    return sizeof(struct format_plugin) + format_pad(name_len + 1);
}

static inline size_t format_entry_bytes(size_t key_len, size_t value_len)
{
    return sizeof(struct format_entry) + format_pad(key_len + 1) + format_pad(value_len);
}

static inline uint64_t format_header_checksum(const struct format_header *header)
{
    return XXH3_64bits(header, offsetof(struct format_header, checksum));
}

static inline uint64_t format_mark_checksum(const struct format_mark *mark, uint64_t salt)
{
    return XXH3_64bits_withSeed(mark, offsetof(struct format_mark, checksum), salt);
}

/* Salted with the file, so that no batch of another file fits, nor one inside a value. */
static inline uint64_t format_batch_checksum(const struct format_batch *batch, const void *payload,
                                             uint64_t salt)
{
    uint64_t seed = XXH3_64bits_withSeed(batch, offsetof(struct format_batch, checksum), salt);
    return XXH3_64bits_withSeed(payload, batch->payload, seed);
}

/** An aligned power of two of hashes; all of them (2^64) too. */
static inline bool format_range_valid(uint64_t first, uint64_t last)
{
    uint64_t mask = last - first;
    return first <= last && !(mask & (mask + 1)) && !(first & mask);
}

/** Whether an entry may stand in a file: name, value against type, version, expiry. */
bool tks_format_entry_valid(const struct tks_record *record);

#endif
