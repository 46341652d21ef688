/* SPDX-License-Identifier: MIT */
/* The result of a replay, for people and as JSON. */
#include "replay/run.h"

#include <string.h>

const struct replay_percentile replay_percentiles[REPLAY_PERCENTILES] = {
    {"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1.0},
};

static const struct histogram *latency(const struct replay *replay, int index)
{
    return &replay->control->slots[index].latency;
}

static double seconds_of(const struct replay_slot *slot)
{
    return (double)(atomic_load(&slot->ended_ns) - atomic_load(&slot->begun_ns)) / 1e9;
}

static double tick_rate(const struct replay *replay, int index)
{
    double seconds = seconds_of(&replay->control->slots[index]);

    return seconds > 0 ? (double)replay->plugins[index].book.ticks / seconds : 0;
}

static const char *stream_name(const struct replay *replay)
{
    const char *path = replay->control->ticks.path, *slash = strrchr(path, '/');

    if (!*path)
        return "a generated stream";
    return slash ? slash + 1 : path;
}

#define POSITION_MAX 24

static const char *format_position(int64_t lots, char text[POSITION_MAX])
{
    if (lots == 0)
        return "flat";
    snprintf(text, POSITION_MAX, "%+lld", (long long)lots);
    return text;
}

/* µ is two bytes and one column. */
static void put_right(FILE *file, int width, const char *text)
{
    int extra = strstr(text, "µ") ? 1 : 0;

    fprintf(file, "%*s", width + extra, text);
}

/* ---- Tables ------------------------------------------------------------------------------ */

static void write_latency(const struct replay *replay, FILE *file)
{
    char text[DURATION_MAX], rate[GROUPED_MAX];

    fprintf(file, "%-18s", "latency per tick");
    for (int p = 0; p < REPLAY_PERCENTILES; p++)
        put_right(file, 10, replay_percentiles[p].name);
    fprintf(file, "%12s%11s\n", "ticks/s", "preempted");
    for (int i = 0; i < replay->control->plugins; i++) {
        fprintf(file, "%-18s", replay->plugins[i].name);
        for (int p = 0; p < REPLAY_PERCENTILES; p++)
            put_right(file, 10,
                      format_duration(histogram_at(latency(replay, i), replay_percentiles[p].share),
                                      text));
        fprintf(file, "%12s%11lld\n", format_grouped((uint64_t)tick_rate(replay, i), rate),
                (long long)replay->plugins[i].preempted);
    }
}

static void write_states(const struct replay *replay, FILE *file)
{
    char number[4][GROUPED_MAX], position[POSITION_MAX];

    fprintf(file, "%-18s%-16s%12s%11s%10s%9s%6s%10s\n", "state at the end", "follows", "ticks",
            "decisions", "blocked", "trades", "bans", "position");
    for (int i = 0; i < replay->control->plugins; i++) {
        const struct replay_plugin *plugin = &replay->plugins[i];

        fprintf(file, "%-18s%-16s%12s%11s%10s%9s%6llu%10s%s\n", plugin->name, plugin->instrument,
                format_grouped(plugin->book.ticks, number[0]),
                format_grouped(plugin->book.decisions, number[1]),
                format_grouped(plugin->book.blocked, number[2]),
                format_grouped(plugin->book.trades, number[3]),
                (unsigned long long)plugin->book.bans,
                format_position(plugin->book.position, position), plugin->right ? "" : "  WRONG");
    }
}

void replay_write_tables(const struct replay *replay, FILE *file)
{
    write_latency(replay, file);
    fputc('\n', file);
    write_states(replay, file);
}

static void print_kill(const struct replay *replay)
{
    const struct replay_kill *kill = &replay->kill;
    char number[3][GROUPED_MAX], position[POSITION_MAX];

    if (kill->at == 0) {
        printf("kill   none was asked for\n");
        return;
    }
    printf("kill   %s was killed (SIGKILL) after tick %s; its state in the store: %s ticks,\n"
           "       %llu trades, position %s. Started again, it read %s ticks and went on: %s\n",
           replay->plugins[0].name, format_grouped(kill->at, number[0]),
           format_grouped(kill->kept.ticks, number[1]), (unsigned long long)kill->kept.trades,
           format_position(kill->kept.position, position),
           format_grouped(kill->resumed_at, number[2]), kill->right ? "right" : "WRONG");
}

static void print_proof(const struct replay *replay)
{
    char ticks[GROUPED_MAX];
    int right = 0;

    for (int i = 0; i < replay->control->plugins; i++)
        right += replay->plugins[i].right;
    printf("proof  %d of %d plugins counted each of the %s ticks exactly once and hold the state\n"
           "       that the same rule reaches in plain memory, bit for bit: %s\n",
           right, replay->control->plugins, format_grouped(replay->ticks, ticks),
           right == replay->control->plugins ? "right" : "WRONG");
    printf("audit  %llu blocks leaked, %llu dead owners cleaned up since the store was made: %s\n",
           (unsigned long long)replay->audit.leaked_blocks,
           (unsigned long long)replay->stats.recovered,
           replay->audit.leaked_blocks == 0 ? "right" : "WRONG");
}

static void print_reboot(const struct replay *replay)
{
    const struct replay_reboot *reboot = &replay->reboot;
    char number[2][GROUPED_MAX], size[SIZE_TEXT_MAX], duration[2][DURATION_MAX];

    if (!reboot->done) {
        printf("reboot %s\n", reboot->in_use ? "not done: others use the store"
                                             : "none: the store's URI has no checkpoint=");
        return;
    }
    printf("reboot the segment was removed and opened again from its checkpoint (%s, %llu cuts,\n"
           "       the last in %s; restored in %s): of %s records %s came back with\n"
           "       the same plugin, key, type, value, version and expiry: %s\n",
           format_size(reboot->file_bytes, size), (unsigned long long)reboot->cuts,
           format_duration(reboot->checkpoint_ns, duration[0]),
           format_duration(reboot->restore_ns, duration[1]),
           format_grouped(reboot->before - reboot->expired, number[0]),
           format_grouped(replay_came_back(reboot), number[1]), reboot->right ? "right" : "WRONG");
}

uint64_t replay_came_back(const struct replay_reboot *reboot)
{
    return reboot->before - reboot->expired - reboot->lost - reboot->changed;
}

int replay_print(const struct replay *replay)
{
    char ticks[GROUPED_MAX], elapsed[DURATION_MAX], span[DURATION_MAX];

    if (replay->arguments->json) {
        json_t *json = replay_json(replay);
        int status = json && json_dumpf(json, stdout, JSON_INDENT(2)) != 0 && !ferror(stdout);

        if (!json || status)
            status = complain_memory(replay->arguments);
        fputc('\n', stdout);
        json_decref(json);
        return status;
    }
    printf("%s ticks of %s (%s of market time)\n"
           "to each of %d plugin processes on %d CPUs, in %s\n\n",
           format_grouped(replay->ticks, ticks), stream_name(replay),
           format_duration((uint64_t)replay->span_ns, span), replay->control->plugins, replay->cpus,
           format_duration((uint64_t)replay->elapsed_ns, elapsed));
    replay_write_tables(replay, stdout);
    printf(
        "\nlatency: from before tick_begin to after tick_end (3 reads, the decision, 1 to 5\n"
        "writes) by CLOCK_MONOTONIC; the timer's own %llu ns are included, reading the stream is\n"
        "not. preempted: how often the CPU was taken away; the top percentiles show that too.\n\n",
        (unsigned long long)replay->timer_ns);
    print_kill(replay);
    print_proof(replay);
    print_reboot(replay);
    if (replay->kept)
        printf("kept   %s\n", replay->kept);
    return CLI_OK;
}

/* ---- JSON -------------------------------------------------------------------------------- */

static json_t *book_json(const struct scalper_book *book)
{
    char digest[17];

    snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)book->digest);
    return json_pack("{sI sI sI sI sI sI sI sf ss}", "ticks", (json_int_t)book->ticks, "decisions",
                     (json_int_t)book->decisions, "blocked", (json_int_t)book->blocked, "trades",
                     (json_int_t)book->trades, "bans", (json_int_t)book->bans, "position",
                     (json_int_t)book->position, "last_trade_ms", (json_int_t)book->last_trade_ms,
                     "cash", book->cash, "digest", digest);
}

