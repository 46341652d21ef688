/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "checkpoint_file.h"

/* Blocks are a segment's: other backends have their own ways to be sound or not. */
static json_t *check_json(const struct arguments *arguments, const struct tks_check *check)
{
    if (!uri_is_shm(arguments->store_uri))
        return json_pack("{ss sb sI sI}", "store", arguments->store_shown, "ok", 1, "keys",
                         (json_int_t)check->keys, "plugins", (json_int_t)check->plugins);
    return json_pack(
        "{ss sb sI sI sI sI sI sI sI}", "store", arguments->store_shown, "ok",
        check->leaked_blocks == 0, "reachable_blocks", (json_int_t)check->reachable_blocks,
        "free_blocks", (json_int_t)check->free_blocks, "retired_blocks",
        (json_int_t)check->retired_blocks, "held_blocks", (json_int_t)check->held_blocks,
        "leaked_blocks", (json_int_t)check->leaked_blocks, "keys", (json_int_t)check->keys,
        "plugins", (json_int_t)check->plugins);
}

static void print_blocks(const struct tks_check *check)
{
    printf("reachable  %llu blocks\n", (unsigned long long)check->reachable_blocks);
    printf("free       %llu blocks\n", (unsigned long long)check->free_blocks);
    printf("retired    %llu blocks\n", (unsigned long long)check->retired_blocks);
    printf("held       %llu blocks\n", (unsigned long long)check->held_blocks);
    printf("leaked     %llu blocks\n", (unsigned long long)check->leaked_blocks);
}

static void print_check(const struct arguments *arguments, const struct tks_check *check)
{
    printf("store      %s\n", arguments->store_shown);
    if (uri_is_shm(arguments->store_uri))
        print_blocks(check);
    printf("entries    %llu, expired ones included\n", (unsigned long long)check->keys);
    printf("plugins    %llu known\n", (unsigned long long)check->plugins);
}

/* The figures are printed also when they are bad: they are what a defect is looked for with. */
static int report(const struct arguments *arguments, const struct tks_check *check)
{
    int status = CLI_OK;

    if (arguments->json)
        status = print_json(arguments, check_json(arguments, check));
    else
        print_check(arguments, check);
    if (check->leaked_blocks == 0)
        return status;
    complain(arguments, "%s: %llu blocks are leaked", arguments->store_shown,
             (unsigned long long)check->leaked_blocks);
    return CLI_FAILED;
}

int command_check(const struct arguments *arguments)
{
    struct tks_check check = {.size = sizeof(check)};
    struct session session;
    int status;

    if (arguments->checkpoint_from)
        return check_checkpoint_file(arguments);
    status = session_open(arguments, SESSION_LOOK, &session);

    if (status != CLI_OK)
        return status;
    status = tks_store_check(session.store, &check);
    if (status == TKS_OK)
        status = report(arguments, &check);
    else
        status = complain_status(arguments, status, arguments->store_shown);
    session_close(&session);
    return status;
}
