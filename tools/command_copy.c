/* SPDX-License-Identifier: MIT */
/*
 * copy, and import --from URI: the entries of one store into another, one by one. Which of them
 * are there already the target decides (tks_copy_record()), so an interrupted copy needs no notes
 * of how far it came: it is done again, and what was done is skipped.
 */
#include "copy.h"

#include "base/uri.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Positive, so that it is no status of the library: what is wrong was said already. */
#define STOP 1

struct copy {
    const struct arguments *arguments;
    const struct copy_stores *stores;
    struct session from, to;
    uint64_t total, seen;
    uint64_t outcomes[TKS_COPY_EXPIRED + 1];
};

/* ---- What is refused --------------------------------------------------------------------- */

static bool same_file(const struct tks_uri *left, const struct tks_uri *right)
{
    char *paths[2] = {strndup(left->rest, left->rest_len), strndup(right->rest, right->rest_len)};
    struct stat files[2];
    bool same = paths[0] && paths[1] && stat(paths[0], &files[0]) == 0 &&
                stat(paths[1], &files[1]) == 0 && files[0].st_dev == files[1].st_dev &&
                files[0].st_ino == files[1].st_ino;

    free(paths[0]);
    free(paths[1]);
    return same;
}

/* As far as the URIs say: that two names are of one database only its server knows. */
static bool same_store(const char *from, const char *to)
{
    struct tks_uri left, right;

    if (strcmp(from, to) == 0)
        return true;
    if (tks_uri_split(from, &left) != TKS_OK || tks_uri_split(to, &right) != TKS_OK ||
        strcmp(left.scheme, right.scheme) != 0)
        return false;
    if (uri_has_scheme(from, "sqlite") && same_file(&left, &right))
        return true;
    /* Parameters do not make it another store, but for a database server's. */
    return (uri_is_shm(from) || uri_has_scheme(from, "sqlite")) &&
           left.rest_len == right.rest_len && memcmp(left.rest, right.rest, left.rest_len) == 0;
}

static int refuse(const struct copy *copy)
{
    const struct copy_stores *stores = copy->stores;
    const bool from_memory = uri_has_scheme(stores->from, "memory");

    if (from_memory || uri_has_scheme(stores->to, "memory")) {
        complain(copy->arguments, "%s: private to a process, and this one's would %s",
                 from_memory ? stores->from_shown : stores->to_shown,
                 from_memory ? "be empty" : "end with it");
        return CLI_USAGE;
    }
    if (!same_store(stores->from, stores->to))
        return CLI_OK;
    complain(copy->arguments, "%s: cannot be copied to itself", stores->from_shown);
    return CLI_USAGE;
}

/* ---- One entry --------------------------------------------------------------------------- */

static int complain_stopped(const struct copy *copy, const char *why)
{
    char seen[GROUPED_MAX], total[GROUPED_MAX];

    complain(copy->arguments,
             "%s: %s after %s of %s entries: what was copied stays, and the same command goes on",
             copy->stores->to_shown, why, format_grouped(copy->seen, seen),
             format_grouped(copy->total, total));
    return STOP;
}

static int copy_entry(void *arg, const struct tks_record *record)
{
    struct copy *copy = arg;
    int outcome = 0;
    int status;

    if (interrupted())
        return complain_stopped(copy, "interrupted");
    show_progress(copy->arguments, copy->seen, copy->total);
    status = session_select_plugin(&copy->to, record->plugin);
    if (status == TKS_OK)
        status = tks_copy_record(copy->to.state, record, &outcome);
    if (status != TKS_OK) {
        char why[1024];

        snprintf(why, sizeof(why), "%s/%s: %s", record->plugin, record->key,
                 *tks_last_error() ? tks_last_error() : tks_strerror(status));
        return complain_stopped(copy, why);
    }
    copy->outcomes[outcome]++;
    copy->seen++;
    return 0;
}

/* ---- All of them ------------------------------------------------------------------------- */

static int count_plugin(void *arg, const char *plugin, size_t plugin_len, uint64_t keys)
{
    struct copy *copy = arg;

    (void)plugin_len;
    if (!copy->stores->plugin_glob || fnmatch(copy->stores->plugin_glob, plugin, 0) == 0)
        copy->total += keys;
    return 0;
}

static int copy_entries(struct copy *copy)
{
    int status = tks_store_plugins(copy->from.store, count_plugin, copy);

    if (status == TKS_OK)
        status = tks_store_export(copy->from.store, copy->stores->plugin_glob, copy_entry, copy);
    if (status == TKS_OK)
        return CLI_OK;
    if (status != STOP)
        complain_status(copy->arguments, status, copy->stores->from_shown);
    return CLI_FAILED;
}

static void print_report(const struct copy *copy)
{
    const uint64_t *outcomes = copy->outcomes;
    char text[4][GROUPED_MAX];

    printf("%s entries copied, %s already the same, %s expired on the way",
           format_grouped(outcomes[TKS_COPY_KEPT] + outcomes[TKS_COPY_RENEWED], text[0]),
           format_grouped(outcomes[TKS_COPY_SAME], text[1]),
           format_grouped(outcomes[TKS_COPY_EXPIRED], text[2]));
    if (outcomes[TKS_COPY_RENEWED] > 0)
        printf("; %s of the copied got a new version",
               format_grouped(outcomes[TKS_COPY_RENEWED], text[3]));
    putchar('\n');
}

/* A script gets its figures also when the copy did not come to the end. */
static int report(const struct copy *copy, int status)
{
    const uint64_t *outcomes = copy->outcomes;
    int printed;

    wipe_progress();
    if (!copy->arguments->json) {
        if (status == CLI_OK)
            print_report(copy);
        return status;
    }
    printed =
        print_json(copy->arguments,
                   json_pack("{ss ss sb sI sI sI sI}", "from", copy->stores->from_shown, "to",
                             copy->stores->to_shown, "complete", status == CLI_OK, "copied",
                             (json_int_t)(outcomes[TKS_COPY_KEPT] + outcomes[TKS_COPY_RENEWED]),
                             "new_versions", (json_int_t)outcomes[TKS_COPY_RENEWED], "same",
                             (json_int_t)outcomes[TKS_COPY_SAME], "expired",
                             (json_int_t)outcomes[TKS_COPY_EXPIRED]));
    return status == CLI_OK ? printed : status;
}

/* The source first: when it is not there no target is made. */
static int open_stores(struct copy *copy)
{
    const struct copy_stores *stores = copy->stores;
    int status = session_open_uri(copy->arguments, stores->from, stores->from_shown, SESSION_LOOK,
                                  &copy->from);

    if (status == CLI_OK)
        status = session_open_uri(copy->arguments, stores->to, stores->to_shown, SESSION_CREATE,
                                  &copy->to);
    return status;
}

int copy_stores(const struct arguments *arguments, const struct copy_stores *stores)
{
    struct copy copy = {.arguments = arguments, .stores = stores};
    int status = refuse(&copy);

    if (status != CLI_OK)
        return status;
    catch_interrupts();
    status = open_stores(&copy);
    if (status == CLI_OK)
        status = report(&copy, copy_entries(&copy));
    session_close(&copy.to);
    session_close(&copy.from);
    return status;
}

int command_copy(const struct arguments *arguments)
{
    const struct copy_stores stores = {.from = arguments->from,
                                       .from_shown = arguments->from_shown,
                                       .to = arguments->to,
                                       .to_shown = arguments->to_shown,
                                       .plugin_glob = arguments->plugin};

    return copy_stores(arguments, &stores);
}
