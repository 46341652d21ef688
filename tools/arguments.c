/* SPDX-License-Identifier: MIT */
/* The one place that reads the command line and writes help. */
#include "cli.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_STORE "shm://tickstate"
#define DEFAULT_COUNT 200000
#define DEFAULT_SEED 1
#define DEFAULT_PLUGINS 4
#define MAX_PLUGINS 64
#define MAX_COUNT ((int64_t)1 << 40)

struct option_row {
    unsigned bit;
    const char *name;
    const char *value; /* NULL: takes none */
    const char *help;
};

static const struct option_row option_rows[] = {
    {OPTION_STORE, "store", "URI", "the store (default $TICKSTATE_STORE, else " DEFAULT_STORE ")"},
    {OPTION_JSON, "json", NULL, "print JSON"},
    {OPTION_PLUGIN, "plugin", "NAME", "the plugin, instead of the word PLUGIN"},
    {OPTION_GLOB, "plugin", "GLOB", "only plugins whose name matches this shell pattern"},
    {OPTION_RAW, "raw", NULL, "write the stored bytes and nothing else"},
    {OPTION_TYPE, "type", "TYPE", "bytes, i64, f64, bool, string or json (default string)"},
    {OPTION_TTL, "ttl", "MS", "gone after so many milliseconds"},
    {OPTION_TICKS, "ticks", "FILE", "ticks as CSV, plain or gzip (default: a generated stream)"},
    {OPTION_PLUGINS, "plugins", "N", "plugin processes, 1 to 64 (default 4)"},
    {OPTION_SPEED, "speed", "HOW", "max, or real: as the ticks were received (default max)"},
    {OPTION_KILL_AT, "kill-at", "N", "kill plugin 1 after N ticks (default: half; 0: never)"},
    {OPTION_COUNT, "count", "N", "ticks to generate (default 200000)"},
    {OPTION_SEED, "seed", "N", "of the generated stream (default 1)"},
    {OPTION_REPORT, "report", "DIR", "write report.md, report.json, latency.csv and latency.svg"},
    {OPTION_KEEP, "keep", NULL, "leave the replay's own store in place"},
    {OPTION_CHECKPOINT, "checkpoint", "FILE", "look at this checkpoint file instead of the store"},
    {OPTION_FROM_CHECKPOINT, "from-checkpoint", "FILE", "read this file instead of the store"},
    {OPTION_TO_CHECKPOINT, "to-checkpoint", "FILE", "write this file instead of JSON lines"},
    {OPTION_FROM, "from", "URI", "the store to copy"},
    {OPTION_TO, "to", "URI", "the store to copy it into"},
    {OPTION_FROM_OR_FILE, "from", "FILE|URI",
     "what to read: a file (-: standard input) or a store"},
    {OPTION_FORCE, "force", NULL, "replace a checkpoint file that is there"},
};

#define ROWS (sizeof(option_rows) / sizeof(option_rows[0]))
/* getopt_long's answers: a row's index, or one of these. */
#define ANSWER_BASE 256
#define ANSWER_HELP 'h'
#define ANSWER_VERSION 'V'

static int usage_error(const struct arguments *arguments, const char *what, const char *which)
{
    const char *name = arguments->command ? arguments->command->name : NULL;

    complain(arguments, "%s%s%s%s%s; try 'tickstate%s%s --help'", what, which ? " '" : "",
             which ? which : "", which ? "'" : "", "", name ? " " : "", name ? name : "");
    return CLI_USAGE;
}

#define OPTION_WIDTH 15

static int format_option(const struct option_row *row, char text[64])
{
    return snprintf(text, 64, "--%s %s", row->name, row->value ? row->value : "");
}

static void print_options(unsigned options)
{
    int width = OPTION_WIDTH;
    char left[64];

    for (size_t i = 0; i < ROWS; i++)
        if (options & option_rows[i].bit && format_option(&option_rows[i], left) > width)
            width = (int)strlen(left);
    printf("\nOptions:\n");
    for (size_t i = 0; i < ROWS; i++) {
        if (!(options & option_rows[i].bit))
            continue;
        format_option(&option_rows[i], left);
        printf("  %-*s %s\n", width, left, option_rows[i].help);
    }
    printf("  %-*s %s\n", width, "--help", "this text");
}

