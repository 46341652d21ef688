/* SPDX-License-Identifier: MIT */
/* get, set, del: one value. */
#include "cli.h"
#include "json/value.h"
#include "record_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* PLUGIN/KEY, as errors name an entry. */
static int complain_entry(const struct arguments *arguments, int status)
{
    char thing[2 * TKS_NAME_MAX + 2];

    snprintf(thing, sizeof(thing), "%.*s/%.*s", TKS_NAME_MAX, arguments->plugin, TKS_NAME_MAX,
             arguments->words[0]);
    return complain_status(arguments, status, thing);
}

/* ---- get --------------------------------------------------------------------------------- */

static int read_bytes(tks_state *state, const char *key, void **value, size_t *len,
                      uint64_t *version)
{
    size_t room = 0;
    int status;

    *value = NULL;
    /* Its owner may make the value longer between two calls. */
    do {
        void *larger = realloc(*value, room + 1);

        if (!larger)
            return TKS_NO_SPACE;
        *value = larger;
        status = tks_get_versioned(state, key, *value, room, len, version);
        room = *len;
    } while (status == TKS_TOO_SMALL);
    return status;
}

/* Value and type of one and the same version, however often it is written meanwhile. */
static int read_entry(tks_state *state, const char *key, struct tks_record *record, void **value)
{
    uint64_t version = 0, before;
    size_t len = 0;
    int type = 0;
    int status;

    *value = NULL;
    do {
        free(*value);
        *value = NULL;
        status = tks_get_versioned(state, key, NULL, 0, NULL, &before);
        if (status == TKS_OK || status == TKS_TOO_SMALL)
            status = tks_type(state, key, &type);
        if (status == TKS_OK)
            status = read_bytes(state, key, value, &len, &version);
    } while (status == TKS_OK && version != before);
    record->type = (uint32_t)type;
    record->value = *value;
    record->value_len = len;
    record->version = version;
    return status;
}

static int print_number(const struct arguments *arguments, const struct tks_record *record)
{
    char text[F64_TEXT_MAX];
    int64_t integer;
    double real;

    if (record->type == TKS_TYPE_I64 && record_i64(record->value, record->value_len, &integer)) {
        printf("%lld\n", (long long)integer);
        return CLI_OK;
    }
    if (record->type == TKS_TYPE_F64 && record_f64(record->value, record->value_len, &real)) {
        tks_f64_text(real, text);
        puts(text);
        return CLI_OK;
    }
    return complain_entry(arguments, TKS_CORRUPT);
}

static int print_text(const struct tks_record *record)
{
    fwrite(record->value, 1, record->value_len, stdout);
    putchar('\n');
    return CLI_OK;
}

static int print_value(const struct arguments *arguments, const struct tks_record *record)
{
    switch (record->type) {
    case TKS_TYPE_I64:
    case TKS_TYPE_F64:
        return print_number(arguments, record);
    case TKS_TYPE_BOOL:
        puts(record->value_len > 0 && *(const char *)record->value ? "true" : "false");
        return CLI_OK;
    case TKS_TYPE_STRING:
    case TKS_TYPE_JSON:
        return print_text(record);
    default:
        write_visible(stdout, record->value, record->value_len);
        putchar('\n');
        return CLI_OK;
    }
}

static int print_entry(const struct arguments *arguments, const struct tks_record *record)
{
    const char *error;

    if (arguments->raw) {
        fwrite(record->value, 1, record->value_len, stdout);
        return CLI_OK;
    }
    if (!arguments->json)
        return print_value(arguments, record);
    error = record_write(stdout, record, RECORD_WITHOUT_EXPIRY);
    if (!error)
        return CLI_OK;
    complain(arguments, "%s/%s: %s", record->plugin, record->key, error);
    return CLI_FAILED;
}

