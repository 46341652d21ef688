/* SPDX-License-Identifier: MIT */
/* Texts that are, and are not, UTF-8: for keys, plugin names and string values alike. */
#ifndef TICKSTATE_TESTS_UTF8_H
#define TICKSTATE_TESTS_UTF8_H

static const char *const api_utf8_good[] = {
    "\x01",             /* a control character is a character */
    "\x7f",             /* last of one byte */
    "\xc2\x80",         /* first of two */
    "\xdf\xbf",         /* last of two */
    "\xe0\xa0\x80",     /* first of three */
    "\xed\x9f\xbf",     /* U+D7FF, just below the surrogates */
    "\xee\x80\x80",     /* U+E000, just above them */
    "\xef\xbf\xbf",     /* last of three */
    "\xf0\x90\x80\x80", /* first of four */
    "\xf4\x8f\xbf\xbf", /* U+10FFFF */
    "a b/c.d:e*?[x]",   /* no character has a meaning */
    "gr\xc3\xbc\xc3\x9f",
};

static const char *const api_utf8_bad[] = {
    "\x80",                 /* a continuation alone */
    "a\xbf",                /* after a letter */
    "\xc0\x80",             /* overlong NUL */
    "\xc1\xbf",             /* overlong U+007F */
    "\xe0\x80\x80",         /* overlong NUL */
    "\xe0\x9f\xbf",         /* overlong U+07FF */
    "\xf0\x80\x80\x80",     /* overlong NUL */
    "\xf0\x8f\xbf\xbf",     /* overlong U+FFFF */
    "\xed\xa0\x80",         /* U+D800, a surrogate */
    "\xed\xbf\xbf",         /* U+DFFF, a surrogate */
    "\xf4\x90\x80\x80",     /* U+110000 */
    "\xf5\x80\x80\x80",     /* never a first byte */
    "\xfe",                 /* never a byte */
    "\xff",                 /* never a byte */
    "\xc3",                 /* cut short */
    "\xe2\x82",             /* cut short */
    "\xf0\x9f\x98",         /* cut short */
    "\xc3(",                /* a letter instead of the continuation */
    "\xe2(\xac",            /* the same in the middle */
    "\xe2\x82\xc3\xbc",     /* the next character begins too early */
    "abcdefghijklmnop\xff", /* after many good bytes */
};

#endif
