/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Entries between two looks at the clock, and the time between two drawings. */
#define LOOK_EVERY 64
#define DRAW_EVERY_MS 100
#define BAR_WIDTH 30

static volatile sig_atomic_t caught;
static bool drawn;

static void on_signal(int number)
{
    (void)number;
    caught = 1;
}

void catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_signal};

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void)
{
    return caught != 0;
}

static void draw_bar(uint64_t done, uint64_t total)
{
    char bar[BAR_WIDTH + 1];
    size_t filled = done < total ? (size_t)((double)done / (double)total * BAR_WIDTH) : BAR_WIDTH;

    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '=', filled);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "[%s] ", bar);
}

static void draw(const struct arguments *arguments, uint64_t done, uint64_t total)
{
    char number[2][GROUPED_MAX];

    fprintf(stderr, "\r\033[K%s: ", arguments->command->name);
    if (total > 0) {
        draw_bar(done, total);
        fprintf(stderr, "%3u %%  %s of %s entries", (unsigned)(100 * done / total),
                format_grouped(done, number[0]), format_grouped(total, number[1]));
    } else
        fprintf(stderr, "%s entries", format_grouped(done, number[0]));
    fflush(stderr);
    drawn = true;
}

void show_progress(const struct arguments *arguments, uint64_t done, uint64_t total)
{
    static int64_t next_ms;
    int64_t now_ms;

    if (done % LOOK_EVERY != 0 || !isatty(STDERR_FILENO))
        return;
    now_ms = monotonic_ns() / 1000000;
    /* Others may have added to what was counted. */
    if (next_ms != 0 && now_ms >= next_ms)
        draw(arguments, done, total != 0 && total < done ? done : total);
    if (next_ms == 0 || now_ms >= next_ms)
        next_ms = now_ms + DRAW_EVERY_MS;
}

void wipe_progress(void)
{
    if (drawn)
        fputs("\r\033[K", stderr);
    drawn = false;
}
