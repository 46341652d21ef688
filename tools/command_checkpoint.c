/* SPDX-License-Identifier: MIT */
#include "cli.h"

static int report(const struct arguments *arguments, const char *path,
                  const struct tks_stats *stats, uint64_t ns)
{
    char text[2][GROUPED_MAX], duration[DURATION_MAX];

    if (arguments->json)
        return print_json(
            arguments,
            json_pack("{ss ss sI sI sI sI sI}", "store", arguments->store_shown, "checkpoint", path,
                      "file_bytes", (json_int_t)stats->checkpoint_bytes, "entries",
                      (json_int_t)stats->keys, "cuts", (json_int_t)stats->checkpoint_cuts, "at_ms",
                      (json_int_t)stats->checkpoint_at_ms, "ns", (json_int_t)ns));
    printf("%s is up to date: %s bytes, %s entries, in %s\n", path,
           format_grouped(stats->checkpoint_bytes, text[0]), format_grouped(stats->keys, text[1]),
           format_duration(ns, duration));
    return CLI_OK;
}

static int write_and_report(const struct arguments *arguments, tks_store *store)
{
    struct tks_stats stats = {.size = sizeof(stats)};
    int64_t begin = monotonic_ns(), end;
    char path[URI_VALUE_MAX] = "";
    int status = tks_store_checkpoint(store);

    end = monotonic_ns();
    if (status == TKS_OK)
        status = tks_store_stats(store, &stats);
    if (status != TKS_OK) {
        complain_status(arguments, status, arguments->store_shown);
        return CLI_FAILED;
    }
    uri_parameter(arguments->store_uri, "checkpoint", path);
    return report(arguments, path, &stats, (uint64_t)(end - begin));
}

int command_checkpoint(const struct arguments *arguments)
{
    char path[URI_VALUE_MAX];
    struct session session;
    int status;

    /* Wrong whether there is such a store or not. */
    if (uri_is_shm(arguments->store_uri) &&
        uri_parameter(arguments->store_uri, "checkpoint", path) == 0) {
        complain(arguments, "%s: TKS_UNSUPPORTED: the URI names no file (checkpoint=/path)",
                 arguments->store_shown);
        return CLI_FAILED;
    }
    status = session_open(arguments, SESSION_CHANGE, &session);
    if (status != CLI_OK)
        return status;
    status = write_and_report(arguments, session.store);
    session_close(&session);
    return status;
}
