/* SPDX-License-Identifier: MIT */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

struct key_list {
    char **keys;
    size_t count, room;
};

static int add_key(void *arg, const char *key, size_t key_len)
{
    struct key_list *list = arg;

    (void)key_len;
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        char **keys = reallocarray(list->keys, room, sizeof(*keys));

        if (!keys)
            return TKS_NO_SPACE;
        list->keys = keys;
        list->room = room;
    }
    list->keys[list->count] = strdup(key);
    if (!list->keys[list->count])
        return TKS_NO_SPACE;
    list->count++;
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    char *const *left = a, *const *right = b;

    return strcmp(*left, *right);
}

static int print_keys_json(const struct arguments *arguments, const struct key_list *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count && array; i++) {
        if (json_array_append_new(array, json_string(list->keys[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return print_json(arguments, array);
}

static int print_keys(const struct arguments *arguments, const struct key_list *list)
{
    if (list->count > 0)
        qsort(list->keys, list->count, sizeof(*list->keys), by_bytes);
    if (arguments->json)
        return print_keys_json(arguments, list);
    for (size_t i = 0; i < list->count; i++) {
        write_visible(stdout, list->keys[i], strlen(list->keys[i]));
        putchar('\n');
    }
    return CLI_OK;
}

int command_keys(const struct arguments *arguments)
{
    struct key_list list = {NULL, 0, 0};
    struct session session;
    int status = session_open_plugin(arguments, SESSION_LOOK, &session);

    if (status != CLI_OK)
        return status;
    status = tks_keys(session.state, add_key, &list);
    if (status == TKS_OK)
        status = print_keys(arguments, &list);
    else
        status = complain_status(arguments, status, arguments->plugin);
    for (size_t i = 0; i < list.count; i++)
        free(list.keys[i]);
    free(list.keys);
    session_close(&session);
    return status;
}
