/* SPDX-License-Identifier: MIT */
/*
 * --report DIR: report.md, report.json, latency.csv, and latency.svg where gnuplot is installed.
 * gnuplot runs inside DIR on a script that is left there too, so that the picture can be redrawn.
 */
#include "replay/run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#define CSV_NAME "latency.csv"
#define SVG_NAME "latency.svg"
#define SCRIPT_NAME "latency.gnuplot"

typedef void file_writer(const struct replay *replay, FILE *file);

static int complain_path(const struct replay *replay, const char *name)
{
    complain(replay->arguments, "%s/%s: %s", replay->arguments->report_dir, name, strerror(errno));
    return CLI_FAILED;
}

static int write_file(const struct replay *replay, int dir, const char *name, file_writer *write)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool failed;

    if (!file) {
        if (fd >= 0)
            close(fd);
        return complain_path(replay, name);
    }
    write(replay, file);
    failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return complain_path(replay, name);
    return CLI_OK;
}

/* ---- Data -------------------------------------------------------------------------------- */

static void write_csv(const struct replay *replay, FILE *file)
{
    fprintf(file, "plugin,from_ns,to_ns,ticks,share_not_above\n");
    for (int i = 0; i < replay->control->plugins; i++) {
        const struct histogram *latency = &replay->control->slots[i].latency;
        uint64_t sum = 0;

        for (int b = 0; b < HISTOGRAM_BUCKETS; b++) {
            if (latency->buckets[b] == 0)
                continue;
            sum += latency->buckets[b];
            fprintf(file, "%d,%llu,%llu,%llu,%.9f\n", i + 1,
                    (unsigned long long)histogram_bucket_min(b),
                    (unsigned long long)histogram_bucket_max(b),
                    (unsigned long long)latency->buckets[b], (double)sum / (double)latency->count);
        }
    }
}

static void write_json(const struct replay *replay, FILE *file)
{
    json_t *json = replay_json(replay);

    /* What is missing here shows as a write error to the caller. */
    if (json)
        json_dumpf(json, file, JSON_INDENT(2));
    fputc('\n', file);
    json_decref(json);
}

static void write_markdown_verdict(const struct replay *replay, FILE *file)
{
    const struct replay_kill *kill = &replay->kill;
    const struct replay_reboot *reboot = &replay->reboot;

    if (kill->at != 0)
        fprintf(
            file,
            "- %s was killed (SIGKILL) after tick %llu. Its state in the store held %llu ticks; "
            "started again it went on from %llu: **%s**.\n",
            replay->plugins[0].name, (unsigned long long)kill->at,
            (unsigned long long)kill->kept.ticks, (unsigned long long)kill->resumed_at,
            kill->right ? "right" : "wrong");
    if (reboot->done)
        fprintf(file,
                "- The segment was removed and opened again from its checkpoint: %llu records "
                "before, %llu after, %llu of them the same: **%s**.\n",
                (unsigned long long)reboot->before, (unsigned long long)reboot->after,
                (unsigned long long)replay_came_back(reboot), reboot->right ? "right" : "wrong");
    fprintf(file, "- Leaked blocks: %llu.\n- Everything that was to be proven: **%s**.\n",
            (unsigned long long)replay->audit.leaked_blocks, replay->right ? "right" : "wrong");
}

static void write_markdown(const struct replay *replay, FILE *file)
{
    char number[GROUPED_MAX], elapsed[DURATION_MAX];

    fprintf(file,
            "# tickstate replay\n\n%s ticks to each of %d plugin processes on %d CPUs in %s.\n\n",
            format_grouped(replay->ticks, number), replay->control->plugins, replay->cpus,
            format_duration((uint64_t)replay->elapsed_ns, elapsed));
    fprintf(file, "```\n");
    replay_write_tables(replay, file);
    fprintf(file,
            "```\n\n"
            "Latency: from before `tks_tick_begin_at` to after `tks_tick_end` (3 reads, the\n"
            "decision, 1 to 5 writes) by CLOCK_MONOTONIC; the timer's own %llu ns are included.\n"
            "Preempted: how often the scheduler took the CPU away, which is what the highest\n"
            "percentiles show when processes share cores. `" CSV_NAME
            "` has the distributions.\n\n",
            (unsigned long long)replay->timer_ns);
    write_markdown_verdict(replay, file);
}

static void write_picture_line(const struct replay *replay, FILE *file)
{
    (void)replay;
    fprintf(file, "\n![Latency by percentile](" SVG_NAME ")\n");
}

static void write_markdown_with_picture(const struct replay *replay, FILE *file)
{
    write_markdown(replay, file);
    write_picture_line(replay, file);
}

