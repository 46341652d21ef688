/* SPDX-License-Identifier: MIT */
/*
 * The registry: plugin name -> descriptor. Chains that only grow at their heads, by one CAS;
 * descriptors are never freed, so nothing here needs a section.
 */
#ifndef TKS_TABLE_REGISTRY_H
#define TKS_TABLE_REGISTRY_H

#include "memory/member.h"

/** Find a plugin's descriptor, or make it. TKS_OK, TKS_NOT_FOUND (!create), BLOCK_SLOW,
 * TKS_CORRUPT. */
int tks_registry_find(struct tks_member *member, const char *name, size_t len, bool create,
                      uint64_t *granule);

/** The descriptor at @p granule, NULL when it cannot be one. */
struct plugin *tks_registry_plugin(const struct tks_segment *segment, uint64_t granule);

/** Copy a descriptor's name with a NUL; its length. */
size_t tks_registry_name(const struct plugin *plugin, char name[256]);

/** Whether a chain holds the descriptor. */
bool tks_registry_names(const struct tks_segment *segment, uint64_t granule);

/** Visit descriptors; another value than 0 stops. TKS_OK, TKS_CORRUPT, or visit's value. */
int tks_registry_each(const struct tks_segment *segment,
                      int (*visit)(void *arg, struct plugin *plugin, uint64_t granule), void *arg);

#endif