static void print_tool_help(const struct command *commands)
{
    printf("Usage: tickstate COMMAND [OPTIONS]\n"
           "Plugin state that survives its process, in shared memory or a database.\n\n"
           "Commands:\n");
    for (; commands->name; commands++)
        printf("  %-11s %s\n", commands->name, commands->summary);
    print_options(OPTION_STORE);
    printf("  %-15s %s\n", "--version", "the version");
    printf(
        "\nStores: shm://NAME, sqlite:///PATH, postgres://…, memory:// (ends with the process)\n");
    printf("\nExit status: 0 success, 1 not found, 2 wrong usage, 3 failure.\n"
           "'tickstate COMMAND --help' says more.\n"
           "Example: tickstate set scalper-btc cooldown 1 --ttl 250\n");
}

static unsigned options_of(const struct command *command)
{
    return command->options & OPTION_TO ? command->options : command->options | OPTION_STORE;
}

static void print_command_help(const struct command *command)
{
    printf("Usage: tickstate %s%s%s [OPTIONS]\n", command->name, *command->words ? " " : "",
           command->words);
    printf("%s\n", command->details);
    print_options(options_of(command));
    printf("\nExample: %s\n", command->example);
}

static const struct command *find_command(const struct command *commands, const char *name)
{
    for (; commands->name; commands++)
        if (strcmp(commands->name, name) == 0)
            return commands;
    return NULL;
}

/* Options that are known here; before the command's name these are the general ones. */
static void build_long_options(unsigned options, bool version, struct option *table)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (!(options & option_rows[i].bit))
            continue;
        *table++ = (struct option){option_rows[i].name,
                                   option_rows[i].value ? required_argument : no_argument, NULL,
                                   ANSWER_BASE + (int)i};
    }
    *table++ = (struct option){"help", no_argument, NULL, ANSWER_HELP};
    if (version)
        *table++ = (struct option){"version", no_argument, NULL, ANSWER_VERSION};
    *table = (struct option){NULL, 0, NULL, 0};
}

static bool read_number(const char *text, int64_t min, int64_t max, int64_t *value)
{
    return parse_i64(text, min, max, value);
}

static bool read_plugins(const char *text, struct arguments *out)
{
    int64_t value;

    if (!read_number(text, 1, MAX_PLUGINS, &value))
        return false;
    out->plugins = (int)value;
    return true;
}

static bool read_seed(const char *text, struct arguments *out)
{
    int64_t value;

    if (!read_number(text, 0, INT64_MAX, &value))
        return false;
    out->seed = (uint64_t)value;
    return true;
}

static bool read_speed(const char *text, struct arguments *out)
{
    out->real_speed = strcmp(text, "real") == 0;
    return out->real_speed || strcmp(text, "max") == 0;
}

static bool read_text(const char *text, const char **value)
{
    *value = text;
    return *text != '\0';
}

/* Take one option; false when its value is not acceptable. */
static bool take_option(struct arguments *out, unsigned bit, const char *value)
{
    switch (bit) {
    case OPTION_STORE:
        out->store_named = true;
        return read_text(value, &out->store_uri);
    case OPTION_JSON:
        return out->json = true;
    case OPTION_PLUGIN:
    case OPTION_GLOB:
        return read_text(value, &out->plugin);
    case OPTION_RAW:
        return out->raw = true;
    case OPTION_TYPE:
        return (out->type = type_by_name(value)) >= 0;
    case OPTION_TTL:
        return read_number(value, 1, INT64_MAX, &out->ttl_ms);
    case OPTION_TICKS:
        return read_text(value, &out->ticks_path);
    case OPTION_PLUGINS:
        return read_plugins(value, out);
    case OPTION_SPEED:
        return read_speed(value, out);
    case OPTION_KILL_AT:
        return read_number(value, 0, INT64_MAX, &out->kill_at);
    case OPTION_COUNT:
        return read_number(value, 1, MAX_COUNT, &out->count);
    case OPTION_SEED:
        return read_seed(value, out);
    case OPTION_REPORT:
        return read_text(value, &out->report_dir);
    case OPTION_KEEP:
        return out->keep = true;
    case OPTION_CHECKPOINT:
    case OPTION_FROM_CHECKPOINT:
        return read_text(value, &out->checkpoint_from);
    case OPTION_TO_CHECKPOINT:
        return read_text(value, &out->checkpoint_to);
    case OPTION_FORCE:
        return out->force = true;
    case OPTION_FROM:
    case OPTION_FROM_OR_FILE:
        return read_text(value, &out->from);
    case OPTION_TO:
        return read_text(value, &out->to);
    default:
        return false;
    }
}

/* -5 and -.5 are values to store, not options; so is a lone dash. */
static bool is_word(const char *text)
{
    return text[0] != '-' || text[1] == '\0' || strchr("0123456789.", text[1]) != NULL;
}

