/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "record_json.h"

/* Positive, so that it is no status of the library. */
#define STOP 1

static int export_record(void *arg, const struct tks_record *record)
{
    const struct arguments *arguments = arg;
    const char *error = record_write(stdout, record, RECORD_WITH_EXPIRY);

    if (error) {
        complain(arguments, "%s/%s: %s", record->plugin, record->key, error);
        return STOP;
    }
    return ferror(stdout) ? STOP : 0; /* finish_output() says why */
}

int command_export(const struct arguments *arguments)
{
    struct arguments arg = *arguments;
    struct session session;
    int status = session_open(arguments, true, &session);

    if (status != CLI_OK)
        return status;
    status = tks_store_export(session.store, arguments->plugin, export_record, &arg);
    if (status == STOP)
        status = CLI_FAILED;
    else if (status != TKS_OK)
        status = complain_status(arguments, status, arguments->store_uri);
    session_close(&session);
    return status;
}
