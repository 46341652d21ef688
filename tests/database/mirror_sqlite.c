/* SPDX-License-Identifier: MIT */
#include "mirror_database.h"
#include "sqlite_support.h"

#include <stdlib.h>

struct mirror_database {
    struct file *file;
    sqlite3 *blocker; /* holds the file's write lock */
};

struct mirror_database *mirror_database_new(void)
{
    struct mirror_database *database = calloc(1, sizeof(*database));
    void *file;

    CHECK(database != NULL);
    CHECK_INT(file_setup(&file), 0);
    database->file = file;
    return database;
}

void mirror_database_dispose(struct mirror_database *database)
{
    void *file = database->file;

    mirror_database_returns(database);
    CHECK_INT(file_teardown(&file), 0);
    free(database);
}

const char *mirror_database_uri(const struct mirror_database *database, int timeout_ms)
{
    static char uri[API_URI_MAX];

    CHECK(snprintf(uri, sizeof(uri), "sqlite://%s?timeout_ms=%d", database->file->path,
                   timeout_ms) < API_URI_MAX);
    return uri;
}

void mirror_database_sql(struct mirror_database *database, const char *sql)
{
    outside(database->file, sql);
}

long long mirror_database_number(struct mirror_database *database, const char *sql)
{
    return atoll(outside_answer(database->file, sql));
}

bool mirror_database_leaves(struct mirror_database *database, enum mirror_absence absence)
{
    if (absence != ABSENCE_BLOCKED)
        return false;
    CHECK_INT(sqlite3_open(database->file->path, &database->blocker), SQLITE_OK);
    sqlite3_busy_timeout(database->blocker, 60000);
    CHECK_INT(sqlite3_exec(database->blocker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return true;
}

void mirror_database_returns(struct mirror_database *database)
{
    sqlite3_close(database->blocker);
    database->blocker = NULL;
}