static int take_answer(int answer, struct arguments *out, const struct command *commands,
                       const char *text)
{
    const struct option_row *row;
    char what[64];

    if (answer == ANSWER_HELP) {
        if (out->command)
            print_command_help(out->command);
        else
            print_tool_help(commands);
        return CLI_OK;
    }
    if (answer == ANSWER_VERSION) {
        printf("tickstate %s\n", tks_version());
        return CLI_OK;
    }
    if (answer == ':')
        return usage_error(out, "an argument is missing after", text);
    if (answer < ANSWER_BASE)
        return usage_error(out, "unknown or ambiguous option", text);
    row = &option_rows[answer - ANSWER_BASE];
    if (take_option(out, row->bit, optarg))
        return -1;
    snprintf(what, sizeof(what), "--%s cannot be", row->name);
    return usage_error(out, what, optarg);
}

/*
 * Read options and words from argv[optind] on. Words are moved to the front of `words`. Stops
 * after the first word when there is no command yet: it is the command.
 */
static int scan(int argc, char **argv, const struct command *commands, struct arguments *out)
{
    struct option table[ROWS + 3];
    bool all_words = false;
    int answer, status;

    build_long_options(out->command ? options_of(out->command) : OPTION_STORE, !out->command,
                       table);
    while (optind < argc) {
        char *text = argv[optind];

        if (all_words || is_word(text)) {
            out->words[out->word_count++] = text;
            optind++;
            if (!out->command)
                return -1;
            continue;
        }
        if (strcmp(text, "--") == 0) {
            all_words = true;
            optind++;
            continue;
        }
        answer = getopt_long(argc, argv, "+:h", table, NULL);
        status = take_answer(answer, out, commands, text);
        if (status >= 0)
            return status;
    }
    return -1;
}

static int check_words(struct arguments *out)
{
    const struct command *command = out->command;

    if ((command->options & OPTION_PLUGIN) && !out->plugin) {
        if (out->word_count == 0)
            return usage_error(out, "the plugin's name is missing", NULL);
        out->plugin = out->words[0];
        out->words++;
        out->word_count--;
    }
    if (out->word_count < command->min_words)
        return usage_error(out,
                           !(command->options & OPTION_PLUGIN) ? "the file is missing"
                           : out->word_count == 0              ? "the key is missing"
                                                               : "the value is missing",
                           NULL);
    if (out->word_count > command->max_words)
        return usage_error(out, "unexpected word", out->words[command->max_words]);
    if ((command->options & OPTION_FROM) && (!out->from || !out->to))
        return usage_error(out, out->from ? "--to is missing" : "--from is missing", NULL);
    if ((command->options & OPTION_FROM_OR_FILE) && out->from && out->word_count > 0)
        return usage_error(out, "--from excludes", out->words[0]);
    return -1;
}

/* What may be printed of the URIs. */
static int make_shown(struct arguments *out)
{
    out->store_shown = uri_shown(out->store_uri);
    out->from_shown = out->from ? uri_shown(out->from) : NULL;
    out->to_shown = out->to ? uri_shown(out->to) : NULL;
    if (out->store_shown && !out->from == !out->from_shown && !out->to == !out->to_shown)
        return -1;
    return complain_memory(out);
}

void arguments_release(struct arguments *arguments)
{
    free(arguments->store_shown);
    free(arguments->from_shown);
    free(arguments->to_shown);
}

static void set_defaults(struct arguments *out)
{
    const char *uri = getenv("TICKSTATE_STORE");

    *out = (struct arguments){
        .store_uri = DEFAULT_STORE,
        .type = TKS_TYPE_STRING,
        .plugins = DEFAULT_PLUGINS,
        .kill_at = -1,
        .count = DEFAULT_COUNT,
        .seed = DEFAULT_SEED,
    };
    if (uri && *uri) {
        out->store_uri = uri;
        out->store_named = true;
    }
}

int arguments_parse(int argc, char **argv, const struct command *commands, struct arguments *out)
{
    int status;

    set_defaults(out);
    opterr = 0;
    optind = 1;
    out->words = argv; /* words are collected in front: never more than were read */
    status = scan(argc, argv, commands, out);
    if (status >= 0)
        return status;
    if (out->word_count == 0)
        return usage_error(out, "a command is missing", NULL);
    out->command = find_command(commands, out->words[0]);
    if (!out->command)
        return usage_error(out, "unknown command", out->words[0]);
    out->word_count = 0;
    status = scan(argc, argv, commands, out);
    if (status < 0)
        status = check_words(out);
    return status < 0 ? make_shown(out) : status;
}
