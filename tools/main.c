/* SPDX-License-Identifier: MIT */
/* The `tickstate` tool: the table of its commands, and nothing else. */
#include "cli.h"
#include "replay/replay.h"

#include <signal.h>
#include <string.h>

static const struct command commands[] = {
    {
        .name = "stat",
        .words = "",
        .summary = "size, use and health of a store",
        .details = "Prints what the store holds and what its URI's parameters came to. Works on a\n"
                   "store all of whose users are dead.",
        .example = "tickstate stat --store shm://desk --json",
        .options = OPTION_JSON,
        .run = command_stat,
    },
    {
        .name = "plugins",
        .words = "",
        .summary = "the plugins that have keys",
        .details = "One line per plugin with at least one key, sorted: keys, name.",
        .example = "tickstate plugins --store shm://desk",
        .options = OPTION_JSON,
        .run = command_plugins,
    },
    {
        .name = "keys",
        .words = "PLUGIN",
        .summary = "the keys of a plugin",
        .details =
            "One key per line, sorted; what a terminal cannot show is written \\xHH. A plugin\n"
            "without keys prints nothing.",
        .example = "tickstate keys scalper-btc",
        .options = OPTION_JSON | OPTION_PLUGIN,
        .run = command_keys,
    },
    {
        .name = "get",
        .words = "PLUGIN KEY",
        .summary = "print a value",
        .details =
            "Prints the value as its type reads best. Bytes are shown with \\\\ and \\xHH for\n"
            "what is not printable; --raw writes the stored bytes of any type as they are,\n"
            "without a newline. Exit status 1 when there is no such key.",
        .example = "tickstate get --plugin scalper-btc cooldown",
        .options = OPTION_JSON | OPTION_PLUGIN | OPTION_RAW,
        .min_words = 1,
        .max_words = 1,
        .run = command_get,
    },
    {
        .name = "set",
        .words = "PLUGIN KEY VALUE",
        .summary = "store a value",
        .details =
            "VALUE '-' reads it from standard input, to the last byte. A json scalar is stored\n"
            "as that scalar's type. Creates the store when it is missing.",
        .example = "tickstate set scalper-btc ban true --type bool --ttl 5000",
        .options = OPTION_PLUGIN | OPTION_TYPE | OPTION_TTL,
        .min_words = 2,
        .max_words = 2,
        .run = command_set,
    },
    {
        .name = "del",
        .words = "PLUGIN KEY",
        .summary = "remove a key",
        .details = "Removing what is not there is a success; --json says whether it was there.",
        .example = "tickstate del scalper-btc ban",
        .options = OPTION_JSON | OPTION_PLUGIN,
        .min_words = 1,
        .max_words = 1,
        .run = command_del,
    },
    {
        .name = "check",
        .words = "",
        .summary = "audit a store: account for every block",
        .details =
            "Cleans up after dead owners first. Exit status 3 when a block is leaked or the\n"
            "data is damaged. May run while others work.",
        .example = "tickstate check --store shm://desk",
        .options = OPTION_JSON,
        .run = command_check,
    },
    {
        .name = "checkpoint",
        .words = "",
        .summary = "write a store to its checkpoint file (not supported yet)",
        .details = "Not supported yet.",
        .example = "tickstate checkpoint --store shm://desk",
        .options = 0,
        .run = command_checkpoint,
    },
    {
        .name = "restore",
        .words = "",
        .summary = "load a store from its checkpoint file (not supported yet)",
        .details = "Not supported yet.",
        .example = "tickstate restore --store shm://desk",
        .options = 0,
        .run = command_checkpoint,
    },
    {
        .name = "export",
        .words = "",
        .summary = "print entries as JSON lines, as of one instant",
        .details =
            "One line per entry: plugin, key, type, value, version, expires_at (ms since\n"
            "1970 or null), all as of one instant; nobody is stopped for it. Bytes are\n"
            "written {\"$bytes\":\"base64\"}; a document whose only member is named $bytes,\n"
            "$$bytes and so on gets one more $. A document's text stays as it is, but for\n"
            "line breaks between its tokens and white space around it.",
        .example = "tickstate export --store shm://desk --plugin 'scalper-*' > desk.jsonl",
        .options = OPTION_JSON | OPTION_GLOB,
        .run = command_export,
    },
    {
        .name = "import",
        .words = "[FILE]",
        .summary = "store the entries of an export",
        .details =
            "Reads what export wrote, from FILE or standard input. The whole input is\n"
            "checked before anything is stored: a bad line is named FILE:LINE and changes\n"
            "nothing. Entries get new versions; one whose expires_at has passed is removed.\n"
            "Creates the store when it is missing.",
        .example = "tickstate import --store shm://copy desk.jsonl",
        .options = OPTION_JSON,
        .max_words = 1,
        .run = command_import,
    },
    {
        .name = "rm",
        .words = "",
        .summary = "remove a store",
        .details = "Refuses (exit status 3) while live processes are attached.",
        .example = "tickstate rm --store shm://desk",
        .options = 0,
        .run = command_rm,
    },
    {
        .name = "replay",
        .words = "",
        .summary = "run scalping plugins on a stream of ticks, kill one, prove it went on",
        .details =
            "Starts plugin processes on one store. Each decides on every tick, reads its\n"
            "state at the top, writes it at the bottom and keeps nothing in memory between\n"
            "two ticks. Plugin 1 is killed (SIGKILL) and started again; the report compares\n"
            "every plugin's final state with the stream, and the exit status is 3 when a\n"
            "tick was lost or counted twice. What an earlier replay left in its plugins'\n"
            "states is removed first.\n"
            "Without --store (and $TICKSTATE_STORE) it uses a store of its own and removes\n"
            "it. A store that was named stays.",
        .example = "tickstate replay --ticks ticks.csv.gz --plugins 4 --report out",
        .options = OPTION_JSON | OPTION_TICKS | OPTION_PLUGINS | OPTION_SPEED | OPTION_KILL_AT |
                   OPTION_COUNT | OPTION_SEED | OPTION_REPORT | OPTION_KEEP,
        .run = command_replay,
    },
    {.name = NULL},
};

int main(int argc, char **argv)
{
    struct arguments arguments;
    int status;

    /* A closed pipe shall be a write error with a message, not a silent death. */
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(argv[1], REPLAY_PLUGIN_COMMAND) == 0)
        return replay_plugin_main(argv[2]);
    status = arguments_parse(argc, argv, commands, &arguments);
    if (status < 0)
        status = arguments.command->run(&arguments);
    return finish_output(&arguments, status);
}
