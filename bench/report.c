/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "targets.h"

#define ROWS_MAX 512
#define NOTES_MAX 64

struct target {
    const char *id;
    const char *metric;
    double at_most;
};

struct section {
    const char *title;
    const char *const *metrics;
};

struct row {
    struct section section;
    char work[64];
    char subject[64];
    double values[REPORT_COLUMNS];
    const struct target *target;
    bool pass;
};

static const struct target targets[] = {
#define TARGET_ENTRY(id, metric, at_most) {id, metric, at_most},
    TARGET_LIST(TARGET_ENTRY)
#undef TARGET_ENTRY
};

static const char *asked;
static struct section current;
static struct row rows[ROWS_MAX];
static size_t row_count;
static char notes[NOTES_MAX][256];
static size_t note_count;

void report_start(const char *question)
{
    asked = question;
    printf("== bench-%s: %s\n", bench_program(), question);
}

void report_note(const char *format, ...)
{
    va_list arguments;

    if (note_count == NOTES_MAX) {
        die("too many notes");
    }
    va_start(arguments, format);
    vsnprintf(notes[note_count], sizeof(notes[0]), format, arguments);
    va_end(arguments);
    printf("   %s\n", notes[note_count++]);
    fflush(stdout);
}

static const struct target *target_find(const char *id)
{
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        if (strcmp(targets[i].id, id) == 0) {
            return &targets[i];
        }
    }
    die("no such target: %s", id);
}

void report_section(const char *title, const char *const *metrics)
{
    current = (struct section){title, metrics};
    printf("\n%s\n  %-30s %-26s", title, "work", "subject");
    for (size_t i = 0; metrics[i] != NULL; i++) {
        printf(" %11s", metrics[i]);
    }
    printf("  %-22s\n", "target");
}

static void print_value(double value)
{
    if (isnan(value)) {
        printf(" %11s", "-");
    } else if (value == floor(value) && value < 1e9) {
        printf(" %11.0f", value);
    } else {
        printf(" %11.*f", value < 10 ? 2 : value < 1000 ? 1 : 0, value);
    }
}

static void judge(struct row *row, const char *target)
{
    row->target = target_find(target);
    for (size_t i = 0; current.metrics[i] != NULL; i++) {
        if (strcmp(current.metrics[i], row->target->metric) == 0) {
            row->pass = row->values[i] <= row->target->at_most;
            return;
        }
    }
    die("the table of %s has no column %s", target, row->target->metric);
}

static void print_verdict(const struct row *row)
{
    if (row->target != NULL) {
        printf("  %s <= %g: %s", row->target->metric, row->target->at_most,
               row->pass ? "PASS" : "MISS");
    }
    putchar('\n');
}

void report_row(const char *work, const char *subject, const double *values, const char *target)
{
    struct row *row = &rows[row_count];

    if (row_count == ROWS_MAX) {
        die("too many rows");
    }
    row_count++;
    row->section = current;
    snprintf(row->work, sizeof(row->work), "%s", work);
    snprintf(row->subject, sizeof(row->subject), "%s", subject);
    printf("  %-30s %-26s", work, subject);
    for (size_t i = 0; current.metrics[i] != NULL; i++) {
        row->values[i] = values[i];
        print_value(values[i]);
    }
    if (target != NULL) {
        judge(row, target);
    }
    print_verdict(row);
    fflush(stdout);
}

/* ---- Files ------------------------------------------------------------------------------- */

static void json_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', file);
        }
        fputc((unsigned char)*text < ' ' ? ' ' : *text, file);
    }
    fputc('"', file);
}

static void json_number(FILE *file, double value)
{
    if (isfinite(value)) {
        fprintf(file, "%.6g", value);
    } else {
        fputs("null", file);
    }
}

static void json_row(FILE *file, const struct row *row)
{
    fputs("    {\"table\": ", file);
    json_string(file, row->section.title);
    fputs(", \"work\": ", file);
    json_string(file, row->work);
    fputs(", \"subject\": ", file);
    json_string(file, row->subject);
    fputs(", \"values\": {", file);
    for (size_t i = 0; row->section.metrics[i] != NULL; i++) {
        fputs(i > 0 ? ", " : "", file);
        json_string(file, row->section.metrics[i]);
        fputs(": ", file);
        json_number(file, row->values[i]);
    }
    fputc('}', file);
    if (row->target != NULL) {
        fprintf(file, ", \"target\": {\"id\": \"%s\", \"metric\": \"%s\", \"at_most\": %g, ",
                row->target->id, row->target->metric, row->target->at_most);
        fprintf(file, "\"pass\": %s}", row->pass ? "true" : "false");
    }
    fputc('}', file);
}

static void json_write(FILE *file)
{
    fputs("{\n  \"program\": ", file);
    json_string(file, bench_program());
    fputs(",\n  \"question\": ", file);
    json_string(file, asked);
    fprintf(file, ",\n  \"quick\": %s,\n  \"notes\": [\n", options.quick ? "true" : "false");
    for (size_t i = 0; i < note_count; i++) {
        fputs("    ", file);
        json_string(file, notes[i]);
        fputs(i + 1 < note_count ? ",\n" : "\n", file);
    }
    fputs("  ],\n  \"rows\": [\n", file);
    for (size_t i = 0; i < row_count; i++) {
        json_row(file, &rows[i]);
        fputs(i + 1 < row_count ? ",\n" : "\n", file);
    }
    fputs("  ]\n}\n", file);
}

/* program,work,subject,metric,value,target,verdict: none of our texts has a comma or a quote. */
static void csv_write(FILE *file)
{
    for (size_t i = 0; i < row_count; i++) {
        const struct row *row = &rows[i];
        for (size_t j = 0; row->section.metrics[j] != NULL; j++) {
            const char *metric = row->section.metrics[j];
            bool judged = row->target != NULL && strcmp(row->target->metric, metric) == 0;
            if (isnan(row->values[j])) {
                continue;
            }
            fprintf(file, "%s,%s,%s,%s,%.6g,", bench_program(), row->work, row->subject, metric,
                    row->values[j]);
            if (judged) {
                fprintf(file, "%g,%s\n", row->target->at_most, row->pass ? "PASS" : "MISS");
            } else {
                fputs(",\n", file);
            }
        }
    }
}

static bool write_file(const char *path, const char *mode, void (*write)(FILE *))
{
    FILE *file;

    if (path == NULL) {
        return true;
    }
    file = fopen(path, mode);
    if (file != NULL) {
        write(file);
        if (fclose(file) == 0) {
            return true;
        }
    }
    fprintf(stderr, "bench-%s: %s: %s\n", bench_program(), path, strerror(errno));
    return false;
}

bool report_finish(void)
{
    bool json = write_file(options.json, "w", json_write);
    bool csv = write_file(options.csv, "a", csv_write);

    putchar('\n');
    return json && csv;
}
