/* SPDX-License-Identifier: MIT */
/* Ticks from a CSV file, plain or gzip. Every row is checked: FILE:LINE says what is wrong. */
#include "replay/tick.h"

#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define LINE_MAX_LEN 1024
#define BUFFER_LEN (256 * 1024)

static const char header[] = "recv_ns,exch_ms,venue,symbol,kind,seq,px1,qty1,px2,qty2,aggr";

enum column {
    RECV_NS,
    EXCH_MS,
    VENUE,
    SYMBOL,
    KIND,
    SEQ,
    PX1,
    QTY1,
    PX2,
    QTY2,
    AGGR,
    COLUMNS,
};

struct tick_csv {
    gzFile file;
    uint64_t line;
    int64_t last_ns;
    char *path;
    char text[LINE_MAX_LEN];
};

static int wrong(const struct tick_csv *csv, const char *why, char error[TICK_ERROR_MAX])
{
    snprintf(error, TICK_ERROR_MAX, "%s:%llu: %s", csv->path, (unsigned long long)csv->line, why);
    return -1;
}

/* 1: a line without its end in csv->text; 0: the end of the file; -1. */
static int read_line(struct tick_csv *csv, char error[TICK_ERROR_MAX])
{
    const char *got = gzgets(csv->file, csv->text, sizeof(csv->text));
    size_t len;
    int code;

    csv->line++;
    if (!got) {
        const char *why = gzerror(csv->file, &code);

        if (code == Z_OK || code == Z_STREAM_END)
            return 0;
        return wrong(csv, code == Z_ERRNO ? strerror(errno) : why, error);
    }
    len = strlen(csv->text);
    if (len + 1 == sizeof(csv->text))
        return wrong(csv, "the line is too long", error);
    while (len > 0 && (csv->text[len - 1] == '\n' || csv->text[len - 1] == '\r'))
        csv->text[--len] = '\0';
    return 1;
}

static gzFile open_file(const char *path, char error[TICK_ERROR_MAX])
{
    struct stat info;
    gzFile file = NULL;

    /* Every plugin reads it from the start: a pipe would give each its own part. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        snprintf(error, TICK_ERROR_MAX, "%s: not a regular file", path);
        return NULL;
    }
    errno = 0;
    file = gzopen(path, "re");
    if (!file)
        snprintf(error, TICK_ERROR_MAX, "%s: %s", path, strerror(errno ? errno : ENOMEM));
    else
        gzbuffer(file, BUFFER_LEN);
    return file;
}

struct tick_csv *tick_csv_open(const char *path, char error[TICK_ERROR_MAX])
{
    struct tick_csv *csv = calloc(1, sizeof(*csv));

    if (!csv)
        return NULL;
    csv->path = strdup(path);
    csv->file = csv->path ? open_file(path, error) : NULL;
    if (csv->file) {
        int got = read_line(csv, error);

        if (got > 0 && strcmp(csv->text, header) == 0)
            return csv;
        if (got >= 0)
            snprintf(error, TICK_ERROR_MAX, "%s:1: the header is not %s", path, header);
    }
    tick_csv_close(csv);
    return NULL;
}

void tick_csv_close(struct tick_csv *csv)
{
    if (!csv)
        return;
    if (csv->file)
        gzclose_r(csv->file);
    free(csv->path);
    free(csv);
}

static bool split(char *text, char *columns[COLUMNS])
{
    int count = 1;

    columns[0] = text;
    for (; *text; text++) {
        if (*text != ',')
            continue;
        if (count == COLUMNS)
            return false;
        *text = '\0';
        columns[count++] = text + 1;
    }
    return count == COLUMNS;
}

static bool number_at_least(const char *text, double min, double *value)
{
    return parse_f64(text, value) && *value >= min;
}

/* A side of the book that is empty is quoted as 0 at some venues. */
static const char *read_quote(char *columns[COLUMNS], struct tick *tick)
{
    if (!number_at_least(columns[PX1], 0, &tick->bid))
        return "px1 is not a price";
    if (!number_at_least(columns[QTY1], 0, &tick->bid_qty))
        return "qty1 is not a size";
    if (!number_at_least(columns[PX2], 0, &tick->ask))
        return "px2 is not a price";
    if (!number_at_least(columns[QTY2], 0, &tick->ask_qty))
        return "qty2 is not a size";
    return *columns[AGGR] ? "aggr of a quote is not empty" : NULL;
}

static const char *read_trade(char *columns[COLUMNS], struct tick *tick)
{
    if (!number_at_least(columns[PX1], 0, &tick->price))
        return "px1 is not a price";
    if (!number_at_least(columns[QTY1], 0, &tick->qty))
        return "qty1 is not a size";
    if (*columns[PX2] || *columns[QTY2])
        return "px2 and qty2 of a trade are not empty";
    tick->buyer_took = strcmp(columns[AGGR], "B") == 0;
    return tick->buyer_took || strcmp(columns[AGGR], "S") == 0 ? NULL : "aggr is neither B nor S";
}

static bool is_plain(const char *name)
{
    return *name && utf8_valid(name, strlen(name));
}

static const char *read_instrument(char *columns[COLUMNS], struct tick_source *source,
                                   struct tick *tick)
{
    int number;

    if (!is_plain(columns[VENUE]))
        return "venue is empty or not UTF-8";
    if (!is_plain(columns[SYMBOL]))
        return "symbol is empty or not UTF-8";
    number = tick_source_number(source, columns[VENUE], columns[SYMBOL]);
    if (number < 0)
        return "venue and symbol are too long, or there are too many of them";
    tick->instrument = (uint16_t)number;
    return NULL;
}

static const char *read_row(struct tick_csv *csv, struct tick_source *source, struct tick *tick)
{
    char *columns[COLUMNS];
    const char *error;
    int64_t number;

    if (!split(csv->text, columns))
        return "not 11 columns";
    *tick = (struct tick){.kind = *columns[KIND]};
    if (!parse_i64(columns[RECV_NS], 0, INT64_MAX, &tick->recv_ns))
        return "recv_ns is not a time";
    if (tick->recv_ns < csv->last_ns)
        return "recv_ns goes back";
    csv->last_ns = tick->recv_ns;
    if (*columns[EXCH_MS] && !parse_i64(columns[EXCH_MS], 0, INT64_MAX, &number))
        return "exch_ms is not a time";
    if (!parse_i64(columns[SEQ], 0, INT64_MAX, &number))
        return "seq is not a number";
    tick->seq = (uint64_t)number;
    error = read_instrument(columns, source, tick);
    if (error)
        return error;
    if (strcmp(columns[KIND], "Q") == 0)
        return read_quote(columns, tick);
    return strcmp(columns[KIND], "T") == 0 ? read_trade(columns, tick) : "kind is neither Q nor T";
}

int tick_csv_next(struct tick_csv *csv, struct tick_source *source, struct tick *tick,
                  char error[TICK_ERROR_MAX])
{
    int got = read_line(csv, error);
    const char *why;

    if (got <= 0)
        return got;
    why = read_row(csv, source, tick);
    return why ? wrong(csv, why, error) : 1;
}