static json_t *latency_json(const struct histogram *histogram)
{
    json_t *object = json_pack("{sI}", "ticks", (json_int_t)histogram->count);

    for (int p = 0; p < REPLAY_PERCENTILES && object; p++) {
        json_t *ns = json_integer((json_int_t)histogram_at(histogram, replay_percentiles[p].share));

        if (json_object_set_new(object, replay_percentiles[p].name, ns) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *plugin_json(const struct replay *replay, int index)
{
    const struct replay_plugin *plugin = &replay->plugins[index];

    return json_pack("{ss ss so so sf sI sb}", "plugin", plugin->name, "follows",
                     plugin->instrument, "state", book_json(&plugin->book), "latency_ns",
                     latency_json(latency(replay, index)), "ticks_per_s", tick_rate(replay, index),
                     "preempted", (json_int_t)plugin->preempted, "right", plugin->right);
}

static json_t *plugins_json(const struct replay *replay)
{
    json_t *array = json_array();

    for (int i = 0; i < replay->control->plugins && array; i++) {
        if (json_array_append_new(array, plugin_json(replay, i)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *kill_json(const struct replay *replay)
{
    const struct replay_kill *kill = &replay->kill;

    if (kill->at == 0)
        return json_null();
    return json_pack("{ss sI so sI sb}", "plugin", replay->plugins[0].name, "asked_after_ticks",
                     (json_int_t)kill->at, "state_after_kill", book_json(&kill->kept),
                     "resumed_at_ticks", (json_int_t)kill->resumed_at, "right", kill->right);
}

static json_t *reboot_json(const struct replay *replay)
{
    const struct replay_reboot *reboot = &replay->reboot;

    if (!reboot->done)
        return json_null();
    return json_pack("{sI sI sI sI sI sI sI sI sI sI sb sI sb}", "cuts", (json_int_t)reboot->cuts,
                     "file_bytes", (json_int_t)reboot->file_bytes, "checkpoint_ns",
                     (json_int_t)reboot->checkpoint_ns, "restore_ns",
                     (json_int_t)reboot->restore_ns, "records_before", (json_int_t)reboot->before,
                     "records_after", (json_int_t)reboot->after, "lost", (json_int_t)reboot->lost,
                     "changed", (json_int_t)reboot->changed, "added", (json_int_t)reboot->added,
                     "expired", (json_int_t)reboot->expired, "restored", reboot->restored,
                     "leaked_blocks", (json_int_t)reboot->leaked_blocks, "right", reboot->right);
}

json_t *replay_json(const struct replay *replay)
{
    return json_pack(
        "{ss sI sf sf ss si sI so so so sI sI ss? sb}", "stream", stream_name(replay), "ticks",
        (json_int_t)replay->ticks, "market_seconds", (double)replay->span_ns / 1e9,
        "elapsed_seconds", (double)replay->elapsed_ns / 1e9, "speed",
        replay->control->real_speed ? "real" : "max", "cpus", replay->cpus, "timer_ns",
        (json_int_t)replay->timer_ns, "plugins", plugins_json(replay), "kill", kill_json(replay),
        "reboot", reboot_json(replay), "leaked_blocks", (json_int_t)replay->audit.leaked_blocks,
        "recovered", (json_int_t)replay->stats.recovered, "kept", replay->kept, "right",
        replay->right);
}
