/* SPDX-License-Identifier: MIT */
/* A backend that this build was made without says so, and how to get it. usage: test_missing URI
 * OPTION */
#include <stdio.h>
#include <string.h>
#include <tickstate/tickstate.h>

int main(int argc, char **argv)
{
    tks_store *store;
    int status;

    if (argc != 3)
        return 2;
    status = tks_store_open(argv[1], NULL, &store);
    printf("%s: %d, %s\n", argv[1], status, tks_last_error());
    if (status != TKS_UNSUPPORTED || strstr(tks_last_error(), argv[2]) == NULL)
        return 1;
    return tks_store_destroy(argv[1]) == TKS_UNSUPPORTED ? 0 : 1;
}
