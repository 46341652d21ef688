/* SPDX-License-Identifier: MIT */
/* Threads that work for a segment behind its users' backs. */
#ifndef TKS_STORE_BACKGROUND_H
#define TKS_STORE_BACKGROUND_H

#include "segment/segment.h"

#define NO_CPU (-1)

/** Start one on @p cpu (NO_CPU: any). TKS_OK, or a status with a sentence. */
int tks_background_start(const struct tks_segment *segment, int cpu, void *(*run)(void *arg),
                         void *arg, pthread_t *thread);

/** First of all in the thread: low priority, a name for who it is. */
void tks_background_enter(void);

/** Wait for its end, at most @p ns. True: it has ended, and its thread is joined. */
bool tks_background_ended(pthread_t thread, int64_t ns);

/** This thread's last error as a sentence in the header, for people: may be torn. */
void tks_background_tell(char shared[256]);

#endif
