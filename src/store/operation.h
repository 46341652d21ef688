/* SPDX-License-Identifier: MIT */
/* Every change of a key goes through tks_operate(). */
#ifndef TKS_STORE_OPERATION_H
#define TKS_STORE_OPERATION_H

#include "base/backend.h"
#include "store/session.h"

enum tks_change {
    CHANGE_SET,
    CHANGE_SET_IF,
    CHANGE_COPY,
    CHANGE_ADD,
    CHANGE_DELETE,
    CHANGE_PURGE,
    CHANGE_PRUNE
};

struct tks_operation {
    enum tks_change change;
    const struct tks_name *name;
    bool unchecked; /* the name was not checked yet: it is, if the key turns out to be absent */
    struct tks_content content;
    /* SET_IF: expected; COPY: the other store's; PURGE: of the node that was seen expired */
    uint64_t version;
    uint64_t keep; /* COPY: version, if it may be kept, else 0 */
    bool same;     /* COPY, out: it was there already */
    int64_t delta;
    int64_t result;
};

/** Carry an operation out. A public status. */
int tks_operate(struct tks_session *session, struct tks_operation *operation);

/**
 * Carry a set out if it is a plain overwrite. False: it is not, and nothing has changed; the set
 * must go through tks_operate() next, which goes on with the block that may have been taken.
 */
bool tks_overwrite(struct tks_session *session, const struct tks_name *name,
                   const struct tks_content *content);

/** Remove the entry of node version @p version that was seen expired, unless the key has changed.
 */
void tks_purge(struct tks_session *session, const struct tks_name *name, uint64_t version);

#endif
