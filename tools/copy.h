/* SPDX-License-Identifier: MIT */
/* Copying one store into another: `copy`, and `import --from URI`. */
#ifndef TICKSTATE_CLI_COPY_H
#define TICKSTATE_CLI_COPY_H

#include "cli.h"

struct copy_stores {
    const char *from, *to;             /* URIs */
    const char *from_shown, *to_shown; /* as they may be printed */
    const char *plugin_glob;           /* NULL: all */
};

/** Copy and report. The exit status. */
int copy_stores(const struct arguments *arguments, const struct copy_stores *stores);

#endif
