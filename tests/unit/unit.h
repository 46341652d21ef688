/* SPDX-License-Identifier: MIT */
/* What the unit tests share: segments of their own under names of their own. */
#ifndef TKS_TESTS_UNIT_H
#define TKS_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "segment/segment.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNIT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNIT_SANITIZED 1
#endif
#endif

/** A segment name that no other run uses; the string is static. */
const char *unit_name(void);

/** /dev/shm/NAME; the string is static. */
const char *unit_path(void);

/** Open unit_name(), creating it unless @p existing. The status of tks_segment_open(). */
int unit_try(uint64_t size_bytes, uint64_t slots, bool existing, struct tks_segment **segment);

/** The same, which must succeed. */
struct tks_segment *unit_open(uint64_t size_bytes, uint64_t slots);

void unit_release(struct tks_segment *segment);

/** Remove whatever stands at unit_path(). */
void unit_remove(void);

/** Wait for a child that must end with @p status. */
void unit_wait(pid_t child, int status);

#endif
