/* SPDX-License-Identifier: MIT */
#include "mirror_database.h"
#include "outside.h"

#include <stdlib.h>

struct mirror_database {
    struct outside *outside;
    bool away;
    enum mirror_absence absence;
};

struct mirror_database *mirror_database_new(void)
{
    struct mirror_database *database = calloc(1, sizeof(*database));
    void *fixture;

    CHECK(database != NULL);
    CHECK_INT(outside_setup(&fixture), 0);
    database->outside = fixture;
    return database;
}

void mirror_database_dispose(struct mirror_database *database)
{
    void *fixture = database->outside;

    mirror_database_returns(database);
    CHECK_INT(outside_teardown(&fixture), 0);
    free(database);
}

const char *mirror_database_uri(const struct mirror_database *database, int timeout_ms)
{
    static char uri[API_URI_MAX];
    char parameters[40];

    snprintf(parameters, sizeof(parameters), "&timeout_ms=%d", timeout_ms);
    outside_uri(database->outside, uri, "postgres", parameters);
    return uri;
}

void mirror_database_sql(struct mirror_database *database, const char *sql)
{
    outside_sql(database->outside, "%s", sql);
}

long long mirror_database_number(struct mirror_database *database, const char *sql)
{
    const char *answer = outside_ask(database->outside, "%s", sql);

    return answer != NULL ? atoll(answer) : 0;
}

bool mirror_database_leaves(struct mirror_database *database, enum mirror_absence absence)
{
    if (absence == ABSENCE_BLOCKED)
        /* A new connection is made before a transaction is begun, and nobody answers it. */
        outside_sql(database->outside, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                       "WHERE application_name = 'tickstate'");
    if (absence == ABSENCE_LOCKED)
        outside_sql(database->outside, "BEGIN; LOCK TABLE plugin_state IN EXCLUSIVE MODE");
    else
        outside_control(absence == ABSENCE_STOPPED ? "kill" : "pause");
    database->away = true;
    database->absence = absence;
    return true;
}

void mirror_database_returns(struct mirror_database *database)
{
    if (!database->away)
        return;
    database->away = false;
    if (database->absence == ABSENCE_LOCKED)
        outside_sql(database->outside, "COMMIT");
    else
        outside_control(database->absence == ABSENCE_STOPPED ? "start" : "resume");
}
