/* SPDX-License-Identifier: MIT */
#include "sqlite_support.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int file_setup(void **fixture)
{
    struct file *file = calloc(1, sizeof(*file));

    CHECK(file != NULL);
    *fixture = file;
    snprintf(file->folder, sizeof(file->folder), "/tmp/tickstate-test-XXXXXX");
    CHECK(mkdtemp(file->folder) != NULL);
    CHECK(chmod(file->folder, 0755) == 0);
    snprintf(file->path, sizeof(file->path), "%s/store.db", file->folder);
    snprintf(file->uri, sizeof(file->uri), "sqlite://%s", file->path);
    return 0;
}

int file_teardown(void **fixture)
{
    struct file *file = *fixture;
    DIR *folder = opendir(file->folder);
    struct dirent *entry;

    api_end_peers();
    CHECK(folder != NULL);
    while ((entry = readdir(folder)) != NULL)
        unlinkat(dirfd(folder), entry->d_name, 0);
    closedir(folder);
    CHECK(rmdir(file->folder) == 0);
    free(file);
    return 0;
}

struct answer {
    char text[4096];
    size_t len;
};

static int note_row(void *arg, int columns, char **values, char **names)
{
    struct answer *answer = arg;

    (void)names;
    for (int i = 0; i < columns; i++)
        answer->len +=
            (size_t)snprintf(answer->text + answer->len, sizeof(answer->text) - answer->len, "%s%s",
                             i > 0             ? "|"
                             : answer->len > 0 ? "\n"
                                               : "",
                             values[i] != NULL ? values[i] : "null");
    return 0;
}

const char *outside_answer(const struct file *file, const char *sql)
{
    static struct answer answer;
    char *error = NULL;
    sqlite3 *sqlite;

    answer.text[0] = '\0';
    answer.len = 0;
    CHECK(sqlite3_open(file->path, &sqlite) == SQLITE_OK);
    sqlite3_busy_timeout(sqlite, 10000);
    if (sqlite3_exec(sqlite, sql, note_row, &answer, &error) != SQLITE_OK)
        api_fail(__FILE__, __LINE__, "%s: %s", sql, error);
    CHECK(sqlite3_close(sqlite) == SQLITE_OK);
    return answer.text;
}

void outside(const struct file *file, const char *sql)
{
    outside_answer(file, sql);
}

void check_answer(const char *source, int line, const char *got, const char *want)
{
    if (strcmp(got, want) != 0)
        api_fail(source, line, "the table says '%s', not '%s'", got, want);
}

void check_says(const char *source, int line, const char *part)
{
    const char *error = tks_last_error();

    if (strstr(error, part) == NULL || strchr(error, '\n') != NULL)
        api_fail(source, line, "the sentence is '%s', without '%s'", error, part);
}

uint64_t version_of(tks_state *state, const char *key)
{
    uint64_t version = 0;
    int status = tks_get_versioned(state, key, NULL, 0, NULL, &version);

    CHECK(status == TKS_OK || status == TKS_TOO_SMALL);
    CHECK(version != 0);
    return version;
}
