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

/** Raise a word to @p value. False: it was as large already. */
static inline bool raise_word(uint64_t *word, uint64_t value)
{
    for (;;) { /* every lost race was won by a larger value */
        uint64_t now = load_ordered(word);
        if (now >= value)
            return false;
        if (compare_and_swap(word, now, value))
            return true;
    }
}

/**
 * What fence_full() is, right after a compare_and_swap() that succeeded: on x86 a locked
 * instruction is a full barrier already (Intel SDM volume 3, 9.2.3.9), elsewhere it is not.
 */
static inline void fence_full_after_swap(void)
{
#if defined(__x86_64__) && !defined(TKS_THREAD_SANITIZER)
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
#else
    fence_full();
#endif
}

#if defined(__SSE2__) && !defined(TKS_THREAD_SANITIZER)
#define TKS_VECTORS 1
#include <emmintrin.h>
/*
 * Bytes that may be reused meanwhile. Vector loads are not atomic as a whole, and need not be: a
 * copy is used only after a check that follows an acquire fence, which orders them like any load.
 */
static inline __m128i load_16(const char *from)
{
    return _mm_loadu_si128((const __m128i *)(const void *)from);
}
static inline void store_16(char *to, __m128i bytes)
{
    _mm_storeu_si128((__m128i *)(void *)to, bytes);
}
static inline bool same_16(const char *a, const char *b)
{
    return _mm_movemask_epi8(_mm_cmpeq_epi8(load_16(a), load_16(b))) == 0xffff;
}
static inline void copy_line(char *to, const char *from)
{
    __m128i a = load_16(from), b = load_16(from + 16), c = load_16(from + 32),
            d = load_16(from + 48);
    store_16(to, a);
    store_16(to + 16, b);
    store_16(to + 32, c);
    store_16(to + 48, d);
}
#endif

static inline void copy_words(char *to, const uint64_t *from, size_t len)
{
    for (; len >= 8; len -= 8, from++, to += 8) {
        uint64_t word = load_relaxed(from);
        memcpy(to, &word, 8);
    }
    if (len) {
        uint64_t word = load_relaxed(from);
        memcpy(to, &word, len);
    }
}

/* More than 64 bytes, and all that there is without vectors. */
static __attribute__((noinline, unused)) void copy_long(char *to, const uint64_t *from, size_t len)
{
#ifdef TKS_VECTORS
    for (; len >= 64; len -= 64, to += 64, from += 8)
        copy_line(to, (const char *)from);
#endif
    copy_words(to, from, len);
}

/**
 * Copy out of shared memory that may be reused meanwhile. No address depends on @p len, which was
 * itself read from there: a store to an address that is not known yet keeps the next look-up from
 * starting (measured: 400 instead of 210 ns for random gets that miss the caches).
 */
static inline void copy_from_shared(void *to, const uint64_t *from, size_t len)
{
#ifdef TKS_VECTORS
    if (tks_likely(len == 64)) {
        copy_line(to, (const char *)from);
        return;
    }
#endif
    if (len > 64)
        copy_long(to, from, len);
    else
        copy_words(to, from, len);
}

/** The bytes after the last whole word, as copy_to_shared() leaves them: padded with zeros. */
static inline uint64_t last_word(const char *bytes, size_t len)
{
    size_t rest = len & 7;
    uint64_t word = 0;
    if (rest && len >= 8) {
        memcpy(&word, bytes + len - 8, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return word >> (64 - 8 * rest);
#else
        return word << (64 - 8 * rest);
#endif
    }
    for (size_t i = 0; i < rest; i++)
        ((char *)&word)[i] = bytes[i];
    return word;
}

/** Whether shared memory that may be reused meanwhile holds what copy_to_shared() put there. */
static inline bool same_as_shared(const uint64_t *shared, const char *bytes, size_t len)
{
#ifdef TKS_VECTORS
    if (len >= 16) {
        const char *in = (const char *)shared;
        size_t i = 0;
        for (; i + 32 <= len; i += 16)
            if (!same_16(in + i, bytes + i))
                return false;
        return same_16(in + i, bytes + i) && same_16(in + len - 16, bytes + len - 16);
    }
#endif
    size_t whole = len / 8;
    for (size_t i = 0; i < whole; i++) {
        uint64_t word;
        memcpy(&word, bytes + i * 8, 8);
        if (load_relaxed(shared + i) != word)
            return false;
    }
    return !(len & 7) || load_relaxed(shared + whole) == last_word(bytes, len);
}

/** Copy into shared memory, the last word padded with zeros. */
static inline void copy_to_shared(uint64_t *to, const void *from, size_t len)
{
    const char *in = from;
    const size_t all = len;
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
    if (len)
        store_relaxed(to, last_word(from, all));
}

#endif
