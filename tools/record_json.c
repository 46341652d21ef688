/* SPDX-License-Identifier: MIT */
#include "record_json.h"

#include "json/text.h"
#include "json/value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char no_memory[] = "out of memory";

/* ---- Writing ----------------------------------------------------------------------------- */

bool record_i64(const void *value, size_t len, int64_t *number)
{
    if (len != sizeof(*number))
        return false;
    memcpy(number, value, sizeof(*number));
    return true;
}

bool record_f64(const void *value, size_t len, double *number)
{
    if (len != sizeof(*number))
        return false;
    memcpy(number, value, sizeof(*number));
    return isfinite(*number);
}

static const char *const wrong_value[] = {
    [TKS_TYPE_BYTES] = "the stored value is not bytes",
    [TKS_TYPE_I64] = "the stored value is not an i64",
    [TKS_TYPE_F64] = "the stored value is not an f64",
    [TKS_TYPE_BOOL] = "the stored value is not a bool",
    [TKS_TYPE_STRING] = "the stored value is not UTF-8",
    [TKS_TYPE_JSON] = "the stored value is not JSON",
};

static const char *value_text(const struct tks_record *record, struct tks_buffer *text)
{
    struct json_span value = {record->value, record->value_len};

    if (record->type >= sizeof(wrong_value) / sizeof(wrong_value[0]))
        return "the stored value has an unknown type";
    /* White space around a document cannot be told from the line's own. */
    if (record->type == TKS_TYPE_JSON && !tks_json_value(record->value, record->value_len, &value))
        return wrong_value[TKS_TYPE_JSON];
    switch (tks_value_write(record->type, value.start, value.len, text)) {
    case TKS_OK:
        return NULL;
    case TKS_NO_SPACE:
        return no_memory;
    default:
        return wrong_value[record->type];
    }
}

static const char *write_value(FILE *file, const struct tks_record *record)
{
    struct tks_buffer text = {.bytes = NULL};
    const char *error = value_text(record, &text);

    /* In a document a line break can only stand between tokens, where a space means the same; in
     * other texts there is none. */
    for (size_t i = 0; !error && i < text.len; i++)
        if (text.bytes[i] == '\n' || text.bytes[i] == '\r')
            text.bytes[i] = ' ';
    if (!error)
        fwrite(text.bytes, 1, text.len, file);
    tks_buffer_release(&text);
    return error;
}

const char *record_write(FILE *file, const struct tks_record *record, enum record_fields fields)
{
    const char *error;

    fputs("{\"plugin\":", file);
    if (!write_json_string(file, record->plugin, record->plugin_len))
        return "the plugin's name is not UTF-8";
    fputs(",\"key\":", file);
    if (!write_json_string(file, record->key, record->key_len))
        return "the key is not UTF-8";
    fprintf(file, ",\"type\":\"%s\",\"value\":", type_name((int)record->type));
    error = write_value(file, record);
    if (error)
        return error;
    fprintf(file, ",\"version\":%llu", (unsigned long long)record->version);
    if (fields == RECORD_WITH_EXPIRY && record->expires_at != 0)
        fprintf(file, ",\"expires_at\":%lld", (long long)record->expires_at);
    else if (fields == RECORD_WITH_EXPIRY)
        fputs(",\"expires_at\":null", file);
    fputs("}\n", file);
    return NULL;
}

/* ---- Values ------------------------------------------------------------------------------ */

static const char *keep_value(struct record_copy *copy, int type, const void *value, size_t len)
{
    void *kept;

    if (len > TKS_VALUE_MAX)
        return "the value is too long";
    kept = malloc(len + 1);
    if (!kept)
        return no_memory;
    if (len > 0)
        memcpy(kept, value, len);
    ((char *)kept)[len] = '\0';
    free(copy->value);
    copy->value = kept;
    copy->record.type = (uint32_t)type;
    copy->record.value = kept;
    copy->record.value_len = len;
    return NULL;
}