/* ---- Picture ----------------------------------------------------------------------------- */

static void write_curves(const struct replay *replay, FILE *file)
{
    /* Legible for the colour-blind, and on white (Okabe and Ito). */
    static const char *const colours[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                          "#E69F00", "#56B4E9", "#000000", "#999999"};

    fprintf(file, "plot ");
    for (int i = 0; i < replay->control->plugins; i++)
        fprintf(file,
                "%s\\\n  '" CSV_NAME "' skip 1 using ($1 == %d ? 1 / (1 - $5 + tail) : NaN):3 "
                "with lines lw 2 lc rgb '%s' title '%d: %s'",
                i ? ", " : "", i + 1, colours[(size_t)i % (sizeof(colours) / sizeof(*colours))],
                i + 1, replay->plugins[i].instrument);
    fprintf(file, "\n");
}

static void write_script(const struct replay *replay, FILE *file)
{
    char ticks[GROUPED_MAX];

    fprintf(file,
            "set terminal svg size 960,600 enhanced font 'sans-serif,14' background '#ffffff'\n"
            "set output '" SVG_NAME "'\n"
            "set encoding utf8\n"
            "set datafile separator ','\n"
            "set title \"Latency of one tick: state read, decision, state written\\n"
            "{/*0.8 %s ticks to each of %d processes, timer included}\"\n",
            format_grouped(replay->ticks, ticks), replay->control->plugins);
    fprintf(file,
            "# The last tick of a stream has no tail behind it: it stands at its own share.\n"
            "tail = %.12f\n",
            0.5 / (double)replay->ticks);
    fprintf(file,
            "set logscale xy\n"
            "set xlabel 'share of ticks that were not slower'\n"
            "set ylabel 'latency'\n"
            "set xrange [1:%.0f]\n"
            "set xtics ('50 %%%%' 2, '90 %%%%' 10, '99 %%%%' 100, '99.9 %%%%' 1e3, "
            "'99.99 %%%%' 1e4, "
            "'99.999 %%%%' 1e5, '99.9999 %%%%' 1e6)\n"
            "set ytics ('100 ns' 100, '1 µs' 1e3, '10 µs' 1e4, '100 µs' 1e5, '1 ms' 1e6, "
            "'10 ms' 1e7, '100 ms' 1e8, '1 s' 1e9)\n"
            "set mytics 10\n"
            "set grid xtics ytics mytics lt 1 lc rgb '#d0d0d0' lw 1, lt 1 lc rgb '#ececec' lw 0.5\n"
            "set border 3 lc rgb '#606060'\n"
            "set tics nomirror\n"
            "set key top left reverse Left samplen 2\n",
            4.0 * (double)replay->ticks);
    write_curves(replay, file);
}

static int run_gnuplot(const struct replay *replay, int dir)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        sigprocmask(SIG_SETMASK, &replay->signals_before, NULL);
        if (null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 && dup2(null, 2) >= 0 &&
            fchdir(dir) == 0)
            execlp("gnuplot", "gnuplot", SCRIPT_NAME, (char *)NULL);
        _exit(errno == ENOENT ? 127 : 126);
    }
    if (pid < 0)
        return 126;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 126;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 126;
}

/* Draw; false, with a line on why, when there is no picture. That is no failure. */
static bool draw(const struct replay *replay, int dir)
{
    int status = run_gnuplot(replay, dir);

    if (status == 0)
        return true;
    unlinkat(dir, SVG_NAME, 0); /* of an earlier run, or half of one */
    fprintf(stderr, "tickstate: replay: %s/%s is left out: %s\n", replay->arguments->report_dir,
            SVG_NAME, status == 127 ? "gnuplot is not installed" : "gnuplot failed");
    return false;
}

int replay_open_report(struct replay *replay)
{
    const char *path = replay->arguments->report_dir;

    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        replay->report_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (replay->report_dir >= 0)
        return CLI_OK;
    complain(replay->arguments, "%s: %s", path, strerror(errno));
    return CLI_FAILED;
}

int replay_write_files(const struct replay *replay)
{
    int dir = replay->report_dir;
    bool picture;
    int status = write_file(replay, dir, CSV_NAME, write_csv);

    if (status == CLI_OK)
        status = write_file(replay, dir, "report.json", write_json);
    if (status == CLI_OK)
        status = write_file(replay, dir, SCRIPT_NAME, write_script);
    if (status != CLI_OK)
        return status;
    picture = draw(replay, dir);
    return write_file(replay, dir, "report.md",
                      picture ? write_markdown_with_picture : write_markdown);
}
