/* SPDX-License-Identifier: MIT */
/* What every bench program shares: options, timer, CPUs, keys, temporary names, percentiles. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* The work of the target table: 22-byte keys, 64-byte values. */
#define KEY_LEN 22
#define KEY_STRIDE 24
#define VALUE_LEN 64
#define VALUE_CAP 256

/* The value just read counts as used: without it a compiler drops the private table's copies. */
#define USE_VALUE(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

/* ---- Options ----------------------------------------------------------------------------- */

struct bench_options {
    unsigned rounds;
    bool quick;       /* a smoke run of seconds: its figures mean nothing */
    bool huge;        /* huge pages, for tickstate and the flat table */
    int cpu;          /* the measured thread */
    int other_cpu;    /* the second process of a contended run */
    const char *json; /* NULL: none */
    const char *csv;  /* NULL: none; appended to */
    const char *disk; /* where files go that must be on a disk */
    const char *only; /* NULL: every peer, else only those whose name contains it (and flat) */
};

extern struct bench_options options;

/** Parse the options, calibrate the timer, pin this thread, arrange the removal of temporaries. */
void bench_start(int argc, char **argv, const char *program, const char *question);

/** Write the JSON and CSV files; returns the program's exit status. */
int bench_finish(void);

const char *bench_program(void);

/** Print a message and end the program; what a bench cannot go on without. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

void *allocate(size_t size);

/* ---- Timer ------------------------------------------------------------------------------- */

/* x86-64: lfence;rdtsc, so that earlier loads have ended and no later one counts. Else: the
 * monotonic clock. The overhead of one stamp is measured at start and never subtracted. */
static inline uint64_t timer_now(void)
{
#if defined(__x86_64__)
    _mm_lfence();
    return __rdtsc();
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

double timer_ns(uint64_t ticks);
uint64_t timer_ticks(double ns);
double timer_overhead_ns(void);
const char *timer_name(void);
double seconds_now(void);

/* ---- CPUs -------------------------------------------------------------------------------- */

void pin_to(int cpu);

/* ---- Random, keys and values ------------------------------------------------------------- */

struct random_state {
    uint64_t word;
};

/** splitmix64: fast, and the same picks in every run. */
static inline uint64_t random_next(struct random_state *state)
{
    uint64_t word = state->word += 0x9e3779b97f4a7c15u;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

static inline uint64_t random_below(struct random_state *state, uint64_t limit)
{
    return (uint64_t)(((unsigned __int128)random_next(state) * limit) >> 64);
}

/** n keys, KEY_STRIDE apart, NUL-terminated, distinct for n up to 2^28, in no order. */
char *keys_make(uint64_t n);
void key_write(char key[KEY_STRIDE], uint64_t index);
/** The value that belongs to a key's index, so that a fill can be verified. */
void value_write(unsigned char value[VALUE_LEN], uint64_t index);

/* ---- Temporary names --------------------------------------------------------------------- */

/** A name for /dev/shm that nobody else uses: "bench-PID-COUNT-what". */
void temp_name(char *name, size_t size, const char *what);
/** Remove this /dev/shm file when the program ends, also by SIGINT, SIGTERM or SIGHUP. */
void temp_register(const char *name, const char *suffix);
/** Remove what was registered under this name now. */
void temp_remove_named(const char *name);
/** A folder on the disk (--disk), made when first asked for; it goes with all that is in it. */
const char *temp_folder(void);
/** Map a fresh, unnamed tmpfs file whose pages do not exist yet. */
void *temp_map(size_t size);
/** Bytes of memory that a /dev/shm file occupies. */
uint64_t temp_bytes(const char *name, const char *suffix);

/* ---- Blocks the scheduler left alone ------------------------------------------------------ */

struct block_guard {
    long preempted; /* ru_nivcsw of this thread at the begin */
    long faults;    /* ru_minflt + ru_majflt */
};

struct block_count {
    uint64_t kept;
    uint64_t dropped;
};

void block_begin(struct block_guard *guard);
/** True when the scheduler did not take the CPU since block_begin(). */
bool block_undisturbed(const struct block_guard *guard);
/** block_undisturbed(), counted. */
bool block_end(const struct block_guard *guard, struct block_count *count);

/* ---- Statistics -------------------------------------------------------------------------- */

/** Median; sorts in place. NAN when there is none. */
double median(double *values, size_t n);

struct percentiles {
    double p50, p99, p999, max; /* ns */
};

/** Percentiles of timer intervals; sorts in place. */
struct percentiles percentiles_of(uint32_t *samples, size_t n);

#endif
