/* SPDX-License-Identifier: MIT */
/* What the protocol tests share: reports, values that show damage, a watchdog, names. */
#ifndef TKS_PROTOCOL_SUPPORT_H
#define TKS_PROTOCOL_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <tickstate/tickstate.h>

#define EXIT_SKIPPED 77

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

/* ---- Options and reports ------------------------------------------------------------------- */

struct options {
    double budget; /* seconds for the whole program */
    uint64_t seed;
    const char *only; /* one test, NULL: all */
    long at;          /* sweeps: one position, -1: all */
    bool verbose;
    bool plant; /* sweeps: short operations only, the first failure is enough */
};

extern struct options options;

/** Read `--budget S --seed N --only NAME --at K --verbose --plant`. */
void options_read(int argc, char **argv, double budget);

/** Name the test that now runs; failures and hangs are reported under it. */
void test_begin(const char *name);

/** What it is doing, for a report of a hang or a failure. */
void test_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Count the test as failed, with a line of why. */
void test_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool test_failed(void);

/** Print the test's line, with @p detail (may be ""). */
void test_end(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** "N passed, N failed"; the exit status. */
int test_summary(void);

/* ---- Time and chance ----------------------------------------------------------------------- */

double seconds_now(void);

uint64_t scramble64(uint64_t x);

/** A small generator, one per user. */
struct chance {
    uint64_t state;
};

uint64_t chance_next(struct chance *chance);

static inline uint64_t chance_below(struct chance *chance, uint64_t limit)
{
    return chance_next(chance) % limit;
}

/** A step through @p count positions such that any number of them is spread evenly. */
size_t even_step(size_t count);

/**
 * Report a hang and end the program, its children too, unless called again within @p seconds. The
 * handler runs in the caller of the library that does not come back.
 */
void watchdog(unsigned seconds);

/** Children to be killed when the watchdog bites. */
void watchdog_child(pid_t pid);
void watchdog_child_gone(pid_t pid);

/* ---- Values -------------------------------------------------------------------------------- */

/*
 * A value is a number and filler that follows from number and key, so that a torn value, another
 * key's value and a value of another length are all seen. The lowest two bits of the number are
 * its size class.
 */
#define VALUE_ROOM 12288u

uint64_t value_number(uint64_t serial, unsigned size_class);
size_t value_len(uint64_t number);
void value_fill(void *buf, unsigned key, uint64_t number);

/** The number of a value, or ABSENT with @p why when it is damaged. */
uint64_t value_read(const void *buf, size_t len, unsigned key, char *why, size_t room);

/** A store name of this program's own, same in all its processes; no segment has it at first. */
const char *store_name(void);

/** The same for tests that make and remove one while they run. */
const char *second_store_name(void);

#endif
