/* SPDX-License-Identifier: MIT */
/*
 * What every command of the `tickstate` tool shares: its arguments, its exit status, its way to
 * complain and to print. A command is one `struct command` in main.c's table and one run function.
 */
#ifndef TICKSTATE_CLI_H
#define TICKSTATE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>
#include <tickstate/tickstate.h>

/** Exit status of the tool; others depend on the numbers. */
enum cli_status {
    CLI_OK = 0,
    CLI_NOT_FOUND = 1,
    CLI_USAGE = 2,
    CLI_FAILED = 3,
};

/** Options, as bits: a command names the ones it takes. --store and --help belong to all. */
enum cli_option {
    OPTION_STORE = 1 << 0,
    OPTION_JSON = 1 << 1,
    OPTION_PLUGIN = 1 << 2, /* takes the plugin's name; the first word does it too */
    OPTION_GLOB = 1 << 3,   /* --plugin as a glob, never a word */
    OPTION_RAW = 1 << 4,
    OPTION_TYPE = 1 << 5,
    OPTION_TTL = 1 << 6,
    OPTION_TICKS = 1 << 7,
    OPTION_PLUGINS = 1 << 8,
    OPTION_SPEED = 1 << 9,
    OPTION_KILL_AT = 1 << 10,
    OPTION_COUNT = 1 << 11,
    OPTION_SEED = 1 << 12,
    OPTION_REPORT = 1 << 13,
    OPTION_KEEP = 1 << 14,
    OPTION_CHECKPOINT = 1 << 15, /* a checkpoint file instead of the store */
    OPTION_FROM_CHECKPOINT = 1 << 16,
    OPTION_TO_CHECKPOINT = 1 << 17,
    OPTION_FORCE = 1 << 18,
    OPTION_FROM = 1 << 19,         /* with OPTION_TO, and instead of the store */
    OPTION_FROM_OR_FILE = 1 << 20, /* a file too */
    OPTION_TO = 1 << 21,
};

struct arguments;

struct command {
    const char *name;
    const char *words;   /* positional words as the usage line shows them */
    const char *summary; /* one line in the tool's help */
    const char *details; /* the command's own help, below the usage line */
    const char *example;
    unsigned options;
    int min_words, max_words; /* the plugin's name not counted */
    int (*run)(const struct arguments *arguments);
};

/** The command line, parsed and checked. Strings live in argv or the environment. */
struct arguments {
    const struct command *command;
    const char *store_uri;
    char *store_shown; /* what may be printed of it */
    bool store_named;  /* by --store or the environment, not the built-in default */
    bool json;
    const char *plugin;
    bool raw;
    int type;                                    /* enum tks_value_type */
    int64_t ttl_ms;                              /* 0: none */
    const char *checkpoint_from, *checkpoint_to; /* files; NULL: the store, standard output */
    bool force;
    const char *from, *to; /* NULL: not given */
    char *from_shown, *to_shown;
    char **words;
    int word_count;
    /* replay */
    const char *ticks_path; /* NULL: generate */
    int plugins;
    bool real_speed;
    int64_t kill_at; /* -1: in the middle, 0: never */
    int64_t count;
    uint64_t seed;
    const char *report_dir;
    bool keep;
};

/* ---- arguments.c ------------------------------------------------------------------------- */

/**
 * Parse a command line. Returns -1 to go on with arguments->command, else the exit status: the
 * line asked for help, or was wrong (said on stderr).
 */
int arguments_parse(int argc, char **argv, const struct command *commands, struct arguments *out);

/** Free what parsing allocated, whatever came of it. */
void arguments_release(struct arguments *arguments);

/* ---- output.c: complaints and JSON ------------------------------------------------------- */

