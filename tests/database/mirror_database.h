/* SPDX-License-Identifier: MIT */
/*
 * A database that a segment is mirrored to, as the tests of the mirror need it: one that is new for
 * each test, looked at from outside, and taken away. mirror_sqlite.c and mirror_postgres.c.
 */
#ifndef TICKSTATE_TESTS_MIRROR_DATABASE_H
#define TICKSTATE_TESTS_MIRROR_DATABASE_H

#include "../api/api.h"
#include "../api/peers.h"

struct mirror_database;

struct mirror_database *mirror_database_new(void);
void mirror_database_dispose(struct mirror_database *database);

/** Its URI, with timeout_ms=; static until the next call. */
const char *mirror_database_uri(const struct mirror_database *database, int timeout_ms);

/** As another program: change something; ask for one number. */
void mirror_database_sql(struct mirror_database *database, const char *sql);
long long mirror_database_number(struct mirror_database *database, const char *sql);

/**
 * Ways in which it is away, each until mirror_database_returns(). BLOCKED lets whoever feeds it
 * wait in its own process, before its next transaction has begun; LOCKED in the middle of one, in
 * the server's.
 */
enum mirror_absence { ABSENCE_BLOCKED, ABSENCE_STOPPED, ABSENCE_SILENT, ABSENCE_LOCKED, ABSENCES };
/** False: this database has no such absence. */
bool mirror_database_leaves(struct mirror_database *database, enum mirror_absence absence);
void mirror_database_returns(struct mirror_database *database);

#endif
