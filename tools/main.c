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
        .details = "Prints what the store holds and what its URI's parameters came to, as far as\n"
                   "its backend has such a thing. Works on a store all of whose users are dead.",
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
            "data is damaged. May run while others work.\n"
            "With --checkpoint it verifies a checkpoint file instead, which no store is needed\n"
            "for, and says what it holds. Exit status 3 when the file is damaged (also when an\n"
            "earlier cut of it can be restored) or cannot be read. A torn tail, as a crash\n"
            "leaves it, is no damage.",
        .example = "tickstate check --store shm://desk\n"
                   "         tickstate check --checkpoint desk.checkpoint",
        .options = OPTION_JSON | OPTION_CHECKPOINT,
        .run = command_check,
    },
    {
        .name = "checkpoint",
        .words = "",
        .summary = "write a store to its checkpoint file, now",
        .details =
            "Returns when every write that was finished before is on disk, in the file that\n"
            "checkpoint= in the store's URI names. Whichever process writes checkpoints does\n"
            "it; when none does, this one. Exit status 3 without checkpoint= in the URI, and for\n"
            "a database: that writes every change to files of its own.",
        .example = "tickstate checkpoint --store 'shm://desk?checkpoint=/var/lib/desk.checkpoint'",
        .options = OPTION_JSON,
        .run = command_checkpoint,
    },
    {
        .name = "restore",
        .words = "FILE",
        .summary = "make a store from a checkpoint file",
        .details =
            "For a store that is not there: one that is there is refused (exit status 3), as\n"
            "is a FILE that is missing or of which nothing is intact; nothing is created then.\n"
            "Keeps types, versions and expiries; says what came back, as of when, and what\n"
            "has expired since. Of a damaged file the newest intact cut is restored, with a\n"
            "warning.\n"
            "FILE is only read, unless the URI's checkpoint= names it. When that names another\n"
            "file, the store is made from FILE and that other file is written from it at once,\n"
            "so that the next restart finds what was restored; if it is there already, which\n"
            "may be a newer state than FILE, the command refuses without --force.\n"
            "(A store whose URI names its checkpoint needs no command: opening restores it.)",
        .example = "tickstate restore monday.checkpoint --store 'shm://desk?size=1G'",
        .options = OPTION_JSON | OPTION_FORCE,
        .min_words = 1,
        .max_words = 1,
        .run = command_restore,
    },
    {
        .name = "export",
        .words = "",
        .summary = "entries as JSON lines or a checkpoint file, as of one instant",
        .details =
            "One line per entry: plugin, key, type, value, version, expires_at (ms since\n"
            "1970 or null), all as of one instant; nobody is stopped for it. Bytes are\n"
            "written {\"$bytes\":\"base64\"}; a document whose only member is named $bytes,\n"
            "$$bytes and so on gets one more $. A document's text stays as it is, but for\n"
            "line breaks between its tokens and white space around it.\n"
            "--from-checkpoint reads a checkpoint file and needs no store; of a damaged one it\n"
            "takes the newest cut that is intact, with a warning. --to-checkpoint writes one, a\n"
            "full image with types, versions and expiries, for 'restore' and 'import'; a file\n"
            "that is there is refused without --force, and one that a living process writes\n"
            "its checkpoints to always. What has expired is left out.",
        .example = "tickstate export --store shm://desk --plugin 'scalper-*' > desk.jsonl\n"
                   "         tickstate export --store shm://desk --to-checkpoint desk.checkpoint",
        .options = OPTION_JSON | OPTION_GLOB | OPTION_FROM_CHECKPOINT | OPTION_TO_CHECKPOINT |
                   OPTION_FORCE,
        .run = command_export,
    },
    {
        .name = "import",
        .words = "[FILE]",
        .summary = "store the entries of an export, or of another store",
        .details =
            "Reads what export wrote, from FILE or standard input: JSON lines or a checkpoint\n"
            "file, whichever it is. With --from URI it reads another store instead: that is\n"
            "'tickstate copy' with this store for its target, and keeps versions.\n"
            "The whole input is checked before anything is stored: a\n"
            "bad line is named FILE:LINE and changes nothing. Of a damaged checkpoint the\n"
            "newest intact cut is taken, with a warning. Entries get new versions; one whose\n"
            "expires_at has passed is removed. Creates the store when it is missing: with\n"
            "another size= or slots= this is how a store is moved to another layout.",
        .example = "tickstate import --store shm://copy desk.jsonl\n"
                   "         tickstate import --store shm://desk --from sqlite:///var/lib/desk.db",
        .options = OPTION_JSON | OPTION_FROM_OR_FILE,
        .max_words = 1,
        .run = command_import,
    },
    {
        .name = "copy",
        .words = "",
        .summary = "copy a store into another one, of whatever kind the two are",
        .details =
            "Every entry of --from as of one instant, with its type, expiry and version. A\n"
            "version that --to may have given out itself gets a new one: versions are never\n"
            "used again. Nobody is stopped for it, neither here nor there.\n"
            "May be interrupted and run again: what is the same in both is skipped, and what\n"
            "has changed in --from since is brought too. An entry that differs is overwritten,\n"
            "also when it was written to --to after an earlier run: let --to be used only when\n"
            "the last run is done. What only --to has stays there, so what is deleted in --from\n"
            "between two runs stays as well.\n"
            "Creates --to when it is missing. Exit status 3 when it did not come to the end;\n"
            "what was copied until then stays.",
        .example = "tickstate copy --from shm://desk --to sqlite:///var/lib/desk.db\n"
                   "         tickstate copy --from postgres:///desk --to 'shm://desk?size=1G' \\\n"
                   "                        --plugin 'scalper-*'",
        .options = OPTION_JSON | OPTION_FROM | OPTION_TO | OPTION_GLOB,
        .run = command_copy,
    },
    {
        .name = "rm",
        .words = "",
        .summary = "remove a store",
        .details =
            "Refuses (exit status 3) while live processes are attached. Removes segments of\n"
            "shm:// only: a database's table is its owner's to drop.",
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
            "When the store's URI has checkpoint= the replay ends with a reboot: the store is\n"
            "checkpointed and closed, its segment removed and opened again from the file, and\n"
            "every record compared with what was there before.\n"
            "Without --store (and $TICKSTATE_STORE) it uses a store of its own, with a\n"
            "checkpoint in a temporary folder, and removes both. A store that was named stays.",
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
    status = finish_output(&arguments, status);
    arguments_release(&arguments);
    return status;
}
