/* SPDX-License-Identifier: MIT */
/* This thread's last failure. */
#ifndef TKS_BASE_ERROR_H
#define TKS_BASE_ERROR_H

#include <tickstate/tickstate.h>

/** Remember a failure as a sentence and return @p status. Not for expected outcomes. */
int tks_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/** The same with ": strerror(errnum)" after it; the status is derived from errnum. */
int tks_fail_errno(int errnum, const char *format, ...) __attribute__((format(printf, 2, 3), cold));

/** The status that an errno means. */
int tks_status_of_errno(int errnum);

/* -1 .. : an expected outcome of a data call; costs one store. */
extern _Thread_local int tks_outcome
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

static inline int expected_outcome(int status)
{
    tks_outcome = status;
    return status;
}

#endif
