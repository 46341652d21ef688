/* SPDX-License-Identifier: MIT */
/*
 * The factory: rules from globs over plugin names to stores. It stands above the public functions
 * and uses stores only through them.
 */
#ifndef TKS_FACTORY_FACTORY_H
#define TKS_FACTORY_FACTORY_H

#include <tickstate/tickstate.h>

/** Say in later messages where the rules came from. TKS_OK or TKS_NO_SPACE. */
int tks_factory_origin(tks_factory *factory, const char *config_path);

#endif
