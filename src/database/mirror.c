/* SPDX-License-Identifier: MIT */
#include "database/driver.h"

#include <string.h>

const char *tks_mirror_objection(const struct tks_mirror_holder *holder,
                                 const struct tks_mirror_owner *owner, int *status)
{
    *status = TKS_CONFLICT;
    if (!*owner->segment)
        return "plugin_state_mirror has lost its row";
    if (strcmp(owner->segment, holder->segment) != 0)
        return "plugin_state is the mirror of another segment: import its rows and open once with "
               "mirror_take=1, or mirror to another database";
    if (owner->generation > holder->generation)
        return "plugin_state is fed by a newer mirror of this segment";
    *status = TKS_CORRUPT;
    return owner->batches < holder->batches
               ? "plugin_state was put back to an earlier state: all is carried over again"
               : NULL;
}
