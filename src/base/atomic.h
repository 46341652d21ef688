/* SPDX-License-Identifier: MIT */
/*
 * The one vocabulary for shared words. GNU __atomic builtins, because every compiler pass and
 * ThreadSanitizer understands them; ck_pr is inline assembly that TSan cannot see.
 *
 * Orders are always spelled out; nothing relies on x86 being strong. A full fence orders earlier
 * stores before later loads (store-load), which no acquire or release does.
 */
#ifndef TKS_BASE_ATOMIC_H
#define TKS_BASE_ATOMIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define tks_likely(x) __builtin_expect(!!(x), 1)
#define tks_unlikely(x) __builtin_expect(!!(x), 0)

static inline uint64_t load_relaxed(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint64_t load_acquire(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint64_t load_ordered(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline void store_relaxed(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void store_release(uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/** Strong compare and swap, sequentially consistent. */
static inline bool compare_and_swap(uint64_t *word, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static inline uint64_t fetch_add(uint64_t *word, uint64_t amount)
{
    return __atomic_fetch_add(word, amount, __ATOMIC_SEQ_CST);
}

#if defined(__SANITIZE_THREAD__)
#define TKS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TKS_THREAD_SANITIZER 1
#endif
#endif

#ifdef TKS_THREAD_SANITIZER
/* TSan does not model fences; a read-modify-write of one common word orders at least as much. */
extern uint64_t tks_fence_word;
static inline void fence_full(void)
{
    __atomic_fetch_add(&tks_fence_word, 1, __ATOMIC_SEQ_CST);
}
static inline void fence_acquire(void)
{
    fence_full();
}
static inline void fence_release(void)
{
    fence_full();
}
#else
static inline void fence_full(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void fence_acquire(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}
static inline void fence_release(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}
#endif

#if defined(__SSE2__) && !defined(TKS_THREAD_SANITIZER)
#include <emmintrin.h>
/*
 * 64 bytes that may be reused meanwhile. Vector loads are not atomic as a whole, and need not be: a
 * copy is used only after a check that follows an acquire fence, which orders them like any load.
 */
static inline void copy_line(char *to, const uint64_t *from)
{
    const __m128i *in = (const __m128i *)(const void *)from;
    __m128i *out = (__m128i *)(void *)to;
    __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1), c = _mm_loadu_si128(in + 2),
            d = _mm_loadu_si128(in + 3);
    _mm_storeu_si128(out, a);
    _mm_storeu_si128(out + 1, b);
    _mm_storeu_si128(out + 2, c);
    _mm_storeu_si128(out + 3, d);
}
#else
static inline void copy_line(char *to, const uint64_t *from)
{
    for (int i = 0; i < 8; i++) {
        uint64_t word = load_relaxed(from + i);
        memcpy(to + i * 8, &word, 8);
    }
}
#endif

/** Copy out of shared memory that may be reused meanwhile. */
static inline void copy_from_shared(void *to, const uint64_t *from, size_t len)
{
    char *out = to;
    if (len >= 64) {
        do {
            copy_line(out, from);
            out += 64;
            from += 8;
            len -= 64;
        } while (len >= 64);
        if (!len)
            return;
    }
    for (; len >= 8; len -= 8, from++, out += 8) {
        uint64_t word = load_relaxed(from);
        memcpy(out, &word, 8);
    }
    if (len) {
        uint64_t word = load_relaxed(from);
        memcpy(out, &word, len);
    }
}

/** Copy into shared memory, the last word padded with zeros. */
static inline void copy_to_shared(uint64_t *to, const void *from, size_t len)
{
    const char *in = from;
    for (; len >= 64; len -= 64, to += 8, in += 64) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            uint64_t word;
            memcpy(&word, in + i * 8, 8);
            store_relaxed(to + i, word);
        }
    }
    for (; len >= 8; len -= 8, to++, in += 8) {
        uint64_t word;
        memcpy(&word, in, 8);
        store_relaxed(to, word);
    }
    if (len) {
        uint64_t word = 0;
        memcpy(&word, in, len);
        store_relaxed(to, word);
    }
}

#endif
