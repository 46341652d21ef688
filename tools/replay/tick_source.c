/* SPDX-License-Identifier: MIT */
#include "replay/tick.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tick_source {
    struct tick_csv *csv; /* one of the two */
    struct tick_generator *generator;
    char (*names)[INSTRUMENT_NAME_MAX];
    size_t count, room;
    size_t last; /* the one found last: most ticks are for it */
};

struct tick_source *tick_source_open(const struct tick_spec *spec, char error[TICK_ERROR_MAX])
{
    struct tick_source *source = calloc(1, sizeof(*source));

    snprintf(error, TICK_ERROR_MAX, "out of memory");
    if (!source)
        return NULL;
    if (*spec->path)
        source->csv = tick_csv_open(spec->path, error);
    else
        source->generator = tick_generator_open(spec, source);
    if (source->csv || source->generator)
        return source;
    tick_source_close(source);
    return NULL;
}

int tick_source_next(struct tick_source *source, struct tick *tick, char error[TICK_ERROR_MAX])
{
    if (source->csv)
        return tick_csv_next(source->csv, source, tick, error);
    return tick_generator_next(source->generator, tick);
}

size_t tick_source_instruments(const struct tick_source *source)
{
    return source->count;
}

const char *tick_source_instrument(const struct tick_source *source, size_t index)
{
    return index < source->count ? source->names[index] : "";
}

void tick_source_close(struct tick_source *source)
{
    if (!source)
        return;
    tick_csv_close(source->csv);
    tick_generator_close(source->generator);
    free(source->names);
    free(source);
}

static bool is_called(const char *name, const char *venue, size_t venue_len, const char *symbol)
{
    return memcmp(name, venue, venue_len) == 0 && name[venue_len] == ':' &&
           strcmp(name + venue_len + 1, symbol) == 0;
}

static int add_name(struct tick_source *source, const char *venue, const char *symbol)
{
    if (source->count == INSTRUMENTS_MAX)
        return -1;
    if (source->count == source->room) {
        size_t room = source->room ? 2 * source->room : 16;
        char(*names)[INSTRUMENT_NAME_MAX] = reallocarray(source->names, room, sizeof(*names));

        if (!names)
            return -1;
        source->names = names;
        source->room = room;
    }
    snprintf(source->names[source->count], INSTRUMENT_NAME_MAX, "%s:%s", venue, symbol);
    source->last = source->count;
    return (int)source->count++;
}

int tick_source_number(struct tick_source *source, const char *venue, const char *symbol)
{
    size_t venue_len = strlen(venue);

    if (venue_len + strlen(symbol) + 2 > INSTRUMENT_NAME_MAX)
        return -1;
    if (source->count > 0 && is_called(source->names[source->last], venue, venue_len, symbol))
        return (int)source->last;
    for (size_t i = 0; i < source->count; i++) {
        if (is_called(source->names[i], venue, venue_len, symbol)) {
            source->last = i;
            return (int)i;
        }
    }
    return add_name(source, venue, symbol);
}
