/* SPDX-License-Identifier: MIT */
/*
 * Keys as a call gets them: a name, or a key prepared by the state. shm:// has a prepared key of
 * its own, which remembers where it was found; the other backends use this one.
 */
#ifndef TKS_BASE_KEY_H
#define TKS_BASE_KEY_H

#include "base/owner.h"

#include <tickstate/tickstate.h>

struct tks_prepared {
    uint64_t serial; /* of the state */
    uint64_t len;
    char name[TKS_NAME_MAX + 1];
};
_Static_assert(sizeof(struct tks_prepared) <= sizeof(tks_key), "a prepared key fits");

/** Why @p key cannot be a key: always TKS_INVALID, with a sentence. */
int tks_bad_key(const char *key, size_t len);

/** Check a plugin's name and measure it. TKS_OK, or TKS_INVALID with a sentence. */
int tks_plugin_name(const char *plugin, size_t *len);

/** Prepare a key for the state of @p owner. TKS_OK or TKS_INVALID. */
int tks_key_fill(const struct tks_owner *owner, const char *key, size_t len, tks_key *prepared);

/**
 * The checked name of a key given either way, NUL-terminated; it lives as long as what was given.
 * TKS_INVALID: not a key, or another state's.
 */
int tks_key_name(const struct tks_owner *owner, const char *key, tks_key *prepared,
                 const char **name, size_t *len);

#endif
