/* SPDX-License-Identifier: MIT */
#include "cli.h"

int session_open(const struct arguments *arguments, enum session_use use, struct session *session)
{
    static const uint32_t flags[] = {
        [SESSION_LOOK] = TKS_OPEN_EXISTING | TKS_OPEN_PASSIVE,
        [SESSION_CHANGE] = TKS_OPEN_EXISTING,
        [SESSION_CREATE] = 0,
    };
    struct tks_options options = {.size = sizeof(options), .flags = flags[use]};
    int status;

    *session = (struct session){0};
    status = tks_store_open(arguments->store_uri, &options, &session->store);
    if (status != TKS_OK)
        return complain_status(arguments, status, arguments->store_uri);
    return CLI_OK;
}

int session_open_plugin(const struct arguments *arguments, enum session_use use,
                        struct session *session)
{
    int status = session_open(arguments, use, session);

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
