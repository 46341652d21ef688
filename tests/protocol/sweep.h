/* SPDX-License-Identifier: MIT */
/* Every scenario, stopped at every instruction (or an even sample of them). */
#ifndef TKS_PROTOCOL_SWEEP_H
#define TKS_PROTOCOL_SWEEP_H

#include "bench.h"
#include "scenario.h"
#include "subject.h"

/**
 * What is done with a subject that is stopped at position @p k (STEPPED) or got to its end before
 * (END). The subject is dead or finished afterwards.
 */
typedef void (*sweep_act)(struct bench *bench, const struct scenario *scenario,
                          struct subject *subject, enum subject_stop stop, size_t k);

/** Run all (or options.only) within options.budget; the exit status. */
int sweep_main(sweep_act act);

/** Let a stopped or ended subject run to its end; a crash is a failure. */
void sweep_finish(struct subject *subject, enum subject_stop stop);

#endif