int command_get(const struct arguments *arguments)
{
    const char *key = arguments->words[0];
    struct tks_record record = {
        .size = sizeof(record),
        .plugin = arguments->plugin,
        .plugin_len = strlen(arguments->plugin),
        .key = key,
        .key_len = strlen(key),
    };
    struct session session;
    void *value;
    int status;

    if (arguments->raw && arguments->json) {
        complain(arguments, "--raw and --json exclude each other; try 'tickstate get --help'");
        return CLI_USAGE;
    }
    status = session_open_plugin(arguments, SESSION_LOOK, &session);
    if (status != CLI_OK)
        return status;
    status = read_entry(session.state, key, &record, &value);
    if (status == TKS_OK)
        status = print_entry(arguments, &record);
    else
        status = complain_entry(arguments, status);
    free(value);
    session_close(&session);
    return status;
}

/* ---- set --------------------------------------------------------------------------------- */

/* All of standard input, up to one byte more than a value may have. */
static int read_input(const struct arguments *arguments, char **text, size_t *len)
{
    size_t room = 4096, got;

    *len = 0;
    *text = NULL;
    do {
        char *larger = realloc(*text, room);

        if (!larger)
            return complain_memory(arguments);
        *text = larger;
        got = fread(*text + *len, 1, room - 1 - *len, stdin);
        *len += got;
        (*text)[*len] = '\0';
        room *= *len + 1 == room ? 2 : 1;
    } while (got > 0 && *len <= TKS_VALUE_MAX);
    if (!ferror(stdin))
        return CLI_OK;
    complain(arguments, "standard input: %s", strerror(errno));
    return CLI_FAILED;
}

static int64_t expiry_after(int64_t ttl_ms)
{
    int64_t now = wall_clock_ms();

    if (ttl_ms == 0)
        return 0;
    return ttl_ms > INT64_MAX - now ? INT64_MAX : now + ttl_ms;
}

static int store_value(const struct arguments *arguments, struct record_copy *copy)
{
    struct tks_record *record = &copy->record;
    struct session session;
    int status = session_open_plugin(arguments, SESSION_CREATE, &session);

    if (status != CLI_OK)
        return status;
    record->size = sizeof(*record);
    record->plugin = arguments->plugin;
    record->plugin_len = strlen(arguments->plugin);
    record->key = arguments->words[0];
    record->key_len = strlen(record->key);
    record->expires_at = expiry_after(arguments->ttl_ms);
    status = tks_put_record(session.state, record);
    if (status != TKS_OK)
        status = complain_entry(arguments, status);
    session_close(&session);
    return status;
}

static bool names_are_valid(const struct arguments *arguments)
{
    return name_valid(arguments->plugin, strlen(arguments->plugin)) &&
           name_valid(arguments->words[0], strlen(arguments->words[0]));
}

int command_set(const struct arguments *arguments)
{
    struct record_copy copy = {.plugin = NULL};
    const char *text = arguments->words[1], *error;
    size_t len = strlen(text);
    char *input = NULL;
    int status = CLI_OK;

    /* Everything is checked before the store is opened: a mistake shall not create one. */
    if (!names_are_valid(arguments)) {
        complain(arguments, "%s/%s: a plugin's name and a key are 1 to %d bytes of UTF-8",
                 arguments->plugin, arguments->words[0], TKS_NAME_MAX);
        return CLI_USAGE;
    }
    if (strcmp(text, "-") == 0) {
        status = read_input(arguments, &input, &len);
        text = input;
    }
    if (status == CLI_OK) {
        error = record_value_from_text(arguments->type, text, len, &copy);
        if (error)
            complain(arguments, "%s/%s: %s", arguments->plugin, arguments->words[0], error);
        status = error ? CLI_USAGE : store_value(arguments, &copy);
    }
    record_release(&copy);
    free(input);
    return status;
}

/* ---- del --------------------------------------------------------------------------------- */

int command_del(const struct arguments *arguments)
{
    const char *key = arguments->words[0];
    struct session session;
    int status = session_open_plugin(arguments, SESSION_CHANGE, &session);
    int had;

    if (status != CLI_OK)
        return status;
    had = tks_has(session.state, key);
    status = had < 0 ? had : tks_delete(session.state, key);
    if (status != TKS_OK)
        status = complain_entry(arguments, status);
    else if (arguments->json)
        status = print_json(arguments, json_pack("{ss ss sb}", "plugin", arguments->plugin, "key",
                                                 key, "deleted", had));
    session_close(&session);
    return status;
}
