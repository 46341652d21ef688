/* SPDX-License-Identifier: MIT */
/* Tables on stdout; the same rows as JSON and CSV. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#define REPORT_COLUMNS 8

void report_start(const char *question);

/** A line of prose, in the table and in the JSON. */
void report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Begin a table. @p metrics: its NULL-terminated columns; must live until report_finish(). */
void report_section(const char *title, const char *const *metrics);

/**
 * One row of the table: a value per column (NAN: none). @p target: an id of targets.h, or NULL;
 * the row passes when the column that the target is about is at most the target's number.
 */
void report_row(const char *work, const char *subject, const double *values, const char *target);

/** False when a file could not be written. */
bool report_finish(void);

#endif
