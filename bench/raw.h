/* SPDX-License-Identifier: MIT */
/*
 * The databases' own libraries doing by hand the statements that tickstate does, on a table that
 * tickstate made: what a plugin would have written itself. A value is bound as the bytes it is,
 * without any coding.
 */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include "peer.h"

/* config->name: the path of the file, the URI of the server. */
extern const struct peer raw_sqlite;
extern const struct peer raw_postgres;

#define RAW_PLUGIN "raw"
/* Versions from here on: no counter gets there while a bench runs. */
#define RAW_FIRST_VERSION (INT64_C(1) << 61)

#endif