/** One line on stderr, `tickstate: COMMAND: …`, control characters made visible. */
void complain(const struct arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** complain() about @p thing with the library's last error; the exit status for @p status. */
int complain_status(const struct arguments *arguments, int status, const char *thing);

/** complain() that memory ran out; CLI_FAILED. */
int complain_memory(const struct arguments *arguments);

/** Print a JSON value in one line and release it; NULL means memory ran out building it. */
int print_json(const struct arguments *arguments, json_t *value);

/** Write a JSON string; false when @p text is not UTF-8 or memory ran out. */
bool write_json_string(FILE *file, const char *text, size_t len);

/** Flush stdout and turn a write error into a complaint and CLI_FAILED. */
int finish_output(const struct arguments *arguments, int status);

/* ---- progress.c: how far a long command is, and whether it shall stop --------------------- */

/** From now on SIGINT and SIGTERM are noted: to stop between two entries and say how far it came.
 */
void catch_interrupts(void);
bool interrupted(void);

/** Show @p done of @p total (0: unknown) entries on a terminal; costs next to nothing. */
void show_progress(const struct arguments *arguments, uint64_t done, uint64_t total);
/** Wipe what show_progress() has drawn: complain() does it by itself. */
void wipe_progress(void);

/* ---- session.c: a store, and a plugin in it ---------------------------------------------- */

struct session {
    tks_store *store;
    tks_state *state;
    char *plugin; /* whose state it is, where session_select_plugin() opened it */
};

enum session_use {
    SESSION_LOOK,   /* a missing store is "not found"; writes nothing, no checkpoint either */
    SESSION_CHANGE, /* a missing store is "not found" */
    SESSION_CREATE, /* a missing store is created */
};

int session_open(const struct arguments *arguments, enum session_use use, struct session *session);
/** The same with another store than the arguments'. @p shown: its URI as it may be printed. */
int session_open_uri(const struct arguments *arguments, const char *uri, const char *shown,
                     enum session_use use, struct session *session);
/** The same, and the state of arguments->plugin. */
int session_open_plugin(const struct arguments *arguments, enum session_use use,
                        struct session *session);
/** Open @p plugin's state in place of another's; the one that is open stays. The library's status.
 */
int session_select_plugin(struct session *session, const char *plugin);
void session_close(struct session *session);

/* ---- uri_text.c: store URIs, as text ------------------------------------------------------ */

/** Whether it is scheme://… */
bool uri_has_scheme(const char *uri, const char *scheme);
bool uri_is_shm(const char *uri);
/** Whether a text is a URI and not a file's name. */
bool is_uri(const char *text);
/** The URI with *** for its password, wherever one may stand. To be freed; NULL without memory. */
char *uri_shown(const char *uri);
/** What the URI's backend is called: its scheme. */
#define BACKEND_NAME_MAX 16
const char *uri_backend(const char *uri, char name[BACKEND_NAME_MAX]);

#define URI_VALUE_MAX 1024

/** The last value of a parameter. 1: found, 0: it is not there, -1: malformed (tks_last_error()).
 */
int uri_parameter(const char *uri, const char *name, char value[URI_VALUE_MAX]);
/** The URI without a parameter, and, unless @p value is NULL, with it again as the last one. To be
 * freed; NULL without memory. */
char *uri_with(const char *uri, const char *name, const char *value);

/* ---- text.c ------------------------------------------------------------------------------ */

/** Length of the valid UTF-8 sequence at the start of @p text, 0 when there is none. */
size_t utf8_sequence(const char *text, size_t len);
bool utf8_valid(const char *text, size_t len);
/** 1 to TKS_NAME_MAX bytes of UTF-8 without NUL: a key or a plugin's name. */
bool name_valid(const char *text, size_t len);
/** Write bytes so that a terminal shows one line: \\ and \xHH for what is not printable. */
void write_visible(FILE *file, const char *bytes, size_t len);
/** A whole decimal number of the named range. */
bool parse_i64(const char *text, int64_t min, int64_t max, int64_t *value);
/** A finite decimal number. */
bool parse_f64(const char *text, double *value);
/** 1234567 as "1,234,567". */
#define GROUPED_MAX 32
const char *format_grouped(uint64_t value, char text[GROUPED_MAX]);
const char *type_name(int type);
/** The type called @p name, or -1. */
int type_by_name(const char *name);
int64_t wall_clock_ms(void);
int64_t monotonic_ns(void);
/** "1.5 MiB" */
#define SIZE_TEXT_MAX 32
const char *format_size(uint64_t bytes, char text[SIZE_TEXT_MAX]);
/** "2023-11-14 22:13:20.100 UTC" */
#define DATE_MAX 48
const char *format_date(int64_t ms, char text[DATE_MAX]);
/** "3 h 12 min": two units at most. */
#define AGE_MAX 64
const char *format_age(int64_t ms, char text[AGE_MAX]);
/** "1.23 µs" */
#define DURATION_MAX 32
const char *format_duration(uint64_t ns, char text[DURATION_MAX]);

/* ---- commands ---------------------------------------------------------------------------- */

int command_stat(const struct arguments *arguments);
int command_plugins(const struct arguments *arguments);
int command_keys(const struct arguments *arguments);
int command_get(const struct arguments *arguments);
int command_set(const struct arguments *arguments);
int command_del(const struct arguments *arguments);
int command_check(const struct arguments *arguments);
int command_checkpoint(const struct arguments *arguments);
int command_restore(const struct arguments *arguments);
int command_export(const struct arguments *arguments);
int command_import(const struct arguments *arguments);
int command_copy(const struct arguments *arguments);
int command_rm(const struct arguments *arguments);
int command_replay(const struct arguments *arguments);

#endif
