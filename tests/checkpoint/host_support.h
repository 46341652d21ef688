/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the checkpoint's host share: a segment with its file, a look into the header, a
 * seam in the file operations of the host, and a crew of processes whose writes can be held
 * against a file.
 */
#ifndef TKS_HOST_SUPPORT_H
#define TKS_HOST_SUPPORT_H

#include "checkpoint/checkpoint.h"
#include "segment/segment.h"

#include <stdbool.h>
#include <sys/types.h>

#if defined(__SANITIZE_ADDRESS__)
#define HOST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOST_SANITIZED 1
#endif
#endif

/** Say why and end this process; @p format is printf's. A parent that jumps sets `die_jump`. */
__attribute__((noreturn, format(printf, 3, 4))) void die(const char *file, int line,
                                                         const char *format, ...);
extern void (*die_jump)(const char *why);
#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            die(__FILE__, __LINE__, "not so: %s; %s", #condition, tks_last_error());               \
    } while (0)
#define NEED_OK(call)                                                                              \
    do {                                                                                           \
        int need_status = (call);                                                                  \
        if (need_status)                                                                           \
            die(__FILE__, __LINE__, "%s: %s; %s", #call, tks_strerror(need_status),                \
                tks_last_error());                                                                 \
    } while (0)

double seconds(void);
uint64_t dice(uint64_t *state, uint64_t below);
void *shared_memory(size_t bytes);
void pause_us(unsigned us);

/* ---- A segment and its file ---------------------------------------------------------------- */

struct place {
    char name[64], folder[96], path[128], uri[400];
};

void place_make(struct place *place, const char *query);
/** Another segment of the same file. */
void place_beside(struct place *place, const struct place *other, const char *query);
/** Removes the segment and, with @p folder, everything in the folder. */
void place_drop(struct place *place, bool folder);
/** Files in the folder whose name contains @p part. */
unsigned place_files(const struct place *place, const char *part);
uint64_t place_file_bytes(const struct place *place);

tks_store *open_store(const struct place *place);
tks_state *open_state(tks_store *store, const char *plugin);
struct header *header_of_store(tks_store *store);
/** Process that holds the lease, 0: nobody. */
pid_t host_pid(tks_store *store);
/** Wait until @p pid is, or with 0: anybody but @p other is, host. False after a long while. */
bool await_host(tks_store *store, pid_t pid, pid_t other);

/** Load PATH. With what is being appended a load may fail for a moment; not twice. */
struct tks_loaded *load_file(const struct place *place);

/** The file has what the store has, to the version. Nobody writes; nothing expires. */
void need_same(tks_store *store, const struct place *place);

/* ---- The seam ------------------------------------------------------------------------------ */

enum { SEAM_OPEN = 1, SEAM_WRITE = 2, SEAM_SYNC = 4, SEAM_RENAME = 8, SEAM_OTHER = 16 };

struct seam {
    uint64_t points; /* file operations begun, and in the tiny build steps of snapshots */
    uint64_t stop_at, stop_again; /* 0: never */
    int signal;                   /* sent to ourselves there */
    int fail;                     /* -errno for operations of kinds in fail_kinds */
    unsigned fail_kinds;
    uint64_t failed, fail_limit; /* limit 0: none */
    unsigned settles; /* tiny build: stops itself at this settling of a stamp, 0: never */
    unsigned linger;  /* tiny build: one in so many waits between the era and the mark it raises */
};
extern struct seam seam; /* this process's */
extern const struct tks_file_ops __real_tks_file_system;

/* ---- The crew ------------------------------------------------------------------------------ */

/*
 * Writer w sets its keys to numbers that only grow; every seventh is a deletion. What it is going
 * to write is in `begun` before, and in `done` after the call returned. Now and then it writes
 * its key a, then b, the same number (b never without a), and c, what it read of its neighbour's a.
 */
#define CREW_MAX 5u
#define CREW_KEYS 2048u
#define CREW_PAIR CREW_KEYS

struct crew {
    uint32_t begun[CREW_MAX][CREW_KEYS + 1], done[CREW_MAX][CREW_KEYS + 1];
    uint64_t seed, written[CREW_MAX];
    uint32_t stop, keys; /* keys in use: grows */
    uint32_t pace;       /* changes between two pauses, 0: 32 */
};

struct crew_marks {
    uint32_t done[CREW_MAX][CREW_KEYS + 1];
};

/** Write for ever, or until crew->stop. */
void crew_write(struct crew *crew, tks_state *state, unsigned writer);
void crew_note(const struct crew *crew, struct crew_marks *marks);
/** The file holds all that was noted, and nothing that contradicts. */
void crew_check(const struct crew *crew, const struct crew_marks *marks, const struct place *place);

#endif