/* A JSON text, as the type that it is: what tks_set_json() promises. */
static const char *json_value(const char *text, size_t len, struct record_copy *copy)
{
    struct tks_buffer scratch = {.bytes = NULL};
    struct json_span span;
    struct tks_value value;
    const char *error = "the value is not JSON";

    if (!tks_json_value(text, len, &span))
        return error;
    /* Not the exchange format: an object named $bytes is a document here. */
    if (*span.start == '{' || *span.start == '[')
        return keep_value(copy, TKS_TYPE_JSON, span.start, span.len);
    switch (tks_value_read(span.start, span.len, &scratch, &value, &error)) {
    case TKS_OK:
        error = keep_value(copy, value.type, value.bytes, value.len);
        break;
    case TKS_NO_SPACE:
        error = no_memory;
    }
    tks_buffer_release(&scratch);
    return error;
}

static const char *bool_from_text(const char *text, size_t len, struct record_copy *copy)
{
    bool is_true = len == 4 && memcmp(text, "true", 4) == 0;

    if (!is_true && !(len == 5 && memcmp(text, "false", 5) == 0))
        return "the value is neither true nor false";
    return keep_value(copy, TKS_TYPE_BOOL, is_true ? "\1" : "\0", 1);
}

/* Numbers may end in a line break: they often come from a pipe. */
static const char *number_from_text(int type, const char *text, size_t len,
                                    struct record_copy *copy)
{
    char digits[512];
    int64_t integer;
    double real;

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (len >= sizeof(digits) || memchr(text, '\0', len))
        return "the value is not a number";
    memcpy(digits, text, len);
    digits[len] = '\0';
    if (type == TKS_TYPE_I64) {
        if (!parse_i64(digits, INT64_MIN, INT64_MAX, &integer))
            return "the value is not an i64";
        return keep_value(copy, type, &integer, sizeof(integer));
    }
    if (!parse_f64(digits, &real))
        return "the value is not a finite number";
    return keep_value(copy, type, &real, sizeof(real));
}

const char *record_value_from_text(int type, const char *text, size_t len, struct record_copy *copy)
{
    switch (type) {
    case TKS_TYPE_I64:
    case TKS_TYPE_F64:
        return number_from_text(type, text, len, copy);
    case TKS_TYPE_BOOL:
        return bool_from_text(text, len, copy);
    case TKS_TYPE_JSON:
        if (!utf8_valid(text, len))
            return "the value is not UTF-8";
        return json_value(text, len, copy);
    case TKS_TYPE_STRING:
        if (!utf8_valid(text, len))
            return "the value is not UTF-8";
        return keep_value(copy, type, text, len);
    default:
        return keep_value(copy, type, text, len);
    }
}

/* ---- Reading ----------------------------------------------------------------------------- */

enum field {
    FIELD_PLUGIN,
    FIELD_KEY,
    FIELD_TYPE,
    FIELD_VALUE,
    FIELD_VERSION,
    FIELD_EXPIRES,
    FIELDS
};

static const char *const field_names[FIELDS] = {"plugin", "key",     "type",
                                                "value",  "version", "expires_at"};

struct line {
    struct json_span fields[FIELDS];
    const char *error;
};

static bool take_member(void *arg, struct json_span name, struct json_span value)
{
    struct line *line = arg;

    for (int i = 0; i < FIELDS; i++) {
        size_t len = strlen(field_names[i]);

        if (name.len != len + 2 || memcmp(name.start + 1, field_names[i], len) != 0)
            continue;
        if (line->fields[i].start)
            line->error = "a member is there twice";
        line->fields[i] = value;
        return !line->error;
    }
    line->error = "unknown member";
    return false;
}

static bool span_is(struct json_span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.start, text, span.len) == 0;
}

static bool read_name(struct json_span span, char **name, size_t *len)
{
    if (!span.start || *span.start != '"')
        return false;
    *name = tks_json_string(span, len);
    return *name && name_valid(*name, *len);
}

static const char *read_type(struct json_span span, int *type)
{
    char name[16] = "";

    if (!span.start)
        return "\"type\" is missing";
    if (*span.start == '"' && span.len - 2 < sizeof(name))
        memcpy(name, span.start + 1, span.len - 2);
    *type = type_by_name(name);
    return *type < 0 ? "\"type\" is none of bytes, i64, f64, bool, string, json" : NULL;
}

