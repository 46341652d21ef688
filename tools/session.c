/* SPDX-License-Identifier: MIT */
#include "cli.h"

int session_open(const struct arguments *arguments, bool existing, struct session *session)
{
    struct tks_options options = {
        .size = sizeof(options),
        .flags = existing ? TKS_OPEN_EXISTING : 0,
    };
    int status;

    *session = (struct session){0};
    status = tks_store_open(arguments->store_uri, &options, &session->store);
    if (status != TKS_OK)
        return complain_status(arguments, status, arguments->store_uri);
    return CLI_OK;
}

int session_open_plugin(const struct arguments *arguments, bool existing, struct session *session)
{
    int status = session_open(arguments, existing, session);

    if (status != CLI_OK)
        return status;
    status = tks_state_open(session->store, arguments->plugin, &session->state);
    if (status == TKS_OK)
        return CLI_OK;
    status = complain_status(arguments, status, arguments->plugin);
    session_close(session);
    return status;
}

void session_close(struct session *session)
{
    tks_state_close(session->state);
    tks_store_close(session->store);
    *session = (struct session){0};
}
