/* SPDX-License-Identifier: MIT */
/* checkpoint, restore: names that are taken already, for what comes with `checkpoint=`. */
#include "cli.h"

int command_checkpoint(const struct arguments *arguments)
{
    complain(arguments, "TKS_UNSUPPORTED: not supported yet");
    return CLI_FAILED;
}