static bool is_integer(struct json_span number)
{
    return strcspn(number.start, ".eE") >= number.len;
}

static bool whole_number(struct json_span span)
{
    return span.start && *span.start >= '0' && *span.start <= '9' && is_integer(span);
}

static const char *read_expiry(struct json_span span, int64_t *expires_at)
{
    if (!span.start || span_is(span, "null"))
        return NULL;
    errno = 0;
    *expires_at = whole_number(span) ? strtoll(span.start, NULL, 10) : -1;
    return *expires_at < 1 || errno != 0 ? "\"expires_at\" is neither null nor milliseconds" : NULL;
}

/* What a value of a type must be in the exchange format. */
static const char *const wrong_text[] = {
    [TKS_TYPE_BYTES] = "the value is not {\"$bytes\":\"base64\"}",
    [TKS_TYPE_I64] = "the value is not an i64",
    [TKS_TYPE_F64] = "the value is not a finite number",
    [TKS_TYPE_BOOL] = "the value is not a bool",
    [TKS_TYPE_STRING] = "the value is not a string in UTF-8",
    [TKS_TYPE_JSON] =
        "the value of a json entry is an object, an array or null, $bytes written $$bytes",
};

static const char *keep_as(int type, struct tks_value *value, struct record_copy *copy)
{
    int64_t integer;
    double real;

    if (type == TKS_TYPE_F64 && record_i64(value->bytes, value->len, &integer) &&
        value->type == TKS_TYPE_I64) {
        real = (double)integer;
        return keep_value(copy, type, &real, sizeof(real));
    }
    if (value->type != type)
        return wrong_text[type];
    return keep_value(copy, type, value->bytes, value->len);
}

static const char *read_value_of(int type, struct json_span span, struct record_copy *copy)
{
    struct tks_buffer scratch = {.bytes = NULL};
    struct tks_value value;
    const char *error;

    if (!span.start)
        return "\"value\" is missing";
    switch (tks_value_read(span.start, span.len, &scratch, &value, &error)) {
    case TKS_OK:
        error = keep_as(type, &value, copy);
        break;
    case TKS_NO_SPACE:
        error = no_memory;
        break;
    default:
        error = wrong_text[type];
    }
    tks_buffer_release(&scratch);
    return error;
}

static const char *read_fields(const struct line *line, struct record_copy *copy)
{
    struct tks_record *record = &copy->record;
    const char *error;
    int type;

    if (!read_name(line->fields[FIELD_PLUGIN], &copy->plugin, &record->plugin_len))
        return "\"plugin\" is missing or no name (1 to 255 bytes of UTF-8)";
    if (!read_name(line->fields[FIELD_KEY], &copy->key, &record->key_len))
        return "\"key\" is missing or no name (1 to 255 bytes of UTF-8)";
    record->plugin = copy->plugin;
    record->key = copy->key;
    error = read_type(line->fields[FIELD_TYPE], &type);
    if (!error)
        error = read_value_of(type, line->fields[FIELD_VALUE], copy);
    if (!error)
        error = read_expiry(line->fields[FIELD_EXPIRES], &record->expires_at);
    if (!error && line->fields[FIELD_VERSION].start && !whole_number(line->fields[FIELD_VERSION]))
        error = "\"version\" is not a whole number";
    return error;
}

const char *record_read(const char *text, size_t len, struct record_copy *copy)
{
    struct line line = {.error = NULL};

    *copy = (struct record_copy){.record = {.size = sizeof(copy->record)}};
    if (!utf8_valid(text, len))
        return "not UTF-8";
    if (!tks_json_members(text, len, take_member, &line))
        return line.error ? line.error : "not a JSON object";
    return read_fields(&line, copy);
}

void record_release(struct record_copy *copy)
{
    free(copy->plugin);
    free(copy->key);
    free(copy->value);
    *copy = (struct record_copy){.plugin = NULL};
}
