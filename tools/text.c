/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool continues(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

static size_t utf8_three(const unsigned char *text)
{
    if (!continues(text[1]) || !continues(text[2]))
        return 0;
    if (text[0] == 0xE0 && text[1] < 0xA0)
        return 0; /* over-long */
    if (text[0] == 0xED && text[1] > 0x9F)
        return 0; /* a surrogate */
    return 3;
}

static size_t utf8_four(const unsigned char *text)
{
    if (!continues(text[1]) || !continues(text[2]) || !continues(text[3]))
        return 0;
    if ((text[0] == 0xF0 && text[1] < 0x90) || (text[0] == 0xF4 && text[1] > 0x8F))
        return 0;
    return 4;
}

size_t utf8_sequence(const char *text, size_t len)
{
    const unsigned char *bytes = (const unsigned char *)text;

    if (len == 0)
        return 0;
    if (bytes[0] < 0x80)
        return 1;
    if (bytes[0] >= 0xC2 && bytes[0] <= 0xDF)
        return len >= 2 && continues(bytes[1]) ? 2 : 0;
    if (bytes[0] >= 0xE0 && bytes[0] <= 0xEF)
        return len >= 3 ? utf8_three(bytes) : 0;
    if (bytes[0] >= 0xF0 && bytes[0] <= 0xF4)
        return len >= 4 ? utf8_four(bytes) : 0;
    return 0;
}

bool utf8_valid(const char *text, size_t len)
{
    while (len > 0) {
        size_t step = utf8_sequence(text, len);

        if (step == 0)
            return false;
        text += step;
        len -= step;
    }
    return true;
}

bool name_valid(const char *text, size_t len)
{
    return len >= 1 && len <= TKS_NAME_MAX && !memchr(text, '\0', len) && utf8_valid(text, len);
}

static bool printable(const char *text, size_t step)
{
    unsigned char first = (unsigned char)text[0];

    if (step == 1)
        return first >= 0x20 && first != 0x7F && first != '\\';
    /* U+0080 to U+009F are control characters too; U+2028 and U+2029 break a line for some. */
    if (step == 2)
        return first != 0xC2 || (unsigned char)text[1] >= 0xA0;
    return !(step == 3 && memcmp(text, "\xE2\x80", 2) == 0 &&
             ((unsigned char)text[2] & 0xFE) == 0xA8);
}

void write_visible(FILE *file, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t step = utf8_sequence(bytes, len);

        if (step > 0 && printable(bytes, step)) {
            fwrite(bytes, 1, step, file);
        } else if (*bytes == '\\') {
            fputs("\\\\", file);
        } else {
            step = step ? step : 1;
            for (size_t i = 0; i < step; i++)
                fprintf(file, "\\x%02X", (unsigned char)bytes[i]);
        }
        bytes += step;
        len -= step;
    }
}

bool parse_i64(const char *text, int64_t min, int64_t max, int64_t *value)
{
    const char *digits = *text == '-' || *text == '+' ? text + 1 : text;
    char *end;
    long long parsed;

    if (!isdigit((unsigned char)*digits))
        return false;
    errno = 0;
    parsed = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || parsed < min || parsed > max)
        return false;
    *value = parsed;
    return true;
}

bool parse_f64(const char *text, double *value)
{
    char *end;

    /* strtod() also takes hexadecimal, "inf", "nan" and leading space: not here. */
    if (*text == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0')
        return false;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

const char *format_grouped(uint64_t value, char text[GROUPED_MAX])
{
    char plain[24];
    size_t len = (size_t)snprintf(plain, sizeof(plain), "%llu", (unsigned long long)value);
    char *out = text;

    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *out++ = ',';
        *out++ = plain[i];
    }
    *out = '\0';
    return text;
}

static const char *const type_names[] = {
    [TKS_TYPE_BYTES] = "bytes", [TKS_TYPE_I64] = "i64",       [TKS_TYPE_F64] = "f64",
    [TKS_TYPE_BOOL] = "bool",   [TKS_TYPE_STRING] = "string", [TKS_TYPE_JSON] = "json",
};

#define TYPES ((int)(sizeof(type_names) / sizeof(type_names[0])))

const char *type_name(int type)
{
    return type >= 0 && type < TYPES ? type_names[type] : "unknown";
}

int type_by_name(const char *name)
{
    for (int type = 0; type < TYPES; type++)
        if (strcmp(type_names[type], name) == 0)
            return type;
    return -1;
}

int64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t wall_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *format_size(uint64_t bytes, char text[SIZE_TEXT_MAX])
{
    static const char units[] = "KMGT";
    double value = (double)bytes;
    int unit = -1;

    while (value >= 1024 && unit < 3) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(text, SIZE_TEXT_MAX, "%llu B", (unsigned long long)bytes);
    else
        snprintf(text, SIZE_TEXT_MAX, "%.1f %ciB", value, units[unit]);
    return text;
}

const char *format_date(int64_t ms, char text[DATE_MAX])
{
    time_t seconds = (time_t)(ms / 1000);
    char date[DATE_MAX];
    struct tm parts;

    /* A damaged file can say anything. */
    if (ms >= 0 && gmtime_r(&seconds, &parts) && parts.tm_year < 8100 &&
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &parts) > 0)
        snprintf(text, DATE_MAX, "%.32s.%03d UTC", date, (int)(ms % 1000));
    else
        snprintf(text, DATE_MAX, "%lld ms since 1970", (long long)ms);
    return text;
}

const char *format_age(int64_t ms, char text[AGE_MAX])
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"days", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}};

    if (ms < 60000) {
        snprintf(text, AGE_MAX, "%.1f s", (double)ms / 1000);
        return text;
    }
    for (int i = 0; i < 3; i++) {
        if (ms < units[i].ms)
            continue;
        snprintf(text, AGE_MAX, "%lld %s %lld %s", (long long)(ms / units[i].ms), units[i].name,
                 (long long)(ms % units[i].ms / units[i + 1].ms), units[i + 1].name);
        break;
    }
    return text;
}

const char *format_duration(uint64_t ns, char text[DURATION_MAX])
{
    static const char *const units[] = {"ns", "µs", "ms", "s"};
    double value = (double)ns;
    int unit = 0;

    while (value >= 1000 && unit < 3) {
        value /= 1000;
        unit++;
    }
    snprintf(text, DURATION_MAX, "%.*f %s",
             unit == 0 || value >= 100 ? 0
             : value >= 10             ? 1
                                       : 2,
             value, units[unit]);
    return text;
}
