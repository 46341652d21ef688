/* SPDX-License-Identifier: MIT */
#include "support.h"

#include "history.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct options options = {.at = -1};

static struct {
    unsigned passed, failed;
    const char *name;
    bool bad;
    char context[256];
} tests;

/* ---- Options and reports ------------------------------------------------------------------- */

void options_read(int argc, char **argv, double budget)
{
    options.budget = budget;
    options.seed = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (!strcmp(argv[i], "--verbose") || !strcmp(argv[i], "--plant")) {
            options.verbose |= argv[i][2] == 'v';
            options.plant |= argv[i][2] == 'p';
            continue;
        }
        if (!strcmp(argv[i], "--budget"))
            options.budget = atof(value);
        else if (!strcmp(argv[i], "--seed"))
            options.seed = strtoull(value, NULL, 10);
        else if (!strcmp(argv[i], "--only"))
            options.only = value;
        else if (!strcmp(argv[i], "--at"))
            options.at = atol(value);
        else {
            fprintf(stderr, "%s: --budget S --seed N --only NAME --at K --verbose --plant\n",
                    argv[0]);
            exit(2);
        }
        i++;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
}

void test_begin(const char *name)
{
    tests.name = name;
    tests.bad = false;
    tests.context[0] = 0;
}

void test_context(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tests.context, sizeof(tests.context), format, arguments);
    va_end(arguments);
}

void test_fail(const char *format, ...)
{
    va_list arguments;
    tests.bad = true;
    printf("[  FAILED  ] %s, %s: ", tests.name, tests.context);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

bool test_failed(void)
{
    return tests.bad;
}

void test_end(const char *format, ...)
{
    va_list arguments;
    tests.passed += !tests.bad;
    tests.failed += tests.bad;
    printf(tests.bad ? "[  FAILED  ] %s: " : "[       OK ] %s: ", tests.name);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

int test_summary(void)
{
    watchdog(0);
    shm_unlink(store_name());
    shm_unlink(second_store_name());
    printf("%u passed, %u failed\n", tests.passed, tests.failed);
    return tests.failed ? 1 : 0;
}

/* ---- Time and chance ----------------------------------------------------------------------- */

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

uint64_t scramble64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

uint64_t chance_next(struct chance *chance)
{
    return scramble64(chance->state++);
}

static size_t common_divisor(size_t a, size_t b)
{
    while (b) {
        size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

size_t even_step(size_t count)
{
    size_t step = (size_t)((double)count * 0.6180339887);
    while (step > 1 && common_divisor(step, count) != 1)
        step--;
    return step ? step : 1;
}

#define CHILDREN_MAX 64
static volatile pid_t children[CHILDREN_MAX];

static void replace_child(pid_t old, pid_t new)
{
    for (int i = 0; i < CHILDREN_MAX; i++) {
        if (children[i] == old) {
            children[i] = new;
            return;
        }
    }
}

void watchdog_child(pid_t pid)
{
    replace_child(0, pid);
}

void watchdog_child_gone(pid_t pid)
{
    replace_child(pid, 0);
}

/* Only what a signal handler may call; the texts were composed before. */
static void bite(int signal)
{
    static const char text[] = "[  FAILED  ] no progress: ";
    (void)signal;
    ssize_t written = write(1, text, sizeof(text) - 1);
    written += write(1, tests.name, strlen(tests.name));
    written += write(1, ", ", 2);
    written += write(1, tests.context, strlen(tests.context));
    written += write(1, "\n0 passed, 1 failed\n", 20);
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (children[i] > 0)
            kill(children[i], SIGKILL);
    shm_unlink(store_name());
    shm_unlink(second_store_name());
    _exit(written > 0 ? 1 : 2);
}

void watchdog(unsigned seconds)
{
    static bool ready;
    if (!ready) {
        struct sigaction action = {.sa_handler = bite};
        sigaction(SIGALRM, &action, NULL);
        ready = true;
    }
    const struct itimerval timer = {.it_value = {.tv_sec = (time_t)seconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* ---- Values -------------------------------------------------------------------------------- */

uint64_t value_number(uint64_t serial, unsigned size_class)
{
    return serial << 2 | (size_class & 3);
}

size_t value_len(uint64_t number)
{
    static const size_t lengths[] = {24, 61, 500, 9000};
    return lengths[number & 3];
}

void value_fill(void *buf, unsigned key, uint64_t number)
{
    size_t len = value_len(number);
    for (size_t i = 0; i * 8 < len; i++) {
        uint64_t word = i ? scramble64(number * 64 + key + i) : number;
        memcpy((char *)buf + i * 8, &word, len - i * 8 < 8 ? len - i * 8 : 8);
    }
}

uint64_t value_read(const void *buf, size_t len, unsigned key, char *why, size_t room)
{
    uint64_t number;
    if (len < sizeof(number)) {
        snprintf(why, room, "key %u has a value of %zu bytes", key, len);
        return ABSENT;
    }
    memcpy(&number, buf, sizeof(number));
    if (value_len(number) != len) {
        snprintf(why, room, "key %u: value %#llx has %zu bytes", key, (unsigned long long)number,
                 len);
        return ABSENT;
    }
    char expected[VALUE_ROOM];
    value_fill(expected, key, number);
    for (size_t i = 0; i < len; i++) {
        if (((const char *)buf)[i] == expected[i])
            continue;
        snprintf(why, room, "key %u: value %#llx is damaged at byte %zu of %zu", key,
                 (unsigned long long)number, i, len);
        return ABSENT;
    }
    return number;
}

const char *store_name(void)
{
    static char name[64];
    if (!name[0]) {
        snprintf(name, sizeof(name), "tks-protocol-%ld", (long)getpid());
        shm_unlink(name);    /* an earlier program's, perhaps of another layout */
        second_store_name(); /* children inherit both, and a signal handler must not compose one */
    }
    return name;
}

const char *second_store_name(void)
{
    static char name[64];
    if (!name[0])
        snprintf(name, sizeof(name), "tks-protocol-%ld-second", (long)getpid());
    return name;
}
