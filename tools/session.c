/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

int session_open_uri(const struct arguments *arguments, const char *uri, const char *shown,
                     enum session_use use, struct session *session)
{
    static const uint32_t flags[] = {
        [SESSION_LOOK] = TKS_OPEN_EXISTING | TKS_OPEN_PASSIVE,
        [SESSION_CHANGE] = TKS_OPEN_EXISTING,
        [SESSION_CREATE] = 0,
    };
    struct tks_options options = {.size = sizeof(options), .flags = flags[use]};
    int status;

    *session = (struct session){0};
    status = tks_store_open(uri, &options, &session->store);
    if (status != TKS_OK)
        return complain_status(arguments, status, shown);
    return CLI_OK;
}

int session_open(const struct arguments *arguments, enum session_use use, struct session *session)
{
    return session_open_uri(arguments, arguments->store_uri, arguments->store_shown, use, session);
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

int session_select_plugin(struct session *session, const char *plugin)
{
    int status;

    if (session->plugin && strcmp(session->plugin, plugin) == 0)
        return TKS_OK;
    tks_state_close(session->state);
    session->state = NULL;
    free(session->plugin);
    session->plugin = strdup(plugin);
    if (!session->plugin)
        return TKS_NO_SPACE;
    status = tks_state_open(session->store, plugin, &session->state);
    if (status != TKS_OK) {
        free(session->plugin);
        session->plugin = NULL;
    }
    return status;
}

void session_close(struct session *session)
{
    tks_state_close(session->state);
    free(session->plugin);
    tks_store_close(session->store);
    *session = (struct session){0};
}
