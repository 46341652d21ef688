/* SPDX-License-Identifier: MIT */
#ifndef TKS_PROTOCOL_AUDIT_H
#define TKS_PROTOCOL_AUDIT_H

#include <tickstate/tickstate.h>

/**
 * What must hold when only the caller is attached, with so many open states and stores: no block
 * leaked, retired or held, no slab and no slot left behind. Failures are reported.
 */
void audit_store(tks_store *store, unsigned states, unsigned stores);

#endif
